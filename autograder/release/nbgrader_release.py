"""The one step of nbgrader's release that the course does its own way: what a student finds in place of a solution."""

from nbgrader.preprocessors import ClearSolutions
from nbgrader.utils import is_solution

from autograder.release.source import without_solution


class ReleaseSolutions(ClearSolutions):
    """Takes the place of nbgrader's ClearSolutions, so that `nbgrader generate_assignment` gives the very notebooks that the build gives.

    A bug hunt's solution gives way to the program to be mended; predictions and essays keep their text, which holds the question.
    """

    def preprocess_cell(self, cell, resources, cell_index):
        if is_solution(cell) and cell.cell_type == "code":
            cell.source = without_solution(cell.source)
        return cell, resources
