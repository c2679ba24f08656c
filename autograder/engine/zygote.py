"""UNTRUSTED SIDE. A warmed interpreter inside the sandbox, from which a fresh, isolated child is forked for each submission.

It holds what every submission needs and nothing that any may not see.

    python -m autograder.engine.zygote CONTROL_FD WALLS
"""

import os
from collections.abc import Callable
from typing import Any

from autograder.engine import inside, keeper
from autograder.engine.begin import begin


def main(warm: Callable[[], object] | None = None) -> None:
    """warm: what is done once, behind the outer walls, before the first submission; → the shell that cells run in"""
    control, walls = begin()
    shell = (warm or warm_up)()
    keeper.run(control, walls, lambda stream: inside.Inside(stream, shell).serve())


def warm_up() -> object:
    """Import once what every submission would import, and nothing that answers an exercise."""
    import gc

    import matplotlib
    import numpy as np

    matplotlib.use("agg")
    import matplotlib.pyplot
    import torch

    import course_lib.data
    import course_lib.interactive

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.mm(torch.zeros(2, 2), torch.zeros(2, 2))
    np.linalg.norm(np.zeros(3))
    pixels = course_lib.data.digits().x_train[:2]
    shell = inside.make_shell()
    for figure in (_figure(), course_lib.interactive.digit_grid(pixels)):
        course_lib.interactive.show_static(figure, alt="two of the many things that a figure needs once")
    matplotlib.pyplot.close("all")
    gc.collect()
    gc.freeze()  # what is there now is never looked at again by the collector, so its pages stay shared
    return shell


def _figure() -> Any:
    """A figure with formulas on logarithmic axes, a legend and a layout to be found: what takes longest when it is drawn first."""
    import matplotlib.pyplot

    figure, axis = matplotlib.pyplot.subplots(layout="constrained")
    axis.loglog([1e-9, 1.0], [1e-9, 1.0], "o--", label="$x^2$")
    axis.set(title="title", xlabel="x", ylabel="y")
    axis.annotate("here", (1e-3, 1e-3), (1e-2, 1e-5), arrowprops={"arrowstyle": "->"})
    axis.legend()
    return figure


if __name__ == "__main__":
    main()
