"""What `benchmarks/translation.py` found: the same translator with one thing changed, over several seeds.

The file beside this one holds the runs, the date, the machine and the command that made it.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True)
class Run:
    """variant: what was changed; loss: mean of the last 50 training losses; exact: share of held-out numbers that are right; seconds: of training."""

    variant: str
    seed: int
    loss: float
    exact: float
    seconds: float


@cache
def stored() -> tuple[Run, ...]:
    """Every stored run, variants in the order of the script, seeds in theirs."""
    return tuple(Run(**run) for run in _file()["runs"])


def about() -> dict[str, str]:
    """date, command, machine and versions of the stored runs."""
    return {name: value for name, value in _file().items() if name != "runs"}


def _file() -> dict:
    return json.loads(resources.files("course_lib").joinpath("translation.json").read_text(encoding="utf-8"))
