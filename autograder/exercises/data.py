"""What the exercises of chapter 02 demand. Trusted side: student code is reached only through `student`."""

import math
import re
from collections import Counter

import numpy as np
from sklearn.metrics import roc_auc_score

from autograder.checking import at_most, case, close, exercise, finite, holds, inputs_unchanged, raises, same
from autograder.checking.student import kind_of
from course_lib import scores as scored
from course_lib.data import clean, encode
from course_lib.data.prepare import prepare

CLEAN = "course_lib.data.clean"
PREPARE = "course_lib.data.prepare"
SCORES = "course_lib.scores"


def floats(value):
    """An answer as floats, whether it came as a list, a tuple, a number or an array; anything that holds no numbers comes back as it is."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        return value
    return array if array.dtype.kind == "f" else array.astype(np.float64)  # float32 keeps its wider tolerance


@exercise("data.to_numbers", points=2, reference=CLEAN)
def to_numbers(student, rng):
    """Cells of mixed kinds to numbers."""
    with case("numbers stay what they are", hint="A whole number, a negative one, a fraction: float(cell) takes them all.", side=True):
        cells = [int(rng.integers(1, 90)), float(rng.normal()), -int(rng.integers(1, 90))]
        close(floats(student.to_numbers(cells)), np.array(cells, dtype=float))
    with case("zero is a number", hint="`if not cell` is true of 0 as well. Ask what the cell is, not whether it is true."):
        close(floats(student.to_numbers([0, 0.0, "0", 3])), np.array([0.0, 0.0, 0.0, 3.0]))
    with case("text that is a number becomes that number", hint="float() forgives spaces, signs and points. str.isdigit() forgives none."):
        written = [float(value) for value in rng.integers(-500, 500, size=3) / 4 + 0.25]
        close(floats(student.to_numbers([f"{written[0]}", f"  {written[1]} ", f"{written[2]}"])), np.array(written))
    with case("a decimal comma is a decimal point", hint="'32,1' is thirty-two and a tenth: replace the comma before you convert."):
        whole = int(rng.integers(10, 60))
        close(floats(student.to_numbers([f"{whole},25", f" -{whole},5"])), np.array([whole + 0.25, -whole - 0.5]))
    with case("what is no number becomes NaN, in its own place", hint="Keep the place: the list that comes out is as long as the one that went in."):
        cells = ["n/a", 5, None, "", "7", "45 years", "?", math.nan, 2]
        close(floats(student.to_numbers(cells)), np.array([math.nan, 5, math.nan, math.nan, 7, math.nan, math.nan, math.nan, 2]))
        cells = ["-", "unknown", "12 kg", "1 2", "1.2.3", 999, -1, "-1"]
        close(floats(student.to_numbers(cells)), np.array([math.nan, math.nan, math.nan, math.nan, math.nan, 999, -1, -1]))
    with case(
        "what comes out is an array of float64, ready to compute with", hint="A list cannot be compared with 40: np.array(found, dtype=float)."
    ):
        for cells in ([7, 12], ["7", None]):
            found = student.to_numbers(cells)
            holds(isinstance(found, np.ndarray), f"An array is wanted, got {kind_of(found)}.")
            holds(found.dtype == np.float64, f"An array of float64 is wanted, got {found.dtype}.")


@to_numbers.right("by trying")
def _(cells):
    found = []
    for cell in cells:
        try:
            found.append(float(str(cell).strip().replace(",", ".")))
        except ValueError:
            found.append(np.nan)
    return np.array(found)


@to_numbers.right("by a pattern")
def _(cells):
    pattern = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")

    def one(cell):
        text = "" if cell is None else str(cell).strip()
        return float(text.replace(",", ".")) if pattern.fullmatch(text) else float("nan")

    return np.array([one(cell) for cell in cells], dtype=np.float64)


STAYS, ZERO = "numbers stay what they are", "zero is a number"
WRITTEN, COMMA = "text that is a number becomes that number", "a decimal comma is a decimal point"
NO_NUMBER = "what is no number becomes NaN, in its own place"
AN_ARRAY = "what comes out is an array of float64, ready to compute with"
to_numbers.slip("the decimal comma not known", ('.replace(",", ".")', ""), of="by trying", fails=COMMA)
to_numbers.slip("the comma deleted", ('.replace(",", ".")', '.replace(",", "")'), of="by trying", fails=COMMA)
to_numbers.slip("missing taken for 0", ("np.nan", "0.0"), of="by trying", fails=NO_NUMBER)
to_numbers.slip("a list", ("np.array(found)", "found"), of="by trying", fails=AN_ARRAY)
to_numbers.slip("missing left out", ("found.append(np.nan)", "pass"), of="by trying", fails=NO_NUMBER)


@to_numbers.wrong("empty tested by truth", fails=ZERO)
def _(cells):
    found = []
    for cell in cells:
        try:
            found.append(float(str(cell).replace(",", ".")) if cell else np.nan)
        except ValueError:
            found.append(np.nan)
    return np.array([np.nan if value == 0 else value for value in found])


@to_numbers.wrong("numbers in text recognised by isdigit", fails=(WRITTEN, COMMA, NO_NUMBER))
def _(cells):
    def one(cell):
        if isinstance(cell, str):
            return float(cell) if cell.isdigit() else np.nan
        return np.nan if cell is None else float(cell)

    return np.array([one(cell) for cell in cells])


@exercise("data.repair", points=3, reference=CLEAN)
def repair(student, rng):
    """Impossible values out, other units converted."""
    low, high, factor = 40.0, 200.0, 18.0
    inside = rng.uniform(50, 190, size=5)
    with case("possible values stay as they are", hint="First ask whether it is possible as it is; only else convert.", side=True):
        close(floats(student.repair(inside, low, high, factor)), inside)
        both = np.array([90.0, 60.0, 150.0])  # times 2, the first two are possible as well
        close(floats(student.repair(both, low, high, 2.0)), both)
    with case("the limits themselves are possible", hint="low ≤ value ≤ high: both ends belong to it, for a converted value too."):
        close(floats(student.repair(np.array([40.0, 200.0, 100.0]), low, high, factor)), np.array([40.0, 200.0, 100.0]))
        close(floats(student.repair(np.array([2.5, 12.5, 100.0]), low, high, 16.0)), np.array([40.0, 200.0, 100.0]))
    with case("a value in the other unit is converted", hint="If value · factor is possible, that is the value in our unit."):
        mixed = np.array([inside[0], inside[1] / factor, inside[2], inside[3] / factor])
        close(floats(student.repair(mixed, low, high, factor)), inside[:4])
        close(floats(student.repair(np.array([100.0, 5.0]), 4.0, 12.0, 0.1)), np.array([10.0, 5.0]))
    with case("what is possible in no unit becomes NaN", hint="Nobody knows what it was. The nearest limit would be an invention."):
        codes = np.array([-1.0, inside[0], 999.0, 0.0, inside[1]])
        close(floats(student.repair(codes, low, high, factor)), np.array([np.nan, inside[0], np.nan, np.nan, inside[1]]))
    with case("a factor of 1 converts nothing", hint="Then there is no other unit, and every impossible value becomes NaN."):
        close(floats(student.repair(np.array([5.0, inside[0], 300.0]), low, high, 1.0)), np.array([np.nan, inside[0], np.nan]))
    with case("a gap stays a gap", side=True):
        gaps = np.array([np.nan, inside[0], np.nan])
        close(floats(student.repair(gaps, low, high, factor)), gaps)
    with case("leaves its input as it was", hint="Work on a copy: np.array(values, dtype=float) makes one.", side=True):
        student.repair(np.array([-1.0, inside[0], 999.0]), low, high, factor)
        inputs_unchanged(student)


@repair.right("mask by mask")
def _(values, low, high, factor):
    out = np.array(values, dtype=float)
    possible = (out >= low) & (out <= high)
    other = ~possible & (out * factor >= low) & (out * factor <= high)
    out[other] = out[other] * factor
    out[~possible & ~other] = np.nan
    return out


@repair.right("one value at a time")
def _(values, low, high, factor):
    def one(value):
        for candidate in (value, value * factor):
            if low <= candidate <= high:
                return candidate
        return math.nan

    return [one(float(value)) for value in values]


POSSIBLE, ENDS, OTHER_UNIT = "possible values stay as they are", "the limits themselves are possible", "a value in the other unit is converted"
IMPOSSIBLE, FACTOR_1, GAP = "what is possible in no unit becomes NaN", "a factor of 1 converts nothing", "a gap stays a gap"
repair.slip(
    "the limits left out",
    ("(out >= low) & (out <= high)\n", "(out > low) & (out < high)\n"),
    ("(out * factor >= low) & (out * factor <= high)", "(out * factor > low) & (out * factor < high)"),
    of="mask by mask",
    fails=ENDS,
)
repair.slip("a value equal to a limit left out", ("(out >= low) & (out <= high)\n", "(out > low) & (out < high)\n"), of="mask by mask", fails=ENDS)
repair.slip(
    "a converted value equal to a limit left out",
    ("(out * factor >= low) & (out * factor <= high)", "(out * factor > low) & (out * factor < high)"),
    of="mask by mask",
    fails=ENDS,
)
repair.slip("the other unit first", ("(value, value * factor)", "(value * factor, value)"), of="one value at a time", fails=POSSIBLE)
repair.slip("divided instead of multiplied", ("out[other] * factor", "out[other] / factor"), of="mask by mask", fails=(ENDS, OTHER_UNIT))
repair.slip("clipped to the limits", ("= np.nan", "= np.clip(out, low, high)[~possible & ~other]"), of="mask by mask", fails=(IMPOSSIBLE, FACTOR_1))
repair.slip("impossible as 0", ("= np.nan", "= 0"), of="mask by mask", fails=(IMPOSSIBLE, FACTOR_1, GAP))
repair.slip("impossible left out", ("return out", "return out[~np.isnan(out)]"), of="mask by mask", fails=(IMPOSSIBLE, FACTOR_1, GAP))
repair.slip(
    "in the caller's array",
    ("out = np.array(values, dtype=float)", "out = values"),
    of="mask by mask",
    fails="leaves its input as it was",
)
repair.slip(
    "everything below the limits is converted",
    (" & (out * factor >= low) & (out * factor <= high)", " & (out < low)"),
    of="mask by mask",
    fails=(OTHER_UNIT, IMPOSSIBLE, FACTOR_1),
)


def table_of(rng, rows: int = 8) -> dict[str, list]:
    """A small table with a text column and numbers among which some are missing; rows all different."""
    ages = rng.permutation(np.arange(20, 20 + rows)).astype(float)
    weights = rng.integers(1, 4, size=rows) + 0.5
    return {"clinic": [("North", "South")[i] for i in rng.integers(2, size=rows)], "age": ages, "weight": weights}


@exercise("data.first_rows", points=3, reference=CLEAN)
def first_rows(student, rng):
    """The rows that are no repetition."""
    table = table_of(rng)
    again = rng.permutation(np.concatenate([np.arange(8), rng.integers(8, size=5)]))
    repeated = {name: [column[row] for row in again] if name == "clinic" else np.asarray(column)[again] for name, column in table.items()}
    with case("of each row the first, in the order of the table", hint="Walk down the table and remember what you have met."):
        same(numbers(student.first_rows(repeated)), clean.first_rows(repeated))
    with case("a repetition far away counts too", hint="Comparing with the row above finds only neighbours."):
        far = {"a": np.array([1.0, 2.0, 3.0, 1.0, 2.0]), "b": ["x", "y", "z", "x", "q"]}
        same(numbers(student.first_rows(far)), [0, 1, 2, 4])
    with case("all columns have a say", hint="Two people may share an age. A row is repeated when every cell is."):
        shared = {"a": np.array([1.0, 1.0, 2.0, 1.0, 1.0]), "b": np.array([5.0, 6.0, 5.0, 5.0, 5.0]), "c": ["u", "u", "u", "v", "v"]}
        same(numbers(student.first_rows(shared)), [0, 1, 2, 3])
    with case("two missing cells count as equal", hint="nan == nan is False. Put something in its place that equals itself, such as None."):
        gaps = {"a": np.array([math.nan, 1.0, math.nan, math.nan]), "b": np.array([2.0, 2.0, 2.0, 3.0])}
        same(numbers(student.first_rows(gaps)), [0, 1, 3])
        same(numbers(student.first_rows({"a": ["x", None, None], "b": np.array([1.0, math.nan, math.nan])})), [0, 1])
        same(numbers(student.first_rows({"a": ["x", None, math.nan], "b": [2.0, 3.0, 3.0]})), [0, 1])
    with case(
        "a missing cell is not a 0, and keeps its place", hint="Put something in the place of NaN that no measurement can be. Do not leave it out."
    ):
        same(numbers(student.first_rows({"a": np.array([0.0, 0.0, math.nan, -1.0, 999.0]), "b": np.ones(5)})), [0, 2, 3, 4])
        same(numbers(student.first_rows({"a": np.array([math.nan, 60.0]), "b": np.array([60.0, math.nan])})), [0, 1])
    with case(
        "each cell is compared as it is, with the cell of its own column", hint="A tuple of the cells keeps all apart. Joined texts and sets do not."
    ):
        same(numbers(student.first_rows({"a": np.array([1.0, 2.0, 2.0]), "b": np.array([2.0, 1.0, 1.0])})), [0, 1])
        same(numbers(student.first_rows({"a": ["1", "12", "1"], "b": ["23", "3", "23"]})), [0, 1])
        same(numbers(student.first_rows({"a": np.array([50.2, 50.7, 50.2]), "b": ["x", "x", "x"]})), [0, 1])
        same(numbers(student.first_rows({"a": ["51.0", 51.0, "51.0"], "b": ["x", "x", "x"]})), [0, 1])


def numbers(rows) -> list[int]:
    """Row numbers as a plain list, whatever kind of list or array they came as."""
    array = np.asarray(rows)
    return [int(row) for row in (array if array.ndim else array.reshape(1) * np.nan)]


@first_rows.right("remembering")
def _(columns):
    seen, kept = [], []
    names = list(columns)
    for row in range(len(columns[names[0]])):
        cells = [columns[name][row] for name in names]
        key = [None if cell != cell else cell for cell in cells]
        if key not in seen:
            seen.append(key)
            kept.append(row)
    return kept


@first_rows.right("by tuples in a set")
def _(columns):
    seen, kept = set(), []
    for row, cells in enumerate(zip(*columns.values(), strict=True)):
        key = tuple(None if cell is None or cell != cell else cell for cell in cells)
        if key not in seen:
            seen.add(key)
            kept.append(row)
    return kept


@first_rows.right("as text, through a dict")
def _(columns):
    first = {}
    for row, cells in enumerate(zip(*columns.values(), strict=True)):
        first.setdefault(repr(["" if cell != cell or cell is None else (type(cell).__name__, str(cell)) for cell in cells]), row)
    return np.array(sorted(first.values()))


ORDER, FAR, ALL_COLUMNS = "of each row the first, in the order of the table", "a repetition far away counts too", "all columns have a say"
GAPS, NOT_ZERO = "two missing cells count as equal", "a missing cell is not a 0, and keeps its place"
AS_IT_IS = "each cell is compared as it is, with the cell of its own column"
first_rows.slip("NaN never equal", ("None if cell != cell else cell", "cell"), of="remembering", fails=GAPS)
first_rows.slip("only neighbours compared", ("if key not in seen:", "if key not in seen[-1:]:"), of="remembering", fails=(ORDER, FAR, GAPS, AS_IT_IS))
first_rows.slip(
    "the first column alone",
    ("cells = [columns[name][row] for name in names]", "cells = [columns[names[0]][row]]"),
    of="remembering",
    fails=(ORDER, FAR, ALL_COLUMNS, GAPS),
)
IN_A_SET = "by tuples in a set"
first_rows.slip("cells as a set", ("key = tuple(", "key = frozenset("), of=IN_A_SET, fails=(NOT_ZERO, AS_IT_IS))
first_rows.slip(
    "missing cells left out",
    ("tuple(None if cell is None or cell != cell else cell for cell in cells)", "tuple(cell for cell in cells if cell is not None and cell == cell)"),
    of=IN_A_SET,
    fails=NOT_ZERO,
)
first_rows.slip(
    "texts joined", ("tuple(None if cell is None or cell != cell else cell for", '"".join(str(cell) for'), of=IN_A_SET, fails=(GAPS, AS_IT_IS)
)
first_rows.slip("cells as texts", ("None if cell is None or cell != cell else cell for", "str(cell) for"), of=IN_A_SET, fails=(GAPS, AS_IT_IS))
first_rows.slip("NaN as 0", ("None if cell != cell", "0 if cell != cell"), of="remembering", fails=(GAPS, NOT_ZERO))


@first_rows.wrong("of each row the last", fails=(ORDER, FAR, ALL_COLUMNS, GAPS, NOT_ZERO, AS_IT_IS))
def _(columns):
    last = {}
    for row, cells in enumerate(zip(*columns.values(), strict=True)):
        last[repr([str(cell) for cell in cells])] = row
    return sorted(last.values())


WORDS = ("blood", "sugar", "feet", "pain", "rest", "walks", "daily", "tired", "well", "sleeps", "poorly", "thirsty")


def remarks(rng, count: int, words=WORDS) -> list[str]:
    """Sentences of a doctor: capitals, full stops, words that come twice."""
    return [" ".join(rng.choice(words, size=6)).capitalize() + "." for _ in range(count)]


@exercise("data.count_words", points=3, reference="course_lib.data.encode")
def count_words(student, rng):
    """Text to numbers: a bag of words."""
    train = [*remarks(rng, 6), " ".join(WORDS)]  # every word that others can use
    with case("the vocabulary is that of the training texts, sorted"):
        same([str(word) for word in student.count_words(train, train)[0]], encode.count_words(train, train)[0])
    with case(
        "every word is counted as often as it stands there", hint="A word that stands three times is 3, not 1; and 'well' does not stand in 'unwell'."
    ):
        texts = ["pain pain pain", "rest", "pain rest rest"]
        close(floats(student.count_words(texts, texts)[1]), np.array([[3, 0], [0, 1], [1, 2]]))
        found = student.count_words(["unwell", "well"], ["unwell well unwell"])
        close(floats(found[1]), np.array([[2, 1]]))
    with case("one row for each text, in its order"):
        others = [*remarks(rng, 3), "Rest, pain; pain."]
        close(floats(student.count_words(train, others)[1]), encode.count_words(train, others)[1])
    with case("words that training never saw are left out", hint="The vocabulary is learnt from train_texts alone. A new word has no column."):
        found = student.count_words(["feet pain"], ["Zebra feet zebra", "nothing known"])
        same([str(word) for word in found[0]], ["feet", "pain"])
        close(floats(found[1]), np.array([[1, 0], [0, 0]]))
    with case("capitals and full stops make no difference", hint="text.lower(), then re.findall(r'\\w\\w+', …). split() leaves 'pain.' as it is."):
        found = student.count_words(["Pain, pain; PAIN! (rest)"], ["Rest. pain?"])
        same([str(word) for word in found[0]], ["pain", "rest"])
        close(floats(found[1]), np.array([[1, 1]]))
        found = student.count_words(["feet-pain, isn't ÜBEL übel; x_1"], ["pain/feet feet-feet"])
        same([str(word) for word in found[0]], ["feet", "isn", "pain", "x_1", "übel"])
        close(floats(found[1]), np.array([[3, 0, 1, 0, 0]]))
    with case("a word has two characters or more", hint="That is what \\w\\w+ asks for: one \\w, and at least one more."):
        same([str(word) for word in student.count_words(["a 7 at 42 x"], [])[0]], ["42", "at"])


@count_words.right("through Counter")
def _(train_texts, texts):
    def words(text):
        return re.findall(r"\w\w+", text.lower())

    vocabulary = sorted({word for text in train_texts for word in words(text)})
    return vocabulary, np.array([[Counter(words(text))[word] for word in vocabulary] for text in texts])


@count_words.right("through places in a table")
def _(train_texts, texts):
    place = {word: i for i, word in enumerate(sorted(set(re.findall(r"\b\w\w+\b", "\n".join(train_texts).lower()))))}
    counts = np.zeros((len(texts), len(place)), dtype=np.float32)
    for row, text in enumerate(texts):
        for word in re.findall(r"\b\w\w+\b", text.lower()):
            if word in place:
                counts[row, place[word]] += 1
    return list(place), counts


VOCABULARY, OFTEN = "the vocabulary is that of the training texts, sorted", "every word is counted as often as it stands there"
ONE_ROW, NEW_WORDS = "one row for each text, in its order", "words that training never saw are left out"
CAPITALS, TWO = "capitals and full stops make no difference", "a word has two characters or more"
count_words.slip(
    "the test texts in the vocabulary",
    ("for text in train_texts for", "for text in [*train_texts, *texts] for"),
    of="through Counter",
    fails=NEW_WORDS,
)
count_words.slip(
    "there or not there", ("Counter(words(text))[word]", "int(word in words(text))"), of="through Counter", fails=(OFTEN, ONE_ROW, CAPITALS)
)
count_words.slip(
    "cut at spaces alone",
    ('re.findall(r"\\w\\w+", text.lower())', "text.lower().split()"),
    of="through Counter",
    fails=(VOCABULARY, ONE_ROW, CAPITALS, TWO),
)
count_words.slip("capitals kept", ("text.lower()", "text"), of="through Counter", fails=(VOCABULARY, ONE_ROW, CAPITALS))
count_words.slip("words of one character", ('r"\\w\\w+"', 'r"\\w+"'), of="through Counter", fails=(CAPITALS, TWO))
count_words.slip("found anywhere in the text", ("Counter(words(text))[word]", "text.lower().count(word)"), of="through Counter", fails=OFTEN)


def dealt(parts, count: int) -> list[list[int]]:
    """The parts as lists of whole numbers, once it is sure that each row stands in just one of them."""
    plain = [numbers(part) for part in parts]
    holds(len(plain) == 3, f"Three parts are wanted, got {len(plain)}.")
    everything = sorted(row for part in plain for row in part)
    holds(len(everything) == len(set(everything)), "A row stands in two parts, or twice in one.")
    holds(len(everything) >= count, f"{count - len(everything)} of {count} rows stand in no part.")
    holds(everything == list(range(count)), "The parts together are not all row numbers.")
    return plain


def in_a_run(rows: set[int], count: int) -> bool:
    """Do those of the rows that are below `count` stand side by side, `count - 1` and 0 being neighbours?"""
    low = {row for row in rows if row < count}
    return sum((row + 1) % count not in low for row in low) == 1


@exercise("data.split_rows", points=4, reference=PREPARE)
def split_rows(student, rng):
    """Training, validation and test: every class in its share."""
    labels, shares = rng.permutation(np.repeat([0, 1, 2], [60, 30, 10])), (0.6, 0.2, 0.2)
    with case("every row stands in just one part", hint="Shuffle once, then cut: what you draw part by part may come twice."):
        dealt(student.split_rows(labels, shares, seed=0), 100)
    with case("every class has its share in every part", hint="Deal out each class on its own: its rows shuffled, cut at 60% and 80%."):
        for seed, wanted in ((1, shares), (2, (0.5, 0.3, 0.2)), (3, (0.7, 0.1, 0.2))):
            parts = dealt(student.split_rows(labels, wanted, seed=seed), 100)
            for part, share in zip(parts, wanted, strict=True):
                counts = np.bincount(labels[part], minlength=3)
                short = np.abs(counts - share * np.array([60, 30, 10])) > 1
                holds(
                    not short.any(),
                    f"A class of {(60, 30, 10)[int(short.argmax())]} rows has {counts[int(short.argmax())]} in a part of {share:.0%}.",
                )
    with case(
        "classes may be any whole numbers, of sizes that do not divide evenly",
        hint="np.unique(labels) gives the classes. Cut each at the cumulated shares, 60% and 80%; do not round each part.",
    ):
        named = rng.permutation(np.repeat([-1, 7], [33, 14]))
        parts = dealt(student.split_rows(named, shares, seed=4), 47)
        for name, count in ((-1, 33), (7, 14)):
            for part, share in zip(parts, shares, strict=True):
                off = abs(int(np.sum(named[part] == name)) - share * count)
                at_most(off, 1, "the distance of a class from its share, in rows,")
    with case("chance decides who goes where", hint="Shuffle the rows of each class before you cut, or a sorted table decides for you."):
        ordered = np.repeat([0, 1], [20, 20])
        tests = [set(dealt(student.split_rows(ordered, shares, seed=seed), 40)[2]) for seed in range(12)]
        holds(len(set(map(frozenset, tests))) > 1, "Twelve seeds gave twelve times the same test rows.")
        holds(len(set.union(*tests)) >= 30, "Most rows are never in the test part, whatever the seed.")
        holds(sum(in_a_run(test, 20) for test in tests) < 4, "The test rows of a class are neighbours, seed after seed: shuffle, do not only turn.")
        tied = sum({row + 20 for row in test if row < 20} == {row for row in test if row >= 20} for test in tests)
        holds(tied < 4, "Two classes draw the same lots, seed after seed: make the generator once, before the loop over the classes.")
    with case("the same seed gives the same split", hint="rng = np.random.default_rng(seed), and no other source of chance.", side=True):
        first, again = (dealt(student.split_rows(labels, shares, seed=9), 100) for _ in range(2))
        same(again, first, "the second split")


@split_rows.right("class by class")
def _(labels, shares, seed=0):
    rng = np.random.default_rng(seed)
    parts = [[], [], []]
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        cuts = np.round(np.cumsum(shares)[:2] * len(rows)).astype(int)
        for part, piece in zip(parts, np.split(rows, cuts), strict=True):
            part.extend(piece)
    return parts


@split_rows.right("dealt out like cards")
def _(labels, shares, seed=0):
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    order = order[np.argsort(np.asarray(labels)[order], kind="stable")]
    part = np.zeros(len(labels), dtype=int)
    start = 0
    for count in np.unique(labels, return_counts=True)[1]:
        middle = (np.arange(count) + 0.5) / count
        part[order[start : start + count]] = np.searchsorted(np.cumsum(shares)[:2], middle)
        start += count
    return tuple(np.flatnonzero(part == number) for number in range(3))


ONE_PART, SHARE = "every row stands in just one part", "every class has its share in every part"
NAMED, CHANCE, SEED = (
    "classes may be any whole numbers, of sizes that do not divide evenly",
    "chance decides who goes where",
    "the same seed gives the same split",
)
split_rows.slip(
    "never shuffled", ("rng.permutation(np.flatnonzero(labels == label))", "np.flatnonzero(labels == label)"), of="class by class", fails=CHANCE
)
split_rows.slip("the seed ignored", ("default_rng(seed)", "default_rng()"), of="class by class", fails=SEED)
split_rows.slip("always the same seed", ("default_rng(seed)", "default_rng(0)"), of="class by class", fails=CHANCE)
split_rows.slip(
    "places within the class for row numbers",
    ("rng.permutation(np.flatnonzero(labels == label))", "rng.permutation(int(np.sum(labels == label)))"),
    of="class by class",
    fails=(ONE_PART, SHARE, NAMED, CHANCE, SEED),
)
split_rows.slip("shares fixed at 60, 20, 20", ("np.cumsum(shares)[:2]", "np.array([0.6, 0.8])"), of="class by class", fails=SHARE)


split_rows.slip(
    "turned, not shuffled",
    ("rng.permutation(np.flatnonzero(labels == label))", "np.roll(np.flatnonzero(labels == label), rng.integers(1000))"),
    of="class by class",
    fails=CHANCE,
)
split_rows.slip(
    "the same lots for every class", ("rng.permutation(np.", "np.random.default_rng(seed).permutation(np."), of="class by class", fails=CHANCE
)


@split_rows.wrong("each part rounded down", fails=NAMED)
def _(labels, shares, seed=0):
    rng = np.random.default_rng(seed)
    parts = [[], [], []]
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        start = 0
        for part, share in zip(parts, shares, strict=True):
            count = int(share * len(rows) + 1e-9)
            part.extend(rows[start : start + count])
            start += count
    return parts


@split_rows.wrong("sorted by class and cut once", fails=(SHARE, NAMED, CHANCE))
def _(labels, shares, seed=0):
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    order = order[np.argsort(np.asarray(labels)[order], kind="stable")]
    return np.split(order, np.round(np.cumsum(shares)[:2] * len(labels)).astype(int))


@split_rows.wrong("each part drawn from all rows", fails=(ONE_PART, SHARE, NAMED, CHANCE, SEED))
def _(labels, shares, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.choice(len(labels), size=round(share * len(labels)), replace=False) for share in shares]


def measurements(rng, rows: int = 24):
    """x (N, 3): an amount, a plain column that can be negative, another amount; labels (N,); the last rows are the test."""
    x = np.stack([rng.exponential(30, size=rows) + 1, rng.normal(-1, 3, size=rows), rng.exponential(3, size=rows)], axis=1)
    labels = rng.integers(2, size=rows)
    is_test = np.zeros(rows, dtype=bool)
    is_test[rng.permutation(rows)[: rows // 3]] = True
    x[is_test] *= 1.5  # so that the two sides differ
    return x, labels, is_test


LABELS_STAY = "the labels come out as they went in"
ONLY_AMOUNTS = "only the amounts are logged, and no number becomes NaN"
LOGGED_SPREAD = "the training columns have mean 0 and deviation 1, the amounts after their logarithm"
NO_SAY = "the test rows have no say in the training rows"
KEEP_PLACE = "every row keeps its place, gap or no gap"
TEST_SCALE = "the test rows are shifted and scaled as the training rows are"
MEDIAN = "a gap is filled with the median of the training rows, taken after the logarithm"
ALL_MENDS = (LABELS_STAY, ONLY_AMOUNTS, LOGGED_SPREAD, NO_SAY, TEST_SCALE, KEEP_PLACE, MEDIAN)


@exercise("data.mend_prepare", points=5, reference=(PREPARE, CLEAN), mends=ALL_MENDS)
def mend_prepare(student, rng):
    """From a table to a model's numbers, without a leak."""
    x, labels, is_test = measurements(rng)
    amounts = [0, 2]
    positive = np.abs(x) + 0.5
    with case(LABELS_STAY, hint="The answer is no measurement: it goes through neither the logarithm nor the scaling."):
        labels[~is_test] = np.arange(int((~is_test).sum())) % 3 + 3
        labels[is_test] = (np.arange(int(is_test.sum())) + 1) % 3 + 3
        found = student.mend_prepare(positive, labels, [0, 1, 2], is_test)
        close((floats(found[1]), floats(found[3])), (labels[~is_test].astype(float), labels[is_test].astype(float)))
    with case(ONLY_AMOUNTS, hint="log(1 + x) has no value below -1. Which columns can be negative is not for the data to say: `amounts` says it."):
        found = student.mend_prepare(x, labels, amounts, is_test)
        finite(floats(found[0]), "x_train")
        finite(floats(found[2]), "x_test")
        plain = floats(found[0])[:, 1]
        holds(float(np.std(plain)) > 0, "A column of the training rows holds the same number everywhere.")
        close(standard(plain), standard(x[~is_test][:, 1]))  # whatever its scale, which is the next case's
    with case(
        LOGGED_SPREAD,
        hint="Mean and deviation of the training rows, divisor N (what .std() does). The columns in `amounts`, and no others, are logged before.",
    ):
        found = floats(student.mend_prepare(x, labels, amounts, is_test)[0])
        close(found.mean(axis=0), np.zeros(3), atol=1e-6)
        close(found.std(axis=0), np.ones(3))
        close(found[:, 0], standard(np.log1p(x[~is_test][:, 0])))
        for named in ([0], [1, 2]):
            close(floats(student.mend_prepare(positive, labels, named, is_test)[0]), prepare(positive, labels, named, is_test)[0])
    with case(NO_SAY, hint="Change a test row, and the training rows must not move. Which line looks at both sides?"):
        shifted = positive.copy()
        shifted[is_test] *= 3
        first = student.mend_prepare(positive, labels, [0, 1, 2], is_test)
        second = student.mend_prepare(shifted, labels, [0, 1, 2], is_test)
        close(floats(second[0]), floats(first[0]))
        holds(
            not np.allclose(floats(second[2]), floats(first[2])), "Three times larger measurements in the test rows, and the test rows look the same."
        )
    with case(TEST_SCALE, hint="One mean and one deviation, those of the training rows, for both sides: a new patient comes alone and has none."):
        close(floats(student.mend_prepare(x, labels, amounts, is_test)[2]), prepare(x, labels, amounts, is_test)[2])
    gaps = np.where(rng.random(x.shape) < 0.15, np.nan, x)
    gaps[np.flatnonzero(~is_test)[0], 0] = gaps[np.flatnonzero(is_test)[0], 2] = np.nan
    with case(KEEP_PLACE, hint="A test row that is dropped is a question taken out of the examination. Fill the gap instead."):
        found = student.mend_prepare(gaps, labels, amounts, is_test)
        shapes = [list(np.shape(part)) for part in found]
        train_rows, test_rows = int((~is_test).sum()), int(is_test.sum())
        same(shapes, [[train_rows, 3], [train_rows], [test_rows, 3], [test_rows]], "shapes")
        finite(floats(found[2]), "x_test")
        gaps_nowhere = ~np.isnan(gaps[is_test][:, 1])
        order = np.argsort(gaps[is_test][:, 1][gaps_nowhere])
        holds(bool((np.diff(floats(found[2])[:, 1][gaps_nowhere][order]) > 0).all()), "The test rows come in another order than in the table.")
    with case(
        MEDIAN, hint="First the logarithm, then np.nanmedian of the training rows, column by column; fill both sides with it, and scale after that."
    ):
        close(tuple(floats(part) for part in student.mend_prepare(gaps, labels, amounts, is_test)[::2]), prepare(gaps, labels, amounts, is_test)[::2])
        even = x.copy()  # an even number of known values, whose middle two lie far apart: there the logarithm matters
        even[np.flatnonzero(~is_test), 0] = [np.nan, np.nan, *rng.uniform(1, 5, size=7), *rng.uniform(40, 90, size=7)]
        close(tuple(floats(part) for part in student.mend_prepare(even, labels, amounts, is_test)[::2]), prepare(even, labels, amounts, is_test)[::2])
    with case("leaves its inputs as they were", hint="x[:, amounts] = … writes into the caller's table. Copy it first.", side=True):
        student.mend_prepare(gaps, labels, amounts, is_test)
        inputs_unchanged(student)


def standard(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std()


@mend_prepare.wrong("as it was found", fails=ALL_MENDS)
def _(x, labels, amounts, is_test):
    table = np.column_stack([x, labels])
    whole = ~np.isnan(table).any(axis=1)
    table = np.log(table[whole] + 1)
    table = (table - table.mean(axis=0)) / table.std(axis=0)
    train, test = table[~is_test[whole]], table[is_test[whole]]
    return train[:, :-1], train[:, -1], test[:, :-1], test[:, -1]


@mend_prepare.right("step by step")
def _(x, labels, amounts, is_test):
    x = x.copy()
    x[:, amounts] = np.log(x[:, amounts] + 1)
    train, test = x[~is_test], x[is_test]
    median = np.nanmedian(train, axis=0)
    train = np.where(np.isnan(train), median, train)
    test = np.where(np.isnan(test), median, test)
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    return (train - mean) / deviation, labels[~is_test], (test - mean) / deviation, labels[is_test]


mend_prepare.slip(
    "scaled by all rows",
    (
        "mean, deviation = train.mean(axis=0), train.std(axis=0)",
        "both = np.vstack([train, test])\n    mean, deviation = both.mean(axis=0), both.std(axis=0)",
    ),
    of="step by step",
    fails=(LOGGED_SPREAD, NO_SAY, TEST_SCALE, MEDIAN),
)
mend_prepare.slip(
    "each side scaled by itself",
    ("(test - mean) / deviation", "(test - test.mean(axis=0)) / test.std(axis=0)"),
    of="step by step",
    fails=(TEST_SCALE, MEDIAN),
)
mend_prepare.slip(
    "median before the logarithm",
    ("    x[:, amounts] = np.log(x[:, amounts] + 1)\n", ""),
    (
        "    mean, deviation =",
        "    for part in (train, test):\n        part[:, amounts] = np.log1p(part[:, amounts])\n    mean, deviation =",
    ),
    of="step by step",
    fails=MEDIAN,
)
mend_prepare.slip("divisor N - 1", ("train.std(axis=0)", "train.std(axis=0, ddof=1)"), of="step by step", fails=(LOGGED_SPREAD, TEST_SCALE, MEDIAN))
mend_prepare.slip(
    "every column logged",
    ("x[:, amounts] = np.log(x[:, amounts] + 1)", "x = np.log(x + 1)"),
    of="step by step",
    fails=(ONLY_AMOUNTS, LOGGED_SPREAD, TEST_SCALE, KEEP_PLACE, MEDIAN),
)
mend_prepare.slip(
    "no column logged", ("x[:, amounts] = np.log(x[:, amounts] + 1)", "pass"), of="step by step", fails=(LOGGED_SPREAD, TEST_SCALE, MEDIAN)
)
mend_prepare.slip(
    "the amounts of the first table",
    ("x[:, amounts] = np.log(x[:, amounts] + 1)", "x[:, [0, 2]] = np.log(x[:, [0, 2]] + 1)"),
    of="step by step",
    fails=LOGGED_SPREAD,
)
mend_prepare.slip("labels as yes or no", ("labels[~is_test],", "labels[~is_test] > 0,"), of="step by step", fails=LABELS_STAY)
mend_prepare.slip("the median of all rows", ("np.nanmedian(train, axis=0)", "np.nanmedian(x, axis=0)"), of="step by step", fails=MEDIAN)
mend_prepare.slip("gaps filled with the mean", ("np.nanmedian(train, axis=0)", "np.nanmean(train, axis=0)"), of="step by step", fails=MEDIAN)
mend_prepare.slip("gaps filled with 0", ("np.nanmedian(train, axis=0)", "0.0"), of="step by step", fails=MEDIAN)
mend_prepare.slip(
    "labels standardised too", ("labels[~is_test],", "(labels[~is_test] - labels.mean()) / labels.std(),"), of="step by step", fails=LABELS_STAY
)
mend_prepare.slip("in the caller's table", ("x = x.copy()", "pass"), of="step by step", fails="leaves its inputs as they were")


@mend_prepare.wrong("rows with gaps dropped, the rest mended", fails=(KEEP_PLACE, MEDIAN))
def _(x, labels, amounts, is_test):
    whole = ~np.isnan(x).any(axis=1)
    x, labels, is_test = x[whole], labels[whole], is_test[whole]
    x[:, amounts] = np.log1p(x[:, amounts])
    mean, deviation = x[~is_test].mean(axis=0), x[~is_test].std(axis=0)
    x = (x - mean) / deviation
    return x[~is_test], labels[~is_test], x[is_test], labels[is_test]


@mend_prepare.right("with masks for the two sides")
def _(x, labels, amounts, is_test):
    columns = []
    for j in range(x.shape[1]):
        column = np.log1p(x[:, j]) if j in amounts else x[:, j].copy()
        seen = column[~is_test]
        column[np.isnan(column)] = np.median(seen[~np.isnan(seen)])
        columns.append((column - column[~is_test].mean()) / column[~is_test].std())
    x = np.stack(columns, axis=1)
    return x[~is_test], labels[~is_test], x[is_test], labels[is_test]


def answers(rng, classes: int = 3, rows: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions with a rare class, so that the averages differ."""
    labels = rng.choice(classes, size=rows, p=[0.6, 0.3, 0.1])
    predictions = np.where(rng.random(rows) < 0.6, labels, rng.choice(classes, size=rows, p=[0.7, 0.2, 0.1]))
    labels[:3] = predictions[:3] = np.arange(3)
    labels[3:6], predictions[3:6] = 2, 0  # precision and recall of the rare class differ
    return labels, predictions


@exercise("data.precision_recall_f1", points=4, reference=SCORES)
def precision_recall_f1(student, rng):
    """Precision, recall and F1 of each class, and their two averages."""
    labels, predictions = answers(rng)
    wanted = scored.precision_recall_f1(labels, predictions, range(3))
    with case("precision: of those called k, the share that is k"):
        close(floats(student.precision_recall_f1(labels, predictions, [0, 1, 2])["precision"]), wanted.precision)
    with case("recall: of those that are k, the share that was found", hint="Divide by the rows whose label is k."):
        close(floats(student.precision_recall_f1(labels, predictions, [0, 1, 2])["recall"]), wanted.recall)
    with case("F1 of each class", hint="2PR / (P + R), or 2 TP / (2 TP + FP + FN), which is the same."):
        close(floats(student.precision_recall_f1(labels, predictions, [0, 1, 2])["f1"]), wanted.f1)
    with case("macro F1: every class counts alike", hint="The mean of the F1 of the classes; F1 of the mean precision and recall is another number."):
        close(student.precision_recall_f1(labels, predictions, [0, 1, 2])["macro_f1"], wanted.macro_f1)
    with case("micro F1: every row counts alike", hint="Add up the counts of all classes first, then divide once."):
        close(student.precision_recall_f1(labels, predictions, [0, 1, 2])["micro_f1"], wanted.micro_f1)
    with case("classes come in the order asked for, whatever their numbers"):
        names = np.array([30, -1, 4])
        found = student.precision_recall_f1(names[labels], names[predictions], [4, 30, -1])
        close(
            {key: floats(found[key]) for key in ("precision", "recall", "f1")},
            {"precision": wanted.precision[[2, 0, 1]], "recall": wanted.recall[[2, 0, 1]], "f1": wanted.f1[[2, 0, 1]]},
        )
    with case("a class that nobody has, or that is never called, gives 0 and not NaN", hint="0/0: nothing was called k. Say 0, as everybody does."):
        found = student.precision_recall_f1(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 0]), [0, 1, 2])
        close(
            {key: floats(found[key]) for key in ("precision", "recall", "f1", "macro_f1", "micro_f1")},
            {
                "precision": np.array([0.5, 0, 0]),
                "recall": np.array([1.0, 0, 0]),
                "f1": np.array([2 / 3, 0, 0]),
                "macro_f1": np.array(2 / 9),
                "micro_f1": np.array(0.5),
            },
        )


@precision_recall_f1.right("by counting")
def _(labels, predictions, classes):
    tp = np.array([np.sum((predictions == k) & (labels == k)) for k in classes])
    called = np.array([np.sum(predictions == k) for k in classes])
    there = np.array([np.sum(labels == k) for k in classes])
    precision = tp / np.maximum(called, 1)
    recall = tp / np.maximum(there, 1)
    f1 = 2 * tp / np.maximum(called + there, 1)
    micro = 2 * tp.sum() / (called.sum() + there.sum())
    return {"precision": precision, "recall": recall, "f1": f1, "macro_f1": f1.mean(), "micro_f1": micro}


@precision_recall_f1.right("one class at a time, F1 as a harmonic mean")
def _(labels, predictions, classes):
    out: dict = {"precision": [], "recall": [], "f1": []}
    pairs = list(zip(list(labels), list(predictions), strict=True))
    for k in classes:
        tp = sum(1 for truth, said in pairs if truth == k and said == k)
        fp = sum(1 for truth, said in pairs if truth != k and said == k)
        fn = sum(1 for truth, said in pairs if truth == k and said != k)
        p = tp / (tp + fp) if tp + fp else 0.0
        r = tp / (tp + fn) if tp + fn else 0.0
        out["precision"].append(p)
        out["recall"].append(r)
        out["f1"].append(2 * p * r / (p + r) if p + r else 0.0)
    out["macro_f1"] = sum(out["f1"]) / len(classes)
    out["micro_f1"] = sum(truth == said for truth, said in pairs) / len(pairs)
    return out


PRECISION, RECALL = "precision: of those called k, the share that is k", "recall: of those that are k, the share that was found"
F1, MACRO, MICRO = "F1 of each class", "macro F1: every class counts alike", "micro F1: every row counts alike"
ASKED, NO_NAN = (
    "classes come in the order asked for, whatever their numbers",
    "a class that nobody has, or that is never called, gives 0 and not NaN",
)
precision_recall_f1.slip(
    "precision and recall exchanged",
    ('"precision": precision, "recall": recall', '"precision": recall, "recall": precision'),
    of="by counting",
    fails=(PRECISION, RECALL, ASKED, NO_NAN),
)
precision_recall_f1.slip(
    "macro F1 from the mean precision and recall",
    ('"macro_f1": f1.mean()', '"macro_f1": 2 * precision.mean() * recall.mean() / (precision.mean() + recall.mean())'),
    of="by counting",
    fails=MACRO,
)
precision_recall_f1.slip(
    "micro as a mean weighted by the classes' sizes",
    ("micro = 2 * tp.sum() / (called.sum() + there.sum())", "micro = np.sum(f1 * there) / there.sum()"),
    of="by counting",
    fails=(MICRO, NO_NAN),
)
precision_recall_f1.slip(
    "0/0 left as NaN",
    ("tp / np.maximum(called, 1)", "tp / called"),
    ("tp / np.maximum(there, 1)", "tp / there"),
    ("2 * tp / np.maximum(called + there, 1)", "2 * tp / (called + there)"),
    of="by counting",
    fails=NO_NAN,
)
precision_recall_f1.slip(
    "F1 as the plain mean of the two",
    ("2 * tp / np.maximum(called + there, 1)", "(precision + recall) / 2"),
    of="by counting",
    fails=(F1, MACRO, ASKED, NO_NAN),
)
precision_recall_f1.slip(
    "classes taken from the data", ("    tp = ", "    classes = np.unique(labels)\n    tp = "), of="by counting", fails=(ASKED, NO_NAN)
)


@exercise("data.roc_auc", points=4, reference=SCORES)
def roc_auc(student, rng):
    """How often does a positive row score higher than a negative one?"""
    labels = rng.permutation(np.repeat([0, 1], [30, 12]))
    scores = rng.normal(size=42) + labels
    with case("agrees with comparing every pair"):
        close(student.roc_auc(labels, scores), scored.roc_auc(labels, scores))
        close(student.roc_auc(np.array([0, 1, 0, 1]), np.array([0.1, 0.4, 0.6, 0.9])), 0.75)
    with case(
        "a tie counts half", hint="Rows of equal score share the mean of their ranks. In sorting they stand in some order; it must not matter."
    ):
        rounded = np.round(2 * scores)
        close(student.roc_auc(labels, rounded), scored.roc_auc(labels, rounded))
        close(student.roc_auc(labels, np.zeros(42)), 0.5)
    with case("turned round, it is 1 minus it", hint="A score that is always wrong has 0, not 1: do not take the better of the two."):
        close(student.roc_auc(labels, -scores), scored.roc_auc(labels, -scores))
        close(student.roc_auc(np.array([0, 0, 1]), np.array([3.0, 2.0, 1.0])), 0.0)
    with case("only the order of the scores matters", hint="No threshold: scores need not lie between 0 and 1."):
        close(student.roc_auc(labels, 1000 * scores - 5000), scored.roc_auc(labels, scores))
        close(student.roc_auc(labels, np.exp(scores) / 1e4), scored.roc_auc(labels, scores))
    with case("few positives", hint="Divide by the number of pairs: positives times negatives."):
        rare = np.zeros(500, dtype=int)
        rare[rng.choice(500, size=3, replace=False)] = 1
        some = rng.normal(size=500) + 2 * rare
        close(student.roc_auc(rare, some), scored.roc_auc(rare, some))
    with case("refuses when a class is missing", hint="raise ValueError: without a positive and a negative there is no pair to compare.", side=True):
        raises("ValueError", lambda: student.roc_auc(np.ones(5, dtype=int), scores[:5]), "every row is positive")
        raises("ValueError", lambda: student.roc_auc(np.zeros(5, dtype=int), scores[:5]), "every row is negative")


@roc_auc.right("every pair, in a table")
def _(labels, scores):
    positive, negative = scores[labels == 1], scores[labels == 0]
    if len(positive) == 0 or len(negative) == 0:
        raise ValueError("one class is missing")
    wins = (positive[:, None] > negative[None, :]) + 0.5 * (positive[:, None] == negative[None, :])
    return wins.mean()


@roc_auc.right("by searching in the sorted negatives")
def _(labels, scores):
    positive, negative = scores[labels == 1], np.sort(scores[labels == 0])
    if not (len(positive) and len(negative)):
        raise ValueError("one class is missing")
    below = np.searchsorted(negative, positive, side="left")
    upto = np.searchsorted(negative, positive, side="right")
    return float((below + upto).sum() / 2 / len(positive) / len(negative))


@roc_auc.right("the area under the curve, by trapezoids")
def _(labels, scores):
    if len(set(labels.tolist())) < 2:
        raise ValueError("one class is missing")
    area = tpr = fpr = 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        new_tpr = np.mean(scores[labels == 1] >= threshold)
        new_fpr = np.mean(scores[labels == 0] >= threshold)
        area += (new_fpr - fpr) * (new_tpr + tpr) / 2
        tpr, fpr = new_tpr, new_fpr
    return area


PAIRS, TIE, TURNED = "agrees with comparing every pair", "a tie counts half", "turned round, it is 1 minus it"
ONLY_ORDER, FEW, REFUSES = "only the order of the scores matters", "few positives", "refuses when a class is missing"
IN_A_TABLE = "every pair, in a table"
roc_auc.slip("ties count nothing", (" + 0.5 * (positive[:, None] == negative[None, :])", " + 0.0"), of=IN_A_TABLE, fails=TIE)
roc_auc.slip("ties count in full", ("0.5 * (positive", "1.0 * (positive"), of=IN_A_TABLE, fails=TIE)
roc_auc.slip("the better of the two directions", ("wins.mean()", "max(wins.mean(), 1 - wins.mean())"), of=IN_A_TABLE, fails=TURNED)
roc_auc.slip(
    "negatives above positives",
    ("(positive[:, None] > negative", "(positive[:, None] < negative"),
    of=IN_A_TABLE,
    fails=(PAIRS, TIE, TURNED, ONLY_ORDER, FEW),
)
roc_auc.slip("one half when a class is missing", ('raise ValueError("one class is missing")', "return 0.5"), of=IN_A_TABLE, fails=REFUSES)


@roc_auc.wrong("of the answers at threshold one half", fails=(PAIRS, TIE, TURNED, ONLY_ORDER, FEW))
def _(labels, scores):
    called = scores >= 0.5
    if labels.min() == labels.max():
        raise ValueError("one class is missing")
    return (np.mean(called[labels == 1]) + 1 - np.mean(called[labels == 0])) / 2


@roc_auc.wrong("ranks by sorting, ties in the order in which they stand", fails=TIE)
def _(labels, scores):
    positives, negatives = np.sum(labels == 1), np.sum(labels == 0)
    if positives == 0 or negatives == 0:
        raise ValueError("one class is missing")
    ranks = np.empty(len(scores))
    ranks[np.argsort(scores, kind="stable")] = np.arange(1, len(scores) + 1)
    return (ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives)


@exercise("data.calibration_error", points=3, reference=SCORES)
def calibration_error(student, rng):
    """Do announced probabilities come true?"""
    probabilities = (rng.integers(100, size=300) + 0.5) / 100  # never on the edge of a bin of 5 or 10
    labels = (rng.random(300) < np.where(probabilities < 0.5, np.sqrt(probabilities), probabilities**2)).astype(int)
    with case("one bin: mean probability against the share of ones", hint="The distance between the two means, not the mean of the distances."):
        close(student.calibration_error(labels, probabilities, 1), scored.calibration_error(labels, probabilities, 1))
        close(student.calibration_error(np.array([1, 0, 1, 0]), np.full(4, 0.45), 10), 0.05)
    with case("every bin counts by its rows", hint="Weight each bin's distance by the number of rows in it, over N."):
        close(student.calibration_error(labels, probabilities, 10), scored.calibration_error(labels, probabilities, 10))
        crowded = np.array([0.05] * 9 + [0.95])
        close(student.calibration_error(np.array([0] * 9 + [0]), crowded, 10), 0.9 * 0.05 + 0.1 * 0.95)
    with case("too high in one bin and too low in another do not cancel", hint="Take the distance bin by bin, before you add."):
        both = np.array([0.25, 0.25, 0.75, 0.75])
        close(student.calibration_error(np.array([1, 1, 0, 0]), both, 2), 0.75)
    with case("as many bins as asked for, and ten if nothing is said", hint="def calibration_error(labels, probabilities, bins=10)"):
        close(student.calibration_error(np.array([1, 0, 0, 0]), np.array([0.01, 0.04, 0.08, 0.09])), 0.195)
        close(student.calibration_error(labels, probabilities, 5), scored.calibration_error(labels, probabilities, 5))
        close(student.calibration_error(labels, probabilities, 20), scored.calibration_error(labels, probabilities, 20))
    with case(
        "an edge belongs to the bin above it, and 1 to the last",
        hint="Bin b holds b/B ≤ p < (b+1)/B. 1.0 · bins is one too many: np.minimum(…, bins - 1).",
    ):
        close(student.calibration_error(np.array([1, 0, 0]), np.array([0.5, 0.55, 0.45]), 10), 0.5 / 3)
        close(student.calibration_error(np.array([1, 1, 0]), np.array([0.0, 0.0, 0.75]), 4), 2.75 / 3)
        sure = np.array([1.0, 1.0, 1.0, 1.0, 0.95])
        close(student.calibration_error(np.array([1, 1, 0, 1, 1]), sure, 10), scored.calibration_error(np.array([1, 1, 0, 1, 1]), sure, 10))
    with case("an empty bin counts nothing and makes no NaN", hint="The mean of no numbers is NaN. Go over the bins that have rows."):
        close(student.calibration_error(np.array([0, 1, 1]), np.array([0.05, 0.95, 0.92]), 10), (0.05 + 2 * (1 - 0.935)) / 3)


@calibration_error.right("bin by bin")
def _(labels, probabilities, bins=10):
    place = np.minimum((probabilities * bins).astype(int), bins - 1)
    total = 0.0
    for b in range(bins):
        inside = place == b
        if inside.any():
            total += inside.sum() * abs(probabilities[inside].mean() - labels[inside].mean())
    return total / len(labels)


@calibration_error.right("by edges")
def _(labels, probabilities, bins=10):
    edges = np.linspace(0, 1, bins + 1)
    place = np.digitize(probabilities, edges[1:-1])
    return sum(abs((probabilities - labels)[place == b].sum()) for b in np.unique(place)) / len(labels)


ONE_BIN, BY_ROWS, CANCEL = (
    "one bin: mean probability against the share of ones",
    "every bin counts by its rows",
    "too high in one bin and too low in another do not cancel",
)
AS_MANY, P_1, EMPTY = (
    "as many bins as asked for, and ten if nothing is said",
    "an edge belongs to the bin above it, and 1 to the last",
    "an empty bin counts nothing and makes no NaN",
)
calibration_error.slip(
    "every bin alike",
    ("inside.sum() * abs", "abs"),
    ("total / len(labels)", "total / len(np.unique(place))"),
    of="bin by bin",
    fails=(BY_ROWS, AS_MANY, P_1, EMPTY),
)
calibration_error.slip("distances with a sign", ("* abs(", "* ("), of="bin by bin", fails=(ONE_BIN, BY_ROWS, CANCEL, AS_MANY, P_1, EMPTY))
calibration_error.slip(
    "a probability of 1 falls out",
    ("np.minimum((probabilities * bins).astype(int), bins - 1)", "(probabilities * bins).astype(int)"),
    of="bin by bin",
    fails=P_1,
)
calibration_error.slip("empty bins make NaN", ("if inside.any():", "if True:"), of="bin by bin", fails=(ONE_BIN, BY_ROWS, AS_MANY, P_1, EMPTY))
calibration_error.slip(
    "the worst bin",
    (
        "total += inside.sum() * abs(probabilities[inside].mean() - labels[inside].mean())",
        "total = max(total, abs(probabilities[inside].mean() - labels[inside].mean()))",
    ),
    ("total / len(labels)", "total"),
    of="bin by bin",
    fails=(BY_ROWS, AS_MANY, P_1, EMPTY),
)


calibration_error.slip(
    "bins closed on the right",
    ("np.digitize(probabilities, edges[1:-1])", "np.digitize(probabilities, edges[1:-1], right=True)"),
    of="by edges",
    fails=P_1,
)


@calibration_error.wrong("the mean distance of single rows", fails=(ONE_BIN, BY_ROWS, AS_MANY, P_1))
def _(labels, probabilities, bins=10):
    return np.mean(np.abs(labels - probabilities))


@calibration_error.wrong("always ten bins", fails=(ONE_BIN, AS_MANY))
def _(labels, probabilities, bins=10):
    place = np.minimum((probabilities * 10).astype(int), 9)
    return sum(abs((probabilities - labels)[place == b].sum()) for b in range(10)) / len(labels)


@exercise("data.bootstrap_interval", points=4, seconds=4, reference=SCORES)
def bootstrap_interval(student, rng):
    """How far could a number have come out differently?"""
    ones, values = np.ones(80), rng.normal(size=80)
    with case("every draw has as many rows as the sample", hint="N rows out of N: rng.integers(N, size=N).", side=True):
        close(floats(student.bootstrap_interval(np.vdot, ones, ones, draws=30)), np.array([80.0, 80.0]))
    with case("rows stay together", hint="Draw row numbers once, and take the same rows from both arrays.", side=True):
        signs = rng.choice([-1.0, 1.0], size=80)
        close(floats(student.bootstrap_interval(np.vdot, signs, signs, draws=30)), np.array([80.0, 80.0]))
    with case("as many draws as asked for", hint="for … in range(draws). One draw has one result, and both ends are that result.", side=True):
        low, high = floats(student.bootstrap_interval(np.vdot, ones, values, draws=1))
        holds(bool(low == high), "With draws=1 there is one result, but low and high differ.")
    total, spread = values.sum(), values.std() * np.sqrt(80)  # of the sum of the values over the draws; normal, near enough
    with case(
        "drawn with replacement from all rows: the width is that of chance", hint="rows = rng.integers(N, size=N), and quantiles of the results."
    ):
        found = floats(student.bootstrap_interval(np.vdot, ones, values, draws=3000, confidence=0.9))
        holds(bool(found[1] - found[0] > 1e-6 * spread), "Every draw gave the same: without replacement it is the same sample in another order.")
        close(found, total + np.array([-1.6449, 1.6449]) * spread, rtol=0, atol=0.2 * spread)
        some = rng.permutation(np.repeat([0.0, 1.0], [60, 20]))
        low, high = floats(student.bootstrap_interval(np.vdot, some, ones, draws=50))
        holds(bool(high > low), "Every draw has the same number of 1s among its labels: draw from all rows at once, not class by class.")
    with case("the middle part of what came out, both tails alike", hint="For 95%, leave 2.5% out on either side: quantiles 0.025 and 0.975."):
        found = floats(student.bootstrap_interval(np.vdot, ones, values, draws=3000, confidence=0.5))
        close(found, total + np.array([-0.6745, 0.6745]) * spread, rtol=0, atol=0.15 * spread)
        for row in (0, 79):  # how often the first row, or the last, was drawn: 0 at least, and up to 3 in the middle 90%
            alone = np.eye(80)[row]
            close(floats(student.bootstrap_interval(np.vdot, ones, alone, draws=2000, confidence=0.9)), np.array([0.0, 3.0]))
    with case("of the statistic that it is given", hint="Call statistic(labels[rows], scores[rows]) for each draw."):
        labels = rng.permutation(np.repeat([0, 1], [60, 20]))
        scores = values + 1.5 * labels
        found = floats(student.bootstrap_interval(roc_auc_score, labels, scores, draws=40))
        middle = scored.roc_auc(labels, scores)
        holds(bool(found[0] < middle < found[1]), "The interval of a ROC AUC does not hold the sample's own.")
        low, high = scored.bootstrap_interval(scored.roc_auc, labels, scores, draws=100, seed=1)
        holds(bool(0.4 < (found[1] - found[0]) / (high - low) < 2.5), "The interval of a ROC AUC has an impossible width.")
    with case("the same seed gives the same interval, another seed another", hint="rng = np.random.default_rng(seed), made once, before the loop."):
        first, again, other = (floats(student.bootstrap_interval(np.vdot, ones, values, draws=50, seed=seed)) for seed in (3, 3, 4))
        same(again, first, "the second interval")
        finite(first, "the interval")
        holds(not np.allclose(first, other, rtol=1e-9), "Seeds 3 and 4 gave the same interval.")
        found = floats(student.bootstrap_interval(np.vdot, ones, values, draws=50, confidence=0.95, seed=3))
        same(first, found, "the interval without a confidence, which means 0.95,")


@bootstrap_interval.right("draw by draw")
def _(statistic, labels, scores, draws=1000, confidence=0.95, seed=0):
    rng = np.random.default_rng(seed)
    found = []
    for _draw in range(draws):
        rows = rng.integers(len(labels), size=len(labels))
        found.append(statistic(labels[rows], scores[rows]))
    tail = (1 - confidence) / 2
    return np.quantile(found, tail), np.quantile(found, 1 - tail)


@bootstrap_interval.right("all row numbers at once, percentiles by sorting")
def _(statistic, labels, scores, draws=1000, confidence=0.95, seed=0):
    table = np.random.default_rng(seed).choice(len(labels), size=(draws, len(labels)))
    found = sorted(float(statistic(labels[rows], scores[rows])) for rows in table)
    skipped = int((1 - confidence) / 2 * draws)
    return [found[skipped], found[-1 - skipped]]


AS_MANY_ROWS, TOGETHER = "every draw has as many rows as the sample", "rows stay together"
DRAWS = "as many draws as asked for"
WIDTH, TAILS = "drawn with replacement from all rows: the width is that of chance", "the middle part of what came out, both tails alike"
STATISTIC, SAME_SEED = "of the statistic that it is given", "the same seed gives the same interval, another seed another"
DRAW = "rng.integers(len(labels), size=len(labels))"
bootstrap_interval.slip("without replacement", (DRAW, "rng.permutation(len(labels))"), of="draw by draw", fails=(WIDTH, TAILS, STATISTIC, SAME_SEED))
bootstrap_interval.slip("drawn separately", ("scores[rows]", f"scores[{DRAW}]"), of="draw by draw", fails=(TOGETHER, STATISTIC))
bootstrap_interval.slip(
    "the whole of 1 - confidence left out on either side", ("(1 - confidence) / 2", "1 - confidence"), of="draw by draw", fails=(WIDTH, TAILS)
)
bootstrap_interval.slip("always 95%", ("(1 - confidence) / 2", "0.025"), of="draw by draw", fails=(WIDTH, TAILS))
bootstrap_interval.slip(
    "as many rows as draws",
    (DRAW, "rng.integers(len(labels), size=draws)"),
    of="draw by draw",
    fails=(AS_MANY_ROWS, TOGETHER, WIDTH, TAILS),
)
bootstrap_interval.slip("90% if nothing is said", ("confidence=0.95", "confidence=0.9"), of="draw by draw", fails=SAME_SEED)
bootstrap_interval.slip("never fewer than a hundred draws", ("range(draws)", "range(max(draws, 100))"), of="draw by draw", fails=DRAWS)
bootstrap_interval.slip(
    "drawn within each class",
    (f"rows = {DRAW}", "rows = np.concatenate([rng.choice(np.flatnonzero(labels == k), size=np.sum(labels == k)) for k in np.unique(labels)])"),
    of="draw by draw",
    fails=WIDTH,
)
bootstrap_interval.slip(
    "turned over at the sample's own value",
    (
        "return np.quantile(found, tail), np.quantile(found, 1 - tail)",
        "own = statistic(labels, scores)\n    return 2 * own - np.quantile(found, 1 - tail), 2 * own - np.quantile(found, tail)",
    ),
    of="draw by draw",
    fails=TAILS,
)
bootstrap_interval.slip(
    "the smallest and the largest result",
    ("np.quantile(found, tail), np.quantile(found, 1 - tail)", "min(found), max(found)"),
    of="draw by draw",
    fails=(WIDTH, TAILS),
)
bootstrap_interval.slip("the seed ignored", ("default_rng(seed)", "default_rng()"), of="draw by draw", fails=SAME_SEED)
bootstrap_interval.slip(
    "seeded anew for every draw",
    (DRAW, "np.random.default_rng(seed).integers(len(labels), size=len(labels))"),
    of="draw by draw",
    fails=(WIDTH, TAILS, STATISTIC),
)


@bootstrap_interval.wrong("not resampled at all", fails=(WIDTH, TAILS, STATISTIC, SAME_SEED))
def _(statistic, labels, scores, draws=1000, confidence=0.95, seed=0):
    return statistic(labels, scores), statistic(labels, scores)


@bootstrap_interval.wrong("the spread of the mean of the draws", fails=(WIDTH, TAILS, STATISTIC))
def _(statistic, labels, scores, draws=1000, confidence=0.95, seed=0):
    rng = np.random.default_rng(seed)
    found = []
    for _draw in range(draws):
        rows = rng.integers(len(labels), size=len(labels))
        found.append(statistic(labels[rows], scores[rows]))
    half = 1.96 * np.std(found) / np.sqrt(draws)
    return np.mean(found) - half, np.mean(found) + half
