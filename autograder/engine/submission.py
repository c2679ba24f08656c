"""The trusted side of one running submission: asks, and believes nothing that it cannot check.

Every request carries a fresh random token, which its answer must repeat. Bytes that come when nothing was asked, an answer with another token, or
one that is not of the form that was asked for, mean that somebody else than the course's own code wrote to the stream. The submission is then
*tampered*, is ended at once, and everything that it earned is dropped: what a cheat let it earn before cannot be told from what it earned honestly.
"""

import base64
import binascii
import importlib
import json
import secrets
import socket
import time
from collections.abc import Callable
from typing import Any

from autograder.checking.cases import CheckError, NotWritten, Run, StudentError
from autograder.checking.limits import TimeUp
from autograder.checking.student import Handle
from autograder.engine import wire
from autograder.engine.inside import OPERATORS, PUBLIC

GRACE = 1.5  # seconds that the inside has, beyond its own limit, to say that the limit was reached
MAX_NOTES, MAX_TEXT = 60, 4_000  # of one answer or case, and characters of one text
MAX_OUTPUTS = 80  # of one cell
OPERATOR_NAMES = {function: name for name, function in OPERATORS.items()}
# Control characters, but for tab and line feed, and those that turn the direction of text around.
CLEAN = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)))


UNASKED = "something was said that nobody had asked for"


class Tampered(Exception):
    """Somebody else than the course's own code wrote to the stream."""


class Submission:
    """One student's notebook, running behind walls. After `gone` is set, nothing is asked any more."""

    def __init__(self, stream: socket.socket, seconds: float):
        self._stream, self._deadline = stream, time.monotonic() + seconds
        self.gone = ""  # why nobody answers: "", crashed or timeout
        self.tampered = ""  # what was found, in words

    def ask(self, operation: str, *arguments: Any, seconds: float) -> tuple:
        """One request and its answer without the token. TimeUp or StudentError when no answer can be had any more."""
        self._refuse_if_gone()
        token = secrets.token_bytes(16)
        try:
            content = wire.pack((token, operation, *arguments))
        except wire.WireError as error:
            raise CheckError(str(error)) from None
        deadline = min(time.monotonic() + seconds + GRACE, self._deadline)
        try:
            if wire.pending(self._stream):
                raise Tampered(UNASKED)
            wire.send_packed(self._stream, content, deadline)
            answer = wire.receive(self._stream, deadline)
            if type(answer) is not tuple or len(answer) < 2 or type(answer[0]) is not bytes or answer[0] != token or type(answer[1]) is not str:
                raise Tampered("an answer came that belongs to no question")
            return answer[1:]
        except (Tampered, wire.WireError) as found:
            self.tampered = self.gone = str(found)
        except wire.Closed:
            self.gone = "crashed"
        except TimeoutError:
            self.gone = "timeout"
        except BaseException:  # half of an answer may still be under way
            self.gone = "timeout"
            raise
        self._refuse_if_gone()
        raise AssertionError("it is gone")

    def settle(self) -> None:
        """To be called after the last question: something that has come after its answer is found here."""
        try:
            if not self.gone and wire.pending(self._stream):
                self._tampered(UNASKED)
        except wire.Closed:
            self.gone = "crashed"

    def cell(self, source: str, seconds: float, output_limit: int) -> tuple[str, list[dict]]:
        """Run one cell. → (done | error | timeout | crashed, its outputs, checked)"""
        try:
            outcome, outputs, _seconds = self.ask("cell", source, float(seconds), output_limit, seconds=seconds)
        except (StudentError, TimeUp):
            return self.gone, []
        except ValueError:
            self._tampered("an answer of the wrong form")
            return self.gone, []
        if outcome not in ("done", "error", "timeout") or type(outputs) is not list:
            self._tampered("an answer of the wrong form")
            return self.gone, []
        return outcome, self._kept(outputs, 2 * output_limit)

    def _kept(self, outputs: list, room: int) -> list[dict]:
        """The outputs that may be kept: checked, and no more than there is room for. The inside has cut them already, if it is honest."""
        kept: list[dict] = []
        for output in outputs[:MAX_OUTPUTS]:
            checked = _output(output)
            if checked is None:
                continue
            size = len(json.dumps(checked, ensure_ascii=False))
            if size > room:
                return [*kept, {"output_type": "stream", "name": "stdout", "text": "… (more output than is kept)\n"}]
            room -= size
            kept.append(checked)
        return kept

    def _tampered(self, what: str) -> None:
        self.tampered = self.gone = what

    def _refuse_if_gone(self) -> None:
        if not self.gone and time.monotonic() >= self._deadline:
            self.gone = "timeout"
        if self.gone == "timeout":
            raise TimeUp
        if self.gone:
            raise StudentError("ProcessEnded", "the process that runs the notebook has ended")


class RemoteStudent:
    """What a check calls `student`, with the student's code in another process. The same operations as `checking.student.LocalStudent`."""

    def __init__(self, submission: Submission, needs: dict[str, str], run: Run, stopped: str = ""):
        """needs: what the exercise calls an object → what the notebook calls it. stopped: what the answer's cell raised, if it did"""
        self._stopped = clean(stopped)
        self._submission, self._needs, self._run_state = submission, needs, run
        self.last_arguments: tuple = ()
        self.last_changed: tuple[int, ...] = ()
        self._handles: dict[str, Handle] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self._needs:
            raise CheckError(f"the exercise never asked for {name!r}")
        seconds = self._remaining()
        if name in self._handles:
            return self._handles[name]
        answer = self._submission.ask("get", self._needs[name], seconds, seconds=seconds)
        if answer == ("absent",):
            raise NotWritten(f"`{self._needs[name]}` is not there" + (f": its cell stopped with {self._stopped}." if self._stopped else "."))
        found = self._result(answer, name, ())
        if isinstance(found, Handle):  # stays with the student, where it may change; what it is called does not
            self._handles[name] = found
        return found

    def _call(self, function: Any, name: str, arguments: tuple, named: dict) -> Any:
        seconds = self._remaining()
        target = function if isinstance(function, wire.Reference) else OPERATOR_NAMES[function]
        sent, sent_named = self._lower(arguments), self._lower(named)
        answer = self._submission.ask("call", target, name, sent, sent_named, seconds, seconds=seconds)
        return self._result(answer, name, arguments)

    def _attribute(self, value: Any, name: str, shown: str) -> Any:
        seconds = self._remaining()
        return self._result(self._submission.ask("attribute", value, name, shown, seconds, seconds=seconds), shown, ())

    def _remaining(self) -> float:
        seconds = self._run_state.remaining()
        if seconds <= 0:
            raise TimeUp
        return float(seconds)

    def _result(self, answer: tuple, name: str, arguments: tuple) -> Any:
        """The value of an answer, or what it says went wrong, raised. Everything in it is checked for its form."""
        try:
            outcome, value, (notes, last_return, changed, after) = answer
            fine = type(notes) is tuple and len(notes) <= MAX_NOTES and type(last_return) is str and type(changed) is tuple and type(after) is tuple
            if not fine or len(changed) != len(after) or not all(type(place) is int and 0 <= place < len(arguments) for place in changed):
                raise ValueError
            for note in notes:
                if len(self._run_state.notes) < MAX_NOTES:
                    self._run_state.note(clean(note))
            self._run_state.last_return = clean(last_return)
            received = tuple(self._raise_up(item, name) for item in after)
        except (ValueError, TypeError):
            self._submission._tampered("an answer of the wrong form")
            raise StudentError("ProcessEnded", "the process that runs the notebook has ended") from None
        self.last_changed = changed
        now = dict(zip(changed, received, strict=True))
        self.last_arguments = tuple(now.get(place, argument) for place, argument in enumerate(arguments))
        if outcome == "value":
            return self._raise_up(value, name)
        if outcome == "not written" and type(value) is str:
            raise NotWritten(clean(value))
        if outcome == "raised" and type(value) is tuple and len(value) == 3 and all(type(part) is str for part in value):
            raise StudentError(*map(clean, value))
        if outcome == "timeout":
            raise TimeUp
        self._submission._tampered("an answer of the wrong form")
        raise StudentError("ProcessEnded", "the process that runs the notebook has ended")

    def _lower(self, value: Any) -> Any:
        """Handles become references, public functions their names; the wire refuses the rest."""
        if isinstance(value, Handle):
            return value._value
        if type(value) in (list, tuple):
            return value if wire.ATOMS.issuperset(map(type, value)) else type(value)(self._lower(item) for item in value)
        if type(value) is dict:
            return {key: self._lower(item) for key, item in value.items()}
        if callable(value):
            return {PUBLIC: _public_name(value)}
        return value

    def _raise_up(self, value: Any, name: str) -> Any:
        if type(value) is wire.Reference:
            return Handle(self, value, name, clean(value.kind))
        if type(value) in (list, tuple):
            return value if wire.ATOMS.issuperset(map(type, value)) else type(value)(self._raise_up(item, name) for item in value)
        if type(value) is dict:
            return {key: self._raise_up(item, name) for key, item in value.items()}
        return value


def clean(text: Any) -> str:
    """Text from the other side, fit to be shown: no control characters, of bounded length. ValueError for anything but text."""
    if type(text) is not str:
        raise ValueError("text is wanted")
    return text[:MAX_TEXT].translate(CLEAN)


def _public_name(function: Callable) -> str:
    module, name = function.__module__ or "", function.__qualname__
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    if found is not function or module.partition(".")[0] == "autograder":
        raise CheckError(f"{module}.{name} cannot be given to student code: it must be importable, and none of the grader's")
    return f"{module}:{name}"


IMAGES = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}  # what each begins with


def _output(output: Any) -> dict | None:
    """One output in nbformat's terms, or None. Text and pictures alone: a browser could be made to act by HTML, SVG, Markdown or LaTeX."""
    try:
        kind = output["output_type"]
        if kind == "stream" and output["name"] in ("stdout", "stderr"):
            return {"output_type": "stream", "name": output["name"], "text": output["text"].translate(CLEAN)}
        if kind == "error":
            trace = [clean(line) for line in output["traceback"][:50]]
            return {"output_type": "error", "ename": clean(output["ename"]), "evalue": clean(output["evalue"]), "traceback": trace}
        if kind in ("display_data", "execute_result"):
            data = {name: value for name in ("text/plain", *IMAGES) if (value := _shown(name, output["data"].get(name)))}
            checked: dict[str, Any] = {"output_type": kind, "data": data, "metadata": {}}
            return checked | ({"execution_count": None} if kind == "execute_result" else {}) if data else None
    except (KeyError, TypeError, AttributeError, ValueError):
        return None
    return None


def _shown(mimetype: str, value: Any) -> str:
    """The value of one form of a display, "" when it cannot be kept. A picture must be one, in base64 without anything else."""
    if type(value) is not str:
        return ""
    if mimetype == "text/plain":
        return value.translate(CLEAN)
    plain = "".join(value.split())
    try:
        picture = base64.b64decode(plain, validate=True)
    except (binascii.Error, ValueError):
        return ""
    return plain if picture.startswith(IMAGES[mimetype]) else ""
