"""A wrong command line is answered with one line on stderr and a non-zero exit code, whatever is wrong with it."""

import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent


@pytest.mark.parametrize("line", [
    ("course", "nosuch"),
    ("course", "build", "--nope"),
    ("course", "check"),
    ("course", "lab", "--port", "many"),
    ("autograder", "new"),
    ("autograder", "grade", "no/such/class"),
    ("autograder", "exercises", "99"),
], ids=" ".join)  # fmt: skip
def test_a_wrong_command_line_gets_one_line(line):
    answer = subprocess.run([BIN / line[0], *line[1:]], capture_output=True, text=True, timeout=60)
    assert answer.returncode not in (0, 130)
    assert answer.stdout == ""
    assert len(answer.stderr.splitlines()) == 1, answer.stderr


@pytest.mark.parametrize("program", ["course", "autograder"])
def test_help_lists_the_commands_and_is_no_mistake(program):
    answer = subprocess.run([BIN / program, "--help"], capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0
    assert answer.stderr == ""
    assert {"course": "lab", "autograder": "grade"}[program] in answer.stdout
