"""Comparisons accept what is right, refuse what is wrong, say why truly, and never give an expected value away."""

import re

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from autograder.checking import accuracy, at_least, at_most, close, distribution, finite, gradient, holds, same
from autograder.checking.cases import Mismatch

SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
NUMBERS = st.floats(-1e6, 1e6, allow_nan=False, width=64)
ARRAYS = hnp.arrays(np.float64, SHAPES, elements=NUMBERS)
FULL = hnp.arrays(np.float64, hnp.array_shapes(min_dims=1, max_dims=3, min_side=2, max_side=4), elements=NUMBERS)


def told(compare, *arguments, **options) -> str:
    """The message of the mismatch; "" when there is none."""
    try:
        compare(*arguments, **options)
    except Mismatch as mismatch:
        return str(mismatch)
    return ""


# What is right passes


@given(ARRAYS)
def test_close_and_same_accept_an_equal_copy_of_any_shape(array):
    close(array.copy(), array)
    same(array.copy(), array)
    close({"a": (array, [array])}, {"a": (array.copy(), [array.copy()])})
    same({"a": (array, [array])}, {"a": (array.copy(), [array.copy()])})


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        (1, 1.0), (True, 1), (1.0, True), (np.float32(0.1), 0.1), (np.int64(3), 3), ([1, 2], np.array([1.0, 2.0])), (1 + 2j, 1 + 2j),
        (np.array([1 + 1j]), np.array([1 + 1j])), (np.complex64(1 / 3 + 1j), 1 / 3 + 1j), (np.array([np.inf, -np.inf, np.nan]),) * 2,
        (np.array([[]]), np.array([[]])), (np.zeros((0, 3)), np.zeros((0, 3))), (np.array(2.0), 2.0), ([1.0, 2.0], (1.0, 2.0)), ({}, {}), ((), ()),
    ],
)  # fmt: skip
def test_close_takes_a_number_for_what_it_is(actual, expected):
    close(actual, expected)


def test_close_takes_whole_numbers_beyond_64_bits_and_beyond_floats():
    close(3 * 10**23, 3e23)
    close([-(10**23), 2**64], [-1e23, 2.0**64])
    close(3e23, 3 * 10**23)
    assert "off by" in told(close, 3 * 10**23, 2e23)
    assert told(close, 10**400, np.inf)


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        (3, 3), (np.int64(3), 3), (3, np.int64(3)), (3.0, 3), ("a", "a"), (True, np.True_), (np.True_, True), (None, None), (np.array(3), 3),
        (float("nan"), float("nan")), (np.array([1, 2]), np.array([1, 2])), ([1, 2], np.array([1, 2])), ([1, "a"], (1, "a")),
        (np.array(["a"]), np.array(["a"])), (np.array([np.nan]), np.array([np.nan])), (b"x", b"x"), (torch.tensor([1, 2]), torch.tensor([1, 2])),
    ],
)  # fmt: skip
def test_same_takes_equal_things_for_equal(actual, expected):
    same(actual, expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int64", "bool", "complex64", "complex128"])
def test_tensors_of_every_dtype_compare_with_themselves_and_with_what_rounding_leaves(dtype):
    tensor = (torch.arange(6).reshape(2, 3) / 7).to(getattr(torch, dtype))
    close(tensor.clone(), tensor)
    close(tensor.clone(), tensor, dtype=True)
    assert told(close, tensor.T, tensor)
    if tensor.is_floating_point():
        leaf = tensor.clone().requires_grad_()
        close(leaf, tensor)
        close(leaf * 1, tensor)
    if tensor.is_complex():
        close(tensor.conj(), tensor.conj().resolve_conj())


def test_dtype_is_demanded_when_asked_and_named_as_its_library_does():
    assert told(close, np.float32([1]), np.float64([1]), dtype=True) == "The result has dtype float32; float64 is wanted."
    assert told(close, torch.ones(1), torch.ones(1, dtype=torch.bfloat16), dtype=True).endswith("torch.float32; torch.bfloat16 is wanted.")
    assert told(close, torch.ones(1, dtype=torch.bfloat16), torch.ones(1), dtype=True)
    assert not told(close, np.float32([1]), np.float64([1]))


# Tolerance


@pytest.mark.parametrize(
    ("given_dtype", "wanted_dtype", "passes", "fails"),
    [
        ("float64", "float64", 5e-8, 2e-7), ("float32", "float64", 5e-5, 2e-4), ("float64", "float32", 5e-5, 2e-4),
        ("float16", "float16", 5e-3, 3e-2), ("float16", "float64", 5e-5, 2e-3), ("complex64", "complex128", 5e-5, 2e-4),
    ],
)  # fmt: skip
def test_the_tolerance_follows_the_bits_and_no_student_widens_it_by_rounding(given_dtype, wanted_dtype, passes, fails):
    wanted = np.array([1.0, 1.0], dtype=wanted_dtype)
    for sign in (1, -1):
        off = np.array([1.0, 1.0 + sign * fails]).astype(given_dtype)
        assert told(close, off, wanted)
        near = np.array([1.0, 1.0 + sign * passes])
        close(near.astype(given_dtype) if given_dtype != "float16" or wanted_dtype == "float16" else near.astype("float32"), wanted)


@given(FULL, st.floats(1e-12, 1e-2), st.floats(1e-12, 1e-2), st.floats(0, 3), st.data())
def test_close_accepts_exactly_what_is_within_its_tolerance(array, rtol, atol, times, data):
    assume(abs(times - 1) > 1e-3)
    index = tuple(data.draw(st.integers(0, side - 1)) for side in array.shape)
    allowed = atol + rtol * abs(array[index])
    assume(allowed > 1e-9 * abs(array[index]))
    moved = array.copy()
    moved[index] += times * allowed
    message = told(close, moved, array, rtol=rtol, atol=atol)
    assert bool(message) == (times > 1)
    if message:
        assert f"at {list(index)}".replace(" ", "") in message.replace(" ", "")
        assert f"; 1 of {array.size} elements is wrong" in message


# What is wrong fails, whatever it is

ODD = [
    None, "text", b"bytes", object(), [1, "a"], [[1], [1, 2]], ["1.0"], (1, 2, 3), {"a": 1}, {}, [], np.array(["1.0"]), np.array([None]), [None],
    np.nan, -np.inf, np.full(3, np.nan), np.zeros((3, 0)), np.zeros((3, 1)), np.zeros((1, 3)), np.array(0.25), torch.ones(3), torch.ones(2, 3),
    10**400, {1, 2},
    np.datetime64("2020-01-01"), np.array([1 + 1j] * 3), range(3), 2.5, np.float32(0.5), torch.tensor(float("nan")),
]  # fmt: skip
EXPECTED = [
    np.array([1.5, 2.5, 3.5]), np.array([4, 5, 6]), 7.25, np.float64(7.25), 8, "word", (1.5, 2.5), [1, 2], {"b": 1.5},
    np.array([1.5, np.nan, np.inf]),
    torch.tensor([1.5, 2.5, 3.5]), torch.tensor(4), 1e300, -7 + 2j, np.array([[1.5, 2.5]]), np.zeros((2, 0)), True, 0, np.inf,
]  # fmt: skip


@pytest.mark.parametrize("compare", [close, same])
@pytest.mark.parametrize("expected", EXPECTED, ids=repr)
def test_odd_values_are_refused_with_a_sentence(compare, expected):
    for actual in ODD:
        try:
            compare(actual, expected)
        except Mismatch as mismatch:
            message = str(mismatch)
            assert message[0].isupper() and message[-1] in ".?" and "  " not in message, message
        except (TypeError, ValueError, OverflowError):
            pass  # a case tells this as "the check could not use it"
        else:
            raise AssertionError(f"{compare.__name__} took {actual!r} for {expected!r}")


def test_a_number_where_nan_or_infinity_is_wanted_is_refused():
    assert told(close, 1.0, np.nan) and told(close, np.array([1.0, 2.0]), np.array([1.0, np.nan])) and told(close, 1e300, np.inf)
    assert "infinitely far off" in told(close, np.inf, 1.0)
    assert told(close, np.array([np.inf]), np.array([-np.inf]))
    assert told(close, np.array([complex(np.nan, 1)]), np.array([1.0]))


@given(FULL, st.data())
def test_the_place_where_nan_starts_is_told(array, data):
    index = tuple(data.draw(st.integers(0, side - 1)) for side in array.shape)
    spoiled = array.copy()
    spoiled[index] = np.nan
    for message in (told(close, spoiled, array), told(finite, spoiled)):
        assert f"first at {list(index)} (1 of {array.size})" in message and "is NaN" in message
    spoiled[index] = np.inf
    assert told(finite, spoiled) == f"The result is infinite, first at {list(index)}."


def test_where_nan_has_its_places_a_wrong_one_is_named_without_a_guess_at_where_it_came_from():
    wanted = np.array([1.0, np.nan, 3.0])
    assert told(close, np.array([np.nan, np.nan, 3.0]), wanted) == "The result is NaN (not a number) where a number is wanted, first at [0] (1 of 3)."
    assert told(close, np.array([1.0, 0.0, 3.0]), wanted) == "The result is a number where NaN (not a number) is wanted, first at [1] (1 of 3)."
    assert told(close, 1.0, np.nan) == "The result is a number where NaN (not a number) is wanted."
    assert "NaN comes from 0/0" in told(close, np.array([np.nan, 2.0]), np.array([1.0, 2.0]))


# Diagnoses are right, and never false

VARIED = FULL.filter(lambda array: len(np.unique(np.abs(array[np.abs(array) > 1]))) > 2)


@given(VARIED)
def test_a_flipped_sign_is_recognised(array):
    assert "right but for the sign" in told(close, -array, array)


@given(VARIED, st.sampled_from([2, 10, 64, 0.5, 1 / 64]))
def test_a_constant_factor_is_recognised_and_named_when_it_is_whole(array, factor):
    words = f"{round(factor)} times too large" if factor > 1 else f"{round(1 / factor)} times too small"
    assert f"by the same factor: {words}." in told(close, array * factor, array)


@given(VARIED, st.floats(1, 100))
def test_a_constant_offset_is_recognised(array, offset):
    message = told(close, array + offset, array, rtol=1e-9, atol=1e-7)
    assert "off by the same amount" in message or "right but for the sign" in message or "same factor" in message


@given(hnp.arrays(np.float64, (3, 3), elements=st.floats(1, 1e6)))
def test_a_square_transpose_is_recognised(array):
    assume(told(close, array.T, array))
    message = told(close, array.T, array)
    assert "those of the transpose" in message


def test_a_reversal_zeros_and_a_shape_turned_round_are_recognised():
    array = np.array([1.0, 5.0, 2.0])
    assert "reverse order" in told(close, array[::-1], array)
    assert "All your values are zero" in told(close, np.zeros(3), array)
    assert told(close, np.zeros((2, 3)), np.zeros((3, 2))) == "The result has shape (2, 3); shape (3, 2) is wanted. It looks transposed."
    assert "one axis too many: is a sum or mean over it missing?" in told(close, np.zeros((4, 3)), np.zeros(3))
    assert told(close, np.zeros((3, 1)), np.zeros(3)).endswith("The number of elements is right.")
    assert (
        told(close, np.zeros(3), 1.0)
        == "The result has shape (3,); one number is wanted. There is one axis too many: is a sum or mean over it missing?"
    )
    assert told(close, -2.0, 2.0).endswith("Your value is right but for the sign.")


@pytest.mark.parametrize("error", [1e-6, 1e-5, 1e-3, 0.1])
def test_one_wrong_element_is_never_called_a_factor_an_offset_or_a_sign(error):
    wanted = np.linspace(1, 2, 50)
    found = wanted.copy()
    found[7] += error
    assert told(close, found, wanted).endswith(").")
    assert told(close, np.array([5e-9, 2e-9]), np.array([1e-9, -3e-9])).endswith(").")


@given(FULL, FULL, st.sampled_from(["draw", "noise", "negate", "scale", "shift", "flip", "transpose"]), st.floats(-5, 5), st.integers(0, 2**32))
def test_every_diagnosis_given_is_true(wanted, other, how, amount, seed):
    noise = 1 + 1e-6 * np.random.default_rng(seed).normal(size=wanted.shape)
    found = {
        "draw": np.resize(other, wanted.shape), "noise": wanted * noise, "negate": -wanted * noise, "scale": wanted * amount,
        "shift": wanted + amount, "flip": np.flip(wanted), "transpose": wanted.T if len(set(wanted.shape)) == 1 else wanted,
    }[how]  # fmt: skip
    message = told(close, found, wanted)

    def right(candidate):
        return np.allclose(candidate, wanted, rtol=1.01e-7, atol=1.01e-9)

    if "for the sign" in message:
        assert right(-found)
    if "transpose." in message:
        assert right(found.T)
    if "reverse" in message:
        assert right(np.flip(found))
    if "are zero" in message:
        assert not found.any() and wanted.any()
    if "same amount" in message:
        assert np.ptp(found - wanted) <= 1e-6 * np.abs(wanted).max() + 1e-8
    if "same factor" in message:
        assert right(found * (np.vdot(found, wanted) / np.vdot(found, found)))
    if named := re.search(r"factor: (\d+) times too (large|small)", message):
        ratio = float(named[1]) if named[2] == "large" else 1 / float(named[1])
        assert np.allclose(np.abs(found), ratio * np.abs(wanted), rtol=2e-3, atol=1e-8)


# Nothing gives an expected value away

SECRETS = hnp.arrays(np.float64, hnp.array_shapes(min_dims=0, max_dims=2, min_side=1, max_side=4), elements=st.floats(0.01, 1e6))


def revealing(value: float) -> set[str]:
    """How a value may stand in a message, to four significant digits or more."""
    return {text for text in (repr(float(value)), f"{value:.4g}", f"{value:.5g}", f"{value:.6g}") if len(re.sub(r"e.*|\D", "", text).strip("0")) >= 4}


@given(SECRETS, st.sampled_from(["zeros", "ones", "double", "shape", "noise", "one", "nan", "negative"]), st.floats(0.9, 1.1))
@example(np.array([0.2345, 0.2345]), "ones", 1.0)
@example(np.array([1234.0, 1234.0]), "ones", 1.0)
@example(np.array(0.12345), "zeros", 1.0)
def test_no_message_holds_an_expected_value(wanted, how, amount):
    found = {
        "zeros": np.zeros_like(wanted), "ones": np.ones_like(wanted), "double": 2 * wanted, "shape": np.zeros((*wanted.shape, 3)),
        "noise": wanted * amount, "one": np.array(1.0), "nan": wanted * np.nan, "negative": -wanted,
    }[how]  # fmt: skip
    messages = [
        told(close, found, wanted), told(same, found, wanted), told(close, (found,), (wanted,)), told(close, {"a": found}, {"a": wanted}),
        told(close, torch.tensor(found), torch.tensor(wanted)),
    ]  # fmt: skip
    if wanted.ndim == 0:
        messages += [told(same, 1.0, wanted.item()), told(close, 0.0, wanted.item()), told(same, "text", wanted.item())]
    for message in messages:
        digits = re.findall(r"\d[\d.,]*(?:e[+-]?\d+)?", message)
        for value in wanted.ravel():
            assert not revealing(value) & set(digits), message
        for size in re.findall(r"off by (\S+)", message):
            if size != "the":
                assert len(re.sub(r"e.*|[^\d]", "", size).strip("0")) <= 1, message


# Nesting


def test_a_mismatch_deep_in_a_structure_is_named_by_its_path():
    wanted = {"layers": [(np.ones(2), np.zeros(2))], "loss": 1.0}
    found = {"layers": [(np.ones(2), np.array([0.0, 3.0]))], "loss": 1.0}
    assert told(close, found, wanted).startswith("Item 1 of item 0 of the result['layers'] is off by 3 at [1]")
    assert told(same, found, wanted).startswith("Item 1 of item 0 of the result['layers'] differs in 1 of 2 places, first at [1]")
    assert told(close, {"loss": 1.0}, wanted) == "The result lacks the key 'layers'; its keys are ['loss']."
    assert told(close, wanted | {"extra": 1}, wanted) == "The result has a key too many: 'extra'."
    assert told(close, (1, 2), (1, 2, 3)) == "The result should have 3 items, got 2."
    assert told(close, np.ones(2), (1, 1)) == "The result should be 2 values (a tuple), got an array of shape (2,)."


@pytest.mark.parametrize(
    ("actual", "expected"), [(1, True), (True, 1), (np.True_, 1), ("1", 1), (1, "1"), (3.5, 3), (None, 0), (0, None), (np.array([0, 1]), 1)]
)
def test_same_tells_apart_what_python_calls_equal_or_alike(actual, expected):
    assert told(same, actual, expected)


def test_same_says_what_came_in_words_a_beginner_knows():
    assert told(same, None, 3) == "The result should be an object of type int, got None (is a `return` missing?)."
    assert told(same, 3, None) == "The result is 3, which is not right."
    assert told(same, object(), None) == "The result should be None, got an object of type object."
    assert told(same, "cat", "dog") == "The result is 'cat', which is not right."


# The other helpers


@pytest.mark.parametrize("weights", [[0.5, 0.3, 0.2], [0.9, 0.0999, 0.0001], [0.25] * 4, [0.5, 0.0, 0.5], [1.0]])
def test_distribution_accepts_a_right_sampler_for_200_of_200_seeds(weights):
    for seed in range(200):
        distribution(np.random.default_rng(seed).choice(len(weights), 5000, p=weights), weights)


def test_distribution_refuses_a_sampler_that_is_five_percent_off():
    for seed in range(20):
        drawn = np.random.default_rng(seed).choice(3, 40_000, p=[0.525, 0.28, 0.195])
        message = told(distribution, drawn, [0.5, 0.3, 0.2])
        assert "0 comes too often" in message or "1 comes too rarely" in message


def test_distribution_takes_probabilities_in_float32_and_tensors():
    probabilities = torch.softmax(torch.arange(50) / 7, 0)
    drawn = torch.multinomial(probabilities, 20_000, replacement=True, generator=torch.Generator().manual_seed(0))
    distribution(drawn, probabilities)
    distribution(drawn.numpy(), probabilities.numpy())


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ([], "too few"), ([0, 1], "too few"), ([0.5] * 100, "whole numbers from 0 to 2"), ([3] * 100, "whole numbers"), ([-1] * 100, "whole numbers"),
        ([np.nan] * 100, "whole numbers"), (["a"] * 100, "whole numbers"), ([1j] * 100, "whole numbers"), ([0, 1] * 50, "probability is zero"),
        (None, "None"),
    ],
)  # fmt: skip
def test_distribution_refuses_what_is_no_sample(samples, words):
    assert words in told(distribution, samples, [0.5, 0.0, 0.5] if words == "probability is zero" else [0.5, 0.3, 0.2])


@given(hnp.arrays(np.float64, (2, 3), elements=st.floats(-2, 2)))
def test_gradient_accepts_the_true_gradient_and_refuses_a_wrong_one(point):
    def function(x):
        return float(np.sum(np.sin(x) * x) + x[0, 0] * x[1, 2])

    true = np.sin(point) + np.cos(point) * point
    true[0, 0] += point[1, 2]
    true[1, 2] += point[0, 0]
    gradient(true, function, point)
    for wrong in (true + 0.01, true * 1.01 + 0.001, -true - 0.01, np.zeros((2, 3)) + 99):
        assert told(gradient, wrong, function, point).startswith("The gradient is off by")
    assert told(gradient, true.T, function, point).endswith("It looks transposed.")


def test_accuracy_demands_the_mean_of_fractions():
    accuracy([0.9, 0.8, 1], over=0.9)
    assert told(accuracy, [0.9, 0.8], over=0.9) == "Mean accuracy over 2 seeds is 85.0% (90.0%, 80.0%); at least 90.0% is wanted."
    assert told(accuracy, [97.0], over=0.9) == "An accuracy is 97; accuracies are fractions from 0 to 1."
    assert told(accuracy, [], over=0.9) == "There are no accuracies."
    for value in (np.nan, None, "0.99", np.ones(2), 1j, ["0.99"]):
        assert told(accuracy, [value], over=0.9)


@pytest.mark.parametrize("value", [np.nan, None, "5", ["5"], 5j, np.ones(3), object()])
def test_bounds_refuse_what_is_no_number(value):
    assert told(at_least, value, 1) and told(at_most, value, 10)


def test_bounds_hold_and_are_told():
    at_least(1, 1)
    at_most(np.array([1.0]), 1)
    assert told(at_least, 0.5, 1, "the score") == "The score is 0.5; at least 1 is wanted."
    assert told(at_most, 2, 1) == "The result is 2; at most 1 is wanted."


def test_holds_says_the_checks_own_words_and_takes_no_guess_for_a_truth():
    holds(np.True_, "no")
    assert told(holds, False, "The rows do not sum to 1.") == "The rows do not sum to 1."
    for value in (1, "yes", [True], None, np.array([True])):
        with pytest.raises(TypeError, match="takes a bool"):
            holds(value, "no")
