"""Convolution, forward and backward: our NumPy im2col against torch. Prints both medians and their ratio.

    python benchmarks/conv.py [--rounds 60]

Each layer is run on one batch in float32: forward, then the gradients of x, weight and bias. torch runs F.conv2d and autograd. Both get the same
arrays and must give the same gradients, or the script stops. Each is held to one thread. The two take turns, so that a busy moment of the machine
falls on both; the first rounds warm up and are not counted. The ratio is that of the medians; the interval holds the middle half of the ratios of
neighbouring turns. The last line is the geometric mean of the layers' ratios.
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
from torch.nn import functional as F

from course_lib.scratch.conv import conv2d, conv2d_backward

WARM_UP = 5
LAYERS = {  # (N, C, H, W), (O, C, K, L), stride, padding
    "LeNet, second layer": ((32, 6, 14, 14), (16, 6, 5, 5), 1, 0),
    "3 × 3, 16 → 32 channels": ((16, 16, 28, 28), (32, 16, 3, 3), 1, 1),
    "3 × 3, 64 → 64 channels": ((16, 64, 14, 14), (64, 64, 3, 3), 1, 1),
    "3 × 3, 64 → 128, stride 2": ((16, 64, 28, 28), (128, 64, 3, 3), 2, 1),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="NumPy convolution against torch, one thread each.")
    parser.add_argument("--rounds", type=int, default=60, help="turns that are counted, of each of the two")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print(f"NumPy {np.__version__}, torch {torch.__version__}, forward and backward")
    ratios = [compare(name, rounds) for name in LAYERS]
    print(f"ratio {np.exp(np.mean(np.log(ratios))):.2f} (geometric mean of {len(ratios)} layers)")


def compare(name: str, rounds: int) -> float:
    """One layer: prints a line, returns the ratio of the medians."""
    ours, theirs = steps(*LAYERS[name])
    for mine, other in zip(ours(), theirs(), strict=True):
        np.testing.assert_allclose(mine, other.numpy(), rtol=1e-3, atol=1e-4 * np.abs(mine).max(), err_msg=f"{name}: the gradients differ")
    times = np.array([(seconds(ours), seconds(theirs)) for _ in range(WARM_UP + rounds)])[WARM_UP:] * 1e3
    numpy_median, torch_median = np.median(times, axis=0)
    low, high = np.quantile(times[:, 0] / times[:, 1], [0.25, 0.75])
    ratio = numpy_median / torch_median
    print(f"{name:27s} NumPy {numpy_median:7.2f} ms, torch {torch_median:7.2f} ms, ratio {ratio:.2f} (middle half: {low:.2f} … {high:.2f})")
    return ratio


def steps(shape: tuple[int, ...], kernel: tuple[int, ...], stride: int, padding: int) -> tuple[Callable[[], tuple], Callable[[], tuple]]:
    """The same work twice: forward and backward in NumPy, and in torch."""
    rng = np.random.default_rng(0)
    x, weight, bias = (rng.normal(size=size).astype(np.float32) for size in (shape, kernel, kernel[:1]))
    out = conv2d(x, weight, bias, stride, padding)
    upstream = rng.normal(size=out.shape).astype(np.float32)
    leaves = [torch.from_numpy(array).requires_grad_() for array in (x, weight, bias)]
    torch_upstream = torch.from_numpy(upstream)

    def ours() -> tuple:
        conv2d(x, weight, bias, stride, padding)
        return conv2d_backward(upstream, x, weight, stride, padding)

    def theirs() -> tuple:
        return torch.autograd.grad(F.conv2d(*leaves, stride=stride, padding=padding), leaves, torch_upstream)

    return ours, theirs


def seconds(work: Callable[[], tuple]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
