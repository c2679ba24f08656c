"""Everything that a training run must remember to go on as if it had never stopped.

The weights are not enough. Adam keeps two averages for every weight and counts its steps; dropout and shuffling draw from random generators, whose
state moves with every draw. A checkpoint holds all of it as plain tensors and numbers, so that `torch.load` can refuse anything else.
"""

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

Checkpoint = dict[str, Any]


def random_state() -> dict[str, Any]:
    """The state of every global generator: Python's, NumPy's, torch's, and that of every CUDA device in use."""
    _, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002 - the one that libraries call
    return {
        "python": random.getstate(),
        "numpy": (torch.from_numpy(np.asarray(keys, dtype=np.int64)), int(position), int(has_gauss), float(gauss)),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Put every global generator back to where `random_state` found it. RuntimeError when CUDA devices are missing."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    keys, *rest = state["numpy"]
    np.random.set_state(("MT19937", keys.cpu().numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"]:
        if torch.cuda.device_count() < len(state["cuda"]):
            raise RuntimeError(f"the checkpoint was made with {len(state['cuda'])} CUDA devices; there are {torch.cuda.device_count()} here")
        torch.cuda.set_rng_state_all([device.cpu() for device in state["cuda"]])


def take_checkpoint(net: nn.Module, optimizer: torch.optim.Optimizer, **extra: Any) -> Checkpoint:
    """A copy of a run's state: weights and buffers, optimiser, generators, and whatever else is named (numbers, texts, tensors, lists, dicts).

    A copy, because `state_dict` hands out the living tensors, which the next step changes.
    """
    return {"weights": copied(net.state_dict()), "optimizer": copied(optimizer.state_dict()), "random": random_state(), **copied(extra)}


def restore(checkpoint: Checkpoint, net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put a run's state back into a network and an optimiser that were built as they were then. What else was stored is the caller's to read.

    The optimiser gets a copy: it keeps the tensors that it is given and its next step writes into them, where a network copies.
    """
    if missing := {"weights", "optimizer", "random"} - checkpoint.keys():
        raise ValueError(f"the checkpoint lacks {sorted(missing)}; it has {sorted(checkpoint)}")
    net.load_state_dict(checkpoint["weights"])
    optimizer.load_state_dict(copied(checkpoint["optimizer"]))
    set_random_state(checkpoint["random"])


def save(checkpoint: Checkpoint, path: str | Path) -> None:
    """Write a checkpoint so that the file is always whole: the new one is finished beside the old one, then takes its place."""
    path = Path(path)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
    try:
        torch.save(checkpoint, unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def load(path: str | Path, device: torch.device | str = "cpu") -> Checkpoint:
    """Read a checkpoint. weights_only: a file of tensors and numbers, and no program that runs when it is opened."""
    return torch.load(path, map_location=device, weights_only=True)


def copied(value: Any) -> Any:
    """Tensors detached and cloned, containers rebuilt, everything else as it is."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(copied(item) for item in value)
    return value
