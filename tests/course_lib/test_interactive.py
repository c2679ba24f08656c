"""course_lib.interactive: every control does something, the numbers shown are right, and every page shows one picture with its words."""

import base64
import copy
import io
import itertools
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from nbconvert import HTMLExporter, MarkdownExporter
from nbformat.v4 import new_code_cell, new_notebook
from nbgrader.preprocessors import Execute
from PIL import Image
from sklearn.metrics import accuracy_score, log_loss

from course_lib.data import moons
from course_lib.interactive import Choice, InteractiveFigure, Steps, bars, boundary_steps, digit_grid, example_graph, graph_steps, show, style
from course_lib.interactive import boundary_steps as boundary_function
from course_lib.interactive.graph_steps import BOX_HEIGHT, BOX_WIDTH, copy_graph, draw_graph, frames, layout
from course_lib.interactive.show import live
from course_lib.scratch import functional
from course_lib.scratch.autograd import Value, topological_order
from course_lib.scratch.mlp import MLP, MLPConfig, train

ROOT = Path(__file__).parents[2]
boundary_module = sys.modules[boundary_function.__module__]


def pixels(figure) -> np.ndarray:
    """(height, width, 3) in 0 to 255, coarse, because it is asked for often."""
    figure.set_dpi(60)
    return np.asarray(Image.open(io.BytesIO(style.png(figure))).convert("RGB"), dtype=int)


def small_boundary(**changes: Any) -> InteractiveFigure:
    """The boundary figure, trained for 60 steps in place of 2000."""
    return boundary_steps(*moons(60, seed=1), last_step=60, **changes)


FIGURES = {"graph": lambda: graph_steps(example_graph()), "boundary": small_boundary}


# colours


def linear_rgb(colour: str) -> np.ndarray:
    """sRGB to linear light, IEC 61966-2-1."""
    part = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def cielab(linear: np.ndarray) -> np.ndarray:
    """Linear sRGB to CIELAB with the white point D65."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    share = to_xyz @ linear / (to_xyz @ np.ones(3))
    x, y, z = np.where(share > (6 / 29) ** 3, np.cbrt(share), share / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


# Machado, Oliveira and Fernandes (2009), "A physiologically-based model for simulation of color vision deficiency", full deuteranopia.
DEUTERANOPIA = np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]])


def grey_distance(one: str, other: str) -> float:
    """Difference in CIE lightness, 0 to 100."""
    return abs(cielab(linear_rgb(one))[0] - cielab(linear_rgb(other))[0])


def deuteranope_distance(one: str, other: str) -> float:
    """CIE 1976 colour difference as a reader without green cones sees it."""
    return float(np.linalg.norm(cielab(DEUTERANOPIA @ linear_rgb(one)) - cielab(DEUTERANOPIA @ linear_rgb(other))))


def contrast(one: str, other: str) -> float:
    """WCAG 2 contrast ratio, 1 to 21."""
    dark, light = sorted(np.array([0.2126, 0.7152, 0.0722]) @ linear_rgb(colour) for colour in (one, other))
    return float((light + 0.05) / (dark + 0.05))


def test_the_measures_of_colour_see_what_they_should():
    assert grey_distance("#FFFFFF", "#000000") == pytest.approx(100, abs=0.1)
    assert contrast("#FFFFFF", "#000000") == pytest.approx(21)
    assert grey_distance("#D62728", "#2C7FB8") < 5  # red and blue alike in grey
    assert deuteranope_distance("#B3501F", "#6E7A1F") < 15  # red-brown and olive, for someone who confuses red and green


@pytest.mark.parametrize(("where", "one", "other"), style.PAIRS, ids=[pair[0] for pair in style.PAIRS])
def test_colours_that_meet_differ_in_grey_and_without_green_cones(where, one, other):
    assert grey_distance(one, other) >= 14
    assert deuteranope_distance(one, other) >= 15


@pytest.mark.parametrize(("where", "letters", "ground"), style.LETTERS, ids=[pair[0] for pair in style.LETTERS])
def test_letters_have_the_contrast_that_wcag_asks_of_small_text(where, letters, ground):
    assert contrast(letters, ground) >= 4.5


# what a figure is


@pytest.mark.parametrize("name", FIGURES)
def test_every_value_of_every_control_gives_another_picture_and_other_words(name):
    figure = FIGURES[name]()
    for control_name, control in figure.controls.items():
        shown = [figure.start() | dict(figure.static) | {control_name: value} for value in control.values()]
        pictures = [pixels(figure.draw(**values)) for values in shown]
        for before, after in itertools.pairwise(pictures):
            assert (np.abs(before - after).max(axis=2) > 60).sum() > 5, control_name
        assert len({figure.caption(**values) for values in shown}) == len(shown), control_name


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_settings_give_the_same_bytes(name):
    values = FIGURES[name]().start()
    assert style.png(FIGURES[name]().draw(**values)) == style.png(FIGURES[name]().draw(**values))


def test_settings_are_all_combinations():
    controls = {"step": Steps("step", last=2), "lr": Choice("lr", (0.1, 1.0), start=0.1)}
    figure = InteractiveFigure(controls, draw=lambda **_: style.new_figure(1, 1), caption=lambda **_: "", alt="Nothing.")
    assert list(figure.settings()) == [{"step": step, "lr": lr} for step in (0, 1, 2) for lr in (0.1, 1.0)]
    assert figure.start() == {"step": 0, "lr": 0.1}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Steps("step", last=3, start=4), "start 4 of 'step' is outside 0 to 3"),
        (lambda: Choice("lr", (0.1,), start=0.2), "start 0.2 of 'lr' is not among"),
        (lambda: InteractiveFigure({}, draw=lambda: style.new_figure(1, 1), caption=lambda: "", alt=" "), "alt is empty"),
        (lambda: InteractiveFigure({}, lambda: style.new_figure(1, 1), lambda: "", "x", static={"step": 1}), "'step', which is not a control"),
        (lambda: InteractiveFigure({"step": Steps("step", 3)}, lambda step: style.new_figure(1, 1), str, "x", {"step": 9}), "step the value 9"),
        (lambda: boundary_steps(np.zeros((3, 2))), "x and labels belong together"),
        (lambda: boundary_steps(np.zeros((3, 5)), np.zeros(3)), r"was given \(3, 5\)"),
        (lambda: boundary_steps(np.zeros((3, 2)), np.array([0, 1, 2])), "labels must be 0 or 1"),
        (lambda: boundary_steps(last_step=0), "last step of at least 1"),
        (lambda: digit_grid(np.zeros((2, 63))), "63 pixels are not square"),
        (lambda: digit_grid(np.zeros((0, 8, 8))), r"shape \(0, 8, 8\)"),
        (lambda: digit_grid(np.zeros((2, 8, 8)), titles=["one"]), "1 titles for 2 images"),
        (lambda: bars([1, 2], ["one"], "y"), "2 values for 1 labels"),
    ],
)
def test_a_mistake_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_importing_the_figures_needs_no_answer_to_an_exercise_and_no_pyplot():
    code = """
import sys
from course_lib.interactive import graph_steps, digit_grid
from course_lib.interactive.style import png
import numpy as np
png(digit_grid(np.ones((3, 8, 8)), titles=["a", "b", "c"]))
print([name for name in sys.modules if name.startswith("course_lib.scratch") or name == "matplotlib.pyplot"])
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip() == "[]"


# the computation graph


OPERATIONS = {
    "+": lambda one, other: one + other,
    "-": lambda one, other: one - other,
    "*": lambda one, other: one * other.tanh(),  # two nodes; the tanh keeps products of products from running away
    "tanh": lambda one, _: one.tanh(),
}


@st.composite
def graphs(draw: st.DrawFn) -> Value:
    """A random graph of at most 21 nodes in which nodes are used again and again."""
    nodes = [Value(draw(st.floats(-2, 2)), label=f"x{i}") for i in range(draw(st.integers(1, 5)))]
    for _ in range(draw(st.integers(2, 8))):
        one, other = draw(st.sampled_from(nodes)), draw(st.sampled_from(nodes[-3:]))
        nodes.append(OPERATIONS[draw(st.sampled_from(list(OPERATIONS)))](one, other))
    return nodes[-1]


def edge_points(route, samples: int = 30) -> np.ndarray:
    """Points along a route as it is drawn: an S-shaped cubic between columns, a straight line across one. (M, 2)"""
    t = np.linspace(0, 1, samples)[:, None]
    parts = []
    for i, (start, end) in enumerate(itertools.pairwise(np.array(route))):
        middle = (start[0] + end[0]) / 2
        one, two = np.array([middle, start[1]]), np.array([middle, end[1]])
        cubic = (1 - t) ** 3 * start + 3 * (1 - t) ** 2 * t * one + 3 * (1 - t) * t**2 * two + t**3 * end
        parts.append(start + t * (end - start) if i % 2 else cubic)
    return np.concatenate(parts)


@given(graphs())
def test_the_gradients_shown_last_are_those_of_backward_and_the_graph_is_only_read(output):
    nodes = topological_order(output)
    for node in nodes:
        node.grad = 0.25
    graph = copy_graph(output)
    *_, last = frames(graph)
    assert [node.grad for node in nodes] == [0.25] * len(nodes)
    assert graph.values == tuple(node.data for node in nodes)

    for node in nodes:
        node.grad = 0.0
    output.backward()
    assert [last.gradients[i] for i in range(graph.size)] == pytest.approx([node.grad for node in nodes], rel=1e-9, abs=1e-12)


def test_the_gradients_of_the_example_are_those_of_torch():
    leaves = torch.tensor([0.5, 2.0, -0.5, 1.0], dtype=torch.float64, requires_grad=True)
    w, x, b, t = leaves
    ((w * x + b).tanh() - t).pow(2).backward()
    assert leaves.grad is not None
    graph = copy_graph(example_graph())
    *_, last = frames(graph)
    shown = {graph.names[node]: gradient for node, gradient in last.gradients.items()}
    assert [shown[name] for name in "wxbt"] == pytest.approx(leaves.grad.tolist(), rel=1e-12)


@given(graphs())
def test_no_box_lies_on_another_and_no_edge_crosses_a_box(output):
    graph = copy_graph(output)
    drawing = layout(graph)
    for (x0, y0), (x1, y1) in itertools.combinations(drawing.centres, 2):
        assert abs(x0 - x1) > BOX_WIDTH + 0.5 or abs(y0 - y1) > BOX_HEIGHT + 0.2
    for x, y in drawing.centres:
        assert BOX_WIDTH / 2 < x < drawing.width - BOX_WIDTH / 2 and BOX_HEIGHT / 2 < y < drawing.height - BOX_HEIGHT / 2
    for edge, route in zip(graph.edges, drawing.routes, strict=True):
        points = edge_points(route)
        assert (np.diff(points[:, 0]) > -1e-9).all(), "an edge runs from left to right"
        for node, (x, y) in enumerate(drawing.centres):
            inside = (np.abs(points[:, 0] - x) < BOX_WIDTH / 2 - 1e-6) & (np.abs(points[:, 1] - y) < BOX_HEIGHT / 2)
            assert not inside.any(), f"edge {edge} crosses node {node}"


@pytest.mark.parametrize("scale", [1.0, -1.2345e-6, 98765.4321])
def test_no_text_leaves_its_box_or_lies_on_other_text(scale):
    a, b = Value(3.0 * scale, label="a"), Value(-0.123456, label="weight")
    product = a * b
    square = product * product
    output = (square + a).tanh() - b * a
    graph = copy_graph(output)
    drawing = layout(graph)
    for frame in frames(graph):
        figure = draw_graph(graph, drawing, frame)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        inches = figure.axes[0].transData.inverted()
        texts = [text for text in figure.axes[0].texts if text.get_text()]
        drawn = [text.get_bbox_patch() or text for text in texts]  # with the frame around it, where there is one
        spans = [inches.transform(thing.get_window_extent(canvas.get_renderer())) for thing in drawn]
        for ((left, low), (right, high)), ((left2, low2), (right2, high2)) in itertools.combinations(spans, 2):
            assert right <= left2 or right2 <= left or high <= low2 or high2 <= low
        for text, ((left, low), (right, high)) in zip(texts, spans, strict=True):
            assert left >= 0 and low >= 0 and right <= drawing.width and high <= drawing.height
            assert float(text.get_fontsize()) >= 6
            for x, y in drawing.centres:
                overlaps = abs((left + right) / 2 - x) < (BOX_WIDTH + right - left) / 2 and abs((low + high) / 2 - y) < (BOX_HEIGHT + high - low) / 2
                inside = left >= x - BOX_WIDTH / 2 and right <= x + BOX_WIDTH / 2 and low >= y - BOX_HEIGHT / 2 and high <= y + BOX_HEIGHT / 2
                assert inside or not overlaps, text.get_text()


def test_captions_tell_the_chain_rule_and_count_the_contributions():
    a = Value(3.0, label="a")
    b = a * a
    b.label = "b"
    c = b - a
    c.label = "c"
    figure = graph_steps(c)
    captions = [figure.caption(**setting) for setting in figure.settings()]
    assert captions == [
        "Start: 3 nodes and no values yet. Forward, every node waits for its parents.",
        "Forward: a is given, 3.",
        "Forward: b = a * a = 3 * 3 = 9.",
        "Forward: c = b - a = 9 - 3 = 6.",
        "Backward begins: the gradient of c with respect to itself is 1.",
        "Backward: c passes 1 × 1 = 1 to b and −1 × 1 = −1 to a. a has received 1 of 3 contributions, −1 so far.",
        "Backward: b passes 3 × 1 = 3 to a and 3 × 1 = 3 to a. a has received 3 of 3 contributions, 5 in all.",
    ]


def test_powers_functions_and_negative_numbers_are_written_as_in_algebra():
    x = Value(-2.0, label="x")
    square = x**2
    square.label = "s"
    y = square.tanh()
    y.label = "y"
    captions = [frame.caption for frame in frames(copy_graph(y))]
    assert "Forward: s = x**2 = (−2)**2 = 4." in captions
    assert "Forward: y = tanh(s) = tanh(4) = 0.9993." in captions


@dataclass
class TheirNode:
    """A node as a student may write it."""

    data: float
    parents: list
    local_gradients: list
    op: str = ""
    label: str = ""
    grad: float = 0.0


def test_a_students_own_class_is_drawn_too():
    x = TheirNode(2.0, [], [], label="x")
    y = TheirNode(6.0, [x], [3.0], op="triple", label="y")
    figure = graph_steps(y)
    assert figure.caption(step=figure.controls["step"].values()[-1]) == "Backward: y passes 3 × 1 = 3 to x."
    assert "from x to y" in figure.alt


def test_a_graph_without_local_gradients_or_with_too_many_nodes_is_refused():
    x = TheirNode(2.0, [], [], label="x")
    with pytest.raises(ValueError, match="node 'y' has 1 parents and 0 local gradients"):
        graph_steps(TheirNode(6.0, [x], [], label="y"))
    total = Value(0.0)
    for _ in range(20):
        total = total + 1.0
    with pytest.raises(ValueError, match="41 nodes; at most 30"):
        graph_steps(total)


# the decision boundary


def test_what_a_moment_shows_is_the_network_trained_for_that_many_steps():
    x, labels = moons(60, seed=1)
    kept = boundary_module.kept_steps(40, 12)
    run = boundary_module.train_run(x, labels, hidden=4, lr=0.5, kept=kept, seed=3)
    horizontal, vertical = boundary_module.grid_axes(x)
    for moment, steps in enumerate(kept):
        model = MLP(MLPConfig(sizes=(2, 4, 2), activation="tanh"), seed=3)
        train(model, x, labels, epochs=steps, batch_size=len(x), lr=0.5)
        assert run.losses[steps] == pytest.approx(log_loss(labels, functional.softmax(model.logits(x))))
        assert run.accuracies[moment] == accuracy_score(labels, model.predict(x))
        for row, column in ((0, 0), (17, 60), (79, 40)):  # row: vertical, counted from below
            here = functional.softmax(model.logits(np.array([[horizontal[column], vertical[row]]])))[0, 1]
            assert run.probabilities[moment][row, column] == pytest.approx(here, abs=1e-6)


def test_the_background_shows_each_class_where_its_points_are():
    x = np.array([[-1.0, -1.0], [1.0, -1.1], [-1.1, 1.0], [1.0, 1.1]])  # class 0 below, class 1 above
    figure = boundary_steps(x, np.array([0, 0, 1, 1]), hidden=(4,), lrs=(1.0,), last_step=300)
    picture = pixels(figure.draw(step=figure.controls["step"].values()[-1], units=4, lr=1.0))
    height, width, _ = picture.shape
    below, above = picture[height * 3 // 4, width * 5 // 16], picture[height // 6, width * 5 // 16]
    for colour, place in ((style.PALE_BLUE, below), (style.PALE_ORANGE, above)):
        wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
        assert np.abs(place - wanted).max() < 25


@given(st.integers(1, 5000), st.integers(3, 60))
@settings(max_examples=50)
def test_kept_steps_begin_at_zero_end_at_the_last_and_grow(last, count):
    kept = boundary_module.kept_steps(last, count)
    assert kept[:2] == (0, 1) and kept[-1] == last
    assert list(kept) == sorted(set(kept)) and len(kept) <= count


def test_a_setting_is_trained_once_and_only_when_it_is_looked_at(monkeypatch):
    trained = []
    honest = boundary_module.train_run

    def counted(x, labels, hidden, lr, kept, seed):
        trained.append((hidden, lr))
        return honest(x, labels, hidden, lr, kept, seed)

    monkeypatch.setattr(boundary_module, "train_run", counted)
    figure = small_boundary()
    assert trained == []
    for values in ({"step": 0, "units": 2, "lr": 0.3}, {"step": 9, "units": 2, "lr": 0.3}, {"step": 9, "units": 4, "lr": 0.3}):
        figure.draw(**values)
        figure.caption(**values)
    assert trained == [(2, 0.3), (4, 0.3)]


def test_more_hidden_units_bend_the_line_where_two_cannot():
    figure = boundary_steps()
    last = figure.controls["step"].values()[-1]
    captions = {units: figure.caption(step=last, units=units, lr=3.0) for units in (2, 16)}
    share = {units: float(caption.partition("accuracy ")[2].partition("%")[0]) for units, caption in captions.items()}
    assert share[16] > 97 and share[2] < 92


# pictures without controls


def test_digit_grid_draws_each_picture_in_its_place_and_leaves_the_rest_white():
    images = np.zeros((3, 8, 8))
    images[1] = 16.0  # the second picture is black
    picture = pixels(digit_grid(images, columns=2))
    height, width, _ = picture.shape
    middles = {(row, column): picture[(2 * row + 1) * height // 4, (2 * column + 1) * width // 4].tolist() for row in (0, 1) for column in (0, 1)}
    assert middles == {(0, 0): [255] * 3, (0, 1): [0] * 3, (1, 0): [255] * 3, (1, 1): [255] * 3}


def test_flat_rows_are_drawn_as_the_square_pictures_they_are():
    images = np.random.default_rng(0).random((4, 8, 8))
    titles = ["a", "b", "c", "d"]
    assert style.png(digit_grid(images, titles)) == style.png(digit_grid(images.reshape(4, 64), titles))
    assert [axis.get_title() for axis in digit_grid(images, titles).axes] == titles


def test_bars_write_their_numbers():
    axis = bars([0.97, -0.25], ["network", "guess"], "accuracy").axes[0]
    assert [text.get_text() for text in axis.texts] == ["0.97", "−0.25"]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["network", "guess"]
    assert [bar.get_height() for bar in axis.containers[0]] == [0.97, -0.25]


# on the page

CELLS = (
    "from course_lib.interactive import *\nshow(graph_steps(example_graph()))",
    "from course_lib.data import moons\nshow(boundary_steps(*moons(60), last_step=60))",
    "import numpy as np\nshow_static(digit_grid(np.eye(8)[None]), alt='A diagonal of \"dark\" pixels, 3 < 4.')",
)
WORDS = ("Computation graph with 9 nodes", "Left: points of two classes", "A diagonal of &quot;dark&quot; pixels, 3 &lt; 4.")


def notebook() -> nbformat.NotebookNode:
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return new_notebook(cells=[new_code_cell(source) for source in CELLS], metadata=kernel)


@pytest.fixture(scope="module")
def executed() -> nbformat.NotebookNode:
    """The page as nbgrader's own preprocessor leaves it: run by a kernel that no browser is connected to, widget state saved."""
    page, _ = Execute(store_widget_state=True).preprocess(notebook(), {"metadata": {"path": str(ROOT)}})
    assert isinstance(page, nbformat.NotebookNode)
    return page


def without_widget_state(page: nbformat.NotebookNode) -> nbformat.NotebookNode:
    bare = copy.deepcopy(page)
    del bare.metadata["widgets"]
    return bare


def test_nbgrader_runs_the_figures_without_an_error_or_a_word_on_stderr(executed):
    outputs = [output for cell in executed.cells for output in cell.outputs]
    assert [output.output_type for output in outputs] == ["display_data"] * 5
    assert "widgets" in executed.metadata


@pytest.mark.parametrize("saved", [True, False])
def test_an_exported_page_carries_every_picture_once_with_its_words(executed, saved):
    page, _ = HTMLExporter().from_notebook_node(executed if saved else without_widget_state(executed))
    alts = re.findall(r'<img [^>]*?alt="([^"]*)"|<img alt=\'([^\']*)\'', page.partition('<script type="application/vnd.jupyter.widget-state')[0])
    assert len(alts) == 3
    assert "No description has been provided" not in page
    for words, alt in zip(("Computation graph with 9 nodes", "Left: points of two classes", "A diagonal of"), map("".join, alts), strict=True):
        assert alt.startswith(words)


def test_the_static_frame_is_a_png_that_carries_its_words(executed):
    first = executed.cells[0].outputs[0].data
    picture = Image.open(io.BytesIO(base64.b64decode(first["image/png"])))
    assert picture.info["Description"] == first["text/plain"]
    assert first["text/plain"].startswith(WORDS[0]) and "Backward: p passes" in first["text/plain"]
    assert np.ptp(np.asarray(picture.convert("L"))) > 200


def test_alt_text_is_escaped(executed):
    assert f'alt="{WORDS[2]}"' in executed.cells[2].outputs[0].data["text/html"]


def test_a_text_page_keeps_the_words(executed):
    page, _ = MarkdownExporter().from_notebook_node(without_widget_state(executed))
    assert all(words in page for words in WORDS)


def test_outside_a_notebook_show_prints_the_words(capsys):
    show(graph_steps(example_graph()))
    assert capsys.readouterr().out.startswith("Computation graph with 9 nodes")


def test_moving_a_live_control_changes_picture_words_and_alt_text():
    figure = graph_steps(example_graph())
    box, holders = live(figure)
    picture = box.children[1]
    seen = {picture.value}
    for step in (3, 12, 0):
        holders["step"].value = step
        assert f"{figure.alt} {figure.caption(step=step)}" in picture.value
        seen.add(picture.value)
    assert len(seen) == 3  # step 0 was there at the start


def visible_images(page) -> list[tuple[bool, str]]:
    """(is it inside a live widget, its alt text) for every picture that a reader of the page sees."""
    script = """() => [...document.querySelectorAll('.jp-OutputArea img')].filter(image => image.offsetParent && image.naturalWidth > 100)
        .map(image => [!!image.closest('.jupyter-widgets'), image.alt])"""
    return [tuple(found) for found in page.evaluate(script)]


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    from autograder.doctor import find_browser

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.browser
@pytest.mark.parametrize("saved", [True, False])
def test_a_browser_without_network_shows_each_static_picture_once(executed, saved, chromium, tmp_path):
    html, _ = HTMLExporter().from_notebook_node(executed if saved else without_widget_state(executed))
    (tmp_path / "page.html").write_text(html)
    page = chromium.new_context(offline=True).new_page()
    page.goto((tmp_path / "page.html").as_uri())
    shown = visible_images(page)
    assert [live for live, _ in shown] == [False] * 3


@pytest.mark.browser
@pytest.mark.slow
def test_jupyterlab_shows_each_figure_once_and_a_slider_moves_it(chromium, tmp_path):
    nbformat.write(notebook(), tmp_path / "page.ipynb")
    arguments = ["--no-browser", "--allow-root", "--ServerApp.port=0", "--IdentityProvider.token=", f"--ServerApp.root_dir={tmp_path}"]
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "lab"),
    }
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen([sys.executable, "-m", "jupyterlab", *arguments], env=environment, stdout=log, stderr=log) as server,
    ):
        try:
            page = chromium.new_page(viewport={"width": 1500, "height": 2200})
            page.goto(f"{_address(tmp_path / 'runtime')}lab/tree/page.ipynb")
            page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for(timeout=180_000)
            page.get_by_role("menuitem", name="Run", exact=True).click()
            page.get_by_text("Run All Cells", exact=True).click()
            page.wait_for_function("document.querySelectorAll('.jupyter-widgets img').length == 2", timeout=180_000)
            page.wait_for_function("document.querySelectorAll('.jp-OutputArea figure').length == 5", timeout=180_000)
            before = visible_images(page)
            assert [live for live, _ in before] == [True, True, False]

            handle = page.locator(".noUi-handle").first
            handle.focus()
            handle.press("ArrowRight")
            page.wait_for_function("document.querySelector('.jupyter-widgets img').alt.endsWith('w is given, 0.5.')", timeout=60_000)
            assert visible_images(page)[1:] == before[1:]
        finally:
            server.terminate()


def _address(runtime: Path) -> str:
    """Where the server listens, from the file it writes, once it answers."""
    for _ in range(360):
        for path in runtime.glob("jpserver-*.json"):
            address = json.loads(path.read_text())["url"]
            with urllib.request.urlopen(f"{address}api"):
                return address
        time.sleep(0.5)
    raise TimeoutError("JupyterLab did not start within three minutes")
