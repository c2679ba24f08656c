"""What decides whether a solution is right: exercises and their cases, comparisons, results, the student's progress.

Trusted side. Nothing here imports student code; it is reached through `student` alone.
"""

from autograder.checking.cases import Mismatch, case
from autograder.checking.compare import (
    accuracy,
    at_least,
    at_most,
    close,
    distribution,
    finite,
    gradient,
    holds,
    inputs_unchanged,
    is_object,
    raises,
    same,
)
from autograder.checking.exercise import Exercise, exercise, find, load_chapter, registered

__all__ = [
    "Exercise",
    "Mismatch",
    "accuracy",
    "at_least",
    "at_most",
    "case",
    "close",
    "distribution",
    "exercise",
    "find",
    "finite",
    "gradient",
    "holds",
    "inputs_unchanged",
    "is_object",
    "load_chapter",
    "raises",
    "registered",
    "same",
]
