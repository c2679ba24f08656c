"""Five ways to learn, twelve settings each, on the digits: writes course_lib/classical.json, which chapter 01 plots.

    python benchmarks/classical_and_networks.py [--splits 8] [--rows 100 400 1438]

For every split and every number of training pictures, each method tries its twelve settings by five-fold cross-validation on the training
pictures, is trained anew with the best, and is examined once on the 359 held-out pictures. One thread; about a quarter of an hour on an idle machine.
Seconds depend on the machine; the counts of right answers do not, for the same versions of NumPy and scikit-learn.
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
from pathlib import Path

import numpy as np
import sklearn

from course_lib.classical import BUDGET, FOLDS, METHODS, Outcome, compare_one

RESULTS = Path(__file__).parents[1] / "course_lib" / "classical.json"


def main() -> None:
    parser = argparse.ArgumentParser(description="Classical methods and a network on the digits, tuned with equal effort.")
    parser.add_argument("--splits", type=int, default=8)
    parser.add_argument("--rows", type=int, nargs="+", default=[100, 400, 1438])
    arguments = parser.parse_args()
    outcomes = []
    for rows in arguments.rows:
        for seed in range(arguments.splits):
            outcomes += compare_one(rows, seed)
            latest = "  ".join(f"{outcome.method} {outcome.accuracy:.1%}" for outcome in outcomes[-len(METHODS) :])
            print(f"{rows} rows, split {seed}: {latest}", flush=True)
            write(outcomes, arguments)


def write(outcomes: list[Outcome], arguments: argparse.Namespace) -> None:
    """All outcomes so far, one a line, under a head that says where they come from."""
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}, scikit-learn {sklearn.__version__}"
    head = {
        "date": datetime.date.today().isoformat(),
        "machine": f"one thread of {platform.machine()}, {versions}",
        "command": f"python benchmarks/classical_and_networks.py --splits {arguments.splits} --rows {' '.join(map(str, arguments.rows))}",
        "settings_tried_by_each": BUDGET,
        "folds": FOLDS,
    }
    rounded = [dataclasses.asdict(outcome) | {"seconds": round(outcome.seconds, 2)} for outcome in outcomes]
    lines = ",\n  ".join(json.dumps(row) for row in rounded)
    RESULTS.write_text(json.dumps(head, indent=1)[:-2] + f',\n "outcomes": [\n  {lines}\n ]\n}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
