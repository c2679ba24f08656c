"""Removes what a submission left in its scratch folder, whatever it is. Trusted side.

Names may be no text, folders may be thousands deep or forbid their owner to look: no recursion, no long paths, nothing followed.
"""

import os
import secrets
import stat
from pathlib import Path


def empty(folder: Path) -> None:
    """Remove everything in a folder. No process may be left that could still write there."""
    top = _open(os.fspath(folder), None)
    try:
        waiting, mark, number = ["."], secrets.token_hex(8), 0
        while waiting:
            name = waiting.pop()
            place = _open(name, top)
            try:
                for entry in os.listdir(place):
                    if not stat.S_ISDIR(os.stat(entry, dir_fd=place, follow_symlinks=False).st_mode):
                        os.unlink(entry, dir_fd=place)
                        continue
                    os.chmod(entry, 0o700, dir_fd=place)
                    number += 1
                    os.rename(entry, f"{mark}-{number}", src_dir_fd=place, dst_dir_fd=top)  # every folder comes up to the first level
                    waiting.append(f"{mark}-{number}")
            finally:
                os.close(place)
            if name != ".":
                os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)


def _open(name: str, top: int | None) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
