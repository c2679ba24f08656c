"""Five ways to learn, twelve settings each, on the digits: writes course_lib/classical.json, which chapter 01 plots.

    python benchmarks/classical_and_networks.py [--splits 6] [--rows 100 400 1438] [--resume]

For every split and every number of training pictures, each method tries its twelve settings by five-fold cross-validation on the training
pictures, is trained anew with the best, and is examined once on the 359 held-out pictures. One thread; about ten minutes on an idle machine.
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

from course_lib.classical import BUDGET, FOLDS, METHODS, Outcome, compare_one, stored

RESULTS = Path(__file__).parents[1] / "course_lib" / "classical.json"


def main() -> None:
    parser = argparse.ArgumentParser(description="Classical methods and a network on the digits, tuned with equal effort.")
    parser.add_argument("--splits", type=int, default=6)
    parser.add_argument("--rows", type=int, nargs="+", default=[100, 400, 1438])
    parser.add_argument("--resume", action="store_true", help="keep what an interrupted run has written, and do the rest")
    arguments = parser.parse_args()
    outcomes = already() if arguments.resume else []
    done = {(outcome.rows, outcome.seed) for outcome in outcomes}
    for rows in arguments.rows:
        for seed in range(arguments.splits):
            if (rows, seed) in done:
                continue
            outcomes += compare_one(rows, seed)
            latest = "  ".join(f"{outcome.method} {outcome.accuracy:.1%}" for outcome in outcomes[-len(METHODS) :])
            print(f"{rows} rows, split {seed}: {latest}", flush=True)
            write(outcomes, arguments)


def already() -> list[Outcome]:
    """What an interrupted run of the same versions and settings has left."""
    if not RESULTS.exists():
        return []
    if json.loads(RESULTS.read_text(encoding="utf-8"))["versions"] != versions():
        raise SystemExit("the stored outcomes are of other versions; run without --resume")
    allowed = {method.name: method.settings() for method in METHODS}
    return [outcome for outcome in stored() if outcome.chosen in allowed[outcome.method]]


def versions() -> str:
    return f"Python {platform.python_version()}, NumPy {np.__version__}, scikit-learn {sklearn.__version__}"


def write(outcomes: list[Outcome], arguments: argparse.Namespace) -> None:
    """All outcomes so far, one a line, under a head that says where they come from."""
    head = {
        "date": datetime.date.today().isoformat(),
        "machine": f"one thread of {platform.machine()}",
        "versions": versions(),
        "command": f"python benchmarks/classical_and_networks.py --splits {arguments.splits} --rows {' '.join(map(str, arguments.rows))}",
        "settings_tried_by_each": BUDGET,
        "folds": FOLDS,
    }
    kept = [outcome for outcome in outcomes if outcome.seed < arguments.splits and outcome.rows in arguments.rows]
    rounded = [dataclasses.asdict(outcome) | {"seconds": round(outcome.seconds, 2)} for outcome in sorted(kept, key=lambda one: (one.rows, one.seed))]
    lines = ",\n  ".join(json.dumps(row) for row in rounded)
    RESULTS.write_text(json.dumps(head, indent=1)[:-2] + f',\n "outcomes": [\n  {lines}\n ]\n}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
