"""`check(...)`: what a student runs, and what stock nbgrader reads."""

import os
from typing import Any

from autograder.checking import helpers, progress, render
from autograder.checking.exercise import find
from autograder.checking.results import ExerciseResult

MIMETYPE = "application/vnd.large-models-check+json"


class Score:
    """A result as a notebook shows it: a table for people, and for stock nbgrader a bare number, which it takes as partial credit."""

    def __init__(self, result: ExerciseResult, footer: str = ""):
        self.result, self._footer = result, footer

    def _repr_mimebundle_(self, **_options: Any) -> dict[str, Any]:
        return {
            "text/plain": repr(self),
            "text/html": render.as_html(self.result, self._footer),
            MIMETYPE: self.result.as_dict(),
        }

    def __repr__(self) -> str:
        return str(self.result.score)

    def __str__(self) -> str:
        return render.as_text(self.result)

    def __float__(self) -> float:
        return self.result.score


_solved: dict[tuple[str, str], bool] = {}  # (chapter, exercise) → how its last check in this process ended


def check(exercise_id: str, *objects: Any, **named: Any) -> Score:
    """Run every case of an exercise against your objects, and show what is right and what is not.

    exercise_id  "chapter.name", as in the cell that came with the chapter
    objects      what the exercise asked for, in its order: functions, classes, arrays, numbers

    `print(check(...))` gives the table as plain text. KeyError for an exercise that does not exist, TypeError for objects too many or too few.
    """
    if "COURSE_GRADING" in os.environ:
        raise RuntimeError("while a notebook is graded, checks run outside of it; your own calls of check do nothing")
    item = find(exercise_id)
    given = dict(zip(item.needs, objects, strict=False)) | named
    if len(objects) > len(item.needs) or set(given) != set(item.needs):
        raise TypeError(f"{exercise_id} checks {', '.join(item.needs)}; got {len(objects) + len(named)} objects")
    result = item.run(given)
    _solved[item.chapter, item.name] = result.solved
    wrong = [name for (chapter, name), solved in _solved.items() if chapter == item.chapter and not solved and name not in given]
    advice = "" if result.status in ("solved", "not written") else helpers.advice(helpers.called(given.values(), wrong))
    reason = progress.record(result)
    return Score(result, " ".join(filter(None, (advice, reason))))
