"""course_lib.data: offline, seeded, as its docstrings say, and nothing of the test side leaks into the training side."""

import hashlib
import itertools
import os
import pydoc_data.topics
import socket
import subprocess
import sys
from collections import Counter, UserDict
from dataclasses import FrozenInstanceError
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from course_lib.data import Split, Table, breast_cancer, digits, moons, prose, prose_split, spirals, standardised, stratified_split

SEEDED = [digits, breast_cancer, moons, spirals]


def arrays(loaded) -> list[np.ndarray]:
    if isinstance(loaded, Split):
        return [loaded.x_train, loaded.y_train, loaded.x_test, loaded.y_test]
    return list(loaded)


# every loader


@pytest.mark.parametrize("loader", [*SEEDED, prose, prose_split])
def test_a_loader_needs_no_network(loader, monkeypatch):
    def refuse(*arguments, **keywords):
        raise AssertionError("a loader opened a socket")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(AssertionError, match="opened a socket"):
        socket.create_connection(("example.org", 80))
    assert loader()


@pytest.mark.parametrize("loader", SEEDED)
def test_the_same_seed_gives_the_same_rows_and_another_seed_gives_others(loader):
    first, again, other = arrays(loader(seed=3)), arrays(loader(seed=3)), arrays(loader(seed=4))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("loader", SEEDED)
@pytest.mark.parametrize(("seed", "error"), [(None, TypeError), (1.5, TypeError), (-1, ValueError)])
def test_a_seed_that_would_not_repeat_is_refused_by_name(loader, seed, error):
    with pytest.raises(error, match="seed must be"):
        loader(seed=seed)


@pytest.mark.parametrize("loader", [digits, breast_cancer, prose_split])
@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 20, float("nan")])
def test_a_fraction_outside_zero_to_one_is_refused(loader, fraction):
    with pytest.raises(ValueError, match=r"test_fraction must lie between 0 and 1.* got"):
        loader(test_fraction=fraction)


def test_importing_the_room_imports_neither_scikit_learn_nor_torch_nor_the_prose():
    program = "import course_lib.data, sys; print([m for m in ('sklearn', 'scipy', 'torch', 'pydoc_data') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"


# stratified_split


@st.composite
def labelled_rows(draw):
    counts = draw(st.lists(st.integers(2, 30), min_size=1, max_size=5))
    return np.array(draw(st.permutations(np.repeat(np.arange(len(counts)) * 3 - 4, counts).tolist())))


@settings(max_examples=60, deadline=None)
@given(labelled_rows(), st.floats(0.01, 0.99), st.integers(0, 2**32))
def test_a_split_deals_every_row_once_and_every_class_in_its_share(y, fraction, seed):
    rows = np.arange(len(y))
    split = stratified_split(np.stack([rows, y], axis=1), y, test_fraction=fraction, seed=seed)
    assert sorted([*split.x_train[:, 0], *split.x_test[:, 0]]) == rows.tolist()
    assert np.array_equal(split.x_train[:, 1], split.y_train)  # a row keeps its label
    assert np.array_equal(split.x_test[:, 1], split.y_test)
    tested, total = Counter(split.y_test.tolist()), Counter(y.tolist())
    for label, count in total.items():
        assert 1 <= tested[label] <= count - 1
        assert abs(tested[label] - fraction * count) <= 0.5 or tested[label] in (1, count - 1)


def test_a_split_is_in_random_order_on_both_sides():
    split = stratified_split(np.arange(1000), np.repeat([0, 1], 500))
    for y in (split.y_train, split.y_test):
        changes = np.count_nonzero(np.diff(y))
        assert changes > len(y) / 3  # half of all neighbours differ in a fair shuffle, one pair when sorted by class


def test_every_row_of_a_class_has_the_same_chance_to_be_tested():
    y = np.repeat([0, 1], [20, 5])
    tested = np.zeros(len(y))
    for seed in range(2000):
        tested[stratified_split(np.arange(len(y)), y, seed=seed).x_test] += 1
    assert np.abs(tested / 2000 - 0.2).max() < 0.05  # five standard errors


def test_a_split_copies_its_rows():
    x, y = np.zeros((4, 2)), np.array([0, 0, 1, 1])
    split = stratified_split(x, y)
    split.x_train[:] = 1
    split.y_test[:] = 7
    assert not x.any()
    assert y.tolist() == [0, 0, 1, 1]


def test_labels_may_be_words():
    split = stratified_split(np.arange(10), ["cat"] * 5 + ["dog"] * 5)
    assert sorted(split.y_test) == ["cat", "dog"]


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((3, 2)), [0, 0], r"shape \(2, \.\.\.\); got shape \(3, 2\)"),
        (np.float64(1.0), [0, 0], r"got shape \(\)"),
        (np.zeros(2), [[0, 0]], r"shape \(N,\); got shape \(1, 2\)"),
        (np.zeros(3), [0, 0, 7], "class 7 has 1 row"),
        (np.zeros(2), [0.5, 0.5], "got dtype float64"),
        (np.zeros(0), np.zeros(0, dtype=int), "no rows"),
    ],
)
def test_a_split_says_what_is_wrong_with_its_arguments(x, y, message):
    with pytest.raises(ValueError, match=message):
        stratified_split(x, y)


def test_a_split_shows_its_shapes_and_cannot_be_reassigned():
    split = stratified_split(np.zeros((10, 3)), np.repeat([0, 1], 5))
    assert repr(split) == "Split(x_train (8, 3) float64, y_train (8,) int64, x_test (2, 3) float64, y_test (2,) int64, 2 classes)"
    with pytest.raises(FrozenInstanceError):
        split.x_train = split.x_test  # type: ignore[misc]


# digits


def test_digits_are_scikit_learns_divided_by_sixteen():
    split = digits()
    pixels, labels = load_digits(return_X_y=True)
    ours = np.column_stack([np.concatenate([split.x_train, split.x_test]) * 16, np.concatenate([split.y_train, split.y_test])])
    theirs = np.column_stack([pixels, labels])
    assert Counter(map(tuple, ours.tolist())) == Counter(map(tuple, theirs.tolist()))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("flat", "row"), [(True, (64,)), (False, (8, 8))])
def test_digits_have_the_documented_shape_type_and_range(dtype, flat, row):
    split = digits(dtype=dtype, flat=flat)
    assert split.x_train.shape == (1438, *row)
    assert split.x_test.shape == (359, *row)
    assert split.x_train.dtype == split.x_test.dtype == dtype
    assert split.y_train.dtype == split.y_test.dtype == np.int64
    assert (split.x_train.min(), split.x_train.max()) == (0, 1)
    counts = np.bincount(np.concatenate([split.y_train, split.y_test]))
    assert (len(counts), counts.sum(), counts.min(), counts.max()) == (10, 1797, 174, 183)


def test_flat_digits_are_the_images_row_by_row():
    assert np.array_equal(digits(seed=1).x_test.reshape(-1, 8, 8), digits(seed=1, flat=False).x_test)


def test_digits_of_a_whole_number_type_are_refused():
    with pytest.raises(ValueError, match="floating type such as 'float64' or 'float32', got 'int64'"):
        digits(dtype="int64")


# tables


def test_breast_cancer_has_the_documented_shape_type_range_and_names():
    table = breast_cancer()
    assert isinstance(table, Table)
    assert (table.x_train.shape, table.x_test.shape) == ((456, 30), (113, 30))
    assert (table.x_train.dtype, table.y_train.dtype) == (np.float64, np.int64)
    labels = np.concatenate([table.y_train, table.y_test])
    assert np.bincount(labels).tolist() == [212, 357]
    assert round(labels.mean(), 2) == 0.63
    assert len(table.feature_names) == 30
    assert table.feature_names[0] == "mean radius"
    assert table.target_names == ("malignant", "benign")
    assert repr(table).startswith("Table(x_train (456, 30) float64")
    for seed in range(20):
        table = breast_cancer(seed=seed)
        assert max(np.abs(table.x_train).max(), np.abs(table.x_test).max()) < 17


def test_raw_breast_cancer_is_scikit_learns_row_for_row():
    raw = breast_cancer(standardise=False)
    bunch: Any = load_breast_cancer()
    ours = np.column_stack([np.concatenate([raw.x_train, raw.x_test]), np.concatenate([raw.y_train, raw.y_test])])
    assert Counter(map(tuple, ours)) == Counter(map(tuple, np.column_stack([bunch.data, bunch.target])))
    assert (ours[:, :-1].min(), ours[:, :-1].max()) == (0, 4254)


def test_the_scale_is_that_of_the_training_rows_and_not_of_all_rows():
    raw, table = breast_cancer(seed=5, standardise=False), breast_cancer(seed=5)
    honest = StandardScaler().fit(raw.x_train)
    leaky = StandardScaler().fit(np.concatenate([raw.x_train, raw.x_test]))
    assert np.allclose(table.x_train, honest.transform(raw.x_train), atol=1e-9)
    assert np.allclose(table.x_test, honest.transform(raw.x_test), atol=1e-9)
    assert not np.allclose(table.x_test, leaky.transform(raw.x_test), atol=1e-3)


def test_what_the_test_rows_hold_cannot_change_the_training_rows():
    rng = np.random.default_rng(0)
    x_train = rng.normal(size=(50, 4))
    calm, _ = standardised(x_train, rng.normal(size=(10, 4)))
    wild, _ = standardised(x_train, 1e6 + rng.normal(size=(10, 4)))
    assert np.array_equal(calm, wild)
    assert np.allclose(calm.mean(axis=0), 0)
    assert np.allclose(calm.std(axis=0), 1)


def test_a_column_that_never_varies_is_shifted_and_not_divided_by_nothing():
    x_train, x_test = standardised(np.full((7, 1), 0.1), np.array([[0.1], [0.3]]))
    assert np.allclose(x_train, 0)
    assert np.allclose(x_test, [[0], [0.2]])


# prose

MEASURED = {(3, 11, 7): 448_361, (3, 12, 1): 471_894, (3, 13, 0): 487_032}


def test_prose_is_long_english_text_with_a_small_alphabet():
    text = prose()
    assert 400_000 < len(text) < 600_000
    assert 95 <= len(set(text)) <= 120
    assert sum(not character.isascii() for character in text) < 0.002 * len(text)
    common = Counter(text.lower().split())
    assert {word for word, _ in common.most_common(10)} >= {"the", "of", "to", "a", "is"}


@pytest.mark.skipif(sys.version_info[:3] not in MEASURED, reason="the size was not measured on this Python")
def test_prose_has_the_size_that_its_docstring_states():
    assert len(prose()) == MEASURED[sys.version_info[:3]]
    assert f"{len(prose()):,}" in (prose.__doc__ or "")


def test_prose_is_normalised():
    lines = prose().split("\n")
    assert all(line == line.rstrip() for line in lines)
    assert not any(len(line) > 2 and set(line) <= set("-=*~^|+ ") for line in lines)
    assert "\n\n\n" not in prose()
    assert lines[0]
    assert lines[-1] == ""
    assert lines[-2]


def test_prose_is_the_same_in_another_process_with_another_hash_seed():
    program = "import hashlib; from course_lib.data import prose_split; print(hashlib.sha256('|'.join(prose_split()).encode()).hexdigest())"
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment).stdout.strip()
    assert there == hashlib.sha256("|".join(prose_split()).encode()).hexdigest()


@pytest.mark.parametrize("kind", [dict, MappingProxyType, UserDict])
def test_prose_reads_any_mapping_of_topics_in_the_order_of_their_names(kind, monkeypatch):
    topics = {"while": "Loops\r\n*****\r\n\r\nSay it again.  \n\n\n\n", "assert": 'The cafe\u0301\n========\n\n   x = 1\n   "y" ** 2\n'}
    monkeypatch.setattr(pydoc_data.topics, "topics", kind(topics))
    assert prose() == 'The café\n\n   x = 1\n   "y" ** 2\n\nLoops\n\nSay it again.\n'


def paragraphs(text: str) -> list[str]:
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]


@settings(max_examples=15, deadline=None)
@given(st.floats(0.01, 0.9))
def test_the_tested_prose_is_the_end_of_the_text_and_no_paragraph_of_it_is_trained_on(fraction):
    text = prose()
    train, test = prose_split(fraction)
    assert text.endswith("\n\n" + test)
    longest = max(map(len, text.split("\n\n")))
    assert -1 <= len(test) - fraction * len(text) <= longest + 2
    before, rest = paragraphs(text[: len(text) - len(test) - 2]), iter(paragraphs(train))
    known = set(paragraphs(test))
    wanted = [paragraph for paragraph in before if not (len(paragraph) >= 80 and paragraph in known)]
    assert all(ours == theirs for ours, theirs in itertools.zip_longest(rest, wanted))


def test_the_plain_cut_would_leak_and_prose_split_does_not():
    text = prose()
    train, test = (" ".join(part.split()) for part in prose_split())
    plain = " ".join(text[: len(text) - len(prose_split()[1])].split())

    def copied(source: str, width: int = 100) -> float:
        known = {source[i : i + width] for i in range(len(source) - width + 1)}
        return float(np.mean([test[i : i + width] in known for i in range(len(test) - width + 1)]))

    assert copied(plain) > 0.07
    assert copied(train) < 0.01
    assert len(train) > 0.98 * len(plain)


def test_a_fraction_that_leaves_nothing_to_train_on_is_refused(monkeypatch):
    monkeypatch.setattr(pydoc_data.topics, "topics", {"only": "One paragraph, and no other."})
    with pytest.raises(ValueError, match=r"test_fraction 0\.5 leaves no paragraph to train on"):
        prose_split(0.5)


# toys


@pytest.mark.parametrize("loader", [moons, spirals])
def test_a_toy_set_has_the_documented_shape_type_and_balance(loader):
    x, y = loader(count=101)
    assert (x.shape, x.dtype) == ((101, 2), np.float64)
    assert (y.shape, y.dtype) == ((101,), np.int64)
    counts = np.bincount(y)
    assert counts.max() - counts.min() == 1
    assert np.count_nonzero(np.diff(y)) > 30  # in random order


def test_moons_without_noise_lie_on_their_two_half_circles():
    x, y = moons(count=2000, noise=0)
    upper, lower = x[y == 0], x[y == 1] - [1, 0.5]
    for half in (upper, -lower):
        assert np.allclose(np.hypot(*half.T), 1)
        assert half[:, 1].min() >= 0
        assert np.ptp(half[:, 0]) > 1.999  # the whole half circle, end to end
    assert (x >= [-1, -0.5]).all()
    assert (x <= [2, 1]).all()


def test_spirals_without_noise_lie_on_their_arms():
    x, y = spirals(count=500, classes=5, noise=0)
    radius = np.hypot(*x.T)
    turns = np.arctan2(x[:, 1], x[:, 0]) / (2 * np.pi) - radius - y / 5
    assert np.allclose(turns, np.round(turns), atol=1e-9)
    assert radius.max() <= 1
    assert np.ptp(radius) > 0.95


@pytest.mark.parametrize("loader", [moons, spirals])
def test_noise_is_the_standard_deviation_of_the_jitter(loader):
    jitter = loader(count=20_000, noise=0.15)[0] - loader(count=20_000, noise=0)[0]
    assert jitter.std(axis=0) == pytest.approx([0.15, 0.15], rel=0.03)
    assert np.abs(jitter.mean(axis=0)).max() < 0.005


@pytest.mark.parametrize(("loader", "line_at_most", "neighbours_at_least"), [(moons, 0.92, 0.96), (spirals, 0.6, 0.9)])
def test_a_straight_line_fails_where_neighbours_succeed(loader, line_at_most, neighbours_at_least):
    (x, y), (x_new, y_new) = loader(seed=0), loader(seed=1)
    assert LogisticRegression().fit(x, y).score(x_new, y_new) <= line_at_most
    assert KNeighborsClassifier(3).fit(x, y).score(x_new, y_new) >= neighbours_at_least


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: moons(count=1), "count must be at least one point per class, 2, got 1"),
        (lambda: moons(noise=-0.1), "noise must be 0 or more and finite, got -0.1"),
        (lambda: spirals(noise=float("nan")), "noise must be 0 or more and finite, got nan"),
        (lambda: spirals(classes=1), "classes must be 2 or more, got 1"),
        (lambda: spirals(count=4, classes=5), "count must be at least one point per class, 5, got 4"),
    ],
)
def test_a_toy_set_says_what_is_wrong_with_its_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
