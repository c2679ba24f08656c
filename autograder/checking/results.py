"""Result types. Trusted side: a score is computed from verdicts here and nowhere parsed from text."""

import math
from dataclasses import asdict, dataclass
from typing import Literal

Outcome = Literal["passed", "failed", "raised", "timeout", "missing", "broken"]


@dataclass(frozen=True)
class CaseResult:
    """The verdict on one case.

    outcome  passed · failed (a wrong value) · raised (the student's code raised) · timeout ·
             missing (nothing written yet) · broken (the check itself failed; never the student's fault)
    message  what was found, in words, without the expected values
    hint     the likely misconception, from the author of the exercise
    notes    what else was noticed: text printed, warnings, arguments changed in place
    side     also true of answers that are worth nothing: earns only beside a case that is not
    """

    name: str
    outcome: Outcome
    message: str = ""
    hint: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    side: bool = False

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"


@dataclass(frozen=True)
class ExerciseResult:
    """All cases of one exercise; every case is worth the same share of the points.

    mends  of a bug hunt, the cases that the program fails as it is found: nothing is earned before one of them passes
    """

    exercise: str
    title: str
    points: float
    cases: tuple[CaseResult, ...]
    seconds: float = 0.0
    mends: tuple[str, ...] = ()

    @property
    def passed(self) -> int:
        return sum(case.passed for case in self.cases)

    @property
    def score(self) -> float:
        """Points earned, rounded to a hundredth; full marks only when every case passed."""
        if self.solved:
            return float(self.points)
        if self.mends and not any(case.passed for case in self.cases if case.name in self.mends):
            return 0.0
        if all(case.side for case in self.cases if case.passed):
            return 0.0
        exact = self.points * self.passed / max(1, len(self.cases))
        rounded = round(exact, 2)
        return rounded if rounded < self.points else math.floor(100 * exact) / 100

    @property
    def solved(self) -> bool:
        return bool(self.cases) and self.passed == len(self.cases)

    @property
    def status(self) -> Literal["solved", "partly", "open", "not written"]:
        if self.solved:
            return "solved"
        if self.cases and all(case.outcome == "missing" for case in self.cases):
            return "not written"
        return "partly" if self.passed else "open"

    def as_dict(self) -> dict:
        return {
            "exercise": self.exercise,
            "title": self.title,
            "points": self.points,
            "score": self.score,
            "solved": self.solved,
            "seconds": round(self.seconds, 3),
            "mends": list(self.mends),
            "cases": [asdict(case) | {"notes": list(case.notes)} for case in self.cases],
        }


def result_from_dict(record: dict) -> ExerciseResult:
    """The inverse of `ExerciseResult.as_dict`. KeyError or TypeError when the record is none."""
    cases = tuple(CaseResult(**{**case, "notes": tuple(case["notes"])}) for case in record["cases"])
    return ExerciseResult(record["exercise"], record["title"], record["points"], cases, record["seconds"], tuple(record["mends"]))
