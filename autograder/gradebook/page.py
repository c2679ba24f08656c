"""The page of a class: one HTML file with everything in it. All text that came from submissions is escaped and cut to length."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from autograder.gradebook import plots

if TYPE_CHECKING:
    from autograder.gradebook.report import Overview, Row

MOST_FAILED = 15
WORDS = {
    "graded": "graded",
    "crashed": "crashed",
    "timeout": "out of time",
    "memory": "out of memory",
    "tampered": "tampered",
    "unreadable": "unreadable",
}

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; }
.numbers { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; padding: 0; margin: 1rem 0; list-style: none; }
.numbers strong { display: block; font-size: 1.6rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .3rem 0; color: #444; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #ccc; text-align: right; white-space: nowrap; }
th:first-child, td:first-child, .left { text-align: left; }
tbody th { font-weight: normal; }
thead th { vertical-align: bottom; border-bottom: 2px solid #222; }
thead th.turned span { writing-mode: vertical-rl; transform: rotate(180deg); text-align: left; }
.reason { white-space: normal; min-width: 14rem; max-width: 28rem; overflow-wrap: anywhere; text-align: left; }
td.full { background: #d6e8f5; }
td.none { color: #666; }
.attention { font-weight: bold; }
figure { margin: 1.5rem 0; break-inside: avoid; }
figure img { max-width: 100%; height: auto; }
figcaption { color: #444; max-width: 45rem; }
@media print { body { margin: 0; max-width: none; font-size: 11px; }
  .wide { overflow: visible; } tr, h2, h3 { break-inside: avoid; break-after: avoid; } }
"""


def mark(score: float, points: float) -> str:
    """✓ for full marks, – for none, else the points."""
    if score >= points - 1e-9:
        return "✓"
    return f"{score:g}" if score > 0 else "–"


def render(name: str, overviews: Sequence["Overview"]) -> str:
    """The whole page."""
    title = f"Class {_safe(name, 80)}"
    body = "\n".join(_assignment(item) for item in overviews)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{body}\n</body>\n</html>\n"
    )


def _assignment(item: "Overview") -> str:
    scores = [row.score for row in item.rows]
    graded = sum(row.status == "graded" for row in item.rows)
    waiting = sum(row.needs_person for row in item.rows)
    max_score = max(row.max_score for row in item.rows)
    middle = sorted(scores)
    median = (middle[(len(middle) - 1) // 2] + middle[len(middle) // 2]) / 2
    numbers = [
        (len(item.rows), "submissions"),
        (graded, "graded"),
        (len(item.rows) - graded, "not graded"),
        (f"{median:.4g}", f"median, of {max_score:g}"),
    ]
    if waiting:
        numbers.append((waiting, "wait for a person's marks"))
    facts = "".join(f"<li><strong>{value}</strong>{word}</li>" for value, word in numbers)
    parts = [
        f"<h2>{_safe(item.assignment, 80)}</h2>",
        f'<ul class="numbers">{facts}</ul>',
        *_plots(item, scores, max_score),
        _attention(item),
        _table(item),
    ]
    return f"<section>\n{''.join(parts)}\n</section>"


def _plots(item: "Overview", scores: list[float], max_score: float) -> Iterable[str]:
    low, high = min(scores), max(scores)
    yield _figure(
        plots.histogram(scores, max_score),
        f"Histogram of points: {len(scores)} submissions from {low:g} to {high:g} of {max_score:g}.",
        "How the points are spread.",
    )
    names = [column.name for column in item.columns]
    full = [sum(row.scores[place] >= column.points - 1e-9 for row in item.rows) for place, column in enumerate(item.columns)]
    some = [sum(0 < row.scores[place] < column.points - 1e-9 for row in item.rows) for place, column in enumerate(item.columns)]
    words = "; ".join(f"{name} {solved} full and {partly} some" for name, solved, partly in zip(names, full, some, strict=True))
    yield _figure(plots.success(names, full, some, len(item.rows)), f"Bars for each exercise: {words}.", "Full marks + some points, by exercise.")
    worst = item.failed[:MOST_FAILED]
    if worst:
        labels = [f"{entry.exercise}: {entry.case}" for entry in worst]
        words = "; ".join(f"{label} {entry.count}" for label, entry in zip(labels, worst, strict=True))
        yield _figure(
            plots.failures(labels, [entry.count for entry in worst]),
            f"Bars of the cases that failed most often: {words}.",
            "The cases that failed most often. What was never written is not counted.",
        )


def _attention(item: "Overview") -> str:
    """Submissions with something to say about them."""
    rows = [row for row in item.rows if row.status != "graded" or row.reason]
    if not rows:
        return ""
    lines = "".join(
        f'<tr><th scope="row">{_safe(row.student, 60)}</th><td class="left">{_status(row)}</td><td class="reason">{_safe(row.reason, 300)}</td></tr>'
        for row in rows
    )
    head = '<tr><th scope="col">student</th><th scope="col" class="left">status</th><th scope="col" class="left">reason</th></tr>'
    return f'<h3>To look at</h3><div class="wide"><table><thead>{head}</thead><tbody>{lines}</tbody></table></div>'


def _table(item: "Overview") -> str:
    turned = "".join(f'<th scope="col" class="turned"><span>{_safe(column.name, 40)} ({column.points:g})</span></th>' for column in item.columns)
    head = f'<tr><th scope="col">student</th><th scope="col" class="left">status</th><th scope="col">score</th><th scope="col">of</th>{turned}</tr>'
    lines = []
    for row in item.rows:
        cells = "".join(_cell(score, column.points) for score, column in zip(row.scores, item.columns, strict=True))
        numbers = f"<td>{row.score:g}</td><td>{row.max_score:g}</td>"
        lines.append(f'<tr><th scope="row">{_safe(row.student, 60)}</th><td class="left">{_status(row)}</td>{numbers}{cells}</tr>')
    caption = "<caption>✓ full marks, – none, otherwise points. * waits for a person's marks.</caption>"
    return f'<h3>All submissions</h3><div class="wide"><table>{caption}<thead>{head}</thead><tbody>{"".join(lines)}</tbody></table></div>'


def _cell(score: float, points: float) -> str:
    shown = mark(score, points)
    kind = {"✓": ' class="full"', "–": ' class="none"'}.get(shown, "")
    return f"<td{kind}>{shown}</td>"


def _status(row: "Row") -> str:
    word = WORDS.get(row.status, _safe(row.status, 20)) + (" *" if row.needs_person else "")
    return word if row.status == "graded" else f'<span class="attention">{word}</span>'


def _figure(uri: str, alt: str, caption: str) -> str:
    return f'<figure><img src="{uri}" alt="{_safe(alt, 2000)}"><figcaption>{_safe(caption, 300)}</figcaption></figure>'


def _safe(text: str, length: int) -> str:
    return escape(text if len(text) <= length else text[: length - 1] + "…")
