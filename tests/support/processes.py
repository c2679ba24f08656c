"""Processes that come and go while a test looks at them."""

import psutil


def is_alive(process: psutil.Process) -> bool:
    """Neither ended nor a zombie that waits to be asked how."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def words(process: psutil.Process) -> str:
    """Its command line; nothing when it has ended since it was listed."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def below() -> set[int]:
    """All that descends from this test and is alive."""
    return {child.pid for child in psutil.Process().children(recursive=True) if is_alive(child)}
