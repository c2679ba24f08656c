"""UNTRUSTED SIDE. The first thing that a program within the walls does."""

import json
import socket
import sys

from autograder.engine.confined import Confined
from autograder.engine.keeper import Walls
from autograder.engine.namespaces import Namespaces


def begin() -> tuple[socket.socket, Walls]:
    """→ the line to the trusted side, and the walls that the command line names"""
    control, about = socket.socket(fileno=int(sys.argv[1])), json.loads(sys.argv[2])
    walls = Namespaces() if about["kind"] == "bubblewrap" else Confined(about)
    walls.begin()
    return control, walls
