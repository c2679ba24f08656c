"""A chapter as its reader meets it: `course lab`, a browser, a keyboard and a mouse. One JupyterLab serves all tests of this file.

COURSE_UPDATE_SCREENSHOT=1 writes the README's picture, docs/screenshots/chapter.png, anew.
"""

import io
import itertools
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, ViewportSize, expect, sync_playwright

from autograder.checking.exercise import find
from autograder.doctor import find_browser
from course_lib.interactive import example_graph, graph_steps

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.xdist_group("a chapter in the browser")]

PICTURE = Path(__file__).parents[2] / "docs" / "screenshots" / "chapter.png"
COURSE = "from autograder.cli import course; course()"
CHROMIUM = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
WINDOW: ViewportSize = {"width": 1200, "height": 800}
ROOMY: ViewportSize = {"width": 1200, "height": 1400}  # a figure, an exercise and its check at once
STATUS_BAR = 40  # pixels, with the edge above it
# The page as it is most of the time; only starting the server and the kernel takes longer.
PATIENCE, LONG_PATIENCE = 60_000, 180_000  # milliseconds

# WCAG 2: the contrast of every piece of text in an element with the ground that it stands on, 1 to 21.
CONTRASTS = """root => {
    const numbers = colour => { const found = colour.match(/[\\d.]+/g).map(Number); return found.length < 4 ? [...found, 1] : found }
    const linear = part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
    const luminance = rgb => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => sum + weight * linear(rgb[i] / 255), 0)
    const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT), found = []
    while (texts.nextNode()) {
        if (!texts.currentNode.data.trim()) continue
        let element = texts.currentNode.parentElement, ground = numbers(getComputedStyle(element).backgroundColor)
        let [...letters] = numbers(getComputedStyle(element).color), opacity = letters[3]
        while (ground[3] === 0) {
            opacity *= getComputedStyle(element).opacity
            element = element.parentElement
            ground = numbers(getComputedStyle(element).backgroundColor)
        }
        letters = [0, 1, 2].map(i => opacity * letters[i] + (1 - opacity) * ground[i])
        const [dark, light] = [luminance(letters), luminance(ground)].sort((a, b) => a - b)
        found.push([texts.currentNode.data.trim(), (light + 0.05) / (dark + 0.05)])
    }
    return found
}"""


@dataclass
class Chapter:
    """An open chapter.

    kinds      markdown or code, by the cells' ids, in order
    strangers  addresses asked for that are not on this machine
    faults     what the page's own code threw
    """

    page: Page
    kinds: dict[str, str]
    strangers: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def cell(self, id: str) -> Locator:
        return self.page.locator(f'.jp-Notebook .jp-Cell[data-windowed-list-index="{list(self.kinds).index(id)}"]')

    def write_last_line(self, id: str, text: str) -> None:
        """Type over the last line of a cell, as a reader does with the stub."""
        self.cell(id).locator(".cm-content").click()
        for key in ("Control+End", "Shift+Home"):
            self.page.keyboard.press(key)
        self.page.keyboard.type(text)

    def run_with_check(self, exercise: str) -> Locator:
        """Run the exercise's cell, which is the active one, and the check below it; the check's new table."""
        number = self.cell(f"check-{exercise}").locator(".jp-InputPrompt")
        before = number.inner_text()
        for _ in range(2):
            self.page.keyboard.press("Shift+Enter")
        expect(number).not_to_have_text(before)
        expect(number).to_have_text(re.compile(r"\[\d+\]:"))
        table = self.cell(f"check-{exercise}").locator(".course-check")
        expect(table).to_have_count(1)
        return table

    def menu(self, name: str, *path: str) -> None:
        self.page.get_by_role("menuitem", name=name, exact=True).click()
        for item in path[:-1]:
            self.page.locator(".lm-Menu-itemLabel").get_by_text(item, exact=True).hover()
        self.page.locator(".lm-Menu-itemLabel").get_by_text(path[-1], exact=True).click()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def address(server: subprocess.Popen, runtime: Path, log: Path) -> tuple[str, str]:
    """Where the server listens and its token, from the file that it writes when it does."""
    for _ in range(600):
        assert server.poll() is None, log.read_text(encoding="utf-8")
        try:
            found = json.loads((runtime / f"jpserver-{server.pid}.json").read_text(encoding="utf-8"))
            return found["url"], found["token"]
        except (FileNotFoundError, ValueError):  # not there, or not yet whole
            time.sleep(0.1)
    raise TimeoutError(log.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def chapter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chapter]:
    """Chapter 03, opened by `course lab`, run down to the first exercise. Nothing of the reader's own Jupyter or progress is seen or touched."""
    folder = tmp_path_factory.mktemp("lab")
    places = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime", "IPYTHONDIR": "ipython"}
    places |= {"XDG_DATA_HOME": "share", "COURSE_PROGRESS": "progress.sqlite"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}
    environment |= {name: str(folder / place) for name, place in places.items()}
    command = [sys.executable, "-c", COURSE, "lab", "03", "--folder", str(folder / "mine"), "--port", str(free_port()), "--no-browser"]
    with (folder / "log").open("w", encoding="utf-8") as log:
        server = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        url, token = address(server, folder / "runtime", folder / "log")
        notebook = json.loads((folder / "mine" / "03_backprop.ipynb").read_text(encoding="utf-8"))
        with sync_playwright() as playwright, playwright.chromium.launch(executable_path=find_browser(), args=CHROMIUM) as browser:
            page = browser.new_page(viewport=WINDOW)
            page.set_default_timeout(PATIENCE)
            expect.set_options(timeout=PATIENCE)
            opened = Chapter(page, {cell["id"]: cell["cell_type"] for cell in notebook["cells"]})
            page.on("pageerror", lambda error: opened.faults.append(str(error)))
            page.on("request", lambda request: None if is_local(request.url) else opened.strangers.append(request.url))
            page.goto(f"{url}lab/tree/03_backprop.ipynb?reset&token={token}", timeout=LONG_PATIENCE)
            page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for(timeout=LONG_PATIENCE)
            for bar in ("Show Left Sidebar", "Show Left Activity Bar", "Show Right Activity Bar"):
                opened.menu("View", "Appearance", bar)
            opened.cell("relu-backward").locator(".cm-content").click()
            opened.menu("Run", "Run All Above Selected Cell")
            page.locator(".jupyter-widgets figure img").wait_for(timeout=LONG_PATIENCE)
            yield opened
    finally:
        server.terminate()
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def is_local(url: str) -> bool:
    return urlsplit(url).scheme in ("data", "blob") or urlsplit(url).hostname in ("localhost", "127.0.0.1")


def test_formulas_are_set_by_what_jupyterlab_brings_along(chapter):
    for id in itertools.takewhile(lambda id: id != "relu-backward", chapter.kinds):
        if chapter.kinds[id] == "markdown":
            expect(chapter.cell(id).locator(".jp-MarkdownOutput")).not_to_contain_text("$")
    section = chapter.page.locator(".jp-MarkdownOutput").filter(has_text="2 · The chain rule")
    expect(section.locator("mjx-container[display=true]")).to_have_count(2)
    assert section.locator("mjx-container").first.bounding_box()["height"] > 10


def test_moving_the_slider_changes_the_picture_its_caption_and_its_words(chapter):
    figure = graph_steps(example_graph())
    live = chapter.page.locator(".jupyter-widgets:has(> .widget-html figure)").first
    image, handle = live.locator("figure img"), live.locator(".noUi-handle")

    def shown(step: int) -> str:
        """The picture's address once the figure has come to that step, words and all."""
        expect(live.locator(".widget-readout")).to_have_text(str(step))
        expect(live.locator("figcaption")).to_have_text(figure.caption(step=step))
        expect(image).to_have_attribute("alt", f"{figure.alt} {figure.caption(step=step)}")
        return image.get_attribute("src")

    pictures = [shown(0)]
    handle.scroll_into_view_if_needed()
    place = handle.bounding_box()
    middle = place["y"] + place["height"] / 2
    chapter.page.mouse.move(place["x"] + place["width"] / 2, middle)
    chapter.page.mouse.down()
    chapter.page.mouse.move(place["x"] + 120, middle, steps=4)
    chapter.page.mouse.up()
    step = int(live.locator(".widget-readout").inner_text())
    assert step > 1
    pictures.append(shown(step))
    handle.press("ArrowRight")
    pictures.append(shown(step + 1))
    assert len(set(pictures)) == 3
    expect(chapter.page.locator('figure img[alt^="Computation graph"]:visible')).to_have_count(1)  # its static frame is hidden


def test_a_wrong_answer_is_told_why_and_a_right_one_reaches_the_board_at_the_top(chapter):
    board = chapter.page.locator(".course-board")
    entry = board.locator("[title]").filter(has_text="relu_backward")
    expect(entry).to_have_attribute("title", "not tried")

    verdict = find("backprop.relu_backward").run({"relu_backward": lambda grad_out, z: grad_out * (z >= 0)})
    assert 0 < verdict.score < verdict.points
    chapter.write_last_line("relu-backward", "return grad_out * (z >= 0)")
    table = chapter.run_with_check("relu-backward")
    expect(table).to_have_attribute("data-status", "partly")
    expect(table).to_contain_text(f"{verdict.score:g} of {verdict.points:g} points")
    expect(table.locator('[data-outcome="passed"]')).to_have_count(verdict.passed)
    wrong = table.locator('[data-outcome="failed"]')
    expect(wrong).to_have_count(len(verdict.cases) - verdict.passed)
    expect(wrong.filter(has_text="where z was exactly 0").get_by_text("Hint: The slope there is taken to be 0")).to_be_visible()
    expect(entry).to_have_attribute("title", "partly")

    chapter.write_last_line("relu-backward", "return grad_out * (z > 0)")
    table = chapter.run_with_check("relu-backward")
    expect(table).to_have_attribute("data-status", "solved")
    expect(table.get_by_text("Solved.", exact=True)).to_be_visible()
    expect(table.locator('[data-outcome="passed"]')).to_have_count(len(verdict.cases))
    expect(entry).to_have_attribute("title", "solved")
    expect(board).to_contain_text(f"Your progress: {verdict.points:g} of ")
    own = chapter.page.locator(".jp-CodeCell").filter(has=board)
    expect(own.locator(".jp-InputPrompt")).to_have_text("[1]:")  # it did not run again


def test_a_checks_cell_can_be_neither_edited_nor_deleted(chapter):
    cell = chapter.cell("check-relu-backward")
    for keys in (["x", "Enter"], ["Control+a", "Delete"], ["Escape", "d", "d"]):
        cell.locator(".cm-content").click()
        for key in keys:
            chapter.page.keyboard.press(key)
        assert cell.locator(".cm-content").inner_text() == 'check("backprop.relu_backward", relu_backward)'


def test_the_bug_to_find_is_named_by_its_check_and_makes_the_readmes_picture(chapter, tmp_path):
    chapter.write_last_line("predict-bias-bug", 'bias_guess = "higher"')
    for _ in range(3):  # the prediction, its outcome, the figure
        chapter.page.keyboard.press("Shift+Enter")
    figure = chapter.page.get_by_alt_text("Forty noisy points.")
    expect(figure).to_be_visible()
    chapter.cell("mend-affine-backward").locator(".cm-content").click()
    table = chapter.run_with_check("mend-affine-backward")
    wrong = table.locator('[data-outcome="failed"]').first
    expect(wrong).to_contain_text("the bias has a gradient of its own shape")
    expect(wrong).to_contain_text("Hint: ")

    chapter.page.set_viewport_size(ROOMY)
    figure.evaluate("image => image.scrollIntoView()")
    box = table.bounding_box()
    chapter.page.set_viewport_size({"width": ROOMY["width"], "height": round(box["y"] + box["height"]) + STATUS_BAR})
    for part in (figure, table):
        expect(part).to_be_in_viewport(ratio=0.98)
    picture = small_png(chapter.page.screenshot())
    (tmp_path / "chapter.png").write_bytes(picture)
    if os.environ.get("COURSE_UPDATE_SCREENSHOT") == "1":
        PICTURE.parent.mkdir(parents=True, exist_ok=True)
        PICTURE.write_bytes(picture)
    assert len(picture) < 250_000


def test_what_the_course_says_can_be_read_on_a_light_page_and_on_a_dark_one(chapter):
    chapter.write_last_line("predict-sigmoid-chain", "sigmoid_guess = 0.001")
    for _ in range(2):
        chapter.page.keyboard.press("Shift+Enter")
    expect(chapter.cell("reveal-sigmoid-chain").locator(".course-prediction")).to_be_visible()
    chapter.write_last_line("relu-backward", "return grad_out * (z >= 0)")
    chapter.run_with_check("relu-backward")
    said = {
        "check": chapter.cell("check-relu-backward").locator(".course-check"),
        "prediction": chapter.cell("reveal-sigmoid-chain").locator(".course-prediction"),
        "board": chapter.page.locator(".course-board"),
    }
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        chapter.menu("Settings", "Theme", theme)
        chapter.page.locator(f'body[data-jp-theme-name="{theme}"]').wait_for(state="attached")
        for name, box in said.items():
            contrasts = dict(box.evaluate(CONTRASTS))
            assert len(contrasts) > 2
            assert {text: ratio for text, ratio in contrasts.items() if ratio < 4.5} == {}, (name, theme)


def test_nothing_went_wrong_on_the_page_and_nothing_was_asked_of_another_machine(chapter):
    expect(chapter.page.locator(".jp-Dialog")).to_have_count(0)
    expect(chapter.page.locator('[data-mime-type="application/vnd.jupyter.error"], [data-mime-type="application/vnd.jupyter.stderr"]')).to_have_count(
        0
    )
    assert chapter.faults == []
    assert chapter.strangers == []


def small_png(screenshot: bytes) -> bytes:
    """The same picture in 256 colours, which a page of text can't be told from."""
    small = io.BytesIO()
    Image.open(io.BytesIO(screenshot)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return small.getvalue()
