"""8, 20 and 56 layers, with and without shortcuts, on the 8 × 8 digits: writes course_lib/nn/depth.json, which chapter 06 plots.

    python benchmarks/depth.py [--seeds 5] [--epochs 4]

Every network is course_lib.nn.residual.ResNet with 8 channels at its widest picture, trained with AdamW on the 1,438 training pictures in batches of
64: the last quarter of the epochs at a fifth of the rate. One thread; about four minutes on an idle machine.
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

import torch

from course_lib.data import digits
from course_lib.nn.depth import STORED, Outcome
from course_lib.nn.residual import ResNet
from course_lib.train import TrainConfig, evaluate, fit

BLOCKS = (1, 3, 9)  # a stage: 8, 20 and 56 layers
WIDTH, BATCH, LR = 8, 64, 3e-3


def main() -> None:
    parser = argparse.ArgumentParser(description="Depth with and without shortcuts.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    split = digits(seed=0, dtype="float32", flat=False)
    train = torch.from_numpy(split.x_train[:, None]), torch.from_numpy(split.y_train)
    test = torch.from_numpy(split.x_test[:, None]), torch.from_numpy(split.y_test)
    outcomes = []
    for seed in range(arguments.seeds):
        for blocks in BLOCKS:
            for residual in (False, True):
                torch.manual_seed(seed)
                net = ResNet(blocks, WIDTH, residual=residual)
                last = max(1, arguments.epochs // 4)
                for epochs, lr in ((arguments.epochs - last, LR), (last, LR / 5)):
                    fit(net, *train, TrainConfig(epochs=epochs, batch_size=BATCH, lr=lr, seed=seed))
                learnt, held_out = (evaluate(net, *side).accuracy for side in (train, test))
                outcomes.append(Outcome(6 * blocks + 2, residual, seed, round(learnt, 4), round(held_out, 4)))
                print(outcomes[-1], flush=True)
    write(outcomes, arguments)


def write(outcomes: list[Outcome], arguments: argparse.Namespace) -> None:
    head = {
        "date": datetime.date.today().isoformat(),
        "machine": f"one thread of {platform.machine()}",
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}",
        "command": f"python benchmarks/depth.py --seeds {arguments.seeds} --epochs {arguments.epochs}",
    }
    lines = ",\n  ".join(json.dumps(dataclasses.asdict(outcome)) for outcome in outcomes)
    STORED.write_text(json.dumps(head, indent=1)[:-2] + f',\n "outcomes": [\n  {lines}\n ]\n}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
