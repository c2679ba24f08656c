"""course_lib.data.encode and prepare: equal to scikit-learn, and blind to the test rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from course_lib.data.encode import count_words, one_hot, pixels
from course_lib.data.prepare import prepare, split_rows

texts = st.lists(st.text("aAbB çé7_.,! ", max_size=25), min_size=1, max_size=8)


@settings(deadline=None)
@given(texts, texts)
def test_a_bag_of_words_equals_scikit_learns(train, others):
    vocabulary, counts = count_words(train, others)
    if not vocabulary:  # scikit-learn refuses an empty vocabulary
        assert counts.shape == (len(others), 0)
        return
    vectorizer = CountVectorizer().fit(train)
    assert vocabulary == list(vectorizer.get_feature_names_out())
    assert np.array_equal(counts, vectorizer.transform(others).toarray())


@given(st.lists(st.sampled_from("abcd"), min_size=1), st.lists(st.sampled_from("abcdef")))
def test_one_hot_equals_scikit_learns(train, others):
    categories, table = one_hot(train, others)
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(np.array(train)[:, None])
    assert categories == list(encoder.categories_[0])
    if others:
        assert np.array_equal(table, encoder.transform(np.array(others)[:, None]))


def test_pixels_become_rows_between_0_and_1():
    found = pixels(np.array([[[0, 51], [255, 102]]], dtype=np.uint8))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[0, 0.2, 1, 0.4]], rtol=1e-6)
    with pytest.raises(ValueError, match="uint8, 0 to 255, got float64"):
        pixels(np.zeros((1, 2, 2)))


def random_table(seed: int):
    rng = np.random.default_rng(seed)
    x = rng.exponential(10, size=(40, 4))
    x[:, 3] = rng.normal(-5, 2, size=40)
    x[rng.random(x.shape) < 0.1] = np.nan
    return x, rng.integers(2, size=40), rng.random(40) < 0.3


@pytest.mark.parametrize("seed", range(10))
def test_a_preparation_equals_scikit_learns_pipeline(seed):
    x, labels, is_test = random_table(seed)
    x_train, labels_train, x_test, labels_test = prepare(x, labels, [0, 2], is_test)
    logged = x.copy()
    logged[:, [0, 2]] = np.log1p(x[:, [0, 2]])
    pipeline = make_pipeline(SimpleImputer(strategy="median"), StandardScaler()).fit(logged[~is_test])
    np.testing.assert_allclose(x_train, pipeline.transform(logged[~is_test]), atol=1e-12)
    np.testing.assert_allclose(x_test, pipeline.transform(logged[is_test]), atol=1e-12)
    assert np.array_equal(labels_train, labels[~is_test])
    assert np.array_equal(labels_test, labels[is_test])


def test_the_test_rows_have_no_say_in_the_training_rows():
    x, labels, is_test = random_table(0)
    before = prepare(x, labels, [0, 2], is_test)[0]
    x[is_test] *= 7
    assert np.array_equal(prepare(x, labels, [0, 2], is_test)[0], before)


def test_a_constant_column_becomes_0():
    x, labels, is_test = random_table(1)
    x[:, 1] = 0.1
    x_train, _, x_test, _ = prepare(x, labels, [0, 2], is_test)
    np.testing.assert_allclose(np.concatenate([x_train[:, 1], x_test[:, 1]]), 0, atol=1e-15)


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=80),
    st.sampled_from([(0.6, 0.2, 0.2), (0.5, 0.5), (0.1, 0.2, 0.3, 0.4)]),
    st.integers(0, 5),
)
def test_every_row_stands_in_one_part_and_every_class_has_its_share(labels, shares, seed):
    parts = split_rows(labels, shares, seed)
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))
    for part, share in zip(parts, shares, strict=True):
        for label in set(labels):
            count = labels.count(label)
            assert abs(sum(labels[row] == label for row in part) - share * count) <= 1
    assert all(np.array_equal(*pair) for pair in zip(parts, split_rows(labels, shares, seed), strict=True))


@pytest.mark.parametrize("shares", [(0.6, 0.2), (0.5, 0.7, -0.2), (1.0, 0.0)])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(ValueError, match="shares must be positive and add up to 1"):
        split_rows([0, 1], shares)
