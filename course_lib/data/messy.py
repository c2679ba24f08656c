"""A clean table made dirty on purpose, from a seed, so that cleaning it has a known right answer.

The dirt is that of a real export: three clinics spell their own names in several ways, one of them reports in other units, cells are empty
or hold a code for "unknown", numbers are written as text, rows come twice, and now and then two digits change places.

Dimensions: N rows of the clean table, M ≥ N rows of the messy one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from course_lib.data.patients import patients
from course_lib.data.split import generator


@dataclass(frozen=True)
class Limits:
    """What a column can hold: between low and high in our unit; times `factor`, a value in the other unit becomes one in ours."""

    low: float
    high: float
    factor: float = 1.0  # 1: there is no other unit
    unit: str = ""
    other_unit: str = ""


# Wide enough for a fasting adult of such a study (an emergency ward would need more), and so narrow that no value is possible in both units.
LIMITS = {
    "age": Limits(18, 100, unit="years"),
    "bmi": Limits(12, 60, unit="kg/m²"),
    "pressure": Limits(50, 160, 7.50062, "mm Hg", "kPa"),
    "cholesterol": Limits(80, 400, 38.67, "mg/dl", "mmol/l"),
    "ldl": Limits(20, 300, 38.67, "mg/dl", "mmol/l"),
    "hdl": Limits(15, 120, 38.67, "mg/dl", "mmol/l"),
    "triglycerides": Limits(20, 600, 88.57, "mg/dl", "mmol/l"),
    "glucose": Limits(40, 200, 18.016, "mg/dl", "mmol/l"),
}
CLINICS = ("North", "East", "South")  # South reports in the other units
BLANKS = (None, "", "n/a", "?", "-")
CODES = (-1, 0, 999)  # "unknown", to the program that wrote the export


@dataclass(frozen=True)
class Mess:
    """How much of each kind of dirt: shares of cells or of rows, between 0 and 1."""

    missing: float = 0.03  # cells left blank, for people below the cut
    missing_ill: float = 0.07  # and for those above it: who is ill misses appointments
    code: float = 0.01  # cells that hold -1, 0 or 999
    swapped: float = 0.012  # cells with two digits exchanged, and still possible: no rule can find these
    text: float = 0.06  # of the other cells: the number as text, with spaces or a decimal comma
    twice: float = 0.15  # rows that come a second time, somewhere else in the table
    cut: float = 200.0  # of the progression


@dataclass(frozen=True, eq=False)
class MessyTable:
    """The export, and what is behind it.

    columns  name → list of M cells (numbers, text, None); "clinic" and "progression" included
    source   (M,) int64: which row of the clean table each row is
    kinds    name → list of M words: what was done to each cell: "", "missing", "code", "unit", "swapped"
    """

    columns: dict[str, list]
    source: np.ndarray
    kinds: dict[str, list[str]]

    def __repr__(self) -> str:
        return f"MessyTable({len(self.source)} rows, {len(self.columns)} columns: {', '.join(self.columns)})"


def messy_patients(seed: int = 0, mess: Mess | None = None) -> MessyTable:
    """The table of `patients` as an export of three clinics: columns clinic, the eight measurements, and progression."""
    columns, progression = patients()
    return corrupt(columns, progression, LIMITS, seed=seed, mess=mess or Mess())


def corrupt(columns: Mapping[str, np.ndarray], outcome: np.ndarray, limits: Mapping[str, Limits], *, seed: int, mess: Mess) -> MessyTable:
    """Make a clean table dirty.

    columns: name → (N,) float64, every value possible by `limits`; outcome (N,), which stays clean but for its copies
    The same arguments give the same mess. Raises ValueError for a value that `limits` calls impossible.
    """
    rng = generator(seed)
    for name, column in columns.items():
        if not ((column >= limits[name].low) & (column <= limits[name].high)).all():
            raise ValueError(f"column {name!r} holds values outside {limits[name].low:g} to {limits[name].high:g}")
    count = len(outcome)
    clinic = rng.integers(len(CLINICS), size=count)
    values: dict[str, list] = {name: [float(v) for v in column] for name, column in columns.items()}
    kinds = {name: [""] * count for name in columns}
    blank = np.where(np.asarray(outcome) > mess.cut, mess.missing_ill, mess.missing)
    for name in columns:
        for row in range(count):
            values[name][row], kinds[name][row] = _spoil(values[name][row], limits[name], CLINICS[clinic[row]] == "South", blank[row], mess, rng)

    again = rng.choice(count, size=round(mess.twice * count), replace=False)
    source = rng.permutation(np.concatenate([np.arange(count), again]))  # (M,)
    # Spelling comes last, so that the two copies of a row are often written differently.
    table: dict[str, list] = {"clinic": [_spelt(CLINICS[clinic[row]], rng) for row in source]}
    table |= {name: [_written(values[name][row], mess, rng) for row in source] for name in columns}
    table["progression"] = [float(outcome[row]) for row in source]
    return MessyTable(table, source, {name: [kinds[name][row] for row in source] for name in columns})


def _spoil(value: float, limits: Limits, other_unit: bool, blank: float, mess: Mess, rng: np.random.Generator) -> tuple[float | str | None, str]:
    """One cell of the clean table → what the clinic typed, and what went wrong with it."""
    luck = rng.random()
    if luck < blank:
        return BLANKS[rng.integers(len(BLANKS))], "missing"
    if luck < blank + mess.code:
        return float(CODES[rng.integers(len(CODES))]), "code"
    if luck < blank + mess.code + mess.swapped and not other_unit:
        digits = f"{value:g}"
        swapped = float(digits[1] + digits[0] + digits[2:])
        if swapped != value and limits.low <= swapped <= limits.high:
            return swapped, "swapped"
    if other_unit and limits.factor != 1:
        return round(value / limits.factor, 2), "unit"
    return value, ""


def _written(value: float | str | None, mess: Mess, rng: np.random.Generator) -> float | str | None:
    """A number as the export writes it: most as a number, some as text."""
    if not isinstance(value, float) or rng.random() >= mess.text:
        return value
    text = f"{value:g}"
    return (text.replace(".", ","), f" {text} ", text)[rng.integers(3)]


def _spelt(name: str, rng: np.random.Generator) -> str:
    return (name, name, name, name.lower(), name.upper(), f"{name} ")[rng.integers(6)]
