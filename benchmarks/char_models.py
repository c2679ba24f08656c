"""Language models of characters on the bundled prose, over three seeds: writes course_lib/nn/recurrent/ladder.json, which chapter 07 quotes.

    python benchmarks/char_models.py [--seeds 3] [--resume]

The chapter's settings (3 epochs, 32 streams of 64 characters, Adam at 0.01, falling to 0, clipping to 1) for an RNN and an LSTM with equally
many units, and for a wider RNN with as many parameters as the LSTM; the last two at two learning rates each. One thread; some minutes on an
idle machine. The losses depend on the text, and so on the version of Python.
"""

# ruff: noqa: E402  (the variables must be set before the imports)

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # read once, when the libraries load

import argparse
import datetime
import json
import platform
import time
from pathlib import Path

import torch

from course_lib.data import prose_split
from course_lib.nn.recurrent.language import CharModel, Kind
from course_lib.nn.recurrent.text import Alphabet, detached, held_out_loss, streams

RESULTS = Path(__file__).parents[1] / "course_lib" / "recurrent" / "ladder.json"
MODELS: tuple[tuple[Kind, int, float], ...] = (("RNN", 128, 1e-2), ("RNN", 249, 1e-2), ("RNN", 249, 5e-3), ("LSTM", 128, 1e-2), ("LSTM", 128, 2e-2))
EPOCHS, WIDTH, STREAMS, LENGTH = 3, 32, 32, 64


def main() -> None:
    parser = argparse.ArgumentParser(description="RNN and LSTM as language models of characters.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--resume", action="store_true", help="keep what an interrupted run has written, and do the rest")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    train_text, test_text = prose_split()
    alphabet = Alphabet.of(train_text)
    batches = list(streams(alphabet.encode(train_text), STREAMS, LENGTH))
    test = alphabet.encode(test_text)
    kept = json.loads(RESULTS.read_text(encoding="utf-8"))["runs"] if arguments.resume and RESULTS.exists() else []
    done = {(run["kind"], run["hidden"], run["lr"], run["seed"]): run for run in kept}
    runs = []
    for kind, hidden, lr in MODELS:
        for seed in range(arguments.seeds):
            if (kind, hidden, lr, seed) in done:
                runs.append(done[kind, hidden, lr, seed])
                write(runs, arguments.seeds)
                continue
            begun = time.perf_counter()
            torch.manual_seed(seed)
            model = CharModel(len(alphabet), WIDTH, hidden, kind)
            train(model, batches, lr)
            run = {
                "kind": kind,
                "hidden": hidden,
                "lr": lr,
                "parameters": sum(param.numel() for param in model.parameters()),
                "seed": seed,
                "held_out_loss": round(held_out_loss(model, test), 4),
                "seconds": round(time.perf_counter() - begun, 1),
            }
            runs.append(run)
            print(run, flush=True)
            write(runs, arguments.seeds)


def write(runs: list[dict], seeds: int) -> None:
    head = {
        "date": datetime.date.today().isoformat(),
        "machine": f"one thread of {platform.machine()}",
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}",
        "command": f"python benchmarks/char_models.py --seeds {seeds}",
    }
    lines = ",\n".join("  " + json.dumps(run) for run in runs)
    text = "{\n" + "".join(f" {json.dumps(key)}: {json.dumps(value)},\n" for key, value in head.items()) + f' "runs": [\n{lines}\n ]\n}}\n'
    RESULTS.write_text(text, encoding="utf-8")


def train(model: CharModel, batches: list[tuple[torch.Tensor, torch.Tensor]], lr: float) -> None:
    """EPOCHS times through the text, the state carried from batch to batch; a new epoch begins the text anew."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=EPOCHS * len(batches))
    for _ in range(EPOCHS):
        state = None
        for inputs, targets in batches:
            _, loss, state = model(inputs, targets, detached(state))
            assert loss is not None
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()


if __name__ == "__main__":
    main()
