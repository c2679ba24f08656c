"""What becomes of training when layers are added, with and without shortcuts: stored outcomes of benchmarks/depth.py."""

import json
from dataclasses import dataclass
from pathlib import Path

STORED = Path(__file__).with_name("depth.json")


@dataclass(frozen=True)
class Outcome:
    """One network: `layers` with weights on the longest way, with shortcuts (residual) or without, and the shares that it reads."""

    layers: int
    residual: bool
    seed: int
    learnt: float  # of the training pictures
    held_out: float


def stored() -> list[Outcome]:
    """The outcomes on file."""
    return [Outcome(**row) for row in json.loads(STORED.read_text(encoding="utf-8"))["outcomes"]]
