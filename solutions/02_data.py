# Chapter 02, the one source. `course build` makes the student notebook from it; see the README for the header keys.
# %% [markdown] lang="en"
# # 02 · Data: clean, convert, split, measure
#
# Three clinics send you one table of patients and a question: **whose illness will get worse fast?** The table has holes, codes, two systems
# of units and rows that come twice. Whatever model you use later, it will believe every cell; and whatever score you report, somebody will
# act on it.
#
# At the end of this chapter you can
#
# - turn a dirty table into numbers, and say which of its errors no program can find;
# - split it so that the score on the test rows means what it seems to mean, and say **by how much** a wrong split flatters;
# - compute precision, recall, F1, ROC AUC and calibration yourself, equal to what scikit-learn gives to twelve digits;
# - put an interval around any of them.
#
# **The exercises take about an hour and three quarters, the reading one hour more**; good places to stop are after sections 2, 4 and 5.
# **You need** Python, NumPy arrays and school mathematics. You need no knowledge of any model: we borrow one, and use it as a box.
#
# Every exercise ends with a `check(...)` cell: run the cell with your code, then the check, as often as you like. The course grew out of
# five articles on large models; we call them *the source articles*, and you need not have read them. One of them devotes a section to data.
# Its advice is three sentences long, and its program makes more mistakes than it has lines. They are worth a chapter.

# %%
import math
import re
import time
from collections import Counter

import matplotlib.pyplot as plt
import numpy as np

from autograder import check, predict, progress_board
from course_lib.data import digits, messy_patients, patients
from course_lib.data.messy import LIMITS
from course_lib.interactive import show, show_static, threshold_steps
from course_lib.metrics import accuracy, mean_and_interval, wilson_interval

progress_board("data")

# %% [markdown] lang="en"
# ## 1 · A table that nobody cleaned
#
# The people are real: 442 patients with diabetes, eight measurements each, and a number for how far the disease went in the following year
# (the table comes with scikit-learn). We call a course **fast** when that number, the *progression*, is above 200. The line is ours, a round
# number that about a quarter of the patients pass; it was drawn before any score was looked at, and a doctor might draw another.
#
# The dirt is ours as well. We put it in with a program and a seed, so that here, unlike anywhere else, we know
# the **right answer** of cleaning. Everything that the program did is something that real exports do.

# %%
table = messy_patients(seed=0)
columns = table.columns  # name → list of cells
print(len(table.source), "rows,", len(columns), "columns")
for name, cells in columns.items():
    print(f"{name:14s}", cells[:7])

# %% [markdown] lang="en"
# Look around before you read on; print more rows than these. In there are numbers written as text, two ways to write a decimal point, several
# ways to say "unknown", codes such as 999 and −1, and one clinic whose numbers are of another size altogether. How many of the cells are
# not even numbers?

# %%
for name, cells in columns.items():
    found = Counter(type(cell).__name__ for cell in cells)
    print(f"{name:14s}", dict(found))

try:
    np.array(columns["bmi"], dtype=float)
except ValueError as error:
    print("\nNumPy, asked for numbers:", error)

# %% [markdown] lang="en"
# ## 2 · Clean
#
# ### Cells to numbers
#
# The first rule: **what is not known must look unknown.** In an array of floats that is NaN, "not a number". It spreads through every sum
# it meets, which is a nuisance and a blessing: a 0 in its place would be believed.


# %% exercise="to_numbers" minutes=7 level=1
def to_numbers(cells):
    """Cells of mixed kinds to float64, NaN where there is no number.

    cells: list of N numbers, texts or None → float64 array (N,)
    A text that is a number, spaces around it allowed, becomes that number; its decimal point
    may be a comma.
    Anything else (None, "", "n/a", "45 years") becomes NaN, in its own place.

    >>> to_numbers([51, " 32.5 ", "32,5", 0, None, "n/a"])
    array([51. , 32.5, 32.5,  0. ,  nan,  nan])
    """
    ### BEGIN SOLUTION
    found = []
    for cell in cells:
        try:
            found.append(float(str(cell).replace(",", ".")))
        except ValueError:  # float() knows best what a number is: try, and see whether it objects
            found.append(math.nan)
    return np.array(found)
    ### END SOLUTION


# %% check="to_numbers"
check("data.to_numbers", to_numbers)

# %% [markdown] lang="en"
# <details><summary>How do I ask whether a text is a number?</summary>
#
# Do not ask; try. <code>float(text)</code> raises <code>ValueError</code> for a text that is none, and forgives spaces. Catch the error and
# append <code>math.nan</code>. (<code>str(None)</code> is "None", which is no number either.)
# </details>
#
# ### Possible and impossible
#
# Now every cell is a number or NaN, and many numbers are nonsense. For each column we can say what an adult who comes fasting to such a study
# can have. That is not in the data: somebody who knows the subject has to write it down. (An emergency ward would need wider limits: it does
# see people with a glucose above 600 mg/dl.)

# %%
glucose = to_numbers(columns["glucose"])
for name, limit in LIMITS.items():
    other = f"   (or {limit.other_unit}: times {limit.factor:g})" if limit.factor != 1 else ""
    print(f"{name:14s} {limit.low:4g} to {limit.high:4g} {limit.unit}{other}")

print("\nsome glucose values:", np.unique(glucose)[[0, 1, 2, 10, 60, -3, -2, -1]])

# %% [markdown] lang="en"
# A glucose of 4.22 is impossible in mg/dl. Times 18.016 it is 76.0: the clinic reported mmol/l. A glucose of 999 is outside our limits in both;
# it is a code. So the rule is: *possible as it is: keep. Possible in the other unit: convert. Otherwise: unknown.*
#
# The rule is safe only because, within these limits, no value is possible in both units. For weights in kilograms and pounds it would not be:
# 90 could be either. Then what is possible as it is stays.


# %% exercise="repair" minutes=8 level=2
def repair(values, low, high, factor):
    """Impossible values out, values in the other unit converted.

    values (N,) float64, NaN allowed; possible is low ≤ value ≤ high. A value in the other unit,
    as value · factor, is one in ours
    → new float64 array (N,): possible values as they are; else value · factor where that is
    possible; else NaN

    >>> repair(np.array([93.0, 5.0, 999.0, -1.0]), 40, 200, 18.0)
    array([93., 90., nan, nan])
    """
    ### BEGIN SOLUTION
    converted = values * factor
    converted = np.where((converted >= low) & (converted <= high), converted, np.nan)
    return np.where((values >= low) & (values <= high), values, converted)
    ### END SOLUTION


# %% check="repair"
check("data.repair", repair)

# %% [markdown] lang="en"
# <details><summary>NumPy warns, or my NaN disappear</summary>
#
# <code>&lt;</code>, <code>&lt;=</code>, <code>&gt;</code>, <code>&gt;=</code> and <code>==</code> with NaN are False, so a gap is neither possible nor convertible and falls through to the last branch. That is what we want.
# <code>np.where(condition, a, b)</code> takes <code>a</code> where the condition holds and <code>b</code> elsewhere.
# </details>
#
# **Why not look for outliers by their distance from the mean?** "More than three standard deviations away" is the rule that everybody
# knows. Try it on the raw glucose column:

# %%
impossible = (glucose < LIMITS["glucose"].low) | (glucose > LIMITS["glucose"].high)
distance = np.abs(glucose - np.nanmean(glucose)) / np.nanstd(glucose)
print(f"impossible as they stand: {impossible.sum()}")
print(f"of these, beyond three standard deviations: {np.sum(impossible & (distance > 3))}")
rest = glucose[glucose != 999]
further = np.abs(rest - np.nanmean(rest)) > 3 * np.nanstd(rest)
print(f"without the 999, beyond three standard deviations: {further.sum()}")
true_columns, progression = patients()
tail = {name: int(np.sum(np.abs(v - v.mean()) > 3 * v.std())) for name, v in true_columns.items()}
print("in the clean table, beyond three standard deviations:", tail)

# %% [markdown] lang="en"
# Of 198 impossible cells the rule finds one, the 999; take that away, and it finds none. Nearly all the others come from the clinic that
# reports mmol/l. They are a second heap, and the standard deviation spans both: because a whole clinic is far off, far off is normal. And in
# the clean table the rule would throw out real people, nine of them for their triglycerides alone.
#
# An **outlier** is a value far from the others; whether it is an *error* is a question about the world. Errors are repaired or made unknown;
# true extremes stay. (They may be drawn in by a logarithm; see section 3.)
#
# ### Rows that come twice
#
# A row is repeated when **every** cell equals the cell of its own column in an earlier row. Two missing cells count as equal here, however
# they are written (None or NaN): the copy of a row with a gap is a copy. A text and a number are never equal.


# %% exercise="first_rows" minutes=9 level=1
def first_rows(columns):
    """The rows that are no repetition of an earlier row, compared cell by cell.

    columns: dict from name to the N cells of that column: a list of texts or numbers, or an
    array. NaN or None: missing, and equal to each other
    → list of row numbers, ascending

    >>> first_rows({"age": np.array([50.0, 60.0, 50.0]), "clinic": ["East", "East", "East"]})
    [0, 1]
    """
    ### BEGIN SOLUTION
    seen, kept = set(), []
    for row, cells in enumerate(zip(*columns.values(), strict=True)):
        # Only NaN differs from itself. It would never be found again; None is.
        key = tuple(None if cell != cell else cell for cell in cells)
        if key not in seen:
            seen.add(key)
            kept.append(row)
    return kept
    ### END SOLUTION


# %% check="first_rows"
check("data.first_rows", first_rows)

# %% [markdown] lang="en"
# <details><summary>Copies of rows with a gap are not found</summary>
#
# <code>nan == nan</code> is False, so a row with a NaN equals nothing, not even itself. Before you compare, put something in its place that
# equals itself and that no measurement can be: <code>None</code>, not 0.
# </details>
#
# Order matters. A copy may be written differently ("32,5" here, 32.5 there), so it is found only when both are numbers in one unit:

# %%
clean = {"clinic": [cell.strip().capitalize() for cell in columns["clinic"]]}
for name, limit in LIMITS.items():
    clean[name] = repair(to_numbers(columns[name]), limit.low, limit.high, limit.factor)
clean["progression"] = to_numbers(columns["progression"])

kept = first_rows(clean)
print(f"rows as sent:                        {len(table.source)}")
print(f"different rows, compared as sent:    {len(first_rows(columns))}")
print(f"different rows, compared when clean: {len(kept)}")
print("clinics:", dict(Counter(clean["clinic"][row] for row in kept)))

# %% [markdown] lang="en"
# ### Was it right?
#
# On real data you could not ask. Here you can: `table.source` knows which patient each row is, and `patients()` is the clean table.

# %%
names = list(LIMITS)
x = np.column_stack([clean[name][kept] for name in names])  # (N, 8), NaN where unknown
truth = np.column_stack([true_columns[name] for name in names])[table.source[kept]]
# A value in mmol/l came with two digits after the point:
# its conversion is off by half a hundredth at most, times the factor.
allowed = np.array([0.0051 * LIMITS[name].factor for name in names])
right, gap = np.abs(x - truth) <= allowed, np.isnan(x)
print(
    f"cells: {x.size};  right: {right.sum()};  unknown: {gap.sum()};  "
    f"wrong: {np.sum(~right & ~gap)}"
)

for row, column in np.argwhere(~right & ~gap)[:4]:
    print(f"  {names[column]}: we believe {x[row, column]:g}, it is {truth[row, column]:g}")

# %% [markdown] lang="en"
# No row is lost, no row is left over. What is still wrong looks right: somebody exchanged two digits, and a body mass index of 24.1 became
# 42.1. **No rule of this kind can find that.** Cleaning makes errors rare and known; it does not make data true.
# (A source article promises to treat "errors, missing values and repetitions". Its program contains one call, which drops every row with a
# gap, and nothing for the other two.)
#
# ### Drop the rows with gaps?
#
# **Predict** first, in general: a table has 10 columns, and each cell is missing with probability 5%, whatever the others do. You drop every
# row with a gap. Which share of the rows is left?

# %% predict="rows_left"
# A share between 0 and 1, please.
# (A row survives if the first cell is there, and the second, and …
# How do such probabilities combine?)
rows_left_guess = ...

# %%
many_tables = np.random.default_rng(0).random((200_000, 10))
predict.reveal(
    "data.rows_left",
    guess=rows_left_guess,
    truth=float((many_tables.min(axis=1) > 0.05).mean()),
)

# %% [markdown] lang="en"
# <details><summary>Why that many?</summary>
#
# All ten cells must be there: 0.95 multiplied by itself ten times, 0.599. With 100 columns, 0.6% would be left.
# </details>
#
# And in our table, whose gaps are no lottery?

# %%
y = (clean["progression"][kept] > 200).astype(int)  # 1: the illness goes fast
whole = ~np.isnan(x).any(axis=1)
print(f"rows without a gap in our table: {whole.sum()} of {len(x)} ({whole.mean():.0%})")
print(f"fast courses among all rows:            {y.mean():.1%}")
print(f"fast courses among rows without a gap:  {y[whole].mean():.1%}")
print(
    f"rows with a gap, among fast courses: {1 - whole[y == 1].mean():.0%}, "
    f"among slow ones: {1 - whole[y == 0].mean():.0%}"
)

# %% [markdown] lang="en"
# We lose a third of the people, and not a random third. In this table those who are getting worse miss more appointments, so dropping rows
# drops *them*. Whatever is measured afterwards is measured on healthier people than those who will come. Gaps that depend on what you want
# to know are nothing rare, and no score on the remaining rows can show the damage.
#
# What we do in this chapter is plain: fill a gap with the **median** of its column (half of the known values lie below it, and a single
# wild one hardly moves it). It keeps every patient; it also invents a value, which is why some people add a column that says "was missing".

# %% [markdown] lang="en"
# ## 3 · Convert
#
# Models take numbers. Some things that are numbers already want to be changed; some that are none must become numbers.
#
# ### The logarithm, and where it ends
#
# Triglycerides run from 26 to 449: most people crowd at the low end, and a few stand far out. For such amounts a *ratio* means more than a
# difference (from 50 to 100 is a long way, from 400 to 450 a short one), and the logarithm turns ratios into differences. For amounts that
# may be 0, people take $\log(1 + x)$. How lopsided a column is, its **skewness** tells: the mean of the third power of the standardised
# values, 0 for a symmetric column.


# %%
def skewness(values):
    standard = (values - values.mean()) / values.std()
    return np.mean(standard**3)


for name in names:
    values = true_columns[name]
    print(
        f"{name:14s} skewness {skewness(values):+.2f}, "
        f"of log(1 + x) {skewness(np.log1p(values)):+.2f}"
    )

# %% [markdown] lang="en"
# It helps the triglycerides most, and does harm to age. A logarithm is a decision about one column, and a decision must not be taken by rows
# on which you will later judge, as these are. So we take ours from the subject: the makers of the data set logged the triglycerides and no
# other column, and so do we. (They are bundled as a logarithm already; we undid that to have something to do. Read the description before
# you take a logarithm twice.)
#
# The program of the source article applies `log(x + 1)` to **all** columns of whatever table it gets. Tables often come standardised: each
# column shifted and scaled to mean 0 and standard deviation 1. **Predict:** in such a column, bell-shaped, which share of the values does
# $\log(1 + x)$ turn into NaN?

# %% predict="lost_to_log"
# A share between 0 and 1, please.
# (Where does log(1 + x) stop being a number?
# How much of a bell curve lies further out than one standard deviation, on one side?)
lost_guess = ...

# %%
lost = {}
for name in names:
    standard = (true_columns[name] - true_columns[name].mean()) / true_columns[name].std()
    with np.errstate(invalid="ignore"):
        lost[name] = np.mean(np.isnan(np.log(standard + 1)))
print("lost in our columns, standardised:", {name: f"{share:.0%}" for name, share in lost.items()})
predict.reveal(
    "data.lost_to_log",
    guess=lost_guess,
    truth=0.5 * math.erfc(1 / math.sqrt(2)),
)

# %% [markdown] lang="en"
# <details><summary>Why that many?</summary>
#
# $1 + x$ is negative below −1, one standard deviation under the mean, and that is about one value in six.
# </details>
#
# You will see that program in section 4. It drops the rows with gaps **first** and makes new gaps **afterwards**; nothing looks for them again.
#
# ### Words to numbers
#
# The article says: turn text into vectors. The oldest way still works: choose a vocabulary, and count how often each of its words occurs.
# A text becomes a row, a word a column. The order of the words is lost, hence the name *bag of words*. (Chapters 11 and 12 do better.)
#
# What counts as a word is a decision. Ours is scikit-learn's: two or more letters, digits or underscores in a row, in lower case.
# `re.findall(r"\w\w+", text.lower())` gives them. And a rule that will return: **the vocabulary is learnt from the training texts.** A word
# that only later texts have gets no column, since the model could not know what it means.


# %% exercise="count_words" minutes=10 level=2
def count_words(train_texts, texts):
    """A bag of words.

    train_texts: list of texts that the vocabulary comes from; texts: list of N texts to count
    → (vocabulary, counts): the list of the V different words of train_texts, in lower case and
    sorted; and an array (N, V), how often each occurs in each of `texts`

    >>> count_words(["Feet hurt.", "Feet well, sleep well"], ["well, well! New pain"])
    (['feet', 'hurt', 'sleep', 'well'], array([[0, 0, 0, 2]]))
    """

    ### BEGIN SOLUTION
    def words(text):
        return re.findall(r"\w\w+", text.lower())

    vocabulary = sorted({word for text in train_texts for word in words(text)})
    counts = np.zeros((len(texts), len(vocabulary)), dtype=int)
    for row, text in enumerate(texts):
        found = Counter(words(text))
        counts[row] = [found[word] for word in vocabulary]  # 0 for a word that is not there
    return vocabulary, counts
    ### END SOLUTION


# %% check="count_words"
check("data.count_words", count_words)

# %% [markdown] lang="en"
# **A category is no number.** The clinics North, East and South could be 0, 1 and 2; a model would then believe that South is twice East and
# that East lies between the others. One column for each, holding 1 or 0 (*one-hot*), says only what is true. For names of a single word it
# is their bag of words:

# %%
clinics = [clean["clinic"][row] for row in kept]
print(count_words(clinics, clinics[:4]))

# %% [markdown] lang="en"
# ### Pictures to numbers
#
# A picture already is numbers: 0 to 255 for each pixel, in the type `uint8`, which has 8 bits and no more. **Predict:** you brighten a
# picture by adding 100 to every pixel. What becomes of a pixel of 200?

# %% predict="brighter"
# A number. (uint8 can hold 256 different values. What comes after 255?)
brighter_guess = ...

# %%
image = np.array([[0, 100, 200]], dtype=np.uint8)
brighter = image + np.uint8(100)
predict.reveal(
    "data.brighter",
    guess=brighter_guess,
    truth=int(brighter[0, 2]),
)

# %% [markdown] lang="en"
# <details><summary>Why?</summary>
#
# After 255 comes 0: 200 + 100 − 256 is 44. The bright pixel turns dark, without a warning.
# </details>
#
# So convert first, compute afterwards: `image.astype(np.float32) / 255`, between 0 and 1, and flatten a picture into a row when the model
# wants rows. Divide by 255, the same for all, and not by the largest pixel of each picture, which would make a dark picture and a bright one
# the same.

# %%
rows = image.reshape(len(image), -1).astype(np.float32) / 255
print(rows, rows.dtype)
pixels = digits(seed=0).x_train
print("the digits of chapter 03:", pixels.shape, "between", pixels.min(), "and", pixels.max())

# %% [markdown] lang="en"
# ## 4 · Split
#
# A model that is asked about rows it has learnt from can answer from memory. So some rows are held back. The article rightly asks for three
# parts:
#
# | part | what it is for | how often you look |
# | --- | --- | --- |
# | training | the model learns from it | always |
# | validation | *you* learn from it: which model, which threshold | often |
# | test | what you report | once, at the end |
#
# Its program makes two, and hands the test part to the training routine as "validation data". Every decision made with a look at the test
# rows uses them up a little: in the end they say how well your decisions fit *these rows*.
#
# **Chance, but fair.** 27% of our patients have a fast course. A random fifth of them may hold much more or less. Look at 1,000 random
# fifths:

# %%
rng = np.random.default_rng(0)
fifth = round(len(y) / 5)
shares = [y[rng.permutation(len(y))[:fifth]].mean() for _ in range(1000)]
print(f"fast courses in all rows: {y.mean():.1%}")
print(
    f"in a random fifth ({fifth} rows): {np.min(shares):.1%} to {np.max(shares):.1%}, "
    f"standard deviation {np.std(shares):.1%}"
)

# %% [markdown] lang="en"
# A **stratified** split deals out each class on its own, like cards, so that every part has its share of every class. It costs nothing and
# removes this one source of luck (others remain).


# %% exercise="split_rows" minutes=12 level=2
def split_rows(labels, shares, seed=0):
    """Row numbers in three parts, each class in its share in each part, by chance.

    labels (N,): classes, whole numbers; shares: three positive numbers that add up to 1, such as
    (0.6, 0.2, 0.2)
    → three arrays of row numbers (training, validation, test). Every row stands in just one of
    them.
    Of a class with n rows, a part of share s gets s · n, give or take one row. Each row's part is
    chance: rows that are neighbours, or two classes, do not go together. The same seed gives the
    same parts.

    >>> train, validation, test = split_rows(np.array([0] * 5 + [1] * 10), (0.6, 0.2, 0.2))
    >>> len(train), len(validation), len(test)
    (9, 3, 3)
    """
    ### BEGIN SOLUTION
    rng = np.random.default_rng(seed)
    parts = [[], [], []]
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        # Where to cut: after 60% and after 80% of this class, in whole rows.
        cuts = np.round(np.cumsum(shares)[:2] * len(rows)).astype(int)
        for part, piece in zip(parts, np.split(rows, cuts), strict=True):
            part.append(piece)
    return [np.concatenate(part) for part in parts]
    ### END SOLUTION


# %% check="split_rows"
check("data.split_rows", split_rows)

# %% [markdown] lang="en"
# <details><summary>How do I cut an array in three?</summary>
#
# <code>np.split(rows, [6, 8])</code> gives <code>rows[:6]</code>, <code>rows[6:8]</code> and <code>rows[8:]</code>.
# <code>np.flatnonzero(labels == label)</code> gives the numbers of the rows of one class.
# </details>

# %%
print("your parts:", [len(part) for part in split_rows(y, (0.6, 0.2, 0.2), seed=0)], "rows")

# %% [markdown] lang="en"
# Yours is as good as any other, but it draws its own lots, and every number below would be a little different from the ones that the text
# speaks of. From here on we take the library's, so that we talk about the same patients.

# %%
from course_lib.data.prepare import split_rows as same_split

train_rows, validation_rows, test_rows = same_split(y, (0.6, 0.2, 0.2), seed=0)
for name, rows in (("training", train_rows), ("validation", validation_rows), ("test", test_rows)):
    print(f"{name:11s} {len(rows):3d} rows, {y[rows].sum():2d} of them fast ({y[rows].mean():.1%})")

# %% [markdown] lang="en"
# ### A preparation, and a bug to find
#
# Here is the article's preparation in our words, as it was meant to be run:


# %%
def prepare_as_printed(data):
    data = data[~np.isnan(data).any(axis=1)]
    data = np.log(data + 1)
    return train_test_split(data, test_size=0.2)  # noqa: F821


try:
    prepare_as_printed(np.column_stack([x, y]))
except NameError as error:
    print("NameError:", error)

# %% [markdown] lang="en"
# The function that splits was never imported: as printed, the program cannot run. (Python looks a name up when the line runs, not when the
# function is defined.) We mend that much, and add the scaling that the next step would ask for, in the way in which it is often done: the leak
# in it is ours, not the article's. In the program below, four things are wrong. These are the facts that it offends; which lines do it?
#
# - **Labels are no measurements.** The answer 1 became $\log 2 = 0.69$, which is no class any more: no prediction can ever equal it.
# - **Only the columns that somebody named are logged.** Which, was decided in section 3, from the subject. (Cholesterol or glucose are amounts
#   too; they are less lopsided, and we left them alone.)
# - **A gap is filled, not dropped.** A dropped test row is a question taken out of the examination.
# - **What is learnt is learnt from the training rows alone.** The test rows stand for patients who come next year. Medians, means and
#   deviations that have seen them belong to no model that you could use today. That is called **leakage**.
#
# The logarithm itself learns nothing from data, so it may stand before the split or after it. Median, mean and deviation may not.


# %% exercise="mend_prepare" minutes=15 level=2
def mend_prepare(x, labels, amounts, is_test):
    """Logarithm of the amounts, gaps filled, columns standardised, without a leak.

    x (N, D) float64, NaN where unknown; labels (N,); is_test (N,) bool
    amounts: list of the numbers of the columns that are replaced by log(1 + x)
    → (x_train, labels_train, x_test, labels_test), rows in the order in which they stand in x

    After the logarithm, gaps get the median of the training rows. Then all rows are shifted and
    scaled such that the training rows have mean 0 and standard deviation 1 (np.std as it is).
    What was given is left as it was.
    """
    ### BEGIN SOLUTION
    x = x.copy()
    x[:, amounts] = np.log1p(x[:, amounts])
    train = x[~is_test]
    x = np.where(np.isnan(x), np.nanmedian(train, axis=0), x)
    train = x[~is_test]
    x = (x - train.mean(axis=0)) / train.std(axis=0)
    return x[~is_test], labels[~is_test], x[is_test], labels[is_test]
    ### ELSE BROKEN
    # table = np.column_stack([x, labels])
    # whole = ~np.isnan(table).any(axis=1)
    # table = np.log(table[whole] + 1)
    # table = (table - table.mean(axis=0)) / table.std(axis=0)
    # train, test = table[~is_test[whole]], table[is_test[whole]]
    # return train[:, :-1], train[:, -1], test[:, :-1], test[:, -1]
    ### END SOLUTION


# %% check="mend_prepare"
check("data.mend_prepare", mend_prepare)

# %% [markdown] lang="en"
# <details><summary>Where do I begin?</summary>
#
# Take the labels out of the table first: they only need <code>labels[~is_test]</code> and <code>labels[is_test]</code>. Then the logarithm of
# some columns of a copy. Then <code>np.nanmedian(x[~is_test], axis=0)</code>, one number for each column, and <code>np.where</code>. Mean and
# deviation come last, of the training rows, after the gaps are filled.
# </details>
#
# How much does it matter? Not all alike, as section 7 will show by measurement. First we need something to measure with, and something to
# measure.

# %% [markdown] lang="en"
# ## 5 · Measure
#
# ### A borrowed model, and two rivals that know nothing
#
# The model is scikit-learn's *logistic regression*: it weighs and adds the columns, and turns the sum into a probability. How such a thing
# learns is the subject of chapters 03 to 05. Here it is a box: training rows in, a probability of "fast" out.

# %%
from sklearn.linear_model import LogisticRegression

AMOUNTS = [names.index("triglycerides")]


def fit_and_score(x_train, y_train, x_other):
    """Learn from the training rows, and give the probability of a 1 for each of the other rows."""
    model = LogisticRegression(max_iter=1000).fit(x_train, y_train)
    return model.predict_proba(x_other)[:, 1]


def is_in(rows, count):
    mask = np.zeros(count, dtype=bool)
    mask[rows] = True
    return mask


# %%
# Test rows stay closed until section 6: take the training and validation rows alone.
open_rows = np.concatenate([train_rows, validation_rows])
held_out = np.arange(len(open_rows)) >= len(train_rows)
parts = mend_prepare(x[open_rows], y[open_rows], AMOUNTS, held_out)
x_train, y_train, x_validation, y_validation = parts
scores = fit_and_score(x_train, y_train, x_validation)
answers = (scores >= 0.5).astype(int)

nobody = np.zeros_like(y_validation)
rng = np.random.default_rng(0)
coins = (rng.random((1000, len(y_validation))) < y_train.mean()).astype(int)
by_coin = np.mean([accuracy(y_validation, coin) for coin in coins])
print(f"model, 'fast' from one half on: accuracy {accuracy(y_validation, answers):.1%}")
print(f"always 'slow':                  accuracy {accuracy(y_validation, nobody):.1%}")
print(f"a coin with the right share:    accuracy {by_coin:.1%} (mean of 1,000 coins)")

# %% [markdown] lang="en"
# **Accuracy**, the share of right answers, is the first figure that the article asks for and the only one that its program computes. Always
# saying "slow" has a respectable one, and finds nobody. A score without a **baseline** beside it says nothing: state what the best answer
# without looking would get.
#
# ### Which mistakes?
#
# There are two ways to be wrong, and they cost differently. For a class $k$ count
#
# | | called $k$ | not called $k$ |
# | --- | --- | --- |
# | **is $k$** | $\mathrm{TP}$ right alarm | $\mathrm{FN}$ missed |
# | **is not $k$** | $\mathrm{FP}$ false alarm | $\mathrm{TN}$ left alone |
#
# $$ \text{precision} = \frac{\mathrm{TP}}{\mathrm{TP} + \mathrm{FP}}, \qquad \text{recall} = \frac{\mathrm{TP}}{\mathrm{TP} + \mathrm{FN}}, \qquad
#    F_1 = \frac{2 \cdot \text{precision} \cdot \text{recall}}{\text{precision} + \text{recall}} = \frac{2\,\mathrm{TP}}{2\,\mathrm{TP} + \mathrm{FP} + \mathrm{FN}} . $$
#
# Precision: of those we called, how many were it? Recall: of those who were it, how many did we call? Each is easy to have alone (call one
# sure case; call everybody). $F_1$ is their harmonic mean, which is small as soon as one of them is.
#
# With several classes there are two ways to one number. **Macro** $F_1$ is the mean of the classes' $F_1$: each *class* counts alike, however
# rare. **Micro** $F_1$ adds up TP, FP and FN of all classes first: each *row* counts alike. When each row has one label and one answer, every
# false alarm of one class is a miss of another, and micro $F_1$ is just the accuracy.


# %% exercise="precision_recall_f1" minutes=12 level=2
def precision_recall_f1(labels, predictions, classes):
    """Precision, recall and F1 of every class, and F1 averaged in two ways.

    labels (N,), predictions (N,): arrays of whole numbers
    classes: list of the K classes, in the order wanted; together they hold all labels and answers
    → dict with arrays (K,) "precision", "recall", "f1" and numbers "macro_f1", "micro_f1"
    A fraction 0/0 is 0.

    >>> found = precision_recall_f1(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), [0, 1])
    >>> found["precision"], found["recall"]
    (array([1. , 0.5]), array([0.66666667, 1.        ]))
    """
    ### BEGIN SOLUTION
    tp = np.array([np.sum((predictions == k) & (labels == k)) for k in classes])
    called = np.array([np.sum(predictions == k) for k in classes])  # TP + FP
    there = np.array([np.sum(labels == k) for k in classes])  # TP + FN
    f1 = 2 * tp / np.maximum(called + there, 1)  # 2 TP + FP + FN = called + there
    return {
        "precision": tp / np.maximum(called, 1),  # 0/1 in place of 0/0
        "recall": tp / np.maximum(there, 1),
        "f1": f1,
        "macro_f1": f1.mean(),
        "micro_f1": 2 * tp.sum() / (called.sum() + there.sum()),
    }
    ### END SOLUTION


# %% check="precision_recall_f1"
check("data.precision_recall_f1", precision_recall_f1)

# %%
for name, several in (("model", [answers]), ("always slow", [nobody]), ("1,000 coins", coins)):
    found = [precision_recall_f1(y_validation, said, [0, 1]) for said in several]
    mean = {key: np.mean([each[key] for each in found], axis=0) for key in found[0]}
    print(
        f"{name:12s} of 'fast': precision {mean['precision'][1]:.0%}, "
        f"recall {mean['recall'][1]:.0%}, F1 {mean['f1'][1]:.2f};  "
        f"macro F1 {mean['macro_f1']:.2f}, micro F1 {mean['micro_f1']:.2f}"
    )

# %% [markdown] lang="en"
# Coins call 27% of everybody. So they find 27% of the fast courses, and of those whom they call, 27% are fast: for an answer that has not
# looked, the precision is the share of the class.
#
# ### Without a threshold
#
# "Fast from one half on" was our choice. If a missed patient is worse than a false alarm, 0.3 may be better. To judge the *scores* and not
# the choice, ask: **if I draw a patient with a fast course and one with a slow course, how often does the fast one have the higher score?**
# (A tie counts half.) That number is the **ROC AUC**: 1 is perfect order, ½ is no order, 0 is perfect order the wrong way round.
#
# The name, *area under the receiver operating characteristic*, comes from the other way to get it: for every threshold, plot the recall
# (*true positive rate*) over the share of negatives that are called (*false positive rate*), and take the area below.
#
# With $P$ positive and $M$ negative rows there are $P \cdot M$ pairs. You may compare them all; faster is to sort. If the scores are ranked
# from 1 (lowest), a positive row of rank $r$ has $r - 1$ rows below it. Some of these are positive themselves: none for the lowest positive
# row, one for the next, and so on up to $P - 1$. Take them away, and what is left are the wins over negative rows,
# $\sum (r_i - 1) - (0 + 1 + \dots + (P - 1)) = \sum r_i - (1 + 2 + \dots + P)$. The last sum is $P(P+1)/2$:
#
# $$ \mathrm{AUC} = \frac{\sum_{\text{positive}} r_i \; - \; P(P+1)/2}{P \cdot M}, \qquad \text{equal scores sharing the mean of their ranks.} $$


# %% exercise="roc_auc" minutes=12 level=3
def roc_auc(labels, scores):
    """How often a random positive row scores higher than a random negative one.

    labels (N,) of 0 and 1, scores (N,) → one number; a tie counts half.
    ValueError when there is no positive or no negative row.

    >>> roc_auc(np.array([0, 1, 0, 1]), np.array([0.1, 0.4, 0.4, 0.9]))  # 3 wins, 1 tie
    0.875
    """
    ### BEGIN SOLUTION
    positive, negative = scores[labels == 1], np.sort(scores[labels == 0])
    if len(positive) == 0 or len(negative) == 0:
        raise ValueError("there must be positive and negative rows")
    below = np.searchsorted(negative, positive, side="left")  # negatives that each positive beats
    level = np.searchsorted(negative, positive, side="right") - below  # and those it ties with
    return float((below + level / 2).sum() / (len(positive) * len(negative)))
    ### END SOLUTION


# %% check="roc_auc"
check("data.roc_auc", roc_auc)

# %% [markdown] lang="en"
# <details><summary>How do I count how many negatives lie below each positive?</summary>
#
# All pairs in one table: <code>positive[:, None] > negative[None, :]</code> has a row for each positive and a column for each negative. Or
# sort the negatives and ask <code>np.searchsorted</code>, once with <code>side="left"</code> (strictly below) and once with
# <code>side="right"</code> (below or equal).
# </details>
#
# To look at thresholds we want many patients. Below, each of the open rows is scored by a model that has not seen it: five times, a fifth
# is held out and the model learns from the rest.

# %%
folds = np.random.default_rng(0).permutation(len(open_rows)) % 5
out_of_fold = np.empty(len(open_rows))
for fold in range(5):
    a, b, c, _ = mend_prepare(x[open_rows], y[open_rows], AMOUNTS, folds == fold)
    out_of_fold[folds == fold] = fit_and_score(a, b, c)
y_open = y[open_rows]
print(f"ROC AUC on the validation rows: {roc_auc(y_validation, scores):.3f}")
print(f"ROC AUC of the out-of-fold scores, {len(y_open)} rows: {roc_auc(y_open, out_of_fold):.3f}")

# %% [markdown] lang="en"
# Move the threshold. At what price does recall rise? Then keep only a quarter of the fast courses, as in a population where they are
# rarer. The curve of all rows stays behind in grey: look at one curve, then at the other. Which of the two hardly moves, and which falls?
# (Then find the threshold with the best *accuracy*, and see how many patients it misses.)

# %% figure="threshold_steps" alt="Left: scores of fast courses upwards and slow ones downwards, each on its own scale, with a threshold. Middle: the ROC or precision-recall curve with a dot for the threshold, and in grey the curve of all rows when some are left out. Right: the confusion matrix. Sliders choose the threshold, the curve, and how many of the fast courses are kept."
show(threshold_steps(y_open, out_of_fold, names=("slow", "fast")))

# %% [markdown] lang="en"
# True and false positive rate are each computed **within** one class, so the ROC curve does not care how common the classes are. Precision
# mixes them: with fewer fast courses, the same false alarms drown fewer right ones. A fine AUC can go with a useless precision when the
# illness is rare. Report both.
#
# ### Do the probabilities come true?
#
# Of all patients to whom the model gives 30%, about 30% should turn out fast. Then it is **calibrated**, and you can weigh costs with its
# numbers. Sort the rows into $B$ bins by announced probability; in each, compare the mean announcement with what happened:
#
# $$ \mathrm{ECE} = \sum_{b=0}^{B-1} \frac{n_b}{N}\, \bigl|\, \bar p_b - \bar y_b \,\bigr| , $$
#
# the *expected calibration error*. $n_b$ is the number of rows in bin $b$, $\bar p_b$ their mean probability, $\bar y_b$ their share of ones.
# Bin $b$ holds $b/B \le p < (b+1)/B$; the last one takes $p = 1$ as well. (With more than two classes, the same is usually done with the
# probability of whichever class was predicted.)


# %% exercise="calibration_error" minutes=10 level=2
def calibration_error(labels, probabilities, bins=10):
    """The expected calibration error with `bins` bins of equal width.

    labels (N,) of 0 and 1, probabilities (N,) between 0 and 1 → one number. Empty bins count
    nothing.

    >>> round(calibration_error(np.array([0, 1, 1, 1]), np.array([0.25, 0.25, 0.95, 0.95])), 3)
    0.15
    """
    ### BEGIN SOLUTION
    place = np.minimum((probabilities * bins).astype(int), bins - 1)  # p = 1 goes to the last bin
    total = 0.0
    for b in np.unique(place):  # bins that have rows
        inside = place == b
        total += inside.sum() * abs(probabilities[inside].mean() - labels[inside].mean())
    return float(total / len(labels))
    ### END SOLUTION


# %% check="calibration_error"
check("data.calibration_error", calibration_error)

# %% [markdown] lang="en"
# Now somebody sells you a "more decisive" version of the model: every probability $p$ is replaced by $p^3 / (p^3 + (1-p)^3)$, which sends
# 0.7 to 0.93 and 0.3 to 0.07. **Predict:** is its ROC AUC higher, the same, or lower?

# %% predict="sharpened"
# "higher", "same" or "lower".
# (What does the formula do to two patients, of whom one has the higher probability?)
sharpened_guess = ...

# %%
from sklearn.metrics import roc_auc_score

rng = np.random.default_rng(0)
some_p = rng.random(500)
some_answers = rng.random(500) < some_p
change = roc_auc_score(some_answers, some_p**3 / (some_p**3 + (1 - some_p) ** 3))
change -= roc_auc_score(some_answers, some_p)
predict.reveal(
    "data.sharpened",
    guess=sharpened_guess,
    truth="same" if abs(change) < 1e-9 else ("higher" if change > 0 else "lower"),
)

# %% [markdown] lang="en"
# <details><summary>Why?</summary>
#
# The formula rises with $p$, so nobody overtakes anybody. AUC sees the order and nothing else.
# </details>
#
# And the calibration? The folds were dealt by chance, so we deal them ten times. Beside the two models stands a forecaster whose announced
# probabilities are exactly true.


# %%
def sharpen(p):
    return p**3 / (p**3 + (1 - p) ** 3)


rng = np.random.default_rng(0)
as_it_is, decisive, perfect = [], [], []
for deal in range(10):
    p = np.empty(len(open_rows))
    folds = np.random.default_rng(deal).permutation(len(open_rows)) % 5
    for fold in range(5):
        a, b, c, _ = mend_prepare(x[open_rows], y[open_rows], AMOUNTS, folds == fold)
        p[folds == fold] = fit_and_score(a, b, c)
    as_it_is.append(calibration_error(y_open, p))
    decisive.append(calibration_error(y_open, sharpen(p)))
    happened = (rng.random((200, len(p))) < p).astype(int)
    perfect += [calibration_error(each, p) for each in happened]

for name, found in (("as it is", as_it_is), ("sharpened", decisive)):
    print(f"calibration error {name + ':':10s} {min(found):.3f} to {max(found):.3f} over ten deals")
print(
    f"of a perfect forecaster on so few rows: {np.mean(perfect):.3f} "
    f"(95% below {np.quantile(perfect, 0.95):.3f})"
)

# %% [markdown] lang="en"
# The errors were taken over ten bins. The picture, of the first deal, has five, so that more rows stand in each. Big points are bins with many
# rows, and they are the ones to believe.

# %%
figure, axis = plt.subplots(figsize=(5, 3.6), layout="constrained")
lines = []
for name, p, style, colour in (
    ("as it is", out_of_fold, "o-", "#0b6aa2"),
    ("sharpened", sharpen(out_of_fold), "^--", "#b34700"),
):
    place = np.minimum((p * 5).astype(int), 4)
    bins = [(p[place == b].mean(), y_open[place == b].mean(), np.sum(place == b)) for b in range(5)]
    said, was, count = np.array(bins).T
    axis.plot(said, was, style, label=name, color=colour, markersize=4)
    axis.scatter(said, was, s=count, color=colour, marker=style[0], alpha=0.5)
    points = "  ".join(f"{a:.2f} → {b:.2f} ({n} rows)" for a, b, n in bins)
    lines.append(f"{name:9s} {points}")
axis.plot([0, 1], [0, 1], ":", color="0.5", label="calibrated")
axis.set(xlabel="announced probability", ylabel="share of fast courses")
axis.legend(frameon=False)
plt.close(figure)
print("announced → happened", *lines, sep="\n")
show_static(
    figure,
    alt="Share of fast courses over the announced probability, in five bins; "
    + "; ".join(lines)
    + ". On the dotted diagonal, announced and happened agree.",
)

# %% [markdown] lang="en"
# Same order, same AUC, and the announcements are wrong: where the sharpened model says "hardly ever" it happens more often, and where it says
# "nearly always", less. With a few hundred rows even the perfect forecaster has an error well above 0, because a bin of 20 rows hits its
# share only by luck. Compare with that, not with 0. The model as it is lies within that luck in every deal; the sharpened one is far outside
# in every deal.

# %% [markdown] lang="en"
# ## 6 · How sure?
#
# A score on 88 rows is one draw of a lottery. For a share of right answers there is a formula (the *Wilson interval*, in
# `course_lib.metrics`). **Predict:** you want an interval half as wide. By which factor must the test set grow?

# %% predict="half_as_wide"
# A factor. (The spread of a mean of N independent numbers shrinks like one over … of N.)
factor_guess = ...


# %%
def width(rows, share=0.8):
    interval = wilson_interval(round(share * rows), rows)
    return interval.high - interval.low


needed = next(rows for rows in range(1000, 10_000, 10) if width(rows) <= width(1000) / 2) / 1000
predict.reveal(
    "data.half_as_wide",
    guess=factor_guess,
    truth=round(needed, 1),
)

# %% [markdown] lang="en"
# <details><summary>Why?</summary>
#
# The spread shrinks like one over the square root of the number of rows: for half of it, take four times as many.
# </details>
#
# For F1 or AUC there is no formula that simple. The **bootstrap** needs none. We would like to know how the score varies from sample to
# sample, and have one sample. So let it stand for the world: draw N rows from it **with replacement** (some twice, some never), compute the
# score; repeat a thousand times; the middle 95% of the results is the interval. (With very few positive rows, some draws have none of them and
# the AUC does not exist; then one draws again, or within each class. Here there are enough.)


# %% exercise="bootstrap_interval" minutes=10 level=3
def bootstrap_interval(statistic, labels, scores, draws=1000, confidence=0.95, seed=0):
    """The percentile bootstrap interval of statistic(labels, scores).

    statistic: a function of two arrays that returns one number; labels (N,), scores (N,)
    → (low, high). In each of the `draws`, N rows are drawn with replacement; a row's label and
    score stay together.
    low and high leave half of 1 - confidence of the results below and above. The same seed
    gives the same interval.

    >>> bootstrap_interval(np.vdot, np.ones(9), np.ones(9))  # nine times 1·1, whichever rows
    (9.0, 9.0)
    """
    ### BEGIN SOLUTION
    rng = np.random.default_rng(seed)
    found = []
    for _draw in range(draws):
        rows = rng.integers(len(labels), size=len(labels))
        found.append(statistic(labels[rows], scores[rows]))
    tail = (1 - confidence) / 2
    return float(np.quantile(found, tail)), float(np.quantile(found, 1 - tail))
    ### END SOLUTION


# %% check="bootstrap_interval"
check("data.bootstrap_interval", bootstrap_interval)

# %% [markdown] lang="en"
# Does it keep its promise? Draw samples from a world where the AUC is known, and count how many intervals hold it. Let the scores be normal,
# shifted by 1 for the positive rows. The difference between a positive and a negative score is then normal with mean 1 and variance
# $1 + 1$, and the AUC is the probability that it is above 0: that of a standard normal below $1 / \sqrt 2$, which is 0.760.

# %% train
known = 0.5 * math.erfc(-1 / 2)  # P(standard normal < 1 / √2)
rng = np.random.default_rng(0)
held = 0
for sample in range(200):
    some_labels = np.repeat([0, 1], [60, 28])
    some_scores = rng.normal(size=88) + some_labels
    low, high = bootstrap_interval(roc_auc, some_labels, some_scores, draws=200, seed=sample)
    held += low <= known <= high
print(f"true AUC {known:.3f}; of 200 intervals, meant to hold it in 95%, {held} do")
print("their share, with its own interval:", wilson_interval(held, 200).percent())

# %% [markdown] lang="en"
# Two hundred samples cannot tell 93% from 95%: the share has an interval of its own. Over 3,000 samples, about 93% of the intervals hold the
# truth, a little short of the promise. The percentile bootstrap takes the sample for the world, and tends to be too narrow when the sample is
# small. Read its intervals as "at least this unsure".
#
# ### Open the test rows, once
#
# All decisions are made: the columns, the model, and the threshold, which we choose now on the validation rows for the best $F_1$. Then we
# look at the test rows, once, and report whatever comes.

# %%
thresholds = np.linspace(0.05, 0.95, 91)


def f1_at(labels, scores, threshold):
    return precision_recall_f1(labels, (scores >= threshold).astype(int), [0, 1])["f1"][1]


chosen = thresholds[np.argmax([f1_at(y_validation, scores, t) for t in thresholds])]
a, b, c, y_test = mend_prepare(x, y, AMOUNTS, is_in(test_rows, len(y)))
test_scores = fit_and_score(a, b, c)  # learns from training and validation rows
low, high = bootstrap_interval(roc_auc, y_test, test_scores)
said = (test_scores >= chosen).astype(int)
f1_low, f1_high = bootstrap_interval(lambda t, p: f1_at(t, p, chosen), y_test, test_scores)
found = precision_recall_f1(y_test, said, [0, 1])
right = int(np.sum(said == y_test))
print(f"threshold chosen on the validation rows: {chosen:.2f}")
print(f"test ROC AUC   {roc_auc(y_test, test_scores):.3f} ({low:.3f} to {high:.3f})")
print(
    f"test accuracy  {wilson_interval(right, len(y_test)).percent()};  "
    f"always 'slow': {1 - y_test.mean():.1%}"
)
print(
    f"test F1       {found['f1'][1]:.2f} ({f1_low:.2f} to {f1_high:.2f}): "
    f"precision {found['precision'][1]:.0%}, recall {found['recall'][1]:.0%}"
)

# %% [markdown] lang="en"
# The intervals are wide, and that is the finding: 88 patients cannot tell a good model from a rather good one. They also cover one kind of
# luck only, that of *who was in the test part*. Who was in the training part, and which clinic sent the table, is further luck on top.

# %% [markdown] lang="en"
# ## 7 · By how much does a leak flatter?
#
# Now measure. Five leaks, and one omission, each beside the honest procedure over 40 random splits. Wherever it can be, the split is the same
# for both, so that its luck cancels in the difference. The interval is for the mean over all splits of *this* table (in number 5 over all
# draws of noise, too); it says nothing of other tables.
#
# 1. **Scaled before the split**: medians, means and deviations of all rows.
# 2. **Copies on both sides**: the table is split before the repeated rows are dropped. (The model here is the *nearest neighbour*: the answer
#    of the most similar training row.)
# 3. **Threshold chosen on the test rows**: the best of 91, and its F1 reported. This is what "validation data = test data" invites.
# 4. **An answer among the questions**: a column "dose raised", which the doctor filled in *after* seeing the course.
# 5. **Columns chosen before the split.** The patients get 2,000 columns of pure noise. The 20 that go best with the answer, over all rows, are
#    kept; then everything is split and fitted by the book.
# 6. **Test rows with gaps dropped**: no leak, but the examination has lost its hard questions.
#
# **Predict** number 5. There is nothing to find in noise, and honest work finds nothing: an AUC of 0.5. What will the leaky procedure report?
# Something to hold on to: each of the 20 alone, turned the right way round, has an AUC of about 0.59 over all rows, and the model adds up what
# 20 such columns say, each erring on its own. (In section 6, a shift by a whole standard deviation was 0.760.)

# %% predict="noise_auc"
# An AUC, between 0 and 1.
# (Among 2,000 columns of chance, how well do the luckiest 20 fit these patients,
# the test patients included?)
noise_guess = ...


# %%
def best_columns(x, y, count=20):
    """The columns that go best with the answer, by their correlation with it."""
    standard = (x - x.mean(axis=0)) / x.std(axis=0)
    return np.argsort(-np.abs(standard.T @ (y - y.mean())))[:count]


# %%
outcome = (progression > 200).astype(int)  # the real answers, in the clean table's order


def noise_aucs(seed):
    """Honest and leaky AUC of the best of 2,000 columns of noise."""
    noise = np.random.default_rng(seed).normal(size=(len(outcome), 2000))
    test = is_in(np.random.default_rng(1000 + seed).permutation(len(outcome))[:88], len(outcome))
    found = []
    for rows in (~test, np.ones(len(outcome), dtype=bool)):
        best = best_columns(noise[rows], outcome[rows])
        scores = fit_and_score(noise[~test][:, best], outcome[~test], noise[test][:, best])
        found.append(roc_auc_score(outcome[test], scores))
    return found


# %%
honest_auc, leaky_auc = np.mean([noise_aucs(seed) for seed in range(5)], axis=0)
predict.reveal(
    "data.noise_auc",
    guess=noise_guess,
    truth=round(float(leaky_auc), 2),
    because="The choice had seen the test rows. Chosen on the training rows alone, such columns "
    f"give {honest_auc:.2f}. (Means of five repetitions; below there are forty.)",
)

# %% train
noise_found = [noise_aucs(seed) for seed in range(40)]

# %% [markdown] lang="en"
# And the others. The model for the copies, and the table as it was before the copies were dropped:


# %%
def nearest_answer(x_train, y_train, x_other):
    """The answer of the most similar training row."""
    distances = ((x_other[:, None, :] - x_train[None, :, :]) ** 2).sum(axis=2)
    return y_train[distances.argmin(axis=1)]


x_twice = np.column_stack([clean[name] for name in names])  # the repeated rows still in
y_twice = (clean["progression"] > 200).astype(int)
x_all = mend_prepare(x, y, AMOUNTS, np.zeros(len(y), dtype=bool))[0]  # statistics of all rows

# %% [markdown] lang="en"
# First the mistakes of the preparation, pairs of honest and leaky:

# %% train
scaling, copies, dropped = [], [], []
for seed in range(40):
    test = is_in(same_split(y, (0.6, 0.2, 0.2), seed=seed)[2], len(y))
    a, b, c, d = mend_prepare(x, y, AMOUNTS, test)
    s = fit_and_score(a, b, c)
    honest = roc_auc(d, s)
    scaling.append((honest, roc_auc(d, fit_and_score(x_all[~test], y[~test], x_all[test]))))
    without_gap = ~np.isnan(x[test]).any(axis=1)
    dropped.append((honest, roc_auc(d[without_gap], s[without_gap])))

    test = is_in(same_split(y_twice, (0.6, 0.2, 0.2), seed=seed)[2], len(y_twice))
    e, f, g, h = mend_prepare(x_twice, y_twice, AMOUNTS, test)
    copies.append((accuracy(d, nearest_answer(a, b, c)), accuracy(h, nearest_answer(e, f, g))))

# %% [markdown] lang="en"
# Then the threshold:

# %% train
threshold = []
for seed in range(40):
    _, validation, test_rows_now = same_split(y, (0.6, 0.2, 0.2), seed=seed)
    test, validate = is_in(test_rows_now, len(y)), is_in(validation, len(y))
    a, b, c, d = mend_prepare(x[~test], y[~test], AMOUNTS, validate[~test])
    tried = fit_and_score(a, b, c)
    chosen_now = thresholds[np.argmax([f1_at(d, tried, t) for t in thresholds])]

    a, b, c, d = mend_prepare(x, y, AMOUNTS, test)
    s = fit_and_score(a, b, c)
    threshold.append((f1_at(d, s, chosen_now), max(f1_at(d, s, t) for t in thresholds)))

# %% [markdown] lang="en"
# And the answer among the questions: the column "dose raised" agrees with the answer in 90% of the rows. In use, where it would have to be
# known beforehand, nobody has raised a dose yet.

# %% train
answer, in_use = [], []
for seed in range(40):
    test = is_in(same_split(y, (0.6, 0.2, 0.2), seed=seed)[2], len(y))
    a, b, c, d = mend_prepare(x, y, AMOUNTS, test)
    raised = np.where(np.random.default_rng(seed).random(len(y)) < 0.9, y, 1 - y)
    with_dose = np.column_stack([x, raised])
    e, f, g, h = mend_prepare(with_dose, y, AMOUNTS, test)
    answer.append((roc_auc(d, fit_and_score(a, b, c)), roc_auc(h, fit_and_score(e, f, g))))

    with_dose[test, -1] = 0
    e, f, g, h = mend_prepare(with_dose, y, AMOUNTS, test)
    in_use.append(roc_auc(h, fit_and_score(e, f, g)))

# %% train
leaks = {
    "scaled before the split (AUC)": scaling,
    "copies on both sides (accuracy)": copies,
    "threshold chosen on the test rows (F1)": threshold,
    "an answer among the questions (AUC)": answer,
    "columns chosen before the split (AUC)": noise_found,
    "test rows with gaps dropped (AUC)": dropped,
}
for name, found in leaks.items():
    honest, leaky = np.array(found).T
    gain = mean_and_interval(leaky - honest)
    print(
        f"{name:38s} honest {honest.mean():.3f}, leaky {leaky.mean():.3f}; "
        f"flattered by {gain.mean:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})"
    )
print(
    f"\nan answer among the questions, but in use, where it is not known yet: {np.mean(in_use):.3f}"
)

# %% [markdown] lang="en"
# Read the table from the top. **Scaling before the split flatters by nothing that 40 splits can show.** Everybody warns of it, it is wrong,
# and here it does not matter: the mean of 442 rows hardly depends on 88 of them, and a shift and a scale that are the same for all rows are
# something that a model which weighs and adds can all but undo by itself. Do it right anyway; it costs nothing.
#
# The others matter. Copies let a model answer from memory (here about one test row in five has one; think of a table where all do). A
# threshold picked on the test rows takes their luck for skill. The answer among the questions gives a nearly perfect score to a model that
# is no better in use than the honest one. The choice of columns makes **something out of nothing**: of pure noise, an AUC of 0.80. And
# dropping the test rows with gaps, which no rule about leaks forbids, is worth about two hundredths of AUC, got by asking the easier patients.
#
# The common sense behind the five leaks: *would I have had this number, at this moment, for a patient who comes tomorrow?*

# %% [markdown] lang="en"
# ## 8 · Measured: against scikit-learn and pandas
#
# First: are your numbers theirs? Twenty random sets of answers, with ties, and the largest difference of each measure.

# %%
import pandas as pd
from sklearn import metrics as theirs
from sklearn.calibration import calibration_curve
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def off_in_classes(rng):
    labels, said = rng.integers(3, size=300), rng.integers(3, size=300)
    ours = precision_recall_f1(labels, said, [0, 1, 2])
    each = theirs.precision_recall_fscore_support(labels, said, labels=[0, 1, 2], zero_division=0)
    pairs = zip(each, (ours["precision"], ours["recall"], ours["f1"]), strict=False)
    macro = theirs.f1_score(labels, said, average="macro")
    micro = theirs.f1_score(labels, said, average="micro")
    return {
        "precision, recall, F1": max(np.abs(one - other).max() for one, other in pairs),
        "macro, micro F1": max(abs(macro - ours["macro_f1"]), abs(micro - ours["micro_f1"])),
    }


# %% [markdown] lang="en"
# Scikit-learn has no calibration error, but the points of the picture above; we weight and add them. Its bins hold their upper edge and ours
# the lower one, so no probability here lies on an edge (hence the half a thousandth).


# %%
def off_in_scores(rng):
    p = rng.integers(1000, size=300) / 1000 + 0.0005
    happened = (rng.random(300) < p).astype(int)
    rate, announced = calibration_curve(happened, p, n_bins=10)
    count = np.histogram(p, bins=10, range=(0, 1))[0]
    error = np.sum(count[count > 0] / 300 * np.abs(rate - announced))
    tied = p.round(1)
    return {
        "ROC AUC": abs(roc_auc(happened, tied) - theirs.roc_auc_score(happened, tied)),
        "calibration error": abs(calibration_error(happened, p) - error),
    }


rng = np.random.default_rng(0)
off = [off_in_classes(rng) | off_in_scores(rng) for _trial in range(20)]
largest = {name: f"{max(float(found[name]) for found in off):.0e}" for name in off[0]}
print("largest differences:", largest)

# %%
test = is_in(test_rows, len(y))
logged = x.copy()
logged[:, AMOUNTS] = np.log1p(logged[:, AMOUNTS])
pipeline = make_pipeline(SimpleImputer(strategy="median"), StandardScaler()).fit(logged[~test])
ours = mend_prepare(x, y, AMOUNTS, test)
print("preparation, largest difference:", np.abs(pipeline.transform(logged[test]) - ours[2]).max())

# %%
texts = ["Feet hurt, hurt at night.", "Sleeps well; feet well.", "No pain"]
vectorizer = CountVectorizer().fit(texts[:2])
words, counts = count_words(texts[:2], texts)
print(
    "same words:",
    words == list(vectorizer.get_feature_names_out()),
    " same counts:",
    np.array_equal(counts, vectorizer.transform(texts).toarray()),
)

frame = pd.DataFrame(clean)
print("same rows as drop_duplicates:", first_rows(clean) == list(frame.drop_duplicates().index))
as_numbers = pd.to_numeric(
    pd.Series(columns["bmi"]).astype(str).str.replace(",", "."), errors="coerce"
)
print(
    "same numbers as to_numeric:",
    np.array_equal(to_numbers(columns["bmi"]), as_numbers, equal_nan=True),
)

# %% [markdown] lang="en"
# Then: what does it cost? Each takes its turn with its rival, ten turns, medians. Three thousand rows:

# %%
rng = np.random.default_rng(0)
many = 3_000
big_labels, big_scores = rng.integers(2, size=many), rng.normal(size=many)
big_answers = (big_scores > 0).astype(int)
big_table = {
    "a": rng.integers(200, size=many).astype(float),
    "b": rng.integers(200, size=many).astype(float),
}
big_frame = pd.DataFrame(big_table)
rivals = {
    "roc_auc / roc_auc_score": (
        lambda: roc_auc(big_labels, big_scores),
        lambda: theirs.roc_auc_score(big_labels, big_scores),
    ),
    "precision_recall_f1 / …_fscore_support": (
        lambda: precision_recall_f1(big_labels, big_answers, [0, 1]),
        lambda: theirs.precision_recall_fscore_support(big_labels, big_answers),
    ),
    "first_rows / drop_duplicates": (
        lambda: first_rows(big_table),
        lambda: big_frame.drop_duplicates(),
    ),
}

# %% train
for name, pair in rivals.items():
    clocks = ([], [])
    for _turn in range(10):
        for clock, work in zip(clocks, pair, strict=True):
            start = time.perf_counter()
            work()
            clock.append(time.perf_counter() - start)
    yours, library = (1000 * np.median(clock) for clock in clocks)
    print(f"{name:40s} yours {yours:7.1f} ms, the library's {library:7.1f} ms")

# %% [markdown] lang="en"
# Short NumPy keeps up with the library where the work is one sort or a few sums: the library also checks what it is given, which takes time
# and has saved many people from a silent mistake. Where we loop over rows in Python (`first_rows`), pandas' compiled code is ahead. In
# your own work, use the libraries; you now know what they compute.

# %% [markdown] lang="en"
# ## Common mistakes, by symptom
#
# | you see | probably | do |
# | --- | --- | --- |
# | the score is far better than anybody's | a leak | ask of each column when it was known; drop copies; repeat the split over seeds |
# | perfect on the test rows, poor in use | an answer among the questions, or other patients in use | leave out the best column and look again |
# | `Input contains NaN` | a gap, or a logarithm below its domain | count NaN after **every** step, not only before the first |
# | `could not convert string to float` | one text in the column makes the whole column text | `to_numbers`, then look at what became NaN |
# | accuracy 90%, nobody found | a rare class, and an answer that ignores it | compare with the baseline; look at recall |
# | two clinics look like two kinds of people | other units, or other codes for "unknown" | minimum and maximum of every column, by clinic |
# | AUC below ½ | the labels or the scores are the wrong way round, or luck | look at the interval, then at ten rows by hand; do not just take 1 − AUC |
# | precision is NaN | nobody was called | say 0, and ask why nobody was |
# | validation good, test poor | many decisions were fitted to the validation rows | fewer decisions, more rows, or new test rows |
# | another seed, another winner | the difference is smaller than the luck of the split | many seeds, the difference on the same splits, an interval |

# %% [markdown] lang="en"
# ## Questions from the source articles
#
# **What is data cleaning?** "Treating errors, missing values and repetitions", says the article, and so it is. Its program drops rows with
# missing values. Dropping is a treatment only if the gaps have nothing to do with the answer. Here it loses a third of the patients, and
# more of the ill ones.
#
# **What is data conversion?** "Text to vectors, images to pixels." In its program it is one logarithm, over every column, the answer
# included. Text in a cell would stop it, a value below −1 becomes NaN after the search for NaN is over, and the answer 1 becomes 0.69.
#
# **What is the split for?** The article names training, validation and test parts and what each is for; its program makes two, does not
# stratify, sets no seed, and gives the test part to training as validation data. You have measured what a threshold chosen on the test rows
# is worth.
#
# **Is a logarithm before the split a leak?** No. It learns nothing from the rows. Leakage comes from what is *fitted*: medians, means,
# vocabularies, chosen columns, thresholds.
#
# **Which figures describe a model?** "Accuracy, recall, F1 and so on", computed by one call that returns loss and accuracy. Accuracy is the
# right figure when all mistakes cost alike and the classes are common. Otherwise report precision and recall at a threshold that somebody
# chose for a reason, AUC for the order, calibration for the probabilities, and an interval for each.
#
# **How are results analysed?** The article prints the same line of code a second and a third time under the headings "analyse" and "explain".
# Analysis here was: which mistakes, compared with what, how sure, and does it hold in use. Explaining is chapter 17.

# %% [markdown] lang="en"
# ## Bonus: patients instead of rows
#
# (Not graded.) Suppose every patient had come three times, with slightly different values. The rows are no copies, `first_rows` finds
# nothing, and still a random split puts the same person on both sides. Make such a table (add a little noise to each row, three times), split
# it once by rows and once by patients, and compare the accuracy of `nearest_answer`. Recordings of one speaker, pictures of one patient,
# sentences of one book: papers have been published with this leak in them.
#
# <details><summary>One way to do it</summary>
#
# <pre>
# rng = np.random.default_rng(0)
# filled = mend_prepare(x, y, AMOUNTS, np.zeros(len(y), dtype=bool))[0]
# patient = np.repeat(np.arange(len(y)), 3)
# visits = filled[patient] + 0.1 * rng.normal(size=(len(patient), filled.shape[1]))
# by_row = rng.random(len(patient)) &lt; 0.2
# by_patient = (rng.random(len(y)) &lt; 0.2)[patient]
# for test in (by_row, by_patient):
#     print(accuracy(y[patient][test], nearest_answer(visits[~test], y[patient][~test], visits[test])))
# </pre>
# </details>

# %%
# Yours to try.

# %% [markdown] lang="en"
# ## What you have now
#
# Cleaning, encoding and preparing live on in `course_lib.data` (`clean`, `encode`, `prepare`), the measures in `course_lib.metrics` and
# `course_lib.scores`. Every later chapter splits, compares with a baseline, repeats over seeds and gives an interval, and now you know why.
# **Next:** chapter 03 opens the box that we borrowed, and asks how a model learns.
#
# *Further reading:* Kaufman, Rosset, Perlich & Stitelman, "Leakage in data mining", ACM TKDD 6 (2012). Ambroise & McLachlan, "Selection bias
# in gene extraction on the basis of microarray gene-expression data", PNAS 99 (2002). Fawcett, "An introduction to ROC analysis", Pattern
# Recognition Letters 27 (2006). Guo, Pleiss, Sun & Weinberger, "On calibration of modern neural networks", ICML (2017). Efron & Tibshirani,
# *An Introduction to the Bootstrap* (1993).
