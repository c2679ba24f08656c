"""`course lab` starts a real JupyterLab: the course's defaults, this interpreter's kernel, a clean end."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from autograder.errors import CourseError
from autograder.release import lab

TOKEN = "for-the-test-alone"
LAUNCH = """
import pathlib, signal, sys
from autograder.release import lab
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores it, and hands that down
lab.launch(pathlib.Path(sys.argv[1]), port=int(sys.argv[2]), browser=False)
"""


def get(port: int, path: str):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"token {TOKEN}"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def port_of(process: subprocess.Popen, log: Path) -> int:
    """The port that the server says it took, once it answers there."""
    for _ in range(1200):
        assert process.poll() is None, log.read_text(encoding="utf-8")
        if told := re.search(r"http://127\.0\.0\.1:(\d+)/lab", log.read_text(encoding="utf-8")):
            with contextlib.suppress(OSError):
                get(int(told[1]), "/api/status")
                return int(told[1])
        time.sleep(0.1)
    raise AssertionError(log.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_a_real_server_has_the_courses_defaults_and_kernel_takes_another_port_and_ends_on_ctrl_c_twice(house, tmp_path):
    house.release()
    mine = tmp_path / "mine"
    lab.prepare(mine, root=house.root)
    # A user with a broken kernel called python3 and settings of their own.
    theirs = tmp_path / "user" / "kernels" / "python3"
    theirs.mkdir(parents=True)
    (theirs / "kernel.json").write_text('{"argv": ["/nowhere/python"], "display_name": "Another", "language": "python"}', encoding="utf-8")
    environment = os.environ | {
        "JUPYTER_TOKEN": TOKEN,
        "JUPYTER_PATH": str(tmp_path / "user"),
        "JUPYTER_DATA_DIR": str(tmp_path / "user"),
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
    }
    log = tmp_path / "log"
    keyboard, terminal = os.openpty()
    with socket.socket() as taken, log.open("w", encoding="utf-8") as output:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        wanted = taken.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(mine), str(wanted)], env=environment, stdin=terminal, stdout=output, stderr=output
        )
        try:
            port = port_of(process, log)
            setting = get(port, "/lab/api/settings/@jupyterlab/notebook-extension:tracker")
            kernels = get(port, "/api/kernelspecs")
            listing = get(port, "/api/contents")
        finally:
            process.send_signal(signal.SIGINT)
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            try:
                code = process.wait(timeout=60)
            finally:
                process.kill()
                os.close(keyboard)
                os.close(terminal)
    text = log.read_text(encoding="utf-8")
    assert setting["schema"]["properties"]["windowingMode"]["default"] == "defer" and setting["settings"] == {}
    assert kernels["default"] == "python3" and kernels["kernelspecs"]["python3"]["spec"]["argv"][0] == sys.executable
    assert [entry["name"] for entry in listing["content"]] == ["98_small.ipynb"]
    assert port != wanted and f"The port {wanted} is already in use" in text
    assert code == 0 and "Traceback" not in text
    assert ("started with --allow-root" in text) == (os.geteuid() == 0)
    with pytest.raises(urllib.error.URLError):
        get(port, "/api/status")


def test_what_the_user_had_on_jupyters_paths_stays_there_behind_the_courses_own(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_PATH", "/one:/two")
    monkeypatch.delenv("JUPYTER_CONFIG_PATH", raising=False)
    found: dict[str, dict[str, str]] = {}
    monkeypatch.setattr(os, "execve", lambda _program, _arguments, environment: found.update(environment=environment))
    lab.launch(tmp_path)
    hidden = str(tmp_path / ".course" / "jupyter")
    assert found["environment"]["JUPYTER_PATH"] == os.pathsep.join([hidden, "/one:/two"])
    assert found["environment"]["JUPYTER_CONFIG_PATH"] == hidden
    assert found["environment"]["PATH"] == os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_number_that_is_no_port_is_refused(tmp_path, port):
    with pytest.raises(CourseError, match="from 1 to 65535"):
        lab.launch(tmp_path, port=port)
