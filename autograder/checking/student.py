"""The check's only way to student code.

A check writes `student.softmax(x)` and gets plain data back: numbers, strings, lists, tuples, dicts, arrays and tensors, copied. Anything
else (an object, a function, a class instance) stays with the student, and the check holds a `Handle` on it, which can be called, read
(`handle.data`), and combined with `+ - * / **`. Arguments are copied too, so a function that writes into them cannot reach the check's own
arrays; what it left in its copies is in `student.last_arguments`. A function given as an argument must be importable by name, and none of
the grader's: it then exists on both sides.

This narrow set of operations is what lets the same check run with the student's code in another process. Here both live in one: that is
for the student's own notebook, where nobody is cheated but the student.
"""

import contextlib
import importlib
import io
import linecache
import operator
import sys
import traceback
import types
import warnings
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeGuard

import numpy as np

from autograder.checking.cases import CheckError, NotWritten, Run, StudentError
from autograder.checking.limits import TimeUp, within

MAX_OUTPUT = 2_000  # characters of printed text that are kept
MAX_WARNINGS = 20
PLAIN = (bool, int, float, complex, str, bytes, type(None))
SCALARS = frozenset(np.sctypeDict.values()) - {np.void, np.object_}
DICTS = (dict, OrderedDict, defaultdict, Counter)


def is_tensor(value: Any) -> TypeGuard[Any]:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def kind_of(value: Any) -> str:
    """What a value is, for a sentence."""
    if value is None:
        return "None (is a `return` missing?)"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if is_tensor(value):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, list | tuple | dict):
        return f"a {type(value).__name__} of {len(value)}"
    return f"an object of type {value._kind if isinstance(value, Handle) else type(value).__name__}"


class Handle:
    """An object that stays with the student. It has no value of its own here: comparing it, or asking for its truth, is a TypeError."""

    __slots__ = ("_kind", "_name", "_student", "_value")
    __hash__ = object.__hash__
    __array_ufunc__ = None  # NumPy leaves `array * handle` to the handle

    def __init__(self, student: Any, value: object, name: str, kind: str = ""):
        self._student, self._value, self._name, self._kind = student, value, name, kind or type(value).__name__

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._student._call(self._value, self._name, arguments, named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._student._attribute(self._value, name, f"{self._name}.{name}")

    def __repr__(self) -> str:
        return kind_of(self)

    def __eq__(self, other: object) -> bool:
        raise TypeError(f"{kind_of(self)} cannot be compared")

    __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __eq__

    def __bool__(self) -> bool:
        raise TypeError(f"{kind_of(self)} is neither true nor false")

    def __array__(self, *_arguments: Any, **_named: Any) -> np.ndarray:
        raise TypeError(f"{kind_of(self)} is not an array")

    def __add__(self, other: Any) -> Any:
        return self._combine(operator.add, other)

    def __radd__(self, other: Any) -> Any:
        return self._combine(operator.add, other, reflected=True)

    def __sub__(self, other: Any) -> Any:
        return self._combine(operator.sub, other)

    def __rsub__(self, other: Any) -> Any:
        return self._combine(operator.sub, other, reflected=True)

    def __mul__(self, other: Any) -> Any:
        return self._combine(operator.mul, other)

    def __rmul__(self, other: Any) -> Any:
        return self._combine(operator.mul, other, reflected=True)

    def __truediv__(self, other: Any) -> Any:
        return self._combine(operator.truediv, other)

    def __rtruediv__(self, other: Any) -> Any:
        return self._combine(operator.truediv, other, reflected=True)

    def __pow__(self, other: Any) -> Any:
        return self._combine(operator.pow, other)

    def __neg__(self) -> Any:
        return self._student._call(operator.neg, "__neg__", (self,), {})

    def _combine(self, operation: Callable, other: Any, reflected: bool = False) -> Any:
        pair = (other, self) if reflected else (self, other)
        return self._student._call(operation, f"__{'r' if reflected else ''}{operation.__name__}__", pair, {})


class LocalStudent:
    """Student code in this process: `student.NAME` is the object that the student handed in under that name."""

    def __init__(self, objects: Mapping[str, object], run: Run):
        self._objects, self._run_state = dict(objects), run
        self.last_arguments: tuple = ()
        self.last_changed: tuple[int, ...] = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self._objects:
            raise CheckError(f"the exercise never asked for {name!r}")
        self._run_state.remaining()
        return self._receive(self._objects[name], name)

    def _call(self, function: Any, name: str, arguments: tuple, named: dict) -> Any:
        sent = tuple(self._send(argument) for argument in arguments)
        sent_named = {key: self._send(value) for key, value in named.items()}
        try:
            return self._run(lambda: function(*sent, **sent_named), name)
        finally:
            self.last_arguments = tuple(self._receive(value, name) for value in sent)
            self.last_changed = tuple(
                position for position, (before, after) in enumerate(zip(arguments, self.last_arguments, strict=True)) if not _identical(before, after)
            )
            for position in self.last_changed:
                self._run_state.note(f"`{name}` changed its argument number {position + 1} in place.")

    def _attribute(self, value: object, name: str, shown: str) -> Any:
        return self._run(lambda: getattr(value, name), shown)

    def _run(self, action: Callable[[], Any], name: str) -> Any:
        limit = self._run_state.remaining()
        if limit <= 0:
            raise TimeUp

        def guarded() -> tuple[Any, Exception | None]:
            try:
                return action(), None
            except (TimeUp, KeyboardInterrupt):
                raise
            except BaseException as error:  # its text is the student's code too
                return None, _failure(error, name)

        printed = _BoundedText()
        try:
            with _captured(printed, self._run_state):
                value, failure = within(limit, guarded)
        finally:
            text = printed.getvalue().strip()
            if text:
                self._run_state.note(f"It printed: {_clip(text, MAX_OUTPUT)}")
        if failure is not None:
            raise failure
        received = self._receive(value, name)
        self._run_state.last_return = f"`{name}` gave {kind_of(received)}."
        return received

    def _send(self, value: Any) -> Any:
        """A copy for the student; a handle becomes the object it stands for."""
        if isinstance(value, Handle):
            return value._value
        if isinstance(value, (*PLAIN, np.generic)):
            return value
        if isinstance(value, np.ndarray) and not value.dtype.hasobject:
            return value.copy(order="K")
        if is_tensor(value):
            return value.detach().clone().requires_grad_(value.requires_grad)
        if type(value) in (list, tuple):
            items = [self._send(item) for item in value]
            return items if type(value) is list else tuple(items)
        if type(value) is dict:
            return {self._send(key): self._send(item) for key, item in value.items()}
        if callable(value) and _public(value):
            return value
        what = "array of objects" if isinstance(value, np.ndarray) else type(value).__name__
        raise CheckError(f"{_article(what)} cannot be given to student code")

    def _receive(self, value: Any, name: str) -> Any:
        """Plain data, copied; a handle for everything else. By exact type: a subclass, or a false `__class__`, may lie about itself."""
        kind = type(value)
        plain: Any = value
        if kind in PLAIN or kind in SCALARS:
            return plain
        if kind in (list, tuple):
            items = [self._receive(item, name) for item in plain]
            return items if kind is list else tuple(items)
        if issubclass(kind, np.ndarray):
            array = np.array(plain, copy=True, subok=False)
            return Handle(self, value, name) if array.dtype.hasobject else array
        if _is_exact_tensor(kind):
            return plain.detach().clone()
        if issubclass(kind, tuple) and kind.__module__ == "torch.return_types":  # what `tensor.max(dim)` gives
            return tuple(self._receive(item, name) for item in tuple.__iter__(plain))
        if kind in DICTS:
            return {self._receive(key, name): self._receive(item, name) for key, item in plain.items()}
        return Handle(self, value, name)


class AbsentStudent:
    """Stands in for a student who wrote nothing: running a check with it lists the check's cases."""

    last_arguments: tuple = ()
    last_changed: tuple[int, ...] = ()

    def __init__(self, run: Run):
        self._run_state = run

    def __getattr__(self, name: str) -> Any:
        self._run_state.remaining()
        raise NotWritten(f"`{name}` is not written yet.")


class _BoundedText(io.TextIOBase):
    """Takes any amount of text and keeps the beginning."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self._size < MAX_OUTPUT:
            self._parts.append(text[: MAX_OUTPUT - self._size])
        self._size += len(text)
        return len(text)

    def getvalue(self) -> str:
        cut = f" … ({self._size:,} characters in all)" if self._size > MAX_OUTPUT else ""
        return "".join(self._parts) + cut


@contextlib.contextmanager
def _captured(printed: _BoundedText, run: Run) -> Iterator[None]:
    """Text printed and warnings go to the case's notes; the student's settings of floating-point errors end with the call."""
    seen: list[None] = []

    def keep(message: Warning | str, *_arguments: Any, **_named: Any) -> None:
        if len(seen) < MAX_WARNINGS:
            seen.append(None)
            run.note(f"Python warned: {_clip(_text(message), 200)}")

    with (
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        warnings.catch_warnings(),
        np.errstate(divide="warn", over="warn", invalid="warn", under="ignore"),  # as NumPy has it by default
    ):
        warnings.showwarning = keep
        warnings.simplefilter("always")
        yield


def _is_exact_tensor(kind: type) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and kind in (torch.Tensor, torch.nn.Parameter)


def _public(function: Callable) -> bool:
    """Can the function be imported by name on the other side, and is it none of the grader's?"""
    module, name = getattr(function, "__module__", None) or "", getattr(function, "__qualname__", "")
    if not name or module.partition(".")[0] in ("autograder", "__main__", ""):
        return False
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return False
    return found is function


def _identical(before: Any, after: Any) -> bool:
    """Is what was sent, bit for bit, what is there now? `after` is as `_receive` gives it."""
    if isinstance(before, Handle) or isinstance(after, Handle):
        return isinstance(before, Handle) or callable(before)
    if isinstance(before, np.ndarray):
        return isinstance(after, np.ndarray) and before.shape == after.shape and before.dtype == after.dtype and before.tobytes() == after.tobytes()
    if is_tensor(before):
        alike = is_tensor(after) and before.shape == after.shape and before.dtype == after.dtype
        return alike and bool(((before == after) | (before.isnan() & after.isnan())).all())
    if isinstance(before, list | tuple):
        return type(before) is type(after) and len(before) == len(after) and all(_identical(*pair) for pair in zip(before, after, strict=True))
    if isinstance(before, dict):
        return isinstance(after, dict) and before.keys() == after.keys() and all(_identical(before[key], after[key]) for key in before)
    if isinstance(after, np.ndarray | list | tuple | dict) or is_tensor(after):
        return False
    return before is after or bool(before == after) or (before != before and after != after)


def _failure(error: BaseException, name: str) -> Exception:
    """What student code raised, as text alone."""
    message = _text(error)
    if isinstance(error, NotImplementedError) and not message:
        return NotWritten(_not_written(name, error))
    return StudentError(type(error).__name__, _clip(message, 300), _where(error))


def _text(thing: object) -> str:
    """The message of an exception or warning: an exact str, whatever its class does."""
    try:
        return str.__str__(str(thing))
    except (TimeUp, KeyboardInterrupt):
        raise
    except BaseException:
        return "(its message could not be read)"


def _not_written(name: str, error: BaseException) -> str:
    """Says which function is missing: the one that the check called, or one that it relies on."""
    frames = _student_frames(error)
    missing = frames[-1][0].f_code.co_name if frames else name
    reason = "" if missing == name or name.endswith(f".{missing}") else f" `{name}` relies on it."
    return f"`{missing}` is not written yet: replace its `raise NotImplementedError`.{reason}"


def _student_frames(error: BaseException) -> list[tuple[types.FrameType, int]]:
    """Frames and lines that the error passed through, but for the grader's own."""
    own = __name__.partition(".")[0]
    return [pair for pair in traceback.walk_tb(error.__traceback__) if str(pair[0].f_globals.get("__name__")).partition(".")[0] != own]


def _where(error: BaseException) -> str:
    """The last line of the student's own code that the error passed through."""
    frames = _student_frames(error)
    mine = [frame for frame in frames if _is_notebook_cell(frame[0].f_code)] or frames
    if not mine:
        return ""
    frame, line = mine[-1]
    source = linecache.getline(frame.f_code.co_filename, line).strip()
    return f", in `{frame.f_code.co_name}`, line {line}" + (f": `{_clip(source, 120)}`" if source else "")


def _is_notebook_cell(code: types.CodeType) -> bool:
    return "ipykernel_" in code.co_filename or code.co_filename.startswith("<")


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiouAEIOU' else 'a'} {noun}"


def _clip(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
