"""Our attention against torch's kernel: a ratio of times, and what both cost from 64 to 4,096 tokens.

    python benchmarks/attention.py [--rounds 400] [--device cpu] [--write]

First, `fused_attention` of course_lib against a bare `F.scaled_dot_product_attention`, forward and backward, on one thread: both must give the same
numbers, or the script stops; they take turns, and the ratio is that of the medians, without a mask, with a padding mask, and causal.

Then the formula spelt out and the kernel, forward and backward, for seven lengths: time, the most memory in use beyond the inputs (on the processor
Linux's VmHWM, in a second process that hands memory back at once; on a GPU torch's allocator), the bytes that autograd keeps, and the exponents of
power laws fitted from 512 tokens on. --write puts these into course_lib/attention_costs.json, which chapter 08 shows.
"""

# ruff: noqa: E402  (the variables must be set before the imports)

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # read once, when the libraries load

import argparse
import dataclasses
import datetime
import json
import platform
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.attention_costs import RESULTS, Costs
from course_lib.measure import median_seconds, saved_bytes
from course_lib.nn.attention.masks import causal_mask, padding_mask
from course_lib.nn.attention.scaled import attention, fused_attention

TOKENS = (64, 128, 256, 512, 1024, 2048, 4096)
BATCH, HEADS, LENGTH, WIDTH = 2, 4, 256, 64  # of the ratio
WAYS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"formula": attention, "kernel": F.scaled_dot_product_attention}


def main() -> None:
    parser = argparse.ArgumentParser(description="Our attention against torch's scaled_dot_product_attention.")
    parser.add_argument("--rounds", type=int, default=400, help="turns that are counted, of each of the two")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--write", action="store_true", help="store the figures for chapter 08")
    parser.add_argument("--peaks", action="store_true", help="print the peaks of memory alone, as JSON; for the script's own use")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    device = torch.device(arguments.device)
    if arguments.peaks:
        print(json.dumps(peaks(device)))
        return
    ratios(device, arguments.rounds)
    costs = lengths(device, f"python benchmarks/attention.py --device {device}")
    report(costs)
    if arguments.write:
        found = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
        found[device.type] = dataclasses.asdict(costs)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def differentiate(way: Callable[..., Tensor], inputs: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(way(*inputs).sum(), inputs)


def ratios(device: torch.device, rounds: int) -> None:
    """Ours against the bare call, three times."""
    pad = padding_mask(torch.tensor([LENGTH, LENGTH // 2]), LENGTH).to(device)
    pairs = {
        "no mask": (fused_attention, F.scaled_dot_product_attention),
        "padding": (partial(fused_attention, mask=pad), partial(F.scaled_dot_product_attention, attn_mask=pad)),
        "causal": (partial(fused_attention, causal=True), partial(F.scaled_dot_product_attention, is_causal=True)),
    }
    inputs = [torch.randn(BATCH, HEADS, LENGTH, WIDTH, device=device, requires_grad=True) for _ in range(3)]
    worst = 0.0
    for name, (ours, theirs) in pairs.items():
        torch.testing.assert_close(ours(*inputs), theirs(*inputs), rtol=0, atol=0)
        works = {"ours": partial(differentiate, ours, inputs), "bare": partial(differentiate, theirs, inputs)}
        found = median_seconds(works, rounds=rounds, warm_up=20)
        worst = max(worst, found["ours"] / found["bare"])
        print(f"{name:8s} ours {found['ours'] * 1e6:7.0f} µs, bare kernel {found['bare'] * 1e6:7.0f} µs: ratio {found['ours'] / found['bare']:.3f}")
    expected = attention(*inputs, mask=causal_mask(LENGTH, device=device))
    torch.testing.assert_close(fused_attention(*inputs, causal=True), expected, rtol=1e-3, atol=1e-4)
    print(f"ratio {worst:.3f} (the worst of the three)")


def lengths(device: torch.device, command: str) -> Costs:
    """Both ways at every length. On a GPU with bfloat16 and many heads, as there one would."""
    batch, heads, dtype = shape(device)
    seconds, kept = ({name: [] for name in WAYS} for _ in range(2))
    for count in TOKENS:
        inputs = inputs_of(count, device)
        works = {name: partial(differentiate, way, inputs) for name, way in WAYS.items()}
        found = median_seconds(works, rounds=50 if count <= 512 else 9, warm_up=3)
        for name, way in WAYS.items():
            seconds[name].append(found[name])
            kept[name].append(saved_bytes(partial(way, *inputs)))
    if device.type == "cuda":
        peak = peaks(device)
    else:  # malloc keeps freed memory for later, which would hide what is used; with this variable it keeps no block of 64 KiB or more
        environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
        child = subprocess.run([sys.executable, __file__, "--peaks"], env=environment, check=True, capture_output=True, text=True)
        peak = json.loads(child.stdout)
    gpu = torch.cuda.get_device_name() if device.type == "cuda" else ""
    return Costs(
        machine=f"{gpu or platform.machine() + ', one thread'}, torch {torch.__version__}",
        date=datetime.date.today().isoformat(),
        command=command,
        shape=f"batch {batch}, {heads} head{'s' if heads > 1 else ''} of width {WIDTH}, {str(dtype).removeprefix('torch.')}",
        tokens=TOKENS,
        seconds={name: tuple(values) for name, values in seconds.items()},
        peak_bytes={name: tuple(values) for name, values in peak.items()},
        kept_bytes={name: tuple(values) for name, values in kept.items()},
    )


def shape(device: torch.device) -> tuple[int, int, torch.dtype]:
    """Batch, heads and number format."""
    return (1, 1, torch.float32) if device.type == "cpu" else (4, 16, torch.bfloat16)


def inputs_of(count: int, device: torch.device) -> list[Tensor]:
    batch, heads, dtype = shape(device)
    return [torch.randn(batch, heads, count, WIDTH, device=device, dtype=dtype, requires_grad=True) for _ in range(3)]


def peaks(device: torch.device) -> dict[str, list[int]]:
    """The most memory in use at every length, beyond what was in use before; the median of three runs."""
    found: dict[str, list[int]] = {}
    for name, way in WAYS.items():
        works = [partial(differentiate, way, inputs_of(count, device)) for count in TOKENS]
        works[0]()  # what loads with the first call
        found[name] = [int(np.median([_peak_once(work, device) for _ in range(3)])) for work in works]
    return found


def _peak_once(work: Callable[[], object], device: torch.device) -> int:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark back to what is in use now
    before = _status("VmRSS")
    work()
    return max(_status("VmHWM") - before, 4096)


def _status(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def report(costs: Costs) -> None:
    print(f"{costs.machine}; {costs.shape}; forward and backward")
    print("tokens " + "".join(f"   {name}: {'ms':>9} {'peak MiB':>9} {'kept MiB':>9}" for name in WAYS))
    for i, count in enumerate(costs.tokens):
        parts = [(costs.seconds[name][i] * 1e3, costs.peak_bytes[name][i] / 2**20, costs.kept_bytes[name][i] / 2**20) for name in WAYS]
        print(f"{count:6d} " + "".join(f"   {name}: {a:9.3f} {b:9.2f} {c:9.2f}" for name, (a, b, c) in zip(WAYS, parts, strict=True)))
    for name in WAYS:
        laws = ", ".join(f"{what} T^{costs.law(what, name).exponent:.2f}" for what in ("seconds", "peak_bytes", "kept_bytes"))
        print(f"{name}: {laws}")


if __name__ == "__main__":
    main()
