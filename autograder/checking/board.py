"""The progress board at the top of each chapter: brought up to date by every check that runs below it."""

import contextlib
from html import escape
from typing import Any

from autograder.checking import progress
from autograder.checking.exercise import Exercise, load_chapter
from autograder.checking.render import BLUE, GREY, ORANGE

MARKS = {"solved": ("✓", BLUE), "partly": ("◐", ORANGE), "open": ("✗", ORANGE), "not tried": ("○", GREY)}


def state(item: Exercise, records: dict[str, progress.Record]) -> str:
    """solved, partly, open or not tried."""
    record = records.get(item.id)
    if record is None:
        return "not tried"
    if record.score >= item.points:
        return "solved"
    return "partly" if record.score else "open"


def board_html(chapter: str) -> str:
    """One line of marks, one for each exercise, and the points so far."""
    exercises, records = load_chapter(chapter), progress.records()
    points = sum(item.points for item in exercises)
    earned = sum(min(records[item.id].score, item.points) for item in exercises if item.id in records)
    items = "".join(
        f'<span style="color:{colour};margin-right:1em;white-space:nowrap" title="{word}"><strong>{mark}</strong> {escape(item.name)}</span>'
        for item in exercises
        for word in [state(item, records)]
        for mark, colour in [MARKS[word]]
    )
    return (
        f'<div class="course-board" role="status" style="padding:6px 0"><div><strong>Your progress: {earned:g} of {points:g} points</strong></div>'
        f"<div>{items}</div></div>"
    )


def board_text(chapter: str) -> str:
    """The same in plain text."""
    records = progress.records()
    return "  ".join(f"{MARKS[state(item, records)][0]} {item.name}" for item in load_chapter(chapter))


class progress_board:
    """Shows how far you are in a chapter. With a live kernel it follows every check; elsewhere it is a still picture."""

    def __init__(self, chapter: str):
        self._chapter = chapter
        load_chapter(chapter)
        self._widget = None

    def _repr_mimebundle_(self, **_options: Any) -> dict[str, Any]:
        bundle: dict[str, Any] = {"text/plain": board_text(self._chapter), "text/html": board_html(self._chapter)}
        with contextlib.suppress(Exception):  # without a kernel there is no widget, and the still picture stands
            import ipywidgets

            self._widget = ipywidgets.HTML(bundle["text/html"])
            progress.on_change(self._refresh)
            bundle |= self._widget._repr_mimebundle_() or {}
            bundle["text/plain"] = board_text(self._chapter)
        return bundle

    def _refresh(self) -> None:
        if self._widget is not None:
            self._widget.value = board_html(self._chapter)
