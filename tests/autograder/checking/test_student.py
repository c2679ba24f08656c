"""Hostile and unlucky student code behind the check's proxy: nothing it does passes unseen, hangs, or escapes."""

import collections
import operator
import subprocess
import sys
import textwrap
import time
import warnings

import numpy as np
import pytest
import torch

from autograder.checking import case, close, inputs_unchanged, raises, same
from autograder.checking.cases import Run
from autograder.checking.student import Handle, LocalStudent


class AlwaysEqual:
    """Claims to equal everything and to be whatever it is asked to be."""

    __array_priority__ = 1000
    shape, ndim, size, dtype = (2,), 1, 2, np.dtype("float64")
    __class__ = np.ndarray  # type: ignore[assignment]

    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False

    def __bool__(self):
        return True

    def __float__(self):
        return 1.0

    def item(self):
        return 1.0

    __le__ = __ge__ = __lt__ = __gt__ = __eq__
    __hash__ = object.__hash__


class LyingFloat(float):
    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False

    __hash__ = float.__hash__


class LyingScalar(np.float64):
    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False

    def item(self, *_):
        return sys._getframe(1).f_locals.get("expected", 1.0)

    __hash__ = np.float64.__hash__


LyingScalar.__module__ = "numpy"


class LyingArray(np.ndarray):
    dtype = np.dtype("float64")  # type: ignore[assignment]

    def __eq__(self, other):
        return np.ones(self.shape, dtype=bool)

    def __sub__(self, other):
        return np.zeros(self.shape)

    __rsub__ = __sub__


class LyingTensor(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return torch.tensor([1.0, 2.0])


def object_array() -> np.ndarray:
    array = np.empty(2, dtype=object)
    array[:] = [AlwaysEqual(), AlwaysEqual()]
    return array


LIARS = {
    "an object that equals everything": lambda: AlwaysEqual(),
    "a list of them": lambda: [AlwaysEqual(), AlwaysEqual()],
    "a tuple of them": lambda: (AlwaysEqual(), AlwaysEqual()),
    "an object array": object_array,
    "an object array in a subclass that hides its dtype": lambda: object_array().view(LyingArray),
    "a structured array with objects": lambda: np.array([(AlwaysEqual(),)] * 2, dtype=[("a", object)]),
    "an array subclass": lambda: np.array([5.0, 6.0]).view(LyingArray),
    "a float subclass": lambda: LyingFloat(5.0),
    "a list of float subclasses": lambda: [LyingFloat(5.0), LyingFloat(5.0)],
    "a NumPy scalar subclass": lambda: LyingScalar(5.0),
    "a list of scalar subclasses": lambda: [LyingScalar(5.0), LyingScalar(6.0)],
    "a tensor subclass": lambda: torch.tensor([5.0, 6.0]).as_subclass(LyingTensor),
    "a dict of liars": lambda: {"a": AlwaysEqual(), "b": AlwaysEqual()},
}
WANTED = [
    1.0,
    (1.0, 2.0),
    [1.0, 2.0],
    np.array([1.0, 2.0]),
    torch.tensor([1.0, 2.0]),
    {"a": 1.0, "b": 2.0},
    np.float64(1.0),
    np.array(1.0),
    True,
    "x",
]


@pytest.mark.parametrize("liar", LIARS)
@pytest.mark.parametrize("compare", [close, same])
def test_no_liar_passes_for_a_right_value(verdict, liar, compare):
    for expected in WANTED:
        if compare is close and isinstance(expected, str):
            continue
        result = verdict(lambda student, expected=expected: compare(student.f(), expected), f=LIARS[liar])
        assert result.outcome == "failed", (expected, result)


def test_plain_data_arrives_as_a_copy_of_the_same_exact_type(run):
    held = {"array": np.ones(3), "list": [np.ones(2), 1], "tensor": torch.ones(3, requires_grad=True)}
    seen = []

    def check(student, rng):
        with case("one"):
            for name in held:
                seen.append(student.f(name))
                value = seen[-1]
                (value[0] if isinstance(value, list) else value)[:] = 7

    assert run(check, f=held.get).solved
    assert (held["array"] == 1).all() and (held["list"][0] == 1).all() and bool((held["tensor"] == 1).all())
    assert [type(value) for value in seen] == [np.ndarray, list, torch.Tensor]
    assert not seen[2].requires_grad


@pytest.mark.parametrize(
    "value",
    [collections.Counter("aab"), collections.OrderedDict(a=2, b=1), collections.defaultdict(int, a=2, b=1)],
    ids=["Counter", "OrderedDict", "defaultdict"],
)
def test_the_standard_librarys_dicts_count_as_dicts(verdict, value):
    assert verdict(lambda student: same(student.f(), {"a": 2, "b": 1}), f=lambda: value).passed


def test_what_torch_max_gives_counts_as_a_tuple(verdict):
    rows = torch.tensor([[1.0, 3.0], [5.0, 2.0]])
    assert verdict(lambda student: close(student.f(), (torch.tensor([3.0, 5.0]), torch.tensor([1, 0]))), f=lambda: rows.max(1)).passed


ARGUMENTS = {
    "array": (lambda: np.array([1.0, np.nan]), lambda value: value.__setitem__(0, 9)),
    "list": (lambda: [1, [2.0, float("nan")]], lambda value: value[1].append(3)),
    "item replaced by an object": (lambda: [1, 2], lambda value: value.__setitem__(0, AlwaysEqual())),
    "array replaced by none": (lambda: [np.ones(2)], lambda value: value.__setitem__(0, None)),
    "dict": (lambda: {"a": np.zeros(2)}, lambda value: value.pop("a")),
    "tensor": (lambda: torch.tensor([1.0, float("nan")]), lambda value: value.add_(1)),
    "whole tensor": (lambda: torch.tensor([1, 2]), lambda value: value.add_(1)),
}


@pytest.mark.parametrize("kind", ARGUMENTS)
def test_changes_in_place_reach_no_array_of_the_checks_and_are_noticed_and_said(run, kind):
    make, change = ARGUMENTS[kind]
    mine = make()

    def check(student, rng):
        with case("left alone"):
            student.look(mine)
            inputs_unchanged(student)
        with case("said"):
            student.change(0, mine)
        with case("noticed"):
            student.change(0, mine)
            inputs_unchanged(student)

    result = run(check, look=lambda value: repr(value), change=lambda _zero, value: (change(value), 0)[1])
    assert [case.outcome for case in result.cases] == ["passed", "passed", "failed"]
    assert result.cases[1].notes == ("`change` changed its argument number 2 in place.",)
    assert "Argument number 2 was changed in place" in result.cases[2].message
    assert repr(mine) == repr(make())


def test_handles_and_functions_among_the_arguments_do_not_count_as_changed(run):
    def check(student, rng):
        with case("one"):
            box = student.Box(1)
            same(student.use([box, box], np.sum, {"box": box}), 3)
            inputs_unchanged(student)

    assert run(check, Box=Box, use=lambda boxes, total, named: int(total([b.content for b in boxes])) + named["box"].content).solved


class Box:
    """A student's class with every operator."""

    def __init__(self, content):
        self.content, self.data = content, np.array(content)

    def get(self, plus=0):
        return self.content + plus

    def __add__(self, other):
        return Box(f"({self.content} + {getattr(other, 'content', other)})")

    def __radd__(self, other):
        return Box(f"({other} + {self.content})")

    def __sub__(self, other):
        return Box(f"({self.content} - {getattr(other, 'content', other)})")

    def __rsub__(self, other):
        return Box(f"({other} - {self.content})")

    def __mul__(self, other):
        return Box(f"({self.content} * {getattr(other, 'content', other)})")

    def __rmul__(self, other):
        return Box(f"({other} * {self.content})")

    def __truediv__(self, other):
        return Box(f"({self.content} / {getattr(other, 'content', other)})")

    def __rtruediv__(self, other):
        return Box(f"({other} / {self.content})")

    def __pow__(self, other):
        return Box(f"({self.content} ** {other})")

    def __neg__(self):
        return Box(f"-{self.content}")


@pytest.mark.parametrize("other", [2, 2.0, np.float64(2), np.int64(2), torch.tensor(2)], ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("sign", ["+", "-", "*", "/"])
def test_operators_reach_the_students_class_from_either_side(verdict, other, sign):
    operate = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}[sign]

    def body(student):
        box = student.Box("x")
        same(operate(box, other).content, f"(x {sign} {other})")
        same(operate(other, box).content, f"({other} {sign} x)")
        same(operate(box, box).content, f"(x {sign} x)")

    assert verdict(body, Box=Box).passed, verdict(body, Box=Box).message


def test_an_array_times_a_handle_goes_to_the_student_whole(verdict):
    class Whole(Box):
        __array_ufunc__ = None

    assert verdict(lambda student: same((np.arange(3) * student.Box("x")).content, "([0 1 2] * x)"), Box=Whole).passed


def test_handles_can_be_called_read_raised_to_a_power_and_negated(verdict):
    def body(student):
        box = student.Box(3)
        same(box.get(plus=1), 4)
        same(box.data, np.array(3))
        same((box**2).content, "(3 ** 2)")
        same((-box).content, "-3")

    assert verdict(body, Box=Box).passed


SILENT = {
    "==": lambda handle: handle == 3,
    "!=": lambda handle: handle != 3,
    "reflected ==": lambda handle: np.float64(3) == handle,
    "array ==": lambda handle: (np.ones(2) == handle).all(),
    "<": lambda handle: handle < 3,
    ">=": lambda handle: handle >= 3,
    "truth": lambda handle: bool(handle),
    "not": lambda handle: not handle,
    "in": lambda handle: handle in [1, 2],
    "contains": lambda handle: 1 in handle,
    "len": lambda handle: len(handle),
    "float": lambda handle: float(handle),
    "iter": lambda handle: list(handle),
    "asarray": lambda handle: np.asarray(handle),
    "array of it": lambda handle: np.array([1, handle]),
    "allclose": lambda handle: np.allclose(handle, 3),
    "setting": lambda handle: setattr(handle, "weight", 3),
}


@pytest.mark.parametrize("use", SILENT)
def test_no_use_of_a_handle_as_a_value_passes_silently(verdict, use):
    result = verdict(lambda student: SILENT[use](student.Box(3)), Box=Box)
    assert result.outcome == "failed", result
    assert "`Box` gave an object of type Box" in result.message


def loud():
    print("to stdout")
    print("to stderr", file=sys.stderr)
    warnings.warn("of something", stacklevel=1)
    np.log(np.zeros(1))
    return 1


def test_prints_and_warnings_become_notes_and_reach_neither_stream(verdict, capfd):
    out, err, showing = sys.stdout, sys.stderr, warnings.showwarning
    result = verdict(lambda student: same(student.f(), 1), f=loud)
    assert result.passed
    assert "It printed: to stdout\nto stderr" in result.notes
    assert "Python warned: of something" in result.notes and any("divide by zero" in note for note in result.notes)
    assert (sys.stdout, sys.stderr, warnings.showwarning) == (out, err, showing)
    assert capfd.readouterr() == ("", "")


def test_a_huge_print_is_kept_in_part_and_its_length_is_said(verdict):
    (note,) = verdict(lambda student: student.f(), f=lambda: print("x" * 1_000_000)).notes
    assert len(note) < 2_100 and note.startswith("It printed: xxx")


def test_endless_printing_and_warning_end_with_the_limit_in_little_memory(verdict):
    def forever():
        while True:
            print("again " * 1000)
            warnings.warn("again", stacklevel=1)

    result = verdict(lambda student: student.f(), seconds=0.5, f=forever)
    assert result.outcome == "timeout" and len(result.notes) == 2


class UnreadableError(Exception):
    def __str__(self):
        raise ValueError("no text for you")


class SilentExitError(Exception):
    def __str__(self):
        sys.exit(3)


class EndlessError(Exception):
    def __str__(self):
        while True:
            pass


class StrangeText(str):
    def __getitem__(self, _index):
        return "<b>cut</b>"

    def replace(self, *_):
        return "<b>unescaped</b>"


class StrangeTextError(Exception):
    def __str__(self):
        return StrangeText("strange")


class BareError(BaseException):
    pass


def recurse():
    return recurse()


RAISED = {
    "sys.exit": (lambda: sys.exit(2), "SystemExit: 2"),
    "a bare BaseException": (lambda: throw(BareError("odd")), "BareError: odd"),
    "GeneratorExit": (lambda: throw(GeneratorExit()), "GeneratorExit"),
    "an unreadable message": (lambda: throw(UnreadableError()), "UnreadableError: (its message could not be read)"),
    "a message that exits": (lambda: throw(SilentExitError()), "SilentExitError: (its message could not be read)"),
    "a strange message": (lambda: throw(StrangeTextError()), "StrangeTextError: strange"),
    "endless recursion": (recurse, "RecursionError: maximum recursion depth exceeded"),
    "a long message": (lambda: throw(ValueError("x" * 10_000)), "ValueError: xxx"),
    "NotImplementedError with a message": (lambda: throw(NotImplementedError("only 2-D")), "NotImplementedError: only 2-D"),
}


def throw(error):
    raise error


@pytest.mark.parametrize("kind", RAISED)
def test_whatever_student_code_raises_is_told_by_name_and_place(verdict, kind):
    function, words = RAISED[kind]
    result = verdict(lambda student: student.f(), f=function)
    assert result.outcome == "raised"
    assert f"Your code raised {words}" in result.message and ", in `" in result.message
    assert len(result.message) < 600 and type(result.message) is str


def test_an_error_message_that_never_ends_is_a_timeout(verdict):
    assert verdict(lambda student: student.f(), seconds=0.3, f=lambda: throw(EndlessError())).outcome == "timeout"


def stub():
    raise NotImplementedError


def uses_stub():
    return stub() + 1


class Unwritten(torch.nn.Module):
    def forward(self, x):
        raise NotImplementedError


def test_a_stub_is_missing_and_a_stub_in_a_helper_is_named(verdict):
    result = verdict(lambda student: student.stub(), stub=stub)
    assert (result.outcome, result.message) == ("missing", "`stub` is not written yet: replace its `raise NotImplementedError`.")
    result = verdict(lambda student: student.uses_stub(), uses_stub=uses_stub)
    assert (result.outcome, result.message.partition(":")[0]) == ("missing", "`stub` is not written yet")
    assert result.message.endswith("`uses_stub` relies on it.")
    result = verdict(lambda student: student.Net()(torch.ones(1)), Net=Unwritten)
    assert result.outcome == "missing" and result.message.startswith("`forward` is not written yet")


def test_raises_tells_the_right_refusal_from_none_and_another(verdict):
    def body(student):
        raises("ValueError", lambda: student.f(-1), "x is negative")

    assert verdict(body, f=lambda x: throw(ValueError())).passed
    assert verdict(body, f=lambda x: x).message == "ValueError must be raised when x is negative; nothing was raised."
    assert verdict(body, f=lambda x: throw(TypeError())).message == "Expected ValueError when x is negative; got TypeError."
    assert verdict(body, f=lambda x: stub()).outcome == "missing"
    assert verdict(body, seconds=0.2, f=lambda x: time.sleep(9)).outcome == "timeout"


def test_none_and_generators_and_handles_are_described_for_a_beginner(verdict):
    def told(value):
        return verdict(lambda student: close(student.f(), np.ones(2)), f=lambda: value).message

    assert told(None) == "The result is None. Is a `return` missing?"
    assert told(number for number in (1, 2)) == "The result should be an array or a number, got an object of type generator."
    assert told(np.sum) == "The result should be an array or a number, got an object of type _ArrayFunctionDispatcher."


@pytest.mark.parametrize("argument", [lambda x: x, object(), np.array([None]), np.ones, collections.Counter(), iter([])])
def test_only_plain_data_and_public_functions_can_be_given_to_student_code(verdict, argument):
    result = verdict(lambda student: student.f(argument), f=lambda value: None)
    assert result.outcome == "passed" if argument is np.ones else "broken"


def test_private_names_are_out_of_reach():
    handle = Handle(LocalStudent({}, Run(1)), Box(1), "box")
    with pytest.raises(AttributeError):
        _ = handle.__dict__
    with pytest.raises(AttributeError):
        _ = LocalStudent({"_x": 1}, Run(1))._x


def test_a_process_that_runs_a_bad_check_writes_nothing_to_stderr():
    program = """
        import warnings, sys, numpy as np
        from autograder.checking import case, close, exercise
        @exercise("a.b", points=1, seconds=0.3, needs=("f", "g"))
        def check(student, rng):
            with case("one"):
                close(student.f(), np.array([1.0, 2.0]))
            with case("two"):
                warnings.warn("the check's own")
                np.log(np.zeros(1))
                close(student.g(), np.float32([1e38, -1e38]) * np.float32(2))
        def f():
            print("printed", file=sys.stderr)
            warnings.warn("warned")
            class Bad:
                def __del__(self): raise ValueError("late")
            Bad()
            return np.array([1e308, -1e308])
        def g():
            while True:
                try: np.log(np.zeros(1))
                except BaseException: pass
        print(check.run({"f": f, "g": g}).score)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("0.0\n", "")
