"""Where to compute, how much of it, and from which seed: the three things a chapter asks of the machine.

torch is imported when it is first needed, so that the NumPy chapters do not wait for it.
"""

from __future__ import annotations

import os
import platform
import random
from operator import index
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import torch


def best_device() -> torch.device:
    """The fastest device here: an NVIDIA GPU (cuda), else Apple's (mps), else the processor (cpu).

    The environment variable COURSE_DEVICE, set to cpu, cuda, cuda:N or mps, decides instead. ValueError when it names
    none of these, RuntimeError when this machine does not have what it names: no silent fall back to something slower.
    """
    import torch

    wanted = os.environ.get("COURSE_DEVICE", "")
    if not wanted:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")

    kind, _, number = wanted.partition(":")
    if wanted not in ("cpu", "cuda", "mps") and not (kind == "cuda" and number.isdecimal()):
        raise ValueError(f"COURSE_DEVICE is {wanted!r}; wanted cpu, cuda, cuda:N or mps")
    if kind == "cuda":
        num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(number or 0) >= num_gpus:
            raise RuntimeError(
                f"COURSE_DEVICE is {wanted!r}, but torch {torch.__version__} sees {num_gpus} CUDA devices here; unset it or set it to cpu"
            )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise RuntimeError(f"COURSE_DEVICE is 'mps', but torch {torch.__version__} sees no Apple GPU here; unset it or set it to cpu")
    return torch.device(wanted)


def course_size() -> Literal["small", "full"]:
    """How large a chapter runs: "small" (the default: minutes on two processor cores) or "full" (meant for a GPU).

    Set by the environment variable COURSE_SIZE; ValueError for anything else in it.
    """
    size = os.environ.get("COURSE_SIZE", "")
    if size in ("", "small"):
        return "small"
    if size == "full":
        return "full"
    raise ValueError(f"COURSE_SIZE is {size!r}; wanted small or full")


def seed_everything(seed: int) -> None:
    """Start every generator that a chapter may draw from at `seed`: Python's, NumPy's global one, torch's on all devices.

    seed: a whole number, 0 to 2**32 - 1 (NumPy's range). Draws on different devices differ all the same, and some GPU
    kernels add in an order of their own: equal seeds promise equal numbers on the same machine's processor only.
    """
    import torch

    if not 0 <= index(seed) < 2**32:
        raise ValueError(f"seed must lie between 0 and 2**32 - 1, got {seed}")
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the global generator is what students and libraries call
    torch.manual_seed(seed)  # the processor's, and every CUDA and MPS device's with it


def describe_device() -> str:
    """One line on what best_device() is, such as "cpu (x86_64, 2 threads), torch 2.13.0" or "cuda (NVIDIA H100, 79 GiB), torch 2.13.0"."""
    import torch

    device = best_device()
    if device.type == "cuda":
        gpu = torch.cuda.get_device_properties(device)
        details = f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB"
    elif device.type == "mps":
        details = f"Apple GPU, {platform.machine()}"
    else:
        details = f"{platform.machine()}, {torch.get_num_threads()} threads"
    return f"{device} ({details}), torch {torch.__version__}"
