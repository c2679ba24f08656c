"""Where chapters live, what they are called, and how their cells call what is graded."""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from autograder.errors import CourseError

ROOT = Path(__file__).resolve().parents[2]
FILE_NAME = re.compile(r"(\d\d)_([a-z][a-z0-9_]*)")
REVEAL = re.compile(r"""(?m)^[^#\n]*\bpredict\.reveal\(\s*["']([^"']+)["']""")
CHECK = re.compile(r"""\bcheck\(\s*["']([^"']+)["']""")


class UnknownChapter(CourseError):
    """No chapter of that number or name; the message lists what there is."""


@dataclass(frozen=True)
class Chapter:
    """number "03", name "backprop" (also the name of its exercises file), source the jupytext file."""

    number: str
    name: str
    source: Path

    @property
    def slug(self) -> str:
        """The file name without its ending, which is also nbgrader's assignment and notebook name."""
        return f"{self.number}_{self.name}"


def chapters(folder: Path | None = None) -> list[Chapter]:
    """All chapters that have a source, in order of number."""
    found = []
    for path in sorted((folder or ROOT / "solutions").glob("*.py")):
        match = FILE_NAME.fullmatch(path.stem)
        if match:
            found.append(Chapter(match[1], match[2], path))
    return found


def find_chapter(wanted: str, folder: Path | None = None) -> Chapter:
    """The chapter called "3", "03", "backprop" or "03_backprop". Raises `UnknownChapter`."""
    known = chapters(folder)
    for chapter in known:
        if wanted in (chapter.number, chapter.name, chapter.slug) or (wanted.isdecimal() and int(wanted) == int(chapter.number)):
            return chapter
    near = difflib.get_close_matches(wanted, [name for chapter in known for name in (chapter.name, chapter.slug)], 1)
    listing = ", ".join(chapter.slug for chapter in known) or "none yet"
    raise UnknownChapter(f"no chapter {wanted!r}" + (f"; did you mean {near[0]!r}?" if near else f"; there are: {listing}"))


def notebook_path(chapter: Chapter, lang: str = "en", root: Path = ROOT) -> Path:
    """Where the student notebook of a chapter is kept."""
    return root / "notebooks" / lang / f"{chapter.slug}.ipynb"
