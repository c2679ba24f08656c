import copy
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from course_lib.scratch import functional
from course_lib.scratch.gradcheck import numerical_gradient, relative_error

SEEDS = st.integers(0, 2**32 - 1)
STACKS = hnp.arrays(np.float64, hnp.array_shapes(min_dims=1, max_dims=4, max_side=5), elements=st.floats(-50, 50))
WIDTHS = st.integers(1, 6)

ELEMENTWISE = {  # name: ours, ours backward as a function of (grad_out, z), torch
    "sigmoid": (functional.sigmoid, lambda grad, z: functional.sigmoid_backward(grad, functional.sigmoid(z)), torch.sigmoid),
    "tanh": (np.tanh, lambda grad, z: functional.tanh_backward(grad, np.tanh(z)), torch.tanh),
    "relu": (functional.relu, functional.relu_backward, torch.relu),
}
elementwise = pytest.mark.parametrize("name", ELEMENTWISE)
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def close(ours, theirs, tolerance=1e-10):
    np.testing.assert_allclose(ours, np.asarray(theirs), rtol=tolerance, atol=tolerance)


@elementwise
@given(z=STACKS, seed=SEEDS)
def test_elementwise_functions_and_their_gradients_agree_with_torch(name, z, seed):
    ours, backward, theirs = ELEMENTWISE[name]
    grad_out = np.random.default_rng(seed).normal(size=z.shape)
    leaf = torch.tensor(z, requires_grad=True)
    out = theirs(leaf)
    out.backward(torch.from_numpy(grad_out))
    close(ours(z), out.detach())
    close(backward(grad_out, z), leaf.grad)


@elementwise
@given(seed=SEEDS)
def test_elementwise_gradients_agree_with_central_differences(name, seed):
    ours, backward, _ = ELEMENTWISE[name]
    rng = np.random.default_rng(seed)
    z = rng.choice([-1, 1], size=(3, 4)) * rng.uniform(0.01, 3, size=(3, 4))  # clear of ReLU's kink
    grad_out = rng.normal(size=z.shape)
    measured = numerical_gradient(lambda z: (grad_out * ours(z)).sum(), z)
    assert relative_error(backward(grad_out, z), measured) < 1e-7


def test_the_slope_of_relu_at_exactly_zero_is_zero():
    assert functional.relu_backward(np.ones(3), np.array([-0.0, 0.0, 5e-324])).tolist() == [0, 0, 1]


def test_relu_passes_nothing_back_where_it_is_off_not_even_an_infinite_gradient():
    assert functional.relu_backward(np.array([np.inf, np.inf]), np.array([-1.0, 1.0])).tolist() == [0, np.inf]


@dtypes
def test_sigmoid_of_plus_and_minus_a_thousand_is_exact_and_warns_of_nothing(dtype):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert functional.sigmoid(np.array([-1000, 0, 1000], dtype)).tolist() == [0, 0.5, 1]


def test_sigmoid_keeps_its_digits_far_below_zero():
    assert functional.sigmoid(-40.0) == pytest.approx(np.exp(-40), rel=1e-15)


@given(scores=STACKS)
def test_softmax_and_log_softmax_of_any_stack_agree_with_torch(scores):
    close(functional.softmax(scores), torch.softmax(torch.from_numpy(scores), -1))
    close(functional.log_softmax(scores), torch.log_softmax(torch.from_numpy(scores), -1))


@dtypes
@given(seed=SEEDS, scale=st.sampled_from([1.0, 1e3, 1e6, 1e30]))
def test_softmax_rows_are_distributions_however_large_the_scores(dtype, seed, scale):
    scores = (scale * np.random.default_rng(seed).normal(size=(2, 3, 5))).astype(dtype)
    probabilities = functional.softmax(scores)
    assert (probabilities >= 0).all()
    close(probabilities.sum(-1), np.ones((2, 3)), 1e-6)
    assert np.isfinite(functional.log_softmax(scores)).all()


@given(scores=STACKS, shift=st.floats(-1000, 1000))
def test_softmax_ignores_a_constant_added_to_every_score(scores, shift):
    close(functional.softmax(scores + shift), functional.softmax(scores))


def test_a_score_of_minus_infinity_gets_probability_zero():
    close(functional.softmax(np.array([0.0, -np.inf, 0.0])), [0.5, 0, 0.5])


def test_unsigned_and_narrow_integer_scores_do_not_wrap_around():
    scores = np.array([0, 3, 255], np.uint8)
    close(functional.softmax(scores), functional.softmax(scores.astype(float)))
    close(functional.sigmoid(np.array([-128], np.int8)), functional.sigmoid(-128.0))


@given(seed=SEEDS, rows=WIDTHS, classes=WIDTHS, scale=st.sampled_from([0.1, 3.0, 300.0]))
def test_cross_entropy_and_its_gradient_agree_with_torch(seed, rows, classes, scale):
    rng = np.random.default_rng(seed)
    logits, labels = scale * rng.normal(size=(rows, classes)), rng.integers(classes, size=rows)
    leaf = torch.tensor(logits, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(leaf, torch.from_numpy(labels))
    loss.backward()
    ours = functional.cross_entropy(logits, labels)
    assert type(ours) is float
    close(ours, loss.item())
    close(functional.cross_entropy_backward(logits, labels), leaf.grad)


@given(seed=SEEDS)
def test_the_gradient_of_cross_entropy_agrees_with_central_differences(seed):
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(size=(4, 3)), rng.integers(3, size=4)
    measured = numerical_gradient(lambda logits: functional.cross_entropy(logits, labels), logits)
    assert relative_error(functional.cross_entropy_backward(logits, labels), measured) < 1e-7


@dtypes
@pytest.mark.parametrize("size", [1e3, 1e30])
def test_a_confident_mistake_costs_a_finite_loss(dtype, size):
    logits = np.array([[size, -size], [-size, size]], dtype)
    assert functional.cross_entropy(logits, [1, 1]) == pytest.approx(size, rel=1e-6)  # 2 size for the first row, 0 for the second


def test_cross_entropy_of_equal_logits_is_the_log_of_the_number_of_classes():
    assert functional.cross_entropy(np.zeros((3, 10)), [0, 5, 9]) == pytest.approx(np.log(10), rel=1e-15)


@given(seed=SEEDS, rows=WIDTHS, inputs=WIDTHS, outputs=WIDTHS)
def test_affine_and_its_three_gradients_agree_with_torch(seed, rows, inputs, outputs):
    rng = np.random.default_rng(seed)
    x, weight, bias = rng.normal(size=(rows, inputs)), rng.normal(size=(inputs, outputs)), rng.normal(size=outputs)
    grad_out = rng.normal(size=(rows, outputs))
    leaves = [torch.tensor(each, requires_grad=True) for each in (x, weight, bias)]
    out = torch.nn.functional.linear(leaves[0], leaves[1].T, leaves[2])
    out.backward(torch.from_numpy(grad_out))
    close(functional.affine(x, weight, bias), out.detach())
    grads = functional.affine_backward(grad_out, x, weight)
    for ours, leaf in zip(grads, leaves, strict=True):
        close(ours, leaf.grad)
    for ours, same in zip(functional.affine_backward_params(grad_out, x), grads[1:], strict=True):
        assert (ours == same).all()


@given(seed=SEEDS)
def test_the_gradients_of_affine_agree_with_central_differences(seed):
    rng = np.random.default_rng(seed)
    point = {"x": rng.normal(size=(3, 2)), "weight": rng.normal(size=(2, 4)), "bias": rng.normal(size=4)}
    grad_out = rng.normal(size=(3, 4))
    grads = functional.affine_backward(grad_out, point["x"], point["weight"])
    for name, ours in zip(point, grads, strict=True):
        measured = numerical_gradient(lambda moved, name=name: (grad_out * functional.affine(**{**point, name: moved})).sum(), point[name])
        assert relative_error(ours, measured) < 1e-7


def calls(dtype):
    """Every function of the module with arguments that fit it."""
    rng = np.random.default_rng(0)
    z, grad, weight, bias = (rng.normal(size=size).astype(dtype) for size in [(4, 3), (4, 3), (3, 3), 3])
    labels = np.array([0, 2, 1, 1])
    return {
        "sigmoid": (z,),
        "sigmoid_backward": (grad, z),
        "tanh_backward": (grad, z),
        "relu": (z,),
        "relu_backward": (grad, z),
        "softmax": (z,),
        "log_softmax": (z,),
        "cross_entropy": (z, labels),
        "cross_entropy_backward": (z, labels),
        "affine": (z, weight, bias),
        "affine_backward": (grad, z, weight),
        "affine_backward_params": (grad, z),
    }


def test_every_public_function_is_among_the_calls():
    assert {
        name for name, value in vars(functional).items() if callable(value) and value.__module__ == functional.__name__ and name[0] != "_"
    } == set(calls(np.float64))


@dtypes
@pytest.mark.parametrize("name", calls(np.float64))
def test_no_function_changes_its_arguments_and_each_keeps_the_dtype(name, dtype):
    arguments = calls(dtype)[name]
    before = copy.deepcopy(arguments)
    results = getattr(functional, name)(*arguments)
    for argument, was in zip(arguments, before, strict=True):
        assert (argument == was).all()
    for result in results if isinstance(results, tuple) else (results,):
        if name != "cross_entropy":
            assert result.dtype == dtype
            assert not any(np.shares_memory(result, argument) for argument in arguments)


@pytest.mark.parametrize("function", [functional.cross_entropy, functional.cross_entropy_backward])
@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((2, 3)), [0, 3], r"0 … 2; was given 0 … 3"),
        (np.zeros((2, 3)), [-1, 2], r"0 … 2; was given -1 … 2"),
        (np.zeros((2, 3)), [0.0, 1.0], "integers, not float64"),
        (np.zeros((2, 3)), [True, False], "integers, not bool"),
        (np.zeros((2, 3)), [0, 1, 2], r"logits \(2, 3\), labels \(3,\)"),
        (np.zeros((2, 3)), [[0], [1]], r"labels \(2, 1\)"),
        (np.zeros(3), [0, 1, 2], r"logits \(3,\)"),
        (np.zeros((0, 3)), [], "at least one row"),
    ],
)
def test_labels_that_do_not_fit_are_refused_with_the_reason(function, logits, labels, message):
    with pytest.raises(ValueError, match=message):
        function(logits, labels)


@pytest.mark.parametrize(
    ("x", "weight", "bias"), [((4, 3), (2, 5), (5,)), ((4, 3), (3, 5), (4,)), ((4, 3), (3, 5), (1, 5)), ((3,), (3, 5), (5,)), ((4, 3), (3,), ())]
)
def test_affine_names_the_shapes_that_do_not_fit(x, weight, bias):
    with pytest.raises(ValueError, match="was given x"):
        functional.affine(np.zeros(x), np.zeros(weight), np.zeros(bias))


def test_the_backward_pass_of_affine_names_the_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"grad_out \(4, 2\), weight \(3, 5\)"):
        functional.affine_backward(np.zeros((4, 2)), np.zeros((4, 3)), np.zeros((3, 5)))
    with pytest.raises(ValueError, match=r"grad_out \(4, 5\), x \(2, 3\)"):
        functional.affine_backward(np.zeros((4, 5)), np.zeros((2, 3)), np.zeros((3, 5)))
