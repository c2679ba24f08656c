"""Cleaning a table, one rule at a time: cells to numbers, impossible values out, other units converted, repeated rows dropped.

A table is a dict: column name → N cells. Every rule says what it cannot know by writing NaN; none guesses.

Dimensions: N rows.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from course_lib.data.messy import Limits


def to_numbers(cells: Sequence) -> np.ndarray:
    """Cells of mixed kinds → float64 (N,), NaN where there is no number.

    Numbers stay. Text that is a number, with spaces around it or a decimal comma, becomes that number. Everything else (None, "", "n/a",
    "45 years", infinity) becomes NaN, in its own place.
    """
    return np.array([_number(cell) for cell in cells], dtype=np.float64)


def _number(cell: object) -> float:
    text = cell.replace(",", ".") if isinstance(cell, str) else cell
    try:
        value = float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan
    return value if math.isfinite(value) else math.nan


def first_rows(columns: Mapping[str, Sequence | np.ndarray]) -> list[int]:
    """Numbers of the rows that are no repetition of an earlier row, ascending. Two cells without a value (None or NaN) count as equal."""
    seen: set[tuple] = set()
    kept = []
    for row, cells in enumerate(zip(*columns.values(), strict=True)):
        key = tuple(None if cell is None or cell != cell else cell for cell in cells)
        if key not in seen:
            seen.add(key)
            kept.append(row)
    return kept


def repair(values: ArrayLike, low: float, high: float, factor: float = 1.0) -> np.ndarray:
    """Possible values stay; a value that becomes possible times `factor` was in another unit and is converted; any other becomes NaN.

    values (N,), NaN allowed; low ≤ possible ≤ high → new float64 (N,)
    Certain only when no value is possible in both units: when low > high / factor, for a factor above 1.
    """
    values = np.array(values, dtype=np.float64)
    converted = values * factor
    repaired = np.where((converted >= low) & (converted <= high), converted, np.nan)
    return np.where((values >= low) & (values <= high), values, repaired)


def clean_table(columns: Mapping[str, Sequence], limits: Mapping[str, Limits]) -> dict[str, np.ndarray]:
    """A messy export → its rows, each once, as numbers in one unit.

    columns: name → N cells. Those with limits are repaired, "clinic" is spelt in one way, other columns become numbers as they are.
    → name → array, one entry for each row that is no repetition
    """
    clean: dict[str, np.ndarray] = {}
    for name, cells in columns.items():
        if name == "clinic":
            clean[name] = np.array([cell.strip().capitalize() for cell in cells])
            continue
        clean[name] = to_numbers(cells)
        if name in limits:
            clean[name] = repair(clean[name], limits[name].low, limits[name].high, limits[name].factor)
    rows = first_rows(clean)
    return {name: column[rows] for name, column in clean.items()}
