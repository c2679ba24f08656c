"""Tells whether a solution is right, releases chapters, and grades classes."""

from autograder.checking import predict
from autograder.checking.board import progress_board
from autograder.checking.check import check

__all__ = ["check", "predict", "progress_board"]
