"""The trusted side of a submission: what it makes of a partner that keeps to the rules, and of one that does not."""

import base64
import json
import socket
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from attacks import HONEST, small_notebook

from autograder.checking.cases import NotWritten, Run, StudentError
from autograder.checking.limits import TimeUp
from autograder.checking.student import Handle
from autograder.engine import wire
from autograder.engine.submission import MAX_NOTES, UNASKED, RemoteStudent, Submission, clean
from autograder.engine.unit import run_unit
from autograder.engine.worker import discard_zygotes

NOTHING = ((), "", (), ())


class Partner:
    """The other end of the stream. Answers each request with what `answers` make of it: a value to pack with its token, or raw bytes."""

    def __init__(self, *answers: Callable[[tuple], object]):
        self.ours, self._theirs = socket.socketpair()
        self.requests: list[tuple] = []
        self._thread = threading.Thread(target=self._serve, args=(answers,), daemon=True)
        self._thread.start()

    def _serve(self, answers: tuple[Callable[[tuple], object], ...]) -> None:
        for answer in answers:
            request = wire.receive(self._theirs)
            self.requests.append(request)
            said = answer(request)
            if isinstance(said, bytes):
                self._theirs.sendall(said)
            else:
                wire.send(self._theirs, said)

    def say(self, data: bytes) -> None:
        self._theirs.sendall(data)

    def hang_up(self) -> None:
        self._theirs.close()

    def close(self) -> None:
        self._thread.join(5)
        self.ours.close()
        self._theirs.close()


@pytest.fixture
def partner():
    made = []

    def make(*answers: Callable[[tuple], object]) -> Partner:
        made.append(Partner(*answers))
        return made[-1]

    yield make
    for one in made:
        one.close()


def value(content: object, extras: object = NOTHING) -> Callable[[tuple], object]:
    return lambda request: (request[0], "value", content, extras)


def frame(content: object) -> bytes:
    packed = wire.pack(content)
    return wire.HEADER.pack(len(packed)) + packed


def student_of(partner: Partner, seconds: float = 5) -> tuple[RemoteStudent, Submission]:
    submission, run = Submission(partner.ours, seconds), Run(1)
    run.deadline = time.monotonic() + 1
    return RemoteStudent(submission, {"f": "f"}, run), submission


def test_a_value_arrives_and_what_stays_is_a_handle_that_can_be_called(partner):
    other = partner(value(wire.Reference(3, "function")), value(np.arange(3)))
    student, submission = student_of(other)
    function = student.f
    assert type(function) is Handle
    assert function(1, [2.0]).tolist() == [0, 1, 2]
    submission.settle()
    assert not submission.tampered and not submission.gone
    (first_token, *first), (second_token, *second) = other.requests
    assert first[:2] == ["get", "f"] and second[:4] == ["call", wire.Reference(3, "function"), "f", (1, [2.0])]
    assert first_token != second_token and len(first_token) == 16


def test_an_exception_is_text_and_its_control_characters_are_gone(partner):
    student, _ = student_of(partner(lambda request: (request[0], "raised", ("Value\x1b[2JError", "a\u202eb", ", here"), NOTHING)))
    with pytest.raises(StudentError) as raised:
        _ = student.f
    assert str(raised.value) == "Value[2JError: ab"


def test_what_is_absent_is_not_written(partner):
    student, _ = student_of(partner(lambda request: (request[0], "absent")))
    with pytest.raises(NotWritten):
        _ = student.f


TAMPERED = {
    "an empty frame": lambda request: wire.HEADER.pack(0),
    "a malformed frame": lambda request: wire.HEADER.pack(3) + b"\xc1\xc1\xc1",
    "a frame too large": lambda request: wire.HEADER.pack(2**32 - 1),
    "no tuple": lambda request: [request[0], "value", 1, NOTHING],
    "another token": lambda request: (b"?" * 16, "value", 1, NOTHING),
    "a token that is equal to all": lambda request: (True, "value", 1, NOTHING),
    "the token alone": lambda request: (request[0],),
    "an answer that is too short": lambda request: (request[0], "value", 1),
    "an answer that is too long": lambda request: (request[0], "value", 1, NOTHING, 1),
    "an unknown outcome": lambda request: (request[0], "passed", 1, NOTHING),
    "a token that is an array": lambda request: (np.ones(16), "value", 1, NOTHING),
    "an outcome that is an array": lambda request: (request[0], np.ones(3), 1, NOTHING),
    "an outcome that is a list": lambda request: (request[0], ["value"], 1, NOTHING),
    "an exception of one part": lambda request: (request[0], "raised", ("E",), NOTHING),
    "an exception that is no text": lambda request: (request[0], "raised", ("E", 1, ""), NOTHING),
    "a stub that is no text": lambda request: (request[0], "not written", 7, NOTHING),
    "notes that are numbers": value(1, ((1,), "", (), ())),
    "too many notes": value(1, (tuple(map(str, range(MAX_NOTES + 1))), "", (), ())),
    "an argument that was never given": value(1, ((), "", (0,), (1,))),
    "a changed argument without its value": value(1, ((), "", (0,), ())),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_an_answer_of_another_form_ends_the_submission_as_tampered(what, partner):
    student, submission = student_of(partner(TAMPERED[what]))
    with pytest.raises(StudentError):
        _ = student.f
    assert submission.tampered
    with pytest.raises(StudentError):
        _ = student.f


def test_bytes_before_the_question_are_tampering_be_they_one_or_a_whole_frame(partner):
    for early in (b"\x00", frame((bytes(16), "value", 1, NOTHING))):
        other = partner()
        student, submission = student_of(other)
        other.say(early)
        with pytest.raises(StudentError):
            _ = student.f
        assert submission.tampered == UNASKED


def test_a_second_answer_that_comes_with_the_first_is_found_at_once(partner):
    student, submission = student_of(partner(lambda request: frame((request[0], "value", 1, NOTHING)) + frame((request[0], "value", 2, NOTHING))))
    with pytest.raises(StudentError):
        _ = student.f
    assert "followed by another" in submission.tampered


def test_a_second_answer_after_a_long_first_is_found_at_the_next_question(partner):
    long = "x" * wire.FIRST_PART
    student, submission = student_of(partner(lambda request: frame((request[0], "value", long, NOTHING)) + b"\x00"))
    assert student.f == long
    with pytest.raises(StudentError):
        _ = student.f
    assert submission.tampered == UNASKED


def test_a_second_answer_to_the_last_question_is_found_at_the_end(partner):
    other = partner(value(1))
    student, submission = student_of(other)
    assert student.f == 1
    other.say(b"\x00")
    submission.settle()
    assert submission.tampered == UNASKED


def test_an_answer_from_before_is_no_answer(partner):
    seen = []

    def first(request: tuple) -> object:
        seen.append(request[0])
        return request[0], "value", 1, NOTHING

    student, submission = student_of(partner(first, lambda request: (seen[0], "value", 1, NOTHING)))
    assert student.f == 1
    with pytest.raises(StudentError):
        _ = student.f
    assert submission.tampered


def test_who_hangs_up_has_crashed_and_is_not_asked_again(partner):
    other = partner()
    student, submission = student_of(other)
    other.hang_up()
    for _ in range(2):
        with pytest.raises(StudentError):
            _ = student.f
    assert (submission.gone, submission.tampered) == ("crashed", "")


def test_who_is_silent_is_out_of_time_and_is_not_asked_again(partner):
    other = partner()
    student, submission = student_of(other, seconds=0.3)
    began = time.monotonic()
    for _ in range(3):
        with pytest.raises(TimeUp):
            _ = student.f
    assert (submission.gone, submission.tampered) == ("timeout", "")
    assert time.monotonic() - began < 2


def test_a_frame_that_never_ends_is_out_of_time(partner):
    student, submission = student_of(partner(lambda request: wire.HEADER.pack(1000) + b"x"), seconds=0.3)
    with pytest.raises(TimeUp):
        _ = student.f
    assert submission.gone == "timeout"


def test_whoever_is_interrupted_within_an_answer_asks_nothing_more(partner, monkeypatch):
    student, submission = student_of(partner())

    def interrupted(*_arguments: object) -> None:
        raise TimeUp

    monkeypatch.setattr(wire, "receive", interrupted)
    with pytest.raises(TimeUp):
        _ = student.f
    assert submission.gone == "timeout"


def test_notes_are_cleaned_and_bounded_over_many_calls(partner):
    answers = [value(1, (tuple(f"{call}.{note}\x07" for note in range(MAX_NOTES // 2)), "", (), ())) for call in range(4)]
    student, _ = student_of(partner(*answers))
    for _ in answers:
        assert student.f == 1
    notes = student._run_state.notes
    assert len(notes) == MAX_NOTES and "\x07" not in "".join(notes)


def outputs_from(partner, outputs: object, limit: int = 10_000) -> list[dict]:
    submission = Submission(partner(lambda request: (request[0], "done", outputs, 0.1)).ours, 5)
    return submission.cell("1", 1, limit)[1]


PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode()


def test_text_and_pictures_are_kept_and_everything_active_is_not(partner):
    bundle = {
        "text/plain": "a\x1b[31mb", "image/png": PNG, "image/jpeg": PNG, "text/html": "<b>", "image/svg+xml": "<svg>", "text/latex": "$x$",
        "text/markdown": "x", "application/javascript": "x", "application/vnd.nbgrader": "3",
    }  # fmt: skip
    (output,) = outputs_from(partner, [{"output_type": "display_data", "data": bundle, "metadata": {"score": 3}}])
    assert output == {"output_type": "display_data", "data": {"text/plain": "a[31mb", "image/png": PNG}, "metadata": {}}


@pytest.mark.parametrize("picture", ['"><script>alert(1)</script>', PNG + "!", "data:" + PNG, base64.b64encode(b"<svg>").decode(), "é", "", 3, None])
def test_a_picture_that_is_none_is_dropped(picture, partner):
    assert outputs_from(partner, [{"output_type": "display_data", "data": {"image/png": picture}}]) == []


@pytest.mark.parametrize(
    "output",
    [
        None, 1, "x", [], {}, {"output_type": "stream"}, {"output_type": "stream", "name": "score", "text": "3"}, {"output_type": ["stream"]},
        {"output_type": "stream", "name": "stdout", "text": 3}, {"output_type": "error", "ename": 1, "evalue": "", "traceback": []},
        {"output_type": "error", "ename": "E", "evalue": "", "traceback": 7}, {"output_type": "display_data", "data": [1]},
        {"output_type": "update_display_data", "data": {"text/plain": "x"}},
    ],
)  # fmt: skip
def test_an_output_of_another_form_is_dropped(output, partner):
    assert outputs_from(partner, [output]) == []


def test_more_output_than_is_kept_is_cut_with_a_note(partner):
    text = {"output_type": "stream", "name": "stdout", "text": "x" * 900}
    kept = outputs_from(partner, [text] * 70, limit=2000)
    assert len(json.dumps(kept)) < 6000 and "more output" in kept[-1]["text"]


@pytest.mark.parametrize("answer", [("done", {}, 0.1), ("passed", [], 0.1), ("done", []), ("raised", ("E", "", ""), NOTHING), (["done"], [], 0.1)])
def test_a_cell_answered_in_another_form_is_tampering(answer, partner):
    submission = Submission(partner(lambda request: (request[0], *answer)).ours, 5)
    submission.cell("1", 1, 1000)
    assert submission.tampered


def test_text_that_is_shown_has_a_bound_and_keeps_tabs_and_lines():
    assert clean("a\tb\nc\x00\x7f\x9b\u2066") == "a\tb\nc"
    assert len(clean("x" * 10**6)) <= 4000
    with pytest.raises(ValueError):
        clean(b"x")


@pytest.mark.sandbox
def test_an_honest_submission_never_looks_like_a_crash(unit_of):
    notebook = small_notebook(**HONEST)
    assert {(result.status, result.score) for result in (run_unit(unit_of(notebook)) for _ in range(20))} == {("graded", 8.0)}
    discard_zygotes()
