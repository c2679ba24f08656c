"""UNTRUSTED SIDE. Runs a student's cells and answers the trusted side's requests, in a process that the student's code shares.

Nothing here decides anything: whatever this process says is taken as the student's word. It holds no expected value, seed, point or hidden case.

A request is (token, operation, ...); its answer is (token, outcome, ...). The token is new for every request, so that an answer which was
written before the question is known for what it is.
"""

import base64
import operator
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from autograder.checking import predict
from autograder.checking.cases import NotWritten, Run, StudentError
from autograder.checking.limits import TimeUp, within
from autograder.checking.student import Handle, LocalStudent, kind_of
from autograder.engine import wire

MAX_OUTPUTS = 60  # of one cell
OPERATORS = {name: getattr(operator, name) for name in ("add", "sub", "mul", "truediv", "pow", "neg")}
ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Recorder:
    """The outputs of one cell in nbformat's terms, in their order, and no more than `limit` bytes of them."""

    def __init__(self, limit: int):
        self.outputs: list[dict] = []
        self._left, self._cut = limit, False

    def stream(self, name: str, text: str) -> None:
        text = _whole(text)
        taken = text[: max(self._left, 0)]
        self._left -= len(taken)
        if taken and self.outputs and self.outputs[-1].get("name") == name:
            self.outputs[-1]["text"] += taken
        elif taken:
            self._add({"output_type": "stream", "name": name, "text": taken})
        if len(taken) < len(text):
            self._cut_short()

    def data(self, kind: str, bundle: dict, metadata: dict) -> None:
        kept: dict[str, Any] = {}
        for mimetype, value in bundle.items():
            if isinstance(value, bytes):
                value = base64.b64encode(value).decode()
            if type(mimetype) is str and type(value) is str:
                kept[_whole(mimetype)] = _whole(value)
        size = sum(map(len, kept.values()))
        if size > self._left:
            self._cut_short()
            return
        self._left -= size
        self._add({"output_type": kind, "data": kept, "metadata": {}})

    def error(self, error: BaseException) -> None:
        try:
            message = _whole(str.__str__(str(error))[:2000])
        except BaseException:
            message = "(its message could not be read)"
        name = _whole(type(error).__name__)
        self._add({"output_type": "error", "ename": name, "evalue": message, "traceback": [f"{name}: {message}"]})

    def _add(self, output: dict) -> None:
        if len(self.outputs) < MAX_OUTPUTS:
            self.outputs.append(output)
        else:
            self._cut_short()

    def _cut_short(self) -> None:
        if not self._cut:
            self._cut = True
            self.outputs.append({"output_type": "stream", "name": "stdout", "text": "\n… (more output than is kept)\n"})


def _whole(text: str) -> str:
    """The text with a question mark for every half character, which could not cross."""
    return text.encode("utf-8", "replace").decode()


class _Stream:
    """Stands in for stdout or stderr while a cell runs."""

    encoding, errors = "utf-8", "replace"

    def __init__(self, recorder: Recorder, name: str):
        self._recorder, self._name = recorder, name

    def write(self, text: str) -> int:
        self._recorder.stream(self._name, ANSI.sub("", str(text)))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        raise OSError("a notebook's output has no file descriptor")


class Inside:
    """One student's notebook, running."""

    def __init__(self, stream: socket.socket, shell: Any):
        self._stream, self._shell = stream, shell
        self._handles: dict[int, Handle] = {}
        self._process = os.getpid()
        self._operations = {
            "cell": self._cell,
            "get": self._get,
            "call": self._call,
            "attribute": self._attribute,
            "predicted": self._predicted,
        }

    def serve(self) -> None:
        """Answer requests until the trusted side hangs up."""
        while True:
            try:
                token, name, *arguments = wire.receive(self._stream)
            except wire.Closed:
                return
            try:
                answer = wire.pack((token, *self._operations[name](*arguments)))
            except BaseException as error:  # too large, too deep, without end: this call fails, and the notebook goes on
                message = str(error) if type(error) is wire.WireError else type(error).__name__
                answer = wire.pack((token, "raised", ("ValueError", _whole(f"the result could not be read: {message}"), ""), self._nothing()))
            if os.getpid() != self._process:
                os._exit(0)  # a cell has forked, and this copy of it came out of the cell as well
            wire.send_packed(self._stream, answer)

    def _cell(self, source: str, seconds: float, output_limit: int) -> tuple:
        """Run one cell. → ("done" | "error" | "timeout", outputs, seconds)"""
        recorder = Recorder(output_limit)
        started = time.monotonic()
        try:
            with _recording(self._shell, recorder):
                result = within(seconds, lambda: self._shell.run_cell(source, store_history=True))
            error = result.error_before_exec or result.error_in_exec
            outcome = "error" if error is not None else "done"
            if isinstance(error, TimeUp):
                raise error
            if error is not None:
                recorder.error(error)
        except TimeUp:
            outcome = "timeout"
            recorder.error(TimeoutError(f"the cell was stopped after {seconds:g} s"))
        except BaseException as error:
            outcome = "error"
            recorder.error(error)
        return outcome, recorder.outputs, time.monotonic() - started

    def _get(self, name: str, seconds: float) -> tuple:
        """What the notebook calls by a name. → ("value", value, extras) or ("absent",)"""
        if name not in self._shell.user_ns:
            return ("absent",)
        return self._perform(seconds, lambda student: getattr(student, name))

    def _predicted(self, name: str, seconds: float) -> tuple:
        """Is there a prediction under a name? → ("value", yes or no)"""
        return "value", within(seconds, lambda: bool(predict._made(self._shell.user_ns.get(name))))

    def _call(self, target: Any, name: str, arguments: tuple, named: dict, seconds: float) -> tuple:
        """Call an object by its reference, or a whitelisted operator by its name."""
        function = OPERATORS[target] if isinstance(target, str) else self._handles[target.number]._value
        return self._perform(seconds, lambda student: student._call(function, name, self._arrive(arguments), self._arrive(named)))

    def _attribute(self, target: wire.Reference, name: str, shown: str, seconds: float) -> tuple:
        return self._perform(seconds, lambda student: student._attribute(self._handles[target.number]._value, name, shown))

    def _perform(self, seconds: float, action: Any) -> tuple:
        run = Run(seconds)
        run.deadline = time.monotonic() + seconds
        student = LocalStudent(self._shell.user_ns, run)
        try:
            outcome, value = "value", action(student)
        except NotWritten as missing:
            outcome, value = "not written", str(missing)
        except StudentError as error:
            outcome, value = "raised", (error.kind, error.message, error.where)
        except TimeUp:
            outcome, value = "timeout", None
        changed = tuple(student.last_changed)
        after = tuple(self._leave(student.last_arguments[position]) for position in changed)
        return outcome, self._leave(value), (tuple(run.notes), run.last_return, changed, after)

    @staticmethod
    def _nothing() -> tuple:
        return (), "", (), ()

    def _leave(self, value: Any) -> Any:
        """What crosses for a value: itself, or a reference to what stays."""
        kind = type(value)
        if kind is Handle:
            number = len(self._handles)
            self._handles[number] = value
            return wire.Reference(number, kind_of(value).removeprefix("an object of type "))
        if kind in (list, tuple):
            return kind(self._leave(item) for item in value)
        if kind is dict:
            return {self._leave(key): self._leave(item) for key, item in value.items()}
        return value

    def _arrive(self, value: Any) -> Any:
        """What came for the student: references become the handles that they stand for, names the functions that they name."""
        kind = type(value)
        if kind is wire.Reference:
            return self._handles[value.number] if value.kind != "public" else None
        if kind in (list, tuple):
            return kind(self._arrive(item) for item in value)
        if kind is dict:
            if value.keys() == {PUBLIC}:
                return _import(value[PUBLIC])
            return {self._arrive(key): self._arrive(item) for key, item in value.items()}
        return value


PUBLIC = "\0function"  # a dict with this one key stands for a function that both sides can import


def _import(name: str) -> Any:
    import importlib

    module, _, qualified = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in qualified.split("."):
        found = getattr(found, part)
    return found


@contextmanager
def _recording(shell: Any, recorder: Recorder) -> Iterator[None]:
    """Everything that a cell shows goes to the recorder."""
    shell.display_pub.recorder = recorder
    shell.displayhook.recorder = recorder
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Stream(recorder, "stdout"), _Stream(recorder, "stderr")  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def make_shell() -> Any:
    """An IPython shell without history, colour or files, whose displays go to a recorder. Made once, before any student's code runs."""
    from IPython.core.displayhook import DisplayHook
    from IPython.core.displaypub import DisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    class Publisher(DisplayPublisher):
        recorder: Any = None

        def publish(self, data: dict, metadata: dict | None = None, **_named: Any) -> None:
            if self.recorder is not None:
                self.recorder.data("display_data", data, metadata or {})

        def clear_output(self, wait: bool = False) -> None:
            if self.recorder is not None:
                self.recorder.outputs.clear()

    class Hook(DisplayHook):
        recorder: Any = None

        def __call__(self, result: Any = None) -> None:
            if result is None or self.quiet():
                return
            bundle, metadata = self.compute_format_data(result)
            self.update_user_ns(result)
            if self.recorder is not None:
                self.recorder.data("execute_result", bundle, metadata)

    class Shell(InteractiveShell):
        display_pub_class = Publisher
        displayhook_class = Hook

        def showtraceback(self, *_arguments: Any, **_named: Any) -> None: ...

        def showsyntaxerror(self, *_arguments: Any, **_named: Any) -> None: ...

        def system(self, cmd: str) -> None:
            """`!command`. IPython would give it a terminal, which is not there where submissions have no namespaces."""
            reading, writing = os.pipe()
            shell = ["/bin/sh", "-c", self.var_expand(cmd, depth=1)]
            with open(reading, "rb", buffering=0) as output, open(writing, "wb") as end:
                process = subprocess.Popen(shell, stdin=subprocess.DEVNULL, stdout=end, stderr=end)
                end.close()
                try:
                    while part := output.read(65536):
                        sys.stdout.write(part.decode(errors="replace"))
                except BaseException:
                    with suppress(PermissionError):  # not even its own may be signalled behind an older Landlock
                        process.kill()
                    raise
            self.user_ns["_exit_code"] = process.wait()

        @contextmanager
        def _tee(self, *_arguments: Any, **_named: Any) -> Iterator[None]:
            """IPython would keep a second copy of everything that is printed, without a bound."""
            yield

        def _format_exception_for_storage(self, *_arguments: Any, **_named: Any) -> list[str]:
            """IPython would lay out every traceback in colour for its history, which takes longer than most cells."""
            return []

    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    return Shell.instance(config=config)
