"""Stock nbgrader's own commands work in a class, and give the planted scores."""

import csv
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from autograder.gradebook import planted
from autograder.gradebook.stock import quiet_environment

pytestmark = [pytest.mark.xdist_group("gradebook"), pytest.mark.slow]
WORK = "97_tiny"


def nbgrader(folder, scratch, *arguments):
    finished = subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=folder,
        env=os.environ | quiet_environment(scratch),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]


def test_generate_autograde_feedback_and_export_work_and_give_the_planted_scores(room, by_stock, tmp_path):
    people = ("ada", "wrong-1", "empty", "forging", "deleted-both")
    planted.write_class([by_stock[name] for name in people], room.folder, WORK)
    nbgrader(room.folder, tmp_path, "generate_assignment", WORK, "--force")
    nbgrader(room.folder, tmp_path, "autograde", WORK)
    nbgrader(room.folder, tmp_path, "generate_feedback", WORK)
    nbgrader(room.folder, tmp_path, "export", "--to=grades.csv")
    with (room.folder / "grades.csv").open(newline="") as file:
        rows = {row["student_id"]: row for row in csv.DictReader(file)}
    assert {name: float(rows[name]["score"]) for name in people} == {name: by_stock[name].score for name in people}
    assert {float(row["max_score"]) for row in rows.values()} == {8.0}
    feedback = (room.folder / "feedback" / "wrong-1" / WORK / f"{WORK}.html").read_text()
    assert "all below zero" in feedback


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def get(url, seconds=60):
    """The body, once the server answers."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.read().decode()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def test_formgrader_lists_the_assignment_and_its_submissions(graded, tmp_path):
    port = free_port()
    options = ["--no-browser", "--allow-root", f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=secret"]
    environment = os.environ | quiet_environment(tmp_path)
    with (tmp_path / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyter", "server", *options, "--ServerApp.jpserver_extensions", "nbgrader.server_extensions.formgrader=True"],
            cwd=graded.room.folder,
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        base = f"http://127.0.0.1:{port}/formgrader"
        page = get(f"{base}/manage_assignments?token=secret", 90)
        assert "Formgrader" in page or "formgrader" in page
        assignments = json.loads(get(f"{base}/api/assignments?token=secret"))
        assert [(item["name"], item["num_submissions"], item["max_score"]) for item in assignments] == [(WORK, 6, 8.0)]
        submissions = json.loads(get(f"{base}/api/submissions/{WORK}?token=secret"))
        scores = {item["student"]: item["score"] for item in submissions}
        assert scores == {name: result.score for name, result in graded.results.items()}
    finally:
        server.terminate()
        server.wait(30)
