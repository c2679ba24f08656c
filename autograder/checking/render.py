"""Results as the student sees them: a table in HTML, and the same in plain text."""

import re
from html import escape

from autograder.checking.results import CaseResult, ExerciseResult

MARKS = {"passed": "✓", "failed": "✗", "raised": "✗", "timeout": "✗", "missing": "○", "broken": "!"}
WORDS = {"passed": "right", "failed": "wrong", "raised": "raised an error", "timeout": "too slow", "missing": "not written", "broken": "check failed"}
# Blue and orange tell apart under every common colour blindness; the marks and words do without any colour. No colour has a
# contrast of 4.5:1 both on white and on JupyterLab's dark ground, so these are the ground of white signs, and all other text keeps the page's colour.
BLUE, ORANGE, GREY = "#0b6aa2", "#b34700", "#6b6b6b"
CODE = re.compile("`([^`\n]+)`")
COLOURS = {"passed": BLUE, "missing": GREY, "broken": GREY}


def as_text(result: ExerciseResult) -> str:
    """The whole table in plain text."""
    lines = [f"{result.exercise}: {_points(result.score)} of {_points(result.points)} points. {headline(result)}"]
    for case, details in _with_details(result):
        lines.append(f"  {MARKS[case.outcome]} {case.name}")
        lines.extend(f"      {line}" for line in details)
    return "\n".join(lines)


def as_html(result: ExerciseResult, footer: str = "") -> str:
    """The whole table in HTML, every word that came from the student escaped."""
    colour = BLUE if result.solved else GREY if result.status == "not written" else ORANGE
    rows = "".join(_row(case, details) for case, details in _with_details(result))
    foot = f'<div style="opacity:.75;margin-top:4px">{escape(footer)}</div>' if footer else ""
    label = f"{result.exercise}: {_points(result.score)} of {_points(result.points)} points"
    return (
        f'<div class="course-check" data-exercise="{escape(result.exercise)}" data-status="{result.status}" '
        f'style="border-left:4px solid {colour};padding:6px 12px;margin:4px 0;max-width:60em">'
        f"<div><strong>{escape(label)}</strong> {sign(headline(result), colour)}</div>"
        f'<table aria-label="{escape(label)}" style="margin:6px 0 0 0;border-collapse:collapse;width:100%;font-size:inherit">'
        f"<tbody>{rows}</tbody></table>{foot}</div>"
    )


def sign(text: str, colour: str) -> str:
    """A mark or a few words in white on one of the colours above; also on paper, where browsers leave grounds out unless told."""
    style = "display:inline-block;min-width:1em;padding:0 .4em;border-radius:3px;color:#fff;font-weight:600;line-height:1.5;text-align:center"
    printed = "-webkit-print-color-adjust:exact;print-color-adjust:exact"
    return f'<span style="{style};background-color:{colour};{printed}">{escape(text)}</span>'


def headline(result: ExerciseResult) -> str:
    """The state of the exercise in a few words."""
    if result.solved:
        return "Solved."
    if result.status == "not written":
        return "Nothing here yet."
    if result.mends and not result.score:
        return "The bug is still there; until it is mended nothing counts."
    if result.passed and not result.score:
        return "Nothing earned yet: what passed would pass without an answer too."
    return f"{result.passed} of {len(result.cases)} cases are right."


def _row(case: CaseResult, details: list[str]) -> str:
    colour = COLOURS.get(case.outcome, ORANGE)
    cell = "text-align:left;vertical-align:top;padding:3px 10px 3px 0;border:none;white-space:normal"
    lines = "".join(f'<div style="opacity:.85;white-space:pre-wrap">{_html(line)}</div>' for line in details)
    return (
        f'<tr class="course-case" data-outcome="{case.outcome}" style="background:none">'
        f'<td style="{cell};width:2em" title="{WORDS[case.outcome]}">{sign(MARKS[case.outcome], colour)}</td>'
        f'<td style="{cell}"><span>{_html(case.name)}</span>{lines}</td></tr>'
    )


def _with_details(result: ExerciseResult) -> list[tuple[CaseResult, list[str]]]:
    """Each case with the lines below its name. What several cases noticed alike is said once."""
    said: set[str] = set()
    pairs = []
    for case in result.cases:
        notes = [note for note in case.notes if note not in said and (not case.passed or "in place" in note or "warned" in note)]
        said.update(notes)
        lines = [case.message] if case.message else []
        if case.hint:
            lines.append(f"Hint: {case.hint}")
        pairs.append((case, lines + [f"Note: {note}" for note in notes if case.outcome != "missing"]))
    return pairs


def _html(text: str) -> str:
    """Text for a page: escaped, and what stands between backticks as code."""
    return CODE.sub(r"<code>\1</code>", escape(text))


def _points(value: float) -> str:
    return f"{value:g}"
