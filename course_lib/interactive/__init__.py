"""Interactive figures: each with alt text and a static frame for pages without Python."""

from course_lib.interactive.attention_maps import attention_maps, draw_map
from course_lib.interactive.boundary_steps import boundary_steps
from course_lib.interactive.depth_profile import depth_profile
from course_lib.interactive.feature_maps import feature_maps
from course_lib.interactive.graph_steps import example_graph, graph_steps
from course_lib.interactive.memory_profile import memory_profile
from course_lib.interactive.plots import bars, digit_grid
from course_lib.interactive.progress import progress
from course_lib.interactive.scale_explorer import scale_explorer
from course_lib.interactive.show import Choice, InteractiveFigure, Steps, Text, show, show_static
from course_lib.interactive.size_plots import fence, methods_over_splits, sizes
from course_lib.interactive.threshold_steps import threshold_steps

__all__ = [
    "Choice",
    "InteractiveFigure",
    "Steps",
    "Text",
    "attention_maps",
    "bars",
    "boundary_steps",
    "depth_profile",
    "digit_grid",
    "draw_map",
    "example_graph",
    "feature_maps",
    "fence",
    "graph_steps",
    "memory_profile",
    "methods_over_splits",
    "progress",
    "scale_explorer",
    "show",
    "show_static",
    "sizes",
    "threshold_steps",
]
