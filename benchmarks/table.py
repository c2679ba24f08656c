"""Run the benchmarks that compare the course with what people would use instead, and write benchmarks/README.md.

    python benchmarks/table.py [--print]

Each row is a script of this folder, run in a process of its own, one after the other; its last line that begins with "ratio" is its result. How a
script measures is told at its head. Bounds that are not met are marked, and the exit code is then 1.
"""

import argparse
import datetime
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Row:
    """A script, what it compares (ours, theirs), and the largest ratio of times that is wanted."""

    script: str
    ours: str
    theirs: str
    bound: float


ROWS = (
    Row("mlp_step.py", "one training step of the NumPy MLP, 784-128-10, batch 64", "torch", 0.8),
    Row("conv.py", "im2col convolution in NumPy, forward and backward, four layers", "torch's conv2d", 3.0),
    Row("lstm.py", "LSTM made of cells, forward and backward, 50 steps", "nn.LSTM", 2.0),
    Row("attention.py", "attention through the fused kernel, forward and backward", "a bare scaled_dot_product_attention", 1.05),
    Row("transformer.py", "one training step of the Transformer encoder", "nn.TransformerEncoder", 1.05),
)
HEAD = """# The course side by side with what people would use instead

{command} wrote this table on {date}: {machine}, Python {python}, torch {torch}, one thread.
A ratio of times below 1 says that the course is faster; medians of turns that the two take one after the other, in the same process.

| what | compared with | ratio | wanted | script |
| --- | --- | --- | --- | --- |
"""
TAIL = """
The grading engine against stock nbgrader: `autograder bench` (also `--train`, with the cells that train left in). Its time and memory from 10 to
1,000 submissions: `python benchmarks/engine_scale.py`. The other scripts store what a chapter shows and a notebook would take too long for; each
says at its head which file it writes.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the benchmarks and write their table.")
    parser.add_argument("--print", action="store_true", help="print the table and write nothing")
    only_print = parser.parse_args().print
    lines, missed = [], False
    for row in ROWS:
        ratio = measured(row.script)
        missed |= ratio > row.bound
        lines.append(line(row, ratio))
        print(lines[-1], flush=True)
    machine = f"{platform.system()} on {platform.machine()}, {os.cpu_count()} processors"
    about = {"date": datetime.date.today().isoformat(), "machine": machine, "python": platform.python_version(), "torch": torch.__version__}
    text = HEAD.format(command="`python benchmarks/table.py`", **about) + "\n".join(lines) + "\n" + TAIL
    if not only_print:
        (FOLDER / "README.md").write_text(text, encoding="utf-8")
    raise SystemExit(1 if missed else 0)


def measured(script: str) -> float:
    """The ratio that a script prints last."""
    environment = os.environ | {"PYTHONPATH": str(FOLDER.parent)}
    done = subprocess.run([sys.executable, str(FOLDER / script)], capture_output=True, text=True, env=environment)
    found = re.findall(r"^ratio ([\d.]+)", done.stdout, flags=re.MULTILINE)
    if done.returncode or not found:
        raise SystemExit(f"{script} ended with exit code {done.returncode} and no ratio: {done.stderr.strip().splitlines()[-1:]}")
    return float(found[-1])


def line(row: Row, ratio: float) -> str:
    mark = "" if ratio <= row.bound else " **not met**"
    return f"| {row.ours} | {row.theirs} | {ratio:.2f}{mark} | at most {row.bound:g} | `{row.script}` |"


if __name__ == "__main__":
    main()
