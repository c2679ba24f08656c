"""Submissions of the small notebook, with limits short enough for attacks that use up all of them."""

import json
from collections.abc import Callable

import pytest
from attacks import HONEST, small_notebook

from autograder.engine.sandbox import Limits
from autograder.engine.unit import Unit, release_cells

SHORT = Limits(cell=2, call=1, submission=8, cpu_seconds=12, memory=400 * 2**20, processes=32, file=8 * 2**20, scratch=16 * 2**20, output=20_000)
LOOK = "import os\nprint('left behind:', [os.listdir(place) for place in ('/scratch', '/dev/shm', '/proc')], os.path.exists('/dev/answer.txt'))"


@pytest.fixture(scope="session")
def unit_of() -> Callable[..., Unit]:
    """unit_of(notebook, limits=SHORT) → a unit of work on it."""

    def make(notebook: dict, limits: Limits = SHORT) -> Unit:
        return Unit("ada", "03_backprop", "backprop", json.dumps(notebook).encode(), release_cells(small_notebook()), seed=11, limits=limits)

    return make


@pytest.fixture(scope="session")
def honest_unit(unit_of) -> Unit:
    """Both exercises solved; its own cell shows what a submission before it could have left behind."""
    return unit_of(small_notebook(LOOK, **HONEST))
