"""The adding problem (Hochreiter and Schmidhuber, 1997; in the form of Le, Jaitly and Hinton, 2015): a test of memory and of nothing else.

A sequence of random numbers, two of them marked, one in each half. The answer, asked for at the very end, is the sum of the two. Who always answers
1, the mean, has an expected squared error of 1/6, the variance of the sum. To do better one must carry a number over many steps unharmed.

`train_adder` trains one learner; `stored` gives the learning curves of several seeds that `benchmarks/adding_problem.py` has written.

Dimensions: N sequences, T steps, H units.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Kind = Literal["RNN", "LSTM", "GRU", "attention"]
KINDS: tuple[Kind, ...] = ("RNN", "LSTM", "GRU", "attention")
GUESSING = 1 / 6  # expected squared error of the answer 1
SOLVED = 0.01  # below it we call the problem solved


@dataclass(frozen=True)
class AddingConfig:
    """How to train. hidden: units; every: steps between two examinations on `tested` sequences that are the same for every learner."""

    length: int = 50
    hidden: int = 64
    steps: int = 2500
    batch_size: int = 32
    lr: float = 5e-3
    max_norm: float = 1.0
    every: int = 50
    tested: int = 1000

    def __post_init__(self) -> None:
        if self.length < 2 or min(self.hidden, self.steps, self.batch_size, self.every, self.tested) < 1 or not (self.lr > 0 < self.max_norm):
            raise ValueError(f"wanted a length of at least 2 and everything else positive, was given {self}")


@dataclass(frozen=True)
class Curve:
    """Squared error on the test sequences, one number after every `every` steps, of the learner `kind` from `seed` at the learning rate `lr`."""

    kind: Kind
    seed: int
    lr: float
    every: int
    errors: tuple[float, ...]

    def solved_at(self) -> int | None:
        """The first step after which the error was below SOLVED and stayed there; None if it never was."""
        above = [number for number, error in enumerate(self.errors) if not error < SOLVED]
        first = above[-1] + 1 if above else 0
        return (first + 1) * self.every if first < len(self.errors) else None


def adding_batch(count: int, length: int, seed: int) -> tuple[Tensor, Tensor]:
    """count sequences from the seed. → x (N, T, 2): a number of [0, 1) and its mark, 1 or 0; y (N, 1): the sum of the two marked numbers."""
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.rand(count, length, generator=generator)
    half = length // 2
    first = torch.randint(half, (count,), generator=generator)
    second = torch.randint(half, length, (count,), generator=generator)
    marks = torch.zeros(count, length)
    rows = torch.arange(count)
    marks[rows, first] = marks[rows, second] = 1.0
    return torch.stack([numbers, marks], dim=2), (numbers * marks).sum(dim=1, keepdim=True)


class Attention(nn.Module):
    """Looks at all steps at once and takes a weighted mean (Bahdanau et al., 2015; chapter 08 builds it). It knows no order, and needs none here."""

    def __init__(self, inputs: int, hidden: int):
        super().__init__()
        self.key, self.value = nn.Linear(inputs, hidden), nn.Linear(inputs, hidden)
        self.query = nn.Linear(hidden, 1)

    def weights(self, x: Tensor) -> Tensor:
        """x (N, T, D) → (N, T, 1): how much each step counts; every row adds up to 1."""
        return torch.softmax(self.query(torch.tanh(self.key(x))), dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """x (N, T, D) → (N, H)."""
        return (self.weights(x) * self.value(x)).sum(dim=1)


class Adder(nn.Module):
    """Reads a sequence and answers with one number. The recurrent ones answer from their last state."""

    def __init__(self, kind: Kind, hidden: int):
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, was given {kind!r}")
        layers = {"RNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}
        self.reader = Attention(2, hidden) if kind == "attention" else layers[kind](2, hidden, batch_first=True)
        if kind == "LSTM":  # begin by keeping (Gers et al., 2000; Jozefowicz et al., 2015): see the chapter's section 5
            with torch.no_grad():
                self.reader.bias_ih_l0[hidden : 2 * hidden] = 1.0  # type: ignore[index]
                self.reader.bias_hh_l0[hidden : 2 * hidden] = 0.0  # type: ignore[index]
        self.head = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x (N, T, 2) → (N, 1)."""
        states = self.reader(x)
        return self.head(states if isinstance(states, Tensor) else states[0][:, -1])


def train_adder(
    kind: Kind, config: AddingConfig, seed: int, device: torch.device | str = "cpu", on_examined: Callable[[int, float], None] | None = None
) -> Curve:
    """Train a fresh Adder on fresh sequences at every step, by Adam with clipped gradients, the learning rate falling linearly to 0.

    on_examined(step, error) is called after every examination. The curve depends on the arguments alone (on one machine and device).
    """
    torch.manual_seed(seed)
    model = Adder(kind, config.hidden).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / config.steps)
    x_test, y_test = (part.to(device) for part in adding_batch(config.tested, config.length, seed=2**31))
    errors = []
    for step in range(1, config.steps + 1):
        x, y = (part.to(device) for part in adding_batch(config.batch_size, config.length, seed=(seed << 20) + step))
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_norm)
        optimizer.step()
        schedule.step()
        if step % config.every == 0:
            with torch.no_grad():
                errors.append(F.mse_loss(model(x_test), y_test).item())
            if on_examined is not None:
                on_examined(step, errors[-1])
    return Curve(kind, seed, config.lr, config.every, tuple(errors))


@cache
def stored() -> tuple[AddingConfig, tuple[Curve, ...], tuple[Curve, ...]]:
    """What `benchmarks/adding_problem.py` last wrote to adding.json beside this file: the settings, their curves, and those at other rates."""
    content = json.loads(resources.files("course_lib.nn.recurrent").joinpath("adding.json").read_text(encoding="utf-8"))
    config = AddingConfig(**content["config"])
    curves = [Curve(curve["kind"], curve["seed"], curve["lr"], config.every, tuple(curve["errors"])) for curve in content["curves"]]
    return config, tuple(curve for curve in curves if curve.lr == config.lr), tuple(curve for curve in curves if curve.lr != config.lr)
