"""What a computation costs as its input grows: seconds, bytes kept for the way back, and the power law through both."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor


class PowerLaw(NamedTuple):
    """cost ≈ factor · size ** exponent."""

    factor: float
    exponent: float


def power_law(sizes: Sequence[float], costs: Sequence[float]) -> PowerLaw:
    """The straight line through (log size, log cost) by least squares; its slope is the exponent."""
    if len(sizes) != len(costs) or len(set(sizes)) < 2 or min(*sizes, *costs) <= 0:
        raise ValueError(f"wanted two or more different sizes above 0 with a cost above 0 each, was given {list(sizes)} and {list(costs)}")
    exponent, constant = np.polyfit(np.log(sizes), np.log(costs), 1)
    return PowerLaw(float(np.exp(constant)), float(exponent))


def saved_bytes(work: Callable[[], Any]) -> int:
    """Bytes that autograd keeps for the backward pass while `work` runs, everything that shares memory counted once; the inputs count too."""
    storages: dict[int, int] = {}
    alive: list[Tensor] = []  # so that no memory is freed and counted twice

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        work()
    return sum(storages.values())


def median_seconds(works: Mapping[str, Callable[[], Any]], *, rounds: int, warm_up: int = 1) -> dict[str, float]:
    """Each work's median time. They take turns, so that a busy moment of the machine falls on all of them."""
    if rounds < 1 or warm_up < 0:
        raise ValueError(f"wanted at least 1 round and 0 of warm-up, was given {rounds} and {warm_up}")
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(warm_up + rounds):
        for name, work in works.items():
            begun = time.perf_counter()
            work()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn >= warm_up:
                times[name].append(time.perf_counter() - begun)
    return {name: float(np.median(each)) for name, each in times.items()}
