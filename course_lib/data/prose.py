"""English prose that every Python carries: the language reference behind `help("assert")`.

It is technical writing with code and grammar in it, about programming throughout: small enough to train on in a
minute, real enough that a model has words, syntax and sense to learn.
"""

import re
import unicodedata
from collections.abc import Mapping

from course_lib.data.split import check_fraction

_RULER = re.compile(r"[-=*~^\"'+|\s]{3,}")  # a line that underlines a heading or draws the border of a table
_REPEAT = 80  # characters from which an equal paragraph is a copy; "See also:" and "Example:" are merely the language's habits


def prose() -> str:
    """The reference as one text: str, Unicode, lines of about 70 characters, an empty line between paragraphs.

    Size: it grows with Python. 448,361 characters on 3.11.7, 471,894 on 3.12.1, 487,032 on 3.13.0; about 100 different
    ones, of which a handful is not ASCII (’ “ ” ß …). A result that depends on the text depends on the Python version.

    Normalised, the same way each time: topics in the order of their names, an empty line between them; Unicode NFC;
    spaces at the ends of lines, lines that only draw (underlines of headings, borders of tables) and all but one of
    several empty lines removed; one newline at the very end. Indentation and line breaks stay, since code needs them.
    About a fifth of the text repeats an earlier paragraph, because some topics contain others: split it with
    prose_split, which keeps the test text out of the training text.

    Source: module pydoc_data.topics of the running Python, made from its documentation (docs.python.org/3/reference).
    Licence: Python Software Foundation License Version 2.
    """
    from pydoc_data.topics import topics  # half a megabyte that only this function needs

    return _normalised(topics)


def prose_split(test_fraction: float = 0.1) -> tuple[str, str]:
    """The text for training and the text for testing: (train, test), both str.

    test is the end of prose(), one piece: test_fraction of it, rounded up to a whole paragraph. train is all that
    comes before, less each paragraph of 80 characters or more that stands in test as well (compared without regard
    to line breaks and indentation). A model that has read the answer would be praised for its memory.
    With the default fraction, on Python 3.11.7: train 400,074 characters (0.8% removed), test 44,924; 0.6% of the
    test's runs of 100 characters stand in train too, 9% without the removal.

    Raises ValueError when test_fraction lies outside (0, 1) or leaves train without a paragraph.
    """
    check_fraction(test_fraction)
    text = prose()
    cut = text.rfind("\n\n", 0, round(len(text) * (1 - test_fraction)))
    if cut < 0:
        raise ValueError(f"test_fraction {test_fraction} leaves no paragraph to train on")
    test = text[cut + 2 :]
    tested = {_words(paragraph) for paragraph in test.split("\n\n")}
    kept = [paragraph for paragraph in text[:cut].split("\n\n") if len(_words(paragraph)) < _REPEAT or _words(paragraph) not in tested]
    return "\n\n".join(kept) + "\n", test


def _normalised(topics: Mapping[str, str]) -> str:
    text = unicodedata.normalize("NFC", "\n\n".join(topics[name] for name in sorted(topics)))
    lines = (line.rstrip() for line in text.splitlines())
    text = "\n".join(line for line in lines if not _RULER.fullmatch(line))
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n") + "\n"


def _words(paragraph: str) -> str:
    return " ".join(paragraph.split())
