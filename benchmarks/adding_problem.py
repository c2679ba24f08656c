"""The adding problem at T = 50: RNN, LSTM, GRU and attention over three seeds. Writes course_lib/nn/recurrent/adding.json, which chapter 07 plots.

    python benchmarks/adding_problem.py [--seeds 3] [--length 50]

Every learner has the same units, batches, steps and learning rate schedule. The plain RNN is given other learning rates too, so that it cannot be
said to have failed for want of a suitable one. One thread; some minutes on an idle machine.
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
import time
from pathlib import Path

import torch

from course_lib.nn.recurrent.adding import KINDS, AddingConfig, train_adder

OTHER_RATES = (2e-3, 5e-4)
RESULTS = Path(__file__).parents[1] / "course_lib" / "recurrent" / "adding.json"


def main() -> None:
    parser = argparse.ArgumentParser(description="Learning curves of the adding problem.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--length", type=int, default=50)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = AddingConfig(length=arguments.length)
    curves = []
    for kind, lr in [*((kind, config.lr) for kind in KINDS), *(("RNN", lr) for lr in OTHER_RATES)]:
        for seed in range(arguments.seeds):
            begun = time.perf_counter()
            curve = train_adder(kind, dataclasses.replace(config, lr=lr), seed)
            seconds = time.perf_counter() - begun
            errors = [round(error, 6) for error in curve.errors]
            curves.append({"kind": kind, "lr": lr, "seed": seed, "seconds": round(seconds, 1), "errors": errors})
            print(f"{kind}, rate {lr}, seed {seed}: last error {errors[-1]:.5f}, solved at {curve.solved_at()}, {seconds:.0f} s", flush=True)
    head = {
        "date": datetime.date.today().isoformat(),
        "machine": f"one thread of {platform.machine()}",
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}",
        "command": f"python benchmarks/adding_problem.py --seeds {arguments.seeds} --length {arguments.length}",
        "config": dataclasses.asdict(config),
    }
    lines = ",\n".join("  " + json.dumps(curve) for curve in curves)
    text = "{\n" + "".join(f" {json.dumps(key)}: {json.dumps(value)},\n" for key, value in head.items()) + f' "curves": [\n{lines}\n ]\n}}\n'
    RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
