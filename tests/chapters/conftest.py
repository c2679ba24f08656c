"""The executed notebook of a chapter, made once for all tests that look into it."""

import functools
import os
import re
import resource
import time
from dataclasses import dataclass

import nbformat
import pytest
from nbclient import NotebookClient

from autograder.release.build import notebook
from autograder.release.chapters import find_chapter


@dataclass(frozen=True)
class Execution:
    """An executed notebook, and what it cost."""

    node: nbformat.NotebookNode
    seconds: float
    peak_bytes: int

    @property
    def said(self) -> str:
        """All that it printed."""
        outputs = (output for cell in self.node.cells if cell.cell_type == "code" for output in cell.outputs)
        return "\n".join(output.text for output in outputs if output.output_type == "stream")

    def printed(self, pattern: str) -> re.Match:
        """The first place where it printed the pattern."""
        match = re.search(pattern, self.said)
        assert match, f"{pattern!r} was not printed:\n{self.said}"
        return match


@pytest.fixture(scope="session")
def executed():
    """Run a chapter's solution notebook in a kernel of its own, once a session: executed("03") → Execution."""

    @functools.cache
    def run(chapter: str) -> Execution:
        node = notebook(find_chapter(chapter), "solution")
        environment = {**os.environ, "COURSE_PROGRESS": "off"}
        before = time.monotonic()
        NotebookClient(node, timeout=300, kernel_name="python3").execute(env=environment)
        return Execution(node, time.monotonic() - before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)

    return run
