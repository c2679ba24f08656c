"""Colours, canvas and number format that every figure shares.

The colours are from Okabe and Ito's colour-blind safe set ("Color Universal Design", 2008). Two that meet in one figure also differ in lightness, so
that a page printed in grey can be read, and never carry a meaning alone: a marker, a line style or a word says the same.

Figures are drawn through matplotlib's object interface. pyplot is not used: it would keep every figure alive and display some of them twice.
"""

import io
from collections.abc import Mapping

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK = "#222222"
FAINT = "#8C8C8C"
PAPER = "#FFFFFF"
BLUE = "#0072B2"  # class 0; bars
ORANGE = "#E69F00"  # class 1
VERMILION = "#D55E00"  # "you are here"
DARK_BLUE = "#005A8E"  # values on their way forward; dark enough for small letters
DARK_VERMILION = "#A84300"  # gradients on their way back, likewise
PALE_BLUE = "#8FBBDB"  # background where class 0 is predicted
PALE_ORANGE = "#FDEBC8"  # background where class 1 is predicted; a box that holds a value

# What stands next to each other in some figure and must be told apart: (figure, one colour, other colour).
PAIRS = (
    ("boundary: points", BLUE, ORANGE),
    ("boundary: background", PALE_BLUE, PALE_ORANGE),
    ("boundary: class 0 point on its background", BLUE, PALE_BLUE),
    ("boundary: curve and dot", INK, VERMILION),
    ("graph: waiting and active edges, forward", FAINT, DARK_BLUE),
    ("graph: waiting and active edges, backward", FAINT, DARK_VERMILION),
)
# Letters and what they are written on: (figure, letters, ground).
LETTERS = (
    ("graph: name on a box", INK, PALE_ORANGE),
    ("graph: value on a box", DARK_BLUE, PALE_ORANGE),
    ("graph: gradient on a box", DARK_VERMILION, PALE_ORANGE),
    ("all: titles", INK, PAPER),
)

DOTS_PER_INCH = 144  # of the PNG; a page shows 96 to the inch, so text stays sharp on dense screens
PIXELS_PER_INCH = 96  # CSS pixels


def new_figure(width: float, height: float) -> Figure:
    """An empty matplotlib figure, width × height in inches, that belongs to no pyplot state."""
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure, metadata: Mapping[str, str | None] | None = None) -> bytes:
    """The figure as the bytes of a PNG file, the same bytes for the same figure; metadata goes into the file's text chunks."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None, **(metadata or {})}, pil_kwargs={"compress_level": 1})
    return buffer.getvalue()


def number(value: float) -> str:
    """At most four significant digits with a true minus sign: 0.5, −1.076, 3.2e−05."""
    return f"{value:.4g}".replace("-", "−")
