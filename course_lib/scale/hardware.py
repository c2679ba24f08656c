"""What a processor can do at best, from its maker's data sheet (16-bit dense matrix products with 32-bit sums), and what this machine's does."""

import time
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Accelerator:
    """peak: floating-point operations a second (a multiply-add is two); memory: bytes; watts: the board's limit."""

    name: str
    peak: float
    memory: float
    watts: float


V100 = Accelerator("V100", 125e12, 32e9, 300)  # NVIDIA, 2017
A100 = Accelerator("A100", 312e12, 80e9, 400)  # NVIDIA, 2020
H100 = Accelerator("H100", 989e12, 80e9, 700)  # NVIDIA, 2022; the 1,979e12 on the sheet are for matrices that are half zeros


def matmul_flops_per_second(size: int = 1024, dtype: str = "float32", rounds: int = 7) -> float:
    """What NumPy reaches here on the product of two size × size matrices, in operations a second: the best of a few rounds."""
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(size, size)).astype(dtype) for _ in range(2))
    seconds = []
    for _round in range(rounds):
        start = time.perf_counter()
        np.matmul(a, b)
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)
