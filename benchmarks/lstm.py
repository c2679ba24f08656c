"""One training step of an LSTM layer: ours, made of cells, against torch's nn.LSTM. Prints both medians and their ratio.

    python benchmarks/lstm.py [--rounds 40]

A step is forward and backward of one layer, 64 sequences of 50 steps, 64 inputs, 256 units, in float32. Both have the same weights, see the same
batch and must give the same states and gradients, or the script stops. Each is held to one thread. The two take turns, so that a busy moment of
the machine falls on both; the first rounds warm up and are not counted. The ratio is that of the medians; the interval holds the middle half of
the ratios of neighbouring turns. The third line is the plain loop over the cell, for comparison.
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
from torch import Tensor, nn

from course_lib.nn.recurrent.cells import lstm_cell
from course_lib.nn.recurrent.layers import LSTM, unroll

ROWS, STEPS, INPUTS, HIDDEN, WARM_UP = 64, 50, 64, 256, 3


def main() -> None:
    parser = argparse.ArgumentParser(description="LSTM from cells against nn.LSTM, one thread each.")
    parser.add_argument("--rounds", type=int, default=40, help="turns that are counted, of each")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    torch.manual_seed(0)

    x, grad_out = torch.randn(ROWS, STEPS, INPUTS), torch.randn(ROWS, STEPS, HIDDEN)
    theirs, ours = nn.LSTM(INPUTS, HIDDEN, batch_first=True), LSTM(INPUTS, HIDDEN)
    ours.load_state_dict(theirs.state_dict())
    params = [param.detach().clone().requires_grad_() for param in theirs.parameters()]
    zeros = torch.zeros(ROWS, HIDDEN)

    steps = (
        step(lambda: ours(x)[0], list(ours.parameters()), grad_out),
        step(lambda: theirs(x)[0], list(theirs.parameters()), grad_out),
        step(lambda: unroll(lstm_cell, x, (zeros, zeros), *params)[0], params, grad_out),
    )
    wanted = steps[1]()
    for other in (steps[0](), steps[2]()):
        for found, right in zip(other, wanted, strict=True):
            torch.testing.assert_close(found, right, rtol=1e-3, atol=1e-3)

    times = np.array([[timed(one) for one in steps] for _ in range(WARM_UP + rounds)])[WARM_UP:] * 1e3
    ours_median, torch_median, loop_median = np.median(times, axis=0)
    low, high = np.quantile(times[:, 0] / times[:, 1], [0.25, 0.75])
    print(f"ours, from cells: {ours_median:.0f} ms a step")
    print(f"nn.LSTM of torch {torch.__version__}: {torch_median:.0f} ms a step")
    print(f"the plain loop over the cell: {loop_median:.0f} ms a step, {loop_median / torch_median:.2f} times nn.LSTM")
    print(f"ratio {ours_median / torch_median:.2f} (middle half of {rounds} turns: {low:.2f} … {high:.2f})")


def step(forward: Callable[[], Tensor], params: list[Tensor], grad_out: Tensor) -> Callable[[], list[Tensor]]:
    """Forward and backward. → the states, and the gradients of the parameters"""

    def run() -> list[Tensor]:
        states = forward()
        return [states.detach(), *torch.autograd.grad(states, params, grad_out)]

    return run


def timed(one: Callable[[], object]) -> float:
    """Seconds of one step."""
    begin = time.perf_counter()
    one()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
