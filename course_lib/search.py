"""Random search over hyper-parameters: Bergstra and Bengio (2012), "Random search for hyper-parameter optimization".

Each trial draws every setting anew. When only one or two of them matter, which is the rule, thirty random trials try thirty values of the one that
matters, where a grid of 6 × 5 would try six.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np

Draw = Callable[[np.random.Generator], Any]


@dataclass(frozen=True)
class Trial:
    """One setting and its score; higher is better."""

    number: int
    settings: dict[str, Any]
    score: float


def log_uniform(low: float, high: float) -> Draw:
    """A number whose logarithm is uniform: as likely between 0.001 and 0.01 as between 0.01 and 0.1. For what acts by its size, such as lr."""
    if not 0 < low < high:
        raise ValueError(f"wanted 0 < low < high, was given {low} and {high}")
    return lambda rng: float(math.exp(rng.uniform(math.log(low), math.log(high))))


def uniform(low: float, high: float) -> Draw:
    """A number between low and high, all equally likely."""
    if not low < high:
        raise ValueError(f"wanted low < high, was given {low} and {high}")
    return lambda rng: float(rng.uniform(low, high))


def choice(*options: Any) -> Draw:
    """One of the options, all equally likely."""
    if not options:
        raise ValueError("choice needs at least one option")
    return lambda rng: options[int(rng.integers(len(options)))]


def random_search(
    space: Mapping[str, Draw],
    objective: Callable[..., float],
    trials: int,
    seed: int = 0,
    on_trial: Callable[[Trial], None] | None = None,
) -> list[Trial]:
    """Draw `trials` settings and score each: objective(**settings) → a number, higher is better. → the trials in their order.

    Trial t draws from (seed, t) alone, so that a longer search begins with the trials of a shorter one. A score that is not a number counts as
    -inf: a run that diverged is a result, and must not end the search.
    """
    if index(trials) < 1:
        raise ValueError(f"trials must be at least 1, got {trials}")
    results = []
    for number in range(trials):
        rng = np.random.default_rng([seed, number])
        settings = {name: draw(rng) for name, draw in space.items()}
        score = float(objective(**settings))
        results.append(Trial(number, settings, -math.inf if math.isnan(score) else score))
        if on_trial is not None:
            on_trial(results[-1])
    return results


def best(trials: list[Trial]) -> Trial:
    """The trial with the highest score; the earliest of equals. Its score flatters it: it was chosen for being high."""
    if not trials:
        raise ValueError("there are no trials to choose from")
    return max(trials, key=lambda trial: trial.score)
