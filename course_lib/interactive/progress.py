"""A progress bar for loops that take more than a few seconds: one line that is drawn again, in any notebook, and leaves nothing on stderr."""

import html
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from IPython.display import DisplayHandle

Item = TypeVar("Item")
WIDTH = 30  # characters of the bar
EVERY = 0.2  # seconds between two drawings


class _Line:
    """A line of text, in the forms that a page may show."""

    def __init__(self, label: str, done: int, count: int, seconds: float):
        filled = WIDTH * done // max(count, 1)
        self._text = f"{label} {'█' * filled}{'░' * (WIDTH - filled)} {done} of {count}, {seconds:.0f} s"

    def __repr__(self) -> str:
        return self._text

    def _repr_html_(self) -> str:
        return f'<pre role="status" style="margin:0">{html.escape(self._text)}</pre>'


def progress(items: Iterable[Item], label: str, count: int | None = None) -> Iterator[Item]:
    """Go through `items` and show how far. count: how many there are, where len(items) does not tell."""
    if count is None:
        if not isinstance(items, Sized):
            raise ValueError("the items have no length; give count")
        count = len(items)
    started = shown = time.monotonic()
    handle = DisplayHandle()
    handle.display(_Line(label, 0, count, 0))
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - shown >= EVERY or done == count:
            handle.update(_Line(label, done, count, now - started))
            shown = now
