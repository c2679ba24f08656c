"""The progress board at the top of each chapter: brought up to date by every check that runs below it."""

import os
import sqlite3
from html import escape
from typing import Any

from autograder.checking import progress
from autograder.checking.exercise import Exercise, load_chapter
from autograder.checking.render import BLUE, ORANGE, sign

MARKS = {"solved": "✓", "partly": "◐", "open": "✗", "not tried": "○"}
COLOURS = {"solved": BLUE, "partly": ORANGE, "open": ORANGE}


def state(item: Exercise, records: dict[str, progress.Record]) -> str:
    """solved, partly, open or not tried."""
    record = records.get(item.id)
    if record is None:
        return "not tried"
    if record.score >= item.points:
        return "solved"
    return "partly" if record.score else "open"


def _records() -> dict[str, progress.Record]:
    try:
        return progress.records()
    except (sqlite3.Error, OSError):  # the next check says what is amiss with the file
        return {}


class Board:
    """How far somebody is in a chapter, as it stands when it is shown."""

    def __init__(self, chapter: str):
        self._exercises = load_chapter(chapter)

    def _repr_mimebundle_(self, **_options: Any) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self.html()}

    def __repr__(self) -> str:
        records = _records()
        return "  ".join(f"{MARKS[state(item, records)]} {item.name}" for item in self._exercises)

    def html(self) -> str:
        """The points so far, and a mark for each exercise."""
        records = _records()
        points = sum(item.points for item in self._exercises)
        earned = sum(min(records[item.id].score, item.points) for item in self._exercises if item.id in records)
        items = []
        for item in self._exercises:
            word = state(item, records)
            mark = sign(MARKS[word], COLOURS[word]) if word in COLOURS else MARKS[word]
            items.append(f'<span style="margin-right:1em;white-space:nowrap" title="{word}">{mark} {escape(item.name)}</span> ')
        return (
            '<div class="course-board" role="status" style="padding:6px 0">'
            f"<div><strong>Your progress: {earned:g} of {points:g} points</strong></div>"
            f'<div style="line-height:1.8">{"".join(items)}</div></div>'
        )


def progress_board(chapter: str) -> None:
    """Show how far you are in a chapter; every `check` in the same notebook brings it up to date."""
    from IPython.display import display  # here, so that the commands start without it

    if "COURSE_GRADING" in os.environ:
        return
    board = Board(chapter)
    shown = display(board, display_id=True)
    if shown is not None:  # None outside a notebook
        progress.on_change(lambda: shown.update(board))
