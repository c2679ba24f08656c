import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from course_lib.scratch.gradcheck import check_gradients, numerical_gradient, relative_error

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, max_side=3)


@given(shape=SHAPES, seed=st.integers(0, 2**32 - 1))
def test_the_gradient_of_a_known_function_of_any_shape_is_found(shape, seed):
    rng = np.random.default_rng(seed)
    x, c = rng.normal(size=shape), rng.normal(size=shape)
    measured = numerical_gradient(lambda x: (c * np.sin(x)).sum(), x)
    assert measured.shape == shape and measured.dtype == np.float64
    np.testing.assert_allclose(measured, c * np.cos(x), rtol=1e-8, atol=1e-9)


@given(seed=st.integers(0, 2**32 - 1), step=st.floats(1e-3, 10))
def test_a_quadratic_is_differentiated_without_truncation_error_whatever_the_step(seed, step):
    x = np.random.default_rng(seed).normal(size=5)
    np.testing.assert_allclose(numerical_gradient(lambda x: (x * x).sum(), x, step), 2 * x, rtol=1e-10, atol=1e-10)


def test_the_error_falls_with_the_square_of_the_step_until_rounding_takes_over():
    errors = {step: abs(numerical_gradient(np.exp, 1.0, step) - np.e) for step in (1e-1, 1e-2, 1e-5, 1e-12)}
    assert errors[1e-1] / errors[1e-2] == pytest.approx(100, rel=0.02)
    assert errors[1e-5] < 1e-9 < 1e-6 < errors[1e-12]


@pytest.mark.parametrize("x", [np.array([1, 2, 3]), np.array([True, False]), [1, 2], 3, np.array([0.5, 2], np.float32), np.array(4)])
def test_integers_lists_numbers_and_float32_are_measured_in_float64(x):
    measured = numerical_gradient(lambda x: (x**3).sum(), x)
    np.testing.assert_allclose(measured, 3 * np.asarray(x, np.float64) ** 2, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_x_is_as_it_was_even_if_the_function_raises_or_writes_into_its_argument(dtype):
    x = np.array([1, 2, 3], dtype)

    def raises(x):
        raise RuntimeError

    def writes(x):
        x *= 2
        return x.sum()

    with pytest.raises(RuntimeError):
        numerical_gradient(raises, x)
    np.testing.assert_allclose(numerical_gradient(writes, x), [2, 2, 2], rtol=1e-9)
    assert x.tolist() == [1, 2, 3]


def test_a_large_x_whose_steps_are_rounded_is_still_measured_well():
    assert numerical_gradient(lambda x: float(3 * x), 1e9) == pytest.approx(3, rel=1e-12)  # x ± 1e-5 is off by up to 6e-8, half a percent


def test_a_step_that_rounding_swallows_and_one_that_is_not_positive_are_refused():
    with pytest.raises(ValueError, match="lost in the rounding of 1e\\+20"):
        numerical_gradient(np.sum, [1e20])
    with pytest.raises(ValueError, match="must be positive, was given 0"):
        numerical_gradient(np.sum, [1.0], step=0)


def test_a_function_that_returns_an_array_is_refused():
    with pytest.raises(ValueError, match=r"single number, not an array of shape \(2,\)"):
        numerical_gradient(lambda x: x, [1.0, 2.0])  # pyright: ignore[reportArgumentType]


def test_relative_error_is_the_worst_difference_over_the_largest_element():
    assert relative_error([4.0, 1.0], [4.0, 2.0]) == 0.25
    assert relative_error([0.0, 0.0], [0.0, 0.0]) == 0
    assert relative_error(0.0, 1e-12) == 1
    assert relative_error(np.zeros(0), np.zeros(0)) == 0
    assert np.isnan(relative_error([1.0, np.nan], [1.0, 2.0]))


@given(hnp.arrays(np.float64, (2, 3), elements=st.floats(-1e6, 1e6)), st.sampled_from([1e-3, 8.0]))
def test_relative_error_is_symmetric_and_ignores_units(pair, unit):
    a, b = pair
    assert relative_error(a, b) == relative_error(b, a)
    if max(abs(pair).max(), 0) > 1e-100:
        assert relative_error(unit * a, unit * b) == pytest.approx(relative_error(a, b), rel=1e-9)


def test_relative_error_does_not_let_broadcasting_hide_a_wrong_shape():
    with pytest.raises(ValueError, match=r"\(3,\) and \(2, 3\)"):
        relative_error(np.zeros(3), np.zeros((2, 3)))


def planted():
    """sum(weight ** 2 @ bias): parameters of both floating dtypes and their true gradients."""
    weight, bias = np.array([[1.0, 2.0], [3.0, -4.0]]), np.array([0.5, -1.0], np.float32)
    return {"weight": weight, "bias": bias}, {"weight": 2 * weight * bias, "bias": (weight**2).sum(axis=0)}


def loss(params):
    return (params["weight"] ** 2 @ params["bias"]).sum()


def test_right_gradients_pass():
    params, grads = planted()
    report = check_gradients(loss, params, grads)
    assert list(report) == ["weight", "bias"]
    assert all(check.ok and check.error < 1e-9 for check in report.values())


def test_a_planted_mistake_is_found_in_its_place_and_blamed_on_no_other():
    params, grads = planted()
    grads["weight"][1, 0] += 0.5
    report = check_gradients(loss, params, grads)
    wrong = report["weight"]
    assert not wrong.ok and report["bias"].ok
    assert (wrong.name, wrong.index) == ("weight", (1, 0))
    assert (wrong.given, wrong.measured) == (3.5, pytest.approx(3))
    assert wrong.error == pytest.approx(0.5 / 8)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_is_never_ok(wrong):
    params, grads = planted()
    grads["weight"][0, 1] = wrong
    with np.errstate(invalid="ignore"):
        check = check_gradients(loss, params, grads)["weight"]
    assert not check.ok and check.index == (0, 1)


@pytest.mark.parametrize("angle", [0.1, 0.3, 0.5])
def test_a_gradient_of_exactly_zero_is_right_though_rounding_measures_a_little_more(angle):
    def constant(params):
        return np.cos(params["angle"]) ** 2 + np.sin(params["angle"]) ** 2  # 1, but for the rounding

    params = {"angle": np.array(angle)}
    check = check_gradients(constant, params, {"angle": np.array(0.0)})["angle"]
    assert check.measured != 0 and check.error == 1
    assert check.ok
    assert not check_gradients(constant, params, {"angle": np.array(1e-7)})["angle"].ok


def test_the_tolerance_decides():
    params, grads = planted()
    grads["bias"] = grads["bias"] * (1 + 1e-4)
    assert not check_gradients(loss, params, grads)["bias"].ok
    assert check_gradients(loss, params, grads, tolerance=1e-3)["bias"].ok


def test_names_and_shapes_that_do_not_fit_are_refused():
    params, grads = planted()
    with pytest.raises(ValueError, match="different names"):
        check_gradients(loss, params, {"weight": grads["weight"]})
    with pytest.raises(ValueError, match=r"'bias' has shape \(2, 2\), its parameter \(2,\)"):
        check_gradients(loss, params, {**grads, "bias": np.zeros((2, 2))})
