"""Which cells run: what the student wrote, and what that needs. A cell left out by mistake would cost an honest student points."""

import contextlib
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.engine.needed import Code, needed
from autograder.engine.unit import SKIPPED_TAGS
from autograder.release.build import notebook
from autograder.release.chapters import CHECK, chapters


def run(*cells, named=("answer",)):
    return needed([Code(source, kind) for kind, source in cells], named)


def test_a_picture_on_which_nothing_depends_is_left_out_and_what_an_answer_needs_is_not():
    cells = [
        ("released", "import numpy as np"),
        ("released", "import math\nrate = 0.5"),
        ("released", "figure, axis = subplots()\naxis.plot([1, 2])"),
        ("answer", "def answer(x):\n    return np.sum(x) * helper(x)"),
        ("released", "def helper(x):\n    return rate * x"),
    ]
    assert run(*cells) == {0, 1, 3, 4}


@pytest.mark.parametrize(
    "change",
    [
        "table['a'] = 2",
        "table.update(a=2)",
        "table.part.value = 2",
        "del table",
        "table += 1",
        "fill(table)",
        "fill(into=table)",
        "for table in (1, 2): pass",
        "with place() as table: pass",
        "if True:\n    table = 3",
        "try:\n    import table\nexcept ImportError: pass",
        "def fill():\n    global table\n    table = 3",
        "(table := 3)",
        "from place import *\ntable",
        "%fill table",
    ],
)
def test_whatever_may_change_what_an_answer_uses_runs(change):
    cells = [("released", "table = {}"), ("released", change), ("released", "other = 1"), ("answer", "def answer():\n    return table")]
    assert run(*cells) >= {0, 1, 3}
    assert 2 not in run(*cells)


@pytest.mark.parametrize("shown", ["print(table)", "show_static(table, alt='x')", "predict.reveal('a.b', guess=1, truth=table)", "other = table + 1"])
def test_a_cell_that_only_looks_at_something_does_not_run_for_it(shown):
    assert run(("released", "table = {}"), ("released", shown), ("answer", "def answer():\n    return table")) == {0, 2}


def test_what_a_cell_binds_before_it_looks_it_up_is_its_own():
    cells = [
        ("long", "scores = train()"),
        ("released", "scores = 3\nprint(scores)\nfor row in range(3):\n    print(row)\nhelper = scores"),
        ("released", "row = 3"),
        ("answer", "def answer(scores):\n    row = scores\n    return row + helper"),
    ]
    assert run(*cells) == {1, 3}


@pytest.mark.parametrize("first", ["print(scores)\nscores = 3", "scores = scores + 1", "scores += 1", "if late:\n    scores = 3\nhelper = scores"])
def test_what_a_cell_looks_up_before_it_binds_it_is_needed(first):
    cells = [("released", "scores = 1"), ("released", first + "\nhelper = 1"), ("answer", "def answer():\n    return helper")]
    assert run(*cells) == {0, 1, 2}


def test_a_cell_that_takes_long_runs_for_an_answer_or_a_check_but_not_for_what_a_student_added():
    long, added = ("long", "learnt = train()"), ("own", "print(learnt)")
    assert run(long, added, named=()) == {1}
    assert run(long, ("answer", "def answer():\n    return learnt")) == {0, 1}
    assert run(long, named=("learnt",)) == {0}


@pytest.mark.parametrize("roundabout", ["globals()['rate']", "eval('rate')", "import __main__", "get_ipython().user_ns", "f.__globals__", "print(_)"])
def test_a_student_who_reaches_names_in_a_roundabout_way_finds_them_all(roundabout):
    cells = [("released", "rate = 0.5"), ("released", "other = 1"), ("long", "learnt = 1"), ("own", roundabout)]
    assert run(*cells) == {0, 1, 3}


def test_a_student_who_writes_very_much_gets_everything_run_and_soon():
    names = ", ".join(f"a{number}" for number in range(5_000))
    many = "\n".join(f"a{number} = a{number + 1}" for number in range(5_000))
    cells = [("released", "rate = 0.5"), ("long", "learnt = 1"), ("own", f"{names} = {names}"), ("own", many)]
    begun = time.process_time()
    assert run(*cells) == {2, 3}
    assert time.process_time() - begun < 5
    assert run(*cells, *cells) == {0, 2, 3, 4, 6, 7}


def test_a_throw_away_name_is_no_roundabout_way():
    assert run(("released", "rate = 0.5"), ("answer", "def answer():\n    _, found = pair()\n    return found")) == {1}


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), min_size=1, max_size=6), st.data())
def test_running_what_is_needed_leaves_an_answer_as_running_everything_would(names, data):
    """Random straight-line notebooks, run both ways."""
    statements = []
    for name in names:
        other = data.draw(st.sampled_from(["a", "b", "c", "d", "e", "1"]))
        form = data.draw(st.sampled_from(["{0} = [{1}]", "{0} = {1}", "{0}.append({1})", "{0} = {0} + [{1}]", "print({0}, {1})"]))
        statements.append(form.format(name, other))
    prepared = [("released", f"{name} = ['{name}']") for name in "abcde"]
    answer = ("answer", f"def answer():\n    return repr({data.draw(st.sampled_from(list('abcde')))})")
    cells = [*prepared, *(("released", statement) for statement in statements), answer]
    chosen = run(*cells)
    whole, part = {}, {}
    for place, (_, source) in enumerate(cells):
        for names_of, wanted in ((whole, True), (part, place in chosen)):
            if wanted:
                with contextlib.suppress(AttributeError, TypeError):
                    exec(source, names_of)
    assert part["answer"]() == whole["answer"]()


@pytest.mark.parametrize("chapter", chapters(), ids=lambda chapter: chapter.slug)
def test_grading_a_chapters_solution_runs_nothing_that_takes_long(chapter):
    node = notebook(chapter, "solution")
    cells, named = [], set()
    for cell in json.loads(json.dumps(node))["cells"]:
        grading, tags = cell["metadata"].get("nbgrader", {}), set(cell["metadata"].get("tags", []))
        if cell["cell_type"] != "code" or (grading.get("grade") and CHECK.search(cell["source"])):
            continue
        cells.append(Code(cell["source"], "answer" if grading.get("solution") else "long" if tags & SKIPPED_TAGS else "released"))
    chosen = needed(cells, named)
    assert not [cells[place].source for place in chosen if cells[place].kind == "long"]
    assert all(place in chosen for place, cell in enumerate(cells) if cell.kind == "answer")
