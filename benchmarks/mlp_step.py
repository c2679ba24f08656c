"""One training step of a small classifier: our NumPy MLP against torch. Prints both medians and their ratio.

    python benchmarks/mlp_step.py [--rounds 400]

A step is forward, backward and the SGD update of a 784-128-10 ReLU network on one batch of 64 in float32. torch runs it as its users
write it: nn.Sequential, cross_entropy, zero_grad, backward, torch.optim.SGD. Both start from the same weights, see the same batches
and must end with the same weights, or the script stops. Each is held to one thread. The two take turns, 5 steps each, so that a busy
moment of the machine falls on both; the first rounds warm up and are not counted. The ratio is that of the medians; the interval
holds the middle half of the ratios of neighbouring turns.
"""

# ruff: noqa: E402  (the variables must be set before the imports)

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # read once, when the libraries load

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from course_lib.scratch.mlp import MLP, MLPConfig
from course_lib.scratch.optim import SGD

SIZES, BATCH, LR, STEPS_A_TURN, WARM_UP = (784, 128, 10), 64, 0.01, 5, 20


def main() -> None:
    parser = argparse.ArgumentParser(description="NumPy MLP step against torch, one thread each.")
    parser.add_argument("--rounds", type=int, default=400, help="turns that are counted, of each of the two")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)

    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH, SIZES[0])).astype(np.float32)
    labels = rng.integers(SIZES[-1], size=BATCH)
    model = MLP(MLPConfig(SIZES, dtype="float32"), seed=0)
    twin = torch_twin(model)

    ours, theirs = numpy_step(model, x, labels), torch_step(twin, torch.from_numpy(x), torch.from_numpy(labels))
    times = np.array([(turn(ours), turn(theirs)) for _ in range(WARM_UP + rounds)])[WARM_UP:] * 1e6
    for name, param in zip(model.params, twin.parameters(), strict=True):
        np.testing.assert_allclose(model.params[name], param.detach().numpy().T, atol=1e-4, err_msg=f"{name}: the two trained apart")

    numpy_median, torch_median = np.median(times, axis=0)
    low, high = np.quantile(times[:, 0] / times[:, 1], [0.25, 0.75])
    print(f"NumPy {np.__version__}: {numpy_median:.0f} µs a step")
    print(f"torch {torch.__version__}: {torch_median:.0f} µs a step")
    print(f"ratio {numpy_median / torch_median:.2f} (middle half of {rounds} turns: {low:.2f} … {high:.2f})")


def torch_twin(model: MLP) -> torch.nn.Sequential:
    """The same network in torch, with the same weights."""
    twin = torch.nn.Sequential(torch.nn.Linear(SIZES[0], SIZES[1]), torch.nn.ReLU(), torch.nn.Linear(SIZES[1], SIZES[2]))
    with torch.no_grad():
        for param, ours in zip(twin.parameters(), model.params.values(), strict=True):
            param.copy_(torch.from_numpy(ours.T))
    return twin


def numpy_step(model: MLP, x: np.ndarray, labels: np.ndarray) -> Callable[[], None]:
    optimizer = SGD(model.params, LR)

    def step() -> None:
        _, grads = model.loss_and_gradients(x, labels)
        optimizer.step(grads)

    return step


def torch_step(model: torch.nn.Module, x: torch.Tensor, labels: torch.Tensor) -> Callable[[], None]:
    optimizer = torch.optim.SGD(model.parameters(), LR)

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()

    return step


def turn(step: Callable[[], None]) -> float:
    """Seconds a step, over one turn."""
    begin = time.perf_counter()
    for _ in range(STEPS_A_TURN):
        step()
    return (time.perf_counter() - begin) / STEPS_A_TURN


if __name__ == "__main__":
    main()
