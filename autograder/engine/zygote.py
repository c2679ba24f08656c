"""UNTRUSTED SIDE. A warmed interpreter inside the sandbox, from which a fresh, isolated child is forked for each submission.

It holds what every submission needs and nothing that any may not see.

    python -m autograder.engine.zygote CONTROL_FD WALLS [MODULE ...]
"""

import importlib
import sys
from collections.abc import Iterable
from contextlib import suppress

from autograder.engine import inside, keeper
from autograder.engine.begin import begin


def main() -> None:
    control, walls = begin()
    shell = warm_up(sys.argv[3:])
    keeper.run(control, walls, lambda stream: inside.Inside(stream, shell).serve())


def warm_up(modules: Iterable[str]) -> object:
    """Import once what submissions would import, and do once what takes long the first time only. → the shell that cells run in"""
    import gc

    import numpy as np

    for name in ("matplotlib.pyplot", *modules):
        with suppress(Exception):  # closed while the chapter is graded, or not there: the cells that want it will be told
            importlib.import_module(name)
    np.linalg.norm(np.zeros((2, 2)) @ np.zeros((2, 2)))
    shell = inside.make_shell()
    for package, prepare in (("torch", _step), ("matplotlib.pyplot", _draw), ("course_lib.data", _read)):
        if package in sys.modules:
            prepare()
    gc.collect()
    gc.freeze()  # what is there now is never looked at again by the collector, so its pages stay shared
    return shell


def _step() -> None:
    """Most of what torch needs for the first step of a first optimiser."""
    import torch

    weight = torch.zeros(2, 2, requires_grad=True)
    torch.nn.functional.cross_entropy(weight, torch.zeros(2, dtype=torch.int64)).backward()
    torch.optim.Adam([weight]).step()


def _draw() -> None:
    """A figure with formulas on logarithmic axes, a legend and a layout to be found: what takes longest when it is drawn first."""
    from matplotlib import pyplot

    import course_lib.interactive

    figure, axis = pyplot.subplots(layout="constrained")
    axis.loglog([1e-9, 1.0], [1e-9, 1.0], "o--", label="$x^2$")
    axis.set(title="title", xlabel="x", ylabel="y")
    axis.annotate("here", (1e-3, 1e-3), (1e-2, 1e-5), arrowprops={"arrowstyle": "->"})
    axis.legend()
    course_lib.interactive.show_static(figure, alt="one of the many things that a figure needs once")
    pyplot.close("all")


def _read() -> None:
    """The digits, which most chapters use."""
    import course_lib.data

    course_lib.data.digits()


if __name__ == "__main__":
    main()
