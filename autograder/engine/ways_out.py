"""UNTRUSTED SIDE. Tries, behind the walls, what no submission may be able to do, and what each must be. Says what came of it.

python -m autograder.engine.ways_out CONTROL_FD WALLS
"""

import contextlib
import json
import os
import socket
from pathlib import Path

from autograder.engine import keeper
from autograder.engine.begin import begin


def main() -> None:
    control, walls = begin()
    keeper.run(control, walls, try_all)


def try_all(stream: socket.socket) -> None:
    """Answer one question, {file, port, name, process}: a file, a port, an abstract name and a process of this machine."""
    asked = json.loads(stream.recv(65536))
    ways = {
        "a file of this machine can be read": lambda: Path(asked["file"]).read_text(),
        "a folder of this machine can be listed": lambda: os.listdir(os.path.dirname(asked["file"])),
        "a file can be written outside scratch": lambda: open(asked["file"], "a").close(),
        "a file can be made outside scratch": lambda: open(asked["file"] + "2", "w").close(),
        "a port of this machine can be reached": lambda: socket.create_connection(("127.0.0.1", asked["port"]), 1),
        "an abstract name of this machine can be reached": lambda: _connect(asked["name"]),
        "a process outside can be signalled": lambda: os.kill(asked["process"], 0),
    }
    found = []
    for what, attempt in ways.items():
        with contextlib.suppress(OSError):
            attempt()
            found.append(what)
    try:
        with open("x", "w+") as file:
            file.write("x")
        os.unlink("x")
    except OSError as error:
        found.append(f"scratch cannot be used ({error.strerror})")
    stream.sendall(json.dumps(found).encode())
    stream.recv(1)  # until the trusted side hangs up


def _connect(name: str) -> None:
    with socket.socket(socket.AF_UNIX) as line:
        line.connect("\0" + name)
