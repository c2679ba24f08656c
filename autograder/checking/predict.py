"""Predictions: written down before running, shown against the outcome, scored for being made."""

from html import escape
from typing import Any

import numpy as np

from autograder.checking import progress
from autograder.checking.render import BLUE, GREY

MIMETYPE = "application/vnd.large-models-prediction+json"


class Prediction:
    """A prediction beside its outcome. Its text form is its score: `points` when one was made, 0 when not."""

    def __init__(self, name: str, guess: Any, truth: Any, because: str = "", footer: str = "", points: float = 1):
        self.name, self.guess, self.truth, self.because, self._footer = name, guess, truth, because, footer
        self.made = _made(guess)
        self.score = float(points) if self.made else 0.0

    def _repr_mimebundle_(self, **_options: Any) -> dict[str, Any]:
        shown = _show(self.guess) if self.made else "none made; write one down and run both cells again"
        colour = BLUE if self.made else GREY
        because = f'<div style="opacity:.85">{escape(self.because)}</div>' if self.because else ""
        foot = f'<div style="opacity:.75">{escape(self._footer)}</div>' if self._footer else ""
        html = (
            f'<div class="course-prediction" style="border-left:4px solid {colour};padding:6px 12px;margin:4px 0;max-width:60em">'
            f"<div>You predicted <strong>{escape(shown)}</strong>; it is <strong>{escape(_show(self.truth))}</strong>.</div>{because}{foot}</div>"
        )
        record = {"prediction": self.name, "made": self.made, "guess": _show(self.guess), "truth": _show(self.truth), "score": self.score}
        return {"text/plain": repr(self), "text/html": html, MIMETYPE: record}

    def __repr__(self) -> str:
        return str(self.score)

    def __str__(self) -> str:
        return f"You predicted {_show(self.guess) if self.made else 'nothing'}; it is {_show(self.truth)}. {self.because}".strip()


def reveal(name: str, *, guess: Any, truth: Any, because: str = "", points: float = 1) -> Prediction:
    """Show a prediction against what happened.

    name     "chapter.name" of the prediction
    guess    what the student wrote down; `...` when they did not. Of several in a list, tuple or dict, all must be there
    truth    what the program found
    because  the reason in a sentence, shown with the outcome
    """
    prediction = Prediction(name, guess, truth, because, points=points)
    if prediction.made:
        prediction._footer = progress.record_prediction(name, _show(guess), _show(truth))
    return prediction


def _made(guess: Any) -> bool:
    if isinstance(guess, dict | list | tuple):
        return len(guess) > 0 and all(map(_made, guess.values() if isinstance(guess, dict) else guess))
    return not (guess is Ellipsis or guess is None or (isinstance(guess, str) and guess.strip(" .…") == ""))


def _show(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return f"{float(value):.4g}"
    if isinstance(value, np.ndarray):
        return np.array2string(value, precision=4, threshold=12)
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 200 else text[:199] + "…"
