"""Every mistake in a chapter's source is told with its file and its line."""

import ast
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autograder.release import build
from autograder.release.chapters import UnknownChapter, find_chapter
from autograder.release.source import SourceError, read, with_solution, without_solution

MISTAKES = {
    "duplicate exercise": ('# %% exercise="mend" minutes=10', '# %% exercise="double" minutes=10', 'exercise="double" minutes=10', "duplicate id"),
    "duplicate check": ('# %% check="mend"', '# %% check="double" ', 'check="double" ', "duplicate id"),
    "duplicate predict": ("# %% train\n", '# %% predict="sign" points=1\n', "points=1", "duplicate id"),
    "duplicate essay": ("# %% train\n", '# %% [markdown] essay="card" points=1\n# x\n# %% train\n', 'essay="card" points=6', "duplicate id"),
    "exercise without a check": ('# %% check="mend"\ncheck("toy.mend", mend)', "# %%\n1", 'exercise="mend"', "'mend' has no check"),
    "check without an exercise": (
        "# %% train\n",
        '# %% check="other"\ncheck("toy.other", 1)\n# %% train\n',
        'check="other"',
        "has no exercise before it",
    ),
    "exercise that the exercises file lacks": (
        "# %% train\n",
        '# %% exercise="more" minutes=1 level=1\n### BEGIN SOLUTION\n1\n### END SOLUTION\n# %% check="more"\ncheck("toy.more", 1)\n# %% train\n',
        'exercise="more"',
        "is not defined in autograder/exercises/toy.py",
    ),
    "unknown key": ('figure="curve"', 'figure="curve" fig=3', "fig=3", "unknown header key 'fig'; known are alt, check"),
    "unknown word": ("# %% train", "# %% tarin", "tarin", "unknown header key 'tarin'"),
    "text for a number": ("minutes=5", 'minutes="5"', 'minutes="5"', "header key 'minutes' takes a whole number, got '5'"),
    "truth for a number": ("minutes=5", "minutes=true", "minutes=true", "header key 'minutes' takes a whole number, got True"),
    "number for text": ('figure="curve"', "figure=3", "figure=3", "header key 'figure' takes text in quotes, got 3"),
    "text missing": ('figure="curve"', "figure", "# %% figure", "header key 'figure' takes text in quotes"),
    "train with a value": ("# %% train", "# %% train=false", "train=false", "header key 'train' takes no value, got False"),
    "unreadable header": ("minutes=5 level=1", "minutes=five level=1", "minutes=five", "cannot be read"),
    "BEGIN without END": ("    return secret_sum\n    ### END SOLUTION\n", "    return secret_sum\n", "### BEGIN SOLUTION", "without '### END"),
    "END without BEGIN": ("    ### BEGIN SOLUTION\n    secret_sum", "    secret_sum", "### END SOLUTION", "'### END SOLUTION' without"),
    "ELSE without BEGIN": ("    ### BEGIN SOLUTION\n    if x > 0:", "    if x > 0:", "### ELSE BROKEN", "'### ELSE BROKEN' without"),
    "ELSE twice": ("    #     return x // 2", "    ### ELSE BROKEN  \n    # return 1", "### ELSE BROKEN  ", "'### ELSE BROKEN' without"),
    "BEGIN inside BEGIN": (
        "    return secret_sum",
        "    ### BEGIN SOLUTION  \n    return secret_sum",
        "### BEGIN SOLUTION  ",
        "inside the one that began at line",
    ),
    "marker beside code": ("    return secret_sum", "    return secret_sum  ### END SOLUTION", "secret_sum  ###", "must stand alone on its line"),
    "broken part not commented out": ("    #     return x // 2", "        return x // 2", "x // 2", "must be commented out"),
    "marker outside an exercise": ("trained = 1", "### BEGIN SOLUTION   \ntrained = 1\n### END SOLUTION", "# %% train", "no exercise"),
    "exercise without solution": (
        "    ### BEGIN SOLUTION\n    secret_sum = x + x\n    return secret_sum\n    ### END SOLUTION\n",
        "    return 1\n",
        'exercise="double"',
        "has no solution between",
    ),
    "figure without alt": (' alt="A line that rises."', "", 'figure="curve"', "needs alt="),
    "figure with an empty alt": ('alt="A line that rises."', 'alt=" "', 'figure="curve"', "needs alt="),
    "prediction never revealed": ('predict.reveal("toy.sign", guess=guess, truth=trained)', "1", 'predict="sign"', "'sign' is never revealed"),
    "prediction revealed in a comment only": ("predict.reveal(", "# predict.reveal(", 'predict="sign"', "'sign' is never revealed"),
    "revealed without a prediction": (
        "trained = 1",
        '1\n# %%  \npredict.reveal("toy.other", guess=1, truth=2)',
        "# %%  ",
        "nothing is predicted under 'other'",
    ),
    "revealed twice": ("trained = 1", '1\n# %%  \npredict.reveal("toy.sign", guess=1, truth=2)', "^guess=guess", "is revealed twice; first at line"),
    "revealed without its chapter": ('"toy.sign"', '"sign"', '^predict.reveal("sign"', 'should name the chapter: "toy.sign"'),
    "revealed in a train cell": ("trained = 1\n\n# %%\n", "trained = 1\n", "# %% train", "cannot reveal a prediction"),
    "reveal not last": ("truth=trained)", "truth=trained)\nprint(1)", '^predict.reveal("toy.sign"', "must be the last expression"),
    "reveal with a semicolon": ("truth=trained)", "truth=trained);  # shown?", '^predict.reveal("toy.sign"', "with no semicolon"),
    "reveal in a figure": ('print("figure")', 'predict.reveal("toy.sign", guess=1, truth=1)', 'figure="curve"', "in a cell of its own"),
    "points that reveal does not know": ('predict="sign"', 'predict="sign" points=2', '^predict.reveal("toy.sign"', "must say points=2"),
    "prediction for nothing": ('predict="sign"', 'predict="sign" points=0', 'predict="sign"', "a positive number is wanted"),
    "essay without points": (" points=6", "", 'essay="card"', "needs points="),
    "essay as code": ('[markdown] essay="card"', 'essay="card"', 'essay="card"', "must be a markdown cell"),
    "exercise as prose": ('# %% exercise="double"', '# %% [markdown] exercise="double"', 'exercise="double"', "must be a code cell"),
    "raw cell": ("# %% train", "# %% [raw]", "[raw]", "a cell is markdown or code, not raw"),
    "unknown language": ('lang="zh"', 'lang="fr"', 'lang="fr"', "unknown language 'fr'; known are en, zh"),
    "code with a language": ("# %% train", '# %% lang="en"', '# %% lang="en"', "only markdown cells have a language"),
    "no level": (" level=1", "", 'exercise="double"', "needs level=1, 2 or 3"),
    "level out of range": ("level=1", "level=4", 'exercise="double"', "needs level=1, 2 or 3"),
    "no minutes": (" minutes=5", "", 'exercise="double"', "needs minutes="),
    "negative minutes": ("minutes=5", "minutes=-5", 'exercise="double"', "needs minutes="),
    "level on another cell": ("# %% train", "# %% train level=1", "# %% train level", "'level' belongs to a cell with exercise"),
    "solution is not Python": ("    return secret_sum", "    return secret sum", "secret sum", "with its solution is not Python"),
    "stub is not Python": (
        "    ### BEGIN SOLUTION\n    secret_sum",
        "        ### BEGIN SOLUTION\n    secret_sum",
        "        ### BEGIN",
        "as students get it is not Python",
    ),
    "broken part is not Python": ("    #     return x // 2", "    #     return x //", "x //", "as students get it is not Python"),
    "what follows is not Python": ("    return None", "    return None None", "None None", "is not Python"),
    "check not last": ('check("toy.mend", mend)', 'check("toy.mend", mend)\nx = 1', 'check="mend"', "must be the last expression"),
    "check inside print": ('check("toy.mend", mend)', 'print(check("toy.mend", mend))', 'check="mend"', "must be the last expression"),
    "check before another call": ('check("toy.mend", mend)', 'check("toy.mend", mend)\nprint(1)', 'check="mend"', "must be the last expression"),
    "check with a semicolon": ('check("toy.mend", mend)', 'check("toy.mend", mend);', 'check="mend"', "with no semicolon"),
    "check assigned": ('check("toy.mend", mend)', 'score = check("toy.mend", mend)', 'check="mend"', "must be the last expression"),
    "check of another exercise": ('check("toy.mend", mend)', 'check("toy.double", mend)', 'check="mend"', 'must call check("toy.mend", …) once'),
    "check cell without a check": ('check("toy.mend", mend)', "mend(1)", 'check="mend"', "it calls nothing"),
    "two roles": ('figure="curve"', 'figure="curve" predict="sure"', 'figure="curve"', "a cell has one role; this one has predict and figure"),
    "a name that is none": ('essay="card"', 'essay="model card"', 'essay="model card"', "is no name"),
    "names that would share an id": (
        "# %% train\n",
        '# %% predict="si_gn"\n1\n# %%\npredict.reveal("toy.si_gn", guess=1, truth=1)\n# %% predict="si-gn"\n# %% train\n',
        'predict="si-gn"',
        "duplicate id",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_planted_mistake_is_told_with_file_and_line(toy, spoil, name):
    old, new, at, words = MISTAKES[name]
    line = spoil(old, new, at)
    with pytest.raises(SourceError) as caught:
        build.notebook(toy)
    lines = str(caught.value).splitlines()
    start = f"solutions/42_toy.py:{line}: "
    assert any(told.startswith(start) and words in told for told in lines), (start, lines)


def test_the_chapter_as_it_stands_has_no_mistake(toy):
    build.notebook(toy)


def test_a_prediction_revealed_before_it_is_made_is_a_mistake(toy, spoil):
    line = spoil("import numpy as np\n", 'import numpy as np\n\n# %%  \npredict.reveal("toy.sign", guess=1, truth=2)\n\n# %%\n', "# %%  ")
    with pytest.raises(SourceError, match=rf"42_toy.py:{line}: nothing is predicted under 'sign' before"):
        build.notebook(toy)


def test_an_exercise_defined_but_nowhere_written_is_a_mistake(toy, spoil):
    text = toy.source.read_text(encoding="utf-8")
    start, end = text.index('# %% exercise="mend"'), text.index("# %% figure")
    toy.source.write_text(text[:start] + text[end:], encoding="utf-8")
    with pytest.raises(SourceError, match=r"""42_toy.py:1: autograder/exercises/toy.py defines 'mend', but no cell has exercise="mend"$"""):
        build.notebook(toy)


def test_all_mistakes_are_told_at_once_in_order_of_line(toy, spoil):
    spoil('lang="zh"', 'lang="fr"', 'lang="fr"')
    spoil(" level=1", "", 'exercise="double"')
    spoil(" points=6", "", 'essay="card"')
    with pytest.raises(SourceError) as caught:
        build.notebook(toy)
    lines = [problem.line for problem in caught.value.problems]
    assert len(lines) == 3 and lines == sorted(lines)


@pytest.mark.parametrize("newline", ["\r\n", "\r"])
def test_other_line_ends_and_a_byte_order_mark_make_the_same_notebook(toy, newline):
    plain = build.to_text(build.notebook(toy))
    text = toy.source.read_text(encoding="utf-8")
    toy.source.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", newline).encode())
    assert build.to_text(build.notebook(toy)) == plain
    toy.source.write_bytes(b"\xef\xbb\xbf" + text.partition("\n")[2].encode())  # the mark stands right before the first cell
    assert build.to_text(build.notebook(toy)) == plain


def test_tabs_stay_tabs(toy):
    text = (
        re.sub(r"(?m)^(#? ?)    ", r"\1\t", toy.source.read_text(encoding="utf-8"))
        .replace("\t#     return", "\t# \treturn")
        .replace("\t    ", "\t\t")
    )
    toy.source.write_text(text, encoding="utf-8")
    student = build.to_text(build.notebook(toy))
    assert r"\n\traise NotImplementedError" in student and r"\n\tif x > 0:\n\t\treturn x // 2" in student


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ":1: there is no cell"), (b"\n\n", ":1: there is no cell"), (b"x = 1\n", ":1: there is no cell"),
        ("# %%\n# gut\n# für\n".encode("latin-1"), ":3: the file is not UTF-8"),
        (b'# %%\nx = """\n# %%\n"""\n', ":1: 2 lines start with '# %%', but 1 cells"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_chapter_is_told_so(toy, content, words):
    toy.source.write_bytes(content)
    with pytest.raises(SourceError, match=r"solutions/42_toy.py" + words):
        build.notebook(toy)


def test_the_authors_note_before_the_first_cell_is_left_out(toy):
    assert "author's note" not in build.to_text(build.notebook(toy))
    assert read(toy.source).cells[0].line == 2


@pytest.mark.parametrize("wanted", ["42", "toy", "42_toy"])
def test_a_chapter_is_found_by_number_and_name(toy, wanted):
    assert find_chapter(wanted, toy.source.parent) == toy
    (toy.source.parent / "05_early.py").write_text("")
    assert find_chapter("5", toy.source.parent).name == "early"


@pytest.mark.parametrize(
    ("wanted", "words"), [("tooy", "did you mean 'toy'"), ("²", "there are: 42_toy"), ("", "there are: 42_toy"), ("43", "there are")]
)
def test_an_unknown_chapter_is_answered_with_what_there_is(toy, wanted, words):
    with pytest.raises(UnknownChapter, match=words):
        find_chapter(wanted, toy.source.parent)


BODY = st.lists(st.sampled_from(["a = 1", "if a:", "    b = 'é  '", "", "# remark", "return a"]), min_size=1, max_size=5)


@given(BODY, BODY, BODY, st.sampled_from(["", "    ", "\t"]))
def test_each_edition_holds_exactly_its_own_part(before, solution, broken, indent):
    def put(lines):
        return [indent + line if line else "" for line in lines]

    def region(with_broken):
        hidden = ["### ELSE BROKEN", *(f"# {line}" if line else "" for line in broken)] if with_broken else []
        return "\n".join(put([*before, "### BEGIN SOLUTION", *solution, *hidden, "### END SOLUTION", "end = 1"]))

    for with_broken in (False, True):
        assert with_solution(region(with_broken)) == "\n".join(put([*before, *solution, "end = 1"]))
    assert without_solution(region(False)) == "\n".join(put([*before, "raise NotImplementedError", "end = 1"]))
    assert without_solution(region(True)) == "\n".join(put([*before, *broken, "end = 1"]))


def test_a_cell_with_two_solutions_gets_two_stubs():
    text = "\n".join(f"def {name}():\n    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION\n" for name in "fg")
    assert without_solution(text) == "def f():\n    raise NotImplementedError\n\ndef g():\n    raise NotImplementedError\n"
    assert ast.parse(with_solution(text))
