"""course_lib.data.messy and clean: the mess has a known right answer, and cleaning finds it."""

import math
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes

from course_lib.data import messy_patients, patients
from course_lib.data.clean import clean_table, first_rows, repair, to_numbers
from course_lib.data.messy import LIMITS, Limits, Mess, corrupt

numbers = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))


def test_the_patients_are_scikit_learns_with_the_logarithm_undone():
    columns, progression = patients()
    bunch = load_diabetes(scaled=False)
    assert {name: column.shape for name, column in columns.items()} == dict.fromkeys(LIMITS, (442,))
    assert np.array_equal(columns["glucose"], bunch.data[:, bunch.feature_names.index("s6")])
    assert (
        np.abs(np.log(columns["triglycerides"]) - bunch.data[:, bunch.feature_names.index("s5")]).max() < 1e-4
    )  # all are logarithms of whole numbers
    assert (progression.min(), progression.max()) == (25, 346)


def test_no_value_is_possible_in_both_units():
    assert all(limit.low > limit.high / limit.factor for limit in LIMITS.values() if limit.factor != 1)


def test_no_code_becomes_possible_by_a_change_of_units():
    assert all(math.isnan(repair([code], limit.low, limit.high, limit.factor)[0]) for limit in LIMITS.values() for code in (-1, 0, 999))


@pytest.mark.parametrize("seed", range(12))
def test_cleaning_finds_every_patient_once_and_every_cell_that_can_be_found(seed):
    table = messy_patients(seed)
    columns, progression = patients()
    clean = clean_table(table.columns, LIMITS)
    kept = first_rows(clean_table_with_copies(table.columns))
    source = table.source[kept]
    assert sorted(source) == list(range(442))
    assert np.array_equal(clean["progression"], progression[source])
    assert set(clean["clinic"]) == {"North", "East", "South"}
    for name, limit in LIMITS.items():
        kinds = np.array(table.kinds[name])[kept]
        off = np.abs(clean[name] - columns[name][source])
        assert np.array_equal(np.isnan(clean[name]), np.isin(kinds, ("missing", "code")))
        assert (off[kinds == ""] == 0).all()
        assert (off[kinds == "unit"] <= 0.0051 * limit.factor).all()  # two digits after the point
        assert (off[kinds == "swapped"] > 0).all()


def clean_table_with_copies(columns):
    """The table as clean_table sees it before it drops the repeated rows."""
    clean = {}
    for name, cells in columns.items():
        if name == "clinic":
            clean[name] = [cell.strip().capitalize() for cell in cells]
        else:
            limit = LIMITS.get(name, Limits(-math.inf, math.inf))
            clean[name] = repair(to_numbers(cells), limit.low, limit.high, limit.factor)
    return clean


def test_the_same_seed_gives_the_same_mess_and_another_seed_another():
    first, again, other = (messy_patients(seed).columns for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_a_mess_of_nothing_is_the_clean_table_with_clinics_that_keep_their_units():
    table = messy_patients(1, Mess(missing=0, missing_ill=0, code=0, swapped=0, text=0, twice=0))
    columns, _ = patients()
    assert sorted(table.source) == list(range(442))
    north = np.array([cell.strip().lower() == "north" for cell in table.columns["clinic"]])
    for name in LIMITS:
        assert np.array_equal(np.array(table.columns[name])[north], columns[name][table.source][north])
        assert {kind for kinds in table.kinds.values() for kind in kinds} == {"", "unit"}


def test_the_shares_of_a_mess_are_those_asked_for():
    kinds = [kind for seed in range(5) for kinds in messy_patients(seed).kinds.values() for kind in kinds]
    assert kinds.count("code") / len(kinds) == pytest.approx(0.01, abs=0.003)
    assert kinds.count("missing") / len(kinds) == pytest.approx(0.73 * 0.03 + 0.27 * 0.07, abs=0.006)
    assert kinds.count("swapped") > 0


def test_a_clean_table_with_an_impossible_value_is_refused():
    with pytest.raises(ValueError, match="column 'age' holds values outside 18 to 100"):
        corrupt({"age": np.array([20.0, 120.0])}, np.zeros(2), LIMITS, seed=0, mess=Mess())


@given(st.lists(st.one_of(numbers, numbers.map(str), st.none(), st.sampled_from(["", "n/a", "?", "45 years", " 7 "])), max_size=20))
def test_numbers_are_those_of_pandas_to_numeric(cells):
    theirs = pd.to_numeric(pd.Series([None if cell is None else str(cell) for cell in cells], dtype=object), errors="coerce").to_numpy(dtype=float)
    assert np.array_equal(to_numbers(cells), theirs, equal_nan=True)


def test_a_decimal_comma_is_a_decimal_point_and_infinity_is_no_number():
    assert to_numbers(["32,5", "inf", float("inf")])[0] == 32.5
    assert np.isnan(to_numbers(["inf", float("inf"), "nan"])).all()


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([1.0, 2.0, math.nan]), st.sampled_from(["a", "b"])), min_size=1, max_size=30))
def test_the_first_rows_are_those_that_pandas_keeps(rows):
    columns = {"number": np.array([row[0] for row in rows]), "text": [row[1] for row in rows]}
    assert first_rows(columns) == list(pd.DataFrame(columns).drop_duplicates().index)


@given(st.lists(st.floats(-1e4, 1e4), max_size=20), st.floats(1.5, 100))
def test_what_is_repaired_is_possible_or_unknown_and_repairing_again_changes_nothing(values, factor):
    once = repair(values, 50, 70, factor)
    known = once[~np.isnan(once)]
    assert ((known >= 50) & (known <= 70)).all()
    assert np.array_equal(repair(once, 50, 70, factor), once, equal_nan=True)


def test_repair_is_what_the_unit_says():
    found = repair([5.0, 93.0, 999.0, math.nan], 40, 200, 18.016)
    assert found[0] == pytest.approx(90.08)
    assert found[1] == 93
    assert np.isnan(found[2:]).all()


def test_the_table_says_what_it_is():
    assert re.fullmatch(r"MessyTable\(508 rows, 10 columns: clinic, age, .*progression\)", repr(messy_patients(0)))
