"""Hostile submissions, and the small notebook that they are put into.

tests/engine/attacks/FAMILY.txt holds what students might try instead of solving an exercise. An attack begins with a line

    # %% its name | place=affine_backward status=tampered,timeout

and its code follows. place: `cell`, a cell before the exercises (this is what holds without a place); `affine_backward` or `Value`, in place of the
solution; `notebook`, a function `edit(nb)` that changes the file itself. status: how the submission must end, `graded` without it; several where
a clock or a race decides. The line FIND_STREAM stands for code that finds the socket to the grader.
"""

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "engine" / "attacks"
IMPORTS = "import numpy as np\nimport math\n"
HONEST = {
    "affine_backward": "def affine_backward(grad_out, x, weight):\n    return weight @ grad_out, np.outer(x, grad_out), grad_out\n",
    "Value": """class Value:
    def __init__(self, data, parents=(), slopes=()):
        self.data, self.parents, self.slopes, self.grad = float(data), parents, slopes, 0.0

    def __add__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data * other.data, (self, other), (other.data, self.data))

    def tanh(self):
        return Value(math.tanh(self.data), (self,), (1 - math.tanh(self.data) ** 2,))

    def backward(self):
        order, seen = [], set()

        def visit(node):
            if node not in seen:
                seen.add(node)
                for parent in node.parents:
                    visit(parent)
                order.append(node)

        visit(self)
        self.grad = 1.0
        for node in reversed(order):
            for parent, slope in zip(node.parents, node.slopes, strict=True):
                parent.grad += slope * node.grad

    __radd__ = __add__
    __rmul__ = __mul__

    def __sub__(self, other):
        return self + other * -1.0

    def __rsub__(self, other):
        return self * -1.0 + other
""",
}
STUBS = {
    "affine_backward": "def affine_backward(grad_out, x, weight):\n    raise NotImplementedError\n",
    "Value": "class Value:\n    def __init__(self, data):\n        raise NotImplementedError\n",
}
FIND_STREAM = """import os, socket, stat
def is_socket(descriptor):
    try:
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except OSError:
        return False
def stream():
    return next(socket.socket(fileno=os.dup(descriptor)) for descriptor in range(3, 256) if is_socket(descriptor))
"""


@dataclass(frozen=True)
class Attack:
    family: str
    name: str
    code: str
    place: str
    status: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.family}: {self.name}"


def all_attacks() -> list[Attack]:
    found = []
    for file in sorted(FOLDER.glob("*.txt")):
        for entry in re.split(r"^# %% ", file.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            head, _, code = entry.partition("\n")
            name, _, keys = head.partition(" | ")
            settings = dict(key.split("=") for key in keys.split())
            place, status = settings.get("place", "cell"), tuple(settings.get("status", "graded").split(","))
            found.append(Attack(file.stem.replace("_", " "), name, code.replace("FIND_STREAM\n", FIND_STREAM), place, status))
    return found


def small_notebook(first: str = "", **solutions: str) -> dict:
    """Imports, a cell of the student's own, and two exercises of chapter 03 with their checks; what is not given is as released."""
    cells = [_code(IMPORTS, "imports"), _code(first, "own")]
    for name, points in (("affine_backward", 3), ("Value", 5)):
        cells.append(_code(solutions.get(name, STUBS[name]), name, grade=False, solution=True, locked=False))
        cells.append(_code(f'check("backprop.{name}", {name})', f"check-{name}", grade=True, solution=False, locked=True, points=points))
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def attacked(attack: Attack) -> dict:
    """The small notebook with the attack in its place."""
    if attack.place == "cell":
        return small_notebook(attack.code)
    if attack.place != "notebook":
        return small_notebook(**{attack.place: attack.code})
    names: dict = {}
    exec(attack.code, names)
    notebook = small_notebook()
    names["edit"](notebook)
    return notebook


def _code(source: str, identity: str, **grading: object) -> dict:
    metadata = {"nbgrader": {"grade_id": identity, "schema_version": 3, "task": False, **grading}} if grading else {}
    return {"cell_type": "code", "id": identity, "source": source, "metadata": metadata, "outputs": [], "execution_count": None}
