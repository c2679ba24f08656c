"""Every attack scores nothing, ends in time with a status and a reason, leaves no trace, and changes no honest score."""

import json
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import pytest
from attacks import Attack, all_attacks, attacked, small_notebook
from processes import below

from autograder.engine.unit import Unit, UnitResult, run_unit, zygote_of
from autograder.engine.worker import discard_zygotes

pytestmark = pytest.mark.sandbox
ATTACKS = all_attacks()
SECONDS = 8 + 3  # the limit of a submission, and what it may take to begin and to end one
FORBIDDEN = (
    "<script",
    "javascript:",
    "onerror",
    "<svg",
    "text/html",
    "image/svg",
    "text/markdown",
    "text/latex",
    "\\u001b",
    "\\u009b",
    "\\u202e",
    "\\u0007",
)


class Listener:
    """A port and an abstract name on this machine; counts who comes."""

    def __init__(self) -> None:
        self.visits = 0
        self.name = f"\0course-tests-{os.getpid()}"
        port, name = socket.socket(socket.AF_INET, socket.SOCK_STREAM), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        port.bind(("127.0.0.1", 0))
        name.bind(self.name)
        self.port = port.getsockname()[1]
        for one in (port, name):
            one.listen()
            threading.Thread(target=self._count, args=(one,), daemon=True).start()

    def _count(self, listening: socket.socket) -> None:
        while True:
            listening.accept()
            self.visits += 1


@pytest.fixture(scope="module")
def listener() -> Listener:
    return Listener()


@pytest.fixture(scope="module", autouse=True)
def zygotes_end_with_the_module() -> Iterator[None]:
    yield
    discard_zygotes()


def files_of_nobody() -> set[Path]:
    found = set()
    for entry in (entry for place in ("/tmp", "/dev/shm", "/var/tmp") for entry in Path(place).iterdir()):
        with suppress(FileNotFoundError):  # somebody else's, and gone by now
            if entry.lstat().st_uid == 65534:
                found.add(entry)
    return found


def outputs_of(result: UnitResult) -> list[dict]:
    """Of the cells that student code filled, not of the checks."""
    cells = json.loads(result.executed)["cells"]
    return [output for cell in cells if not cell["id"].startswith("check-") for output in cell.get("outputs", [])]


def run_honest(unit: Unit) -> list[str]:
    """Full marks, and nothing left behind by others. → the outcome of every case"""
    result = run_unit(unit)
    assert (result.status, result.score) == ("graded", result.max_score), (result.reason, result.results)
    assert "left behind: [[], [], []] False" in outputs_of(result)[0]["text"]
    return [case.outcome for item in result.results for case in item.cases]


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_an_attack_earns_nothing_ends_in_time_leaves_nothing_and_changes_no_honest_score(attack, unit_of, honest_unit, listener):
    before = run_honest(honest_unit)
    its_zygote, running, files = zygote_of(honest_unit), below(), files_of_nobody()
    unit = unit_of(attacked(Attack(attack.family, attack.name, attack.code.replace("PORT", str(listener.port)), attack.place, attack.status)))

    began = time.monotonic()
    result = run_unit(unit)
    seconds = time.monotonic() - began

    assert result.score == 0
    assert [cell.score for cell in result.cells] == [0, 0]
    assert result.status in attack.status, result.reason
    assert result.reason or result.status == "graded"
    assert seconds < SECONDS
    assert "LEAK" not in json.dumps(outputs_of(result))
    assert zygote_of(honest_unit) is its_zygote
    assert below() == running
    assert files_of_nobody() == files
    assert listener.visits == 0
    assert run_honest(honest_unit) == before


def test_there_are_sixty_attacks_of_thirteen_families_and_no_two_are_the_same():
    assert len(ATTACKS) >= 60
    assert len({str(attack) for attack in ATTACKS}) == len({(attack.code, attack.place) for attack in ATTACKS}) == len(ATTACKS)
    families = Counter(attack.family for attack in ATTACKS)
    assert len(families) >= 13 and min(families.values()) >= 2


@pytest.mark.parametrize("attack", [attack for attack in ATTACKS if "HTML" in attack.name or "control characters" in attack.name], ids=str)
def test_nothing_active_is_kept_in_the_executed_notebook(attack, unit_of):
    result = run_unit(unit_of(attacked(attack)))
    prose = [cell["source"] for cell in json.loads(result.executed)["cells"] if cell["cell_type"] != "code"]
    shown = [cell["outputs"] for cell in json.loads(result.executed)["cells"] if cell["cell_type"] == "code" and cell["id"].startswith("check-")]
    text = json.dumps([outputs_of(result), prose])
    assert outputs_of(result) or prose
    assert not [word for word in FORBIDDEN if word in text]
    assert "<script" not in json.dumps(shown)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["forks", "memory of many processes"])
def test_an_honest_submission_beside_a_hostile_one_keeps_its_score(name, unit_of, honest_unit):
    run_honest(honest_unit)
    bomb = next(attack for attack in ATTACKS if attack.name == name)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as lane:
        lane.submit(run_unit, unit_of(small_notebook())).result()
        beside = [lane.submit(run_unit, unit_of(attacked(bomb))) for _ in range(2)]
        while not beside[-1].done():
            run_honest(honest_unit)
        assert [future.result().score for future in beside] == [0, 0]
        lane.submit(discard_zygotes).result()
