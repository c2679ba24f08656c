"""What an interactive figure is, and how it reaches a page.

A figure is plain data: a few controls, a function that draws a frame from the controls' values, and words that say the same as the picture. No widget
exists until `show`, so a figure is tested without a browser by walking through `figure.settings()`.

`show` sends two outputs. The first is a static frame (`text/html` with alt text, `image/png`, `text/plain`), the second the live widget. Wherever the
widget comes to life it brings a style rule that hides the static frame, so a reader sees one picture, never two: the live one beside a running
kernel, the static one everywhere else (an exported page, a printed one, a notebook opened without its kernel), whether or not widget state was saved.
"""

import base64
import html
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import ipywidgets as widgets
from IPython.display import display
from matplotlib.figure import Figure

from course_lib.interactive.style import PIXELS_PER_INCH, png

SMALLEST_SCALE = 0.7  # a narrow page shrinks a picture to this and scrolls beyond, so that its text stays legible
CAPTION_STYLE = "line-height:1.5;min-height:3em"  # room for two lines, so that the page does not jump between frames
UNCLIPPED = {"description_width": "initial"}  # as wide as the label, where the default cuts it off


@dataclass(frozen=True)
class Steps:
    """A slider over 0, 1, …, last, with a play button that moves on every `milliseconds`."""

    label: str
    last: int
    start: int = 0
    milliseconds: int = 700

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.last:
            raise ValueError(f"start {self.start} of {self.label!r} is outside 0 to {self.last}")

    def values(self) -> tuple[int, ...]:
        """Every value that the slider can take."""
        return tuple(range(self.last + 1))

    def widget(self) -> tuple[widgets.Widget, widgets.Widget]:
        """The widget that holds the value, and the box that shows it (they are two when a play button stands beside a slider)."""
        layout = widgets.Layout(width="26em")
        slider = widgets.IntSlider(self.start, min=0, max=self.last, description=self.label, layout=layout, style=UNCLIPPED)
        play = widgets.Play(value=self.start, min=0, max=self.last, interval=self.milliseconds)
        widgets.jslink((play, "value"), (slider, "value"))
        return slider, widgets.HBox([play, slider])


@dataclass(frozen=True)
class Choice:
    """A drop-down list."""

    label: str
    options: tuple[Any, ...]
    start: Any

    def __post_init__(self) -> None:
        if self.start not in self.options:
            raise ValueError(f"start {self.start!r} of {self.label!r} is not among {self.options}")

    def values(self) -> tuple[Any, ...]:
        """Every value that can be chosen."""
        return self.options

    def widget(self) -> tuple[widgets.Widget, widgets.Widget]:
        """The widget that holds the value, twice: it is also the one that shows it."""
        layout = widgets.Layout(width="auto")
        dropdown = widgets.Dropdown(value=self.start, options=self.options, description=self.label, layout=layout, style=UNCLIPPED)
        return dropdown, dropdown


@dataclass(frozen=True)
class Text:
    """A line that the reader types; the picture follows when it is finished (Enter, or leaving the field). `examples` are other lines to try."""

    label: str
    start: str
    examples: tuple[str, ...] = ()

    def values(self) -> tuple[str, ...]:
        """Some of the values that it can take: what it starts with, and the examples."""
        return (self.start, *self.examples)

    def widget(self) -> tuple[widgets.Widget, widgets.Widget]:
        """The widget that holds the value, twice: it is also the one that shows it."""
        layout = widgets.Layout(width="44em", max_width="100%")
        line = widgets.Text(self.start, description=self.label, continuous_update=False, layout=layout, style=UNCLIPPED)
        return line, line


@dataclass(frozen=True)
class InteractiveFigure:
    """A picture with controls.

    controls: name → Steps, Choice or Text; the names are the keywords of `draw` and `caption`
    draw: control values → matplotlib figure; the same values give the same picture
    caption: control values → one or two sentences on what this frame shows
    alt: what the figure is, for a reader who does not see it; each frame's alt text is this and the caption
    static: the control values, where they differ from the starting ones, of the frame for pages without Python
    """

    controls: Mapping[str, Steps | Choice | Text]
    draw: Callable[..., Figure]
    caption: Callable[..., str]
    alt: str
    static: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.alt.strip():
            raise ValueError("alt is empty; say in words what the figure shows")
        for name, value in self.static.items():
            if name not in self.controls:
                raise ValueError(f"static names {name!r}, which is not a control; controls are {', '.join(self.controls)}")
            if value not in self.controls[name].values():
                raise ValueError(f"static gives {name} the value {value!r}, which its control cannot take")

    def start(self) -> dict[str, Any]:
        """The values of the controls before anybody touched them."""
        return {name: control.start for name, control in self.controls.items()}

    def settings(self) -> Iterator[dict[str, Any]]:
        """Every combination of control values; of a text, its examples."""
        for values in itertools.product(*(control.values() for control in self.controls.values())):
            yield dict(zip(self.controls, values, strict=True))


class _Output:
    """Something to display in several forms; a page picks the richest that it can show."""

    def __init__(self, data: dict[str, Any], metadata: dict[str, Any]) -> None:
        self.data, self.metadata = data, metadata

    def __repr__(self) -> str:
        return self.data["text/plain"]

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return self.data, self.metadata


@dataclass(frozen=True)
class _Picture:
    """A drawn frame: its PNG in base64, its width in CSS pixels, and the words that stand for it."""

    png: str
    width: int
    alt: str
    caption: str

    def html(self, element_id: str = "") -> str:
        """An HTML <figure>. Assistive technology is told when a live caption changes."""
        style = f"width:{self.width}px;max-width:100%;min-width:{round(SMALLEST_SCALE * self.width)}px;height:auto"
        image = f'<img alt="{html.escape(self.alt)}" style="{style}" src="data:image/png;base64,{self.png}">'
        words = f'<figcaption aria-live="polite" style="{CAPTION_STYLE}">{html.escape(self.caption)}</figcaption>' if self.caption else ""
        mark = f' id="{element_id}"' if element_id else ""
        return f'<figure{mark} style="margin:0;overflow-x:auto">{image}{words}</figure>'

    def output(self, element_id: str = "") -> _Output:
        """Everything that a page without Python may show of it."""
        forms = {"text/html": self.html(element_id), "image/png": self.png, "text/plain": self.alt}
        return _Output(forms, {"image/png": {"width": self.width}})


def _picture(drawn: Figure, alt: str, caption: str = "") -> _Picture:
    words = f"{alt} {caption}".strip()
    encoded = base64.b64encode(png(drawn, {"Description": words})).decode("ascii")
    return _Picture(encoded, round(drawn.get_figwidth() * PIXELS_PER_INCH), words, caption)


def _frame(figure: InteractiveFigure, values: Mapping[str, Any]) -> _Picture:
    return _picture(figure.draw(**values), figure.alt, figure.caption(**values))


def live(figure: InteractiveFigure) -> tuple[widgets.VBox, dict[str, Any]]:
    """The figure as a widget (controls above, picture and caption below) and the widgets that hold the controls' values, by name."""
    holders, boxes = {}, []
    for name, control in figure.controls.items():
        holders[name], box = control.widget()
        boxes.append(box)
    picture = widgets.HTML()

    def redraw(_: Any = None) -> None:
        picture.value = _frame(figure, {name: holder.value for name, holder in holders.items()}).html()

    redraw()
    for holder in holders.values():
        holder.observe(redraw, names="value")
    controls = widgets.HBox(boxes, layout=widgets.Layout(flex_flow="row wrap", grid_gap="0.3em 1.5em"))
    return widgets.VBox([controls, picture]), holders


def show(figure: InteractiveFigure) -> None:
    """Display a figure: live beside a running kernel, as a static frame with alt text on any other page."""
    widget, _ = live(figure)
    static_id = f"static-{widget.model_id}"
    hide_static = widgets.HTML(f"<style>#{static_id} {{ display: none }}</style>", layout=widgets.Layout(display="none"))
    widget.children = (*widget.children, hide_static)

    display(_frame(figure, figure.start() | dict(figure.static)).output(static_id))
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    display(_Output({"application/vnd.jupyter.widget-view+json": view, "text/plain": ""}, {}))


def show_static(figure: Figure, alt: str) -> None:
    """Display a matplotlib figure that has no controls, with its text equivalent."""
    if not alt.strip():
        raise ValueError("alt is empty; say in words what the figure shows")
    display(_picture(figure, alt).output())
