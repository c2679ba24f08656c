"""Two steps of `nbgrader autograde` that the course does more strictly. Used by a class's nbgrader_config.py, so stock nbgrader runs them too."""

from typing import Any

from nbformat import NotebookNode, v4
from nbgrader import utils
from nbgrader.api import MissingEntry
from nbgrader.preprocessors import NbGraderPreprocessor, OverwriteCells

from autograder.checking.check import MIMETYPE as CHECK
from autograder.checking.predict import MIMETYPE as PREDICTION

NO_VERDICT = "NoVerdict"  # the name of the error that stands in a graded cell without a verdict


class RestoreCells(OverwriteCells):
    """Takes the place of OverwriteCells: what a graded cell is, and whether it runs, is the instructor's to say, not the submission's.

    Sets grade, solution, points and lock from the gradebook, removes tags that would skip the cell, and puts deleted graded cells back
    even when their neighbours are gone too (nbgrader's own step stops the submission then).
    """

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        self._roles: tuple[dict[str, float], set[str]] | None = None
        return super().preprocess(nb, resources)

    def preprocess_cell(self, cell: NotebookNode, resources: Any, cell_index: int) -> tuple[NotebookNode, Any]:
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        if not isinstance(name, str):
            return cell, resources
        try:
            source = self.gradebook.find_source_cell(name, self.notebook_id, self.assignment_id)
        except MissingEntry:
            return super().preprocess_cell(cell, resources, cell_index)
        points, answers = self._known_roles()
        cell.metadata.nbgrader.update(grade=name in points, solution=name in answers, locked=source.locked, task=False)
        if name in points:
            cell.metadata.nbgrader["points"] = points[name]
            cell.metadata.pop("tags", None)
        return super().preprocess_cell(cell, resources, cell_index)

    def add_missing_grade_cells(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        """Each missing graded cell goes behind the nearest cell that stood before it in the release, or to the end."""
        points, answers = self._known_roles()
        before: list[str] = []
        notebook: Any = self.gradebook.find_notebook(self.notebook_id, self.assignment_id)
        for source in notebook.source_cells:
            places = {cell.metadata.get("nbgrader", {}).get("grade_id"): place for place, cell in enumerate(nb.cells)}
            if source.name in points and source.name not in places:
                place = next((places[name] + 1 for name in reversed(before) if name in places), len(nb.cells))
                nb.cells.insert(place, self.missing_cell_transform(source, points[source.name], is_solution=source.name in answers))
            before.append(source.name)
        return nb, resources

    def _known_roles(self) -> tuple[dict[str, float], set[str]]:
        """Points by name of each graded cell, and the names of the cells that hold answers."""
        if self._roles is None:
            notebook: Any = self.gradebook.find_notebook(self.notebook_id, self.assignment_id)
            points = {cell.name: float(cell.max_score) for cell in notebook.grade_cells}
            self._roles = points, {cell.name for cell in notebook.solution_cells}
        return self._roles


class OnlyVerdicts(NbGraderPreprocessor):
    """Stands between running and scoring: a graded cell counts only when a check or a prediction left its verdict there.

    Stock nbgrader gives full marks to a graded cell that shows nothing, and none to one beside which anything went to stderr. Here the first
    gets an error, and so no points; the second keeps its verdict. What this cannot see: a submission that forges a whole verdict.
    """

    def preprocess_cell(self, cell: NotebookNode, resources: Any, cell_index: int) -> tuple[NotebookNode, Any]:
        if not utils.is_grade(cell) or utils.is_solution(cell) or cell.cell_type != "code":
            return cell, resources
        if any(output.output_type == "error" for output in cell.outputs):
            cell.outputs = sorted(cell.outputs, key=lambda output: output.output_type != "error")  # nbgrader goes by what comes first
        elif has_verdict(cell):
            cell.outputs = [output for output in cell.outputs if not (output.output_type == "stream" and output.name == "stderr")]
        else:
            text = "No check reached a verdict here. Has `check` or `predict` been given another meaning?"
            cell.outputs.insert(0, v4.new_output("error", ename=NO_VERDICT, evalue=text, traceback=[f"{NO_VERDICT}: {text}"]))
        return cell, resources


def has_verdict(cell: NotebookNode) -> bool:
    """Does the cell show one result, with the record of the check or prediction that it is graded for, and a score within its points?"""
    results = [output for output in cell.outputs if output.output_type == "execute_result"]
    if len(results) != 1:
        return False
    kind, _, name = cell.metadata.nbgrader.grade_id.partition("-")
    data, key = results[0].data, {"check": "exercise", "reveal": "prediction"}.get(kind, "")
    record = data.get({"check": CHECK, "reveal": PREDICTION}.get(kind))
    if not isinstance(record, dict) or str(record.get(key)).rpartition(".")[2] != name:
        return False
    score = record.get("score")
    if isinstance(score, bool) or not isinstance(score, int | float) or data.get("text/plain") != str(float(score)):
        return False
    return 0 <= score <= cell.metadata.nbgrader.points
