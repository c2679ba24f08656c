"""Classical methods and a network on the same data, tuned with the same effort.

A comparison is fair when every method gets the same rows, the same number of settings to try and the same folds to try them on, and
when nobody looks at the held-out rows before the settings are chosen. `compare_one` does this for one random split; `stored` gives what
`benchmarks/classical_and_networks.py` found over many.

The methods: nearest neighbours (Fix and Hodges, 1951), logistic regression (Cox, 1958), support vector machine (Cortes and Vapnik, 1995),
random forest (Breiman, 2001), and a network with one hidden layer. All are scikit-learn's.
"""

import itertools
import json
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

from course_lib.data import digits

BUDGET = 12  # settings that each method may try
FOLDS = 5
EPOCHS = 40  # at most, of the network


@dataclass(frozen=True)
class Method:
    """A way to learn, and the settings that it may try: `grid` names each argument of `make` with its values."""

    name: str
    make: Callable[..., Any]
    grid: dict[str, tuple]

    def settings(self) -> list[dict[str, Any]]:
        """Every combination of the grid; there are BUDGET of them."""
        return [dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())]


METHODS = (
    Method("nearest neighbours", KNeighborsClassifier, {"n_neighbors": (1, 2, 3, 4, 5, 7), "weights": ("uniform", "distance")}),
    Method("logistic regression", LogisticRegression, {"C": tuple(float(f"{10**power:.3g}") for power in np.linspace(-2.5, 3, BUDGET))}),
    Method("support vector machine", SVC, {"C": (1, 10, 100), "gamma": (0.02, 0.05, 0.1, 0.2)}),
    Method("random forest", RandomForestClassifier, {"max_features": (4, 8, 16, 32), "min_samples_leaf": (1, 2, 4)}),
    Method(
        "network",
        MLPClassifier,
        {"hidden_layer_sizes": ((64,), (256,)), "learning_rate_init": (0.02, 0.05, 0.1), "alpha": (0.0001, 0.01)},
    ),
)
FIXED: dict[str, dict[str, Any]] = {
    "logistic regression": {"max_iter": 2000},
    "random forest": {"n_estimators": 100},
    "network": {"solver": "sgd", "batch_size": 16, "max_iter": EPOCHS},
}
SEEDED = ("random forest", "network")


@dataclass(frozen=True)
class Outcome:
    """One method on one split. `right` of `held_out` pictures are read rightly by the setting that cross-validation chose."""

    method: str
    rows: int
    seed: int
    right: int
    held_out: int
    chosen: dict[str, Any]
    cross_validated: float  # accuracy of the chosen setting on the folds
    seconds: float  # for the whole search

    @property
    def accuracy(self) -> float:
        """Share of the held-out pictures, 0 to 1."""
        return self.right / self.held_out


def compare_one(rows: int, seed: int, methods: Iterable[Method] = METHODS) -> list[Outcome]:
    """Tune each method on `rows` training pictures of the digits and examine it once, on the 359 that the split holds out.

    seed decides the split, the rows taken from its training side (every digit in its share), the folds and the methods' own dice.
    ValueError when there are fewer rows than 50 (five folds of every digit) or more than the split has.
    """
    split = digits(seed=seed)
    if not 50 <= rows <= len(split.x_train):
        raise ValueError(f"rows must lie between 50 and {len(split.x_train)}, got {rows}")
    x, y = split.x_train, split.y_train
    if rows < len(x):
        x, _, y, _ = train_test_split(x, y, train_size=rows, stratify=y, random_state=seed)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    outcomes = []
    for method in methods:
        own = FIXED.get(method.name, {}) | ({"random_state": seed} if method.name in SEEDED else {})
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the network stops after EPOCHS, converged or not: that is its budget
            tried = [(float(cross_val_score(method.make(**own, **setting), x, y, cv=folds).mean()), setting) for setting in method.settings()]
            score, chosen = max(tried, key=lambda pair: pair[0])  # the first of equals
            model = method.make(**own, **chosen).fit(x, y)
        right = int((model.predict(split.x_test) == split.y_test).sum())
        outcomes.append(Outcome(method.name, rows, seed, right, len(split.y_test), chosen, score, time.perf_counter() - start))
    return outcomes


@cache
def _file() -> dict[str, Any]:
    return json.loads(resources.files("course_lib").joinpath("classical.json").read_text(encoding="utf-8"))


def stored() -> list[Outcome]:
    """Every outcome of the committed run of `benchmarks/classical_and_networks.py`."""
    return [
        Outcome(**{**row, "chosen": {key: tuple(v) if isinstance(v, list) else v for key, v in row["chosen"].items()}}) for row in _file()["outcomes"]
    ]


def stored_about() -> str:
    """When, where and with which command the stored outcomes were made."""
    return "{date}, {machine}, {versions}: {command}".format(**_file())
