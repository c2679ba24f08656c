import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.scratch.gradcheck import check_gradients, numerical_gradient, relative_error
from course_lib.scratch.layers import Affine, ReLU, Sigmoid, Tanh

SEEDS = st.integers(0, 2**32 - 1)


def make(name, rng):
    return Affine.create(3, 3, rng) if name == "affine" else {"relu": ReLU, "tanh": Tanh, "sigmoid": Sigmoid}[name]()


every_layer = pytest.mark.parametrize("name", ["affine", "relu", "tanh", "sigmoid"])


@every_layer
@given(seed=SEEDS)
def test_backward_agrees_with_central_differences_in_x_and_in_every_parameter(name, seed):
    rng = np.random.default_rng(seed)
    layer = make(name, rng)
    x = rng.choice([-1, 1], size=(4, 3)) * rng.uniform(0.01, 2, size=(4, 3))  # clear of ReLU's kink
    grad_out = rng.normal(size=(4, 3))
    _, cache = layer.forward(x)
    grad_x, grads = layer.backward(grad_out, cache)
    assert grads.keys() == layer.params.keys()
    assert relative_error(grad_x, numerical_gradient(lambda x: (grad_out * layer.forward(x)[0]).sum(), x)) < 1e-6
    report = check_gradients(lambda params: (grad_out * Affine(**params).forward(x)[0]).sum() if params else 0.0, layer.params, grads)
    assert all(check.ok for check in report.values()), report


@every_layer
def test_a_layer_keeps_nothing_of_a_run(name):
    rng = np.random.default_rng(0)
    layer = make(name, rng)
    first, second = rng.normal(size=(2, 4, 3))
    _, first_cache = layer.forward(first)
    expected, expected_grads = layer.backward(np.ones((4, 3)), first_cache)
    layer.forward(second)
    again, again_grads = layer.backward(np.ones((4, 3)), first_cache)
    assert (again == expected).all()
    assert all((again_grads[key] == expected_grads[key]).all() for key in layer.params)
    assert vars(layer).keys() == {"params"}


@every_layer
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_layer_leaves_its_input_alone_and_keeps_the_dtype(name, dtype):
    rng = np.random.default_rng(0)
    layer = Affine.create(3, 3, rng, dtype=dtype) if name == "affine" else make(name, rng)
    x, grad_out = rng.normal(size=(2, 4, 3)).astype(dtype)
    x_before, grad_before = x.copy(), grad_out.copy()
    out, cache = layer.forward(x)
    grad_x, grads = layer.backward(grad_out, cache)
    assert (x == x_before).all() and (grad_out == grad_before).all()
    assert {each.dtype for each in (out, grad_x, *grads.values())} == {np.dtype(dtype)}


def test_the_gradients_of_a_first_layer_are_those_of_backward_without_grad_x():
    rng = np.random.default_rng(0)
    layer, x, grad_out = Affine.create(3, 5, rng), rng.normal(size=(4, 3)), rng.normal(size=(4, 5))
    _, grads = layer.backward(grad_out, x)
    assert {name: grad.tolist() for name, grad in layer.backward_params(grad_out, x).items()} == {name: grad.tolist() for name, grad in grads.items()}


def test_relu_weights_have_the_spread_that_torch_calls_kaiming_normal():
    weight = Affine.create(400, 300, np.random.default_rng(0), "relu").params["weight"]
    theirs = torch.nn.init.kaiming_normal_(torch.empty(300, 400), nonlinearity="relu", generator=torch.Generator().manual_seed(0))
    assert weight.shape == (400, 300)
    assert weight.std() == pytest.approx(theirs.std().item(), rel=0.01)
    assert abs(weight.mean()) < 0.001


def test_tanh_weights_have_the_bounds_and_spread_that_torch_calls_xavier_uniform():
    weight = Affine.create(400, 300, np.random.default_rng(0), "tanh").params["weight"]
    theirs = torch.nn.init.xavier_uniform_(torch.empty(300, 400), generator=torch.Generator().manual_seed(0))
    assert weight.std() == pytest.approx(theirs.std().item(), rel=0.01)
    assert [weight.min(), weight.max()] == pytest.approx([theirs.min().item(), theirs.max().item()], rel=0.001)


def test_the_relu_gain_keeps_the_size_of_the_signal_through_twenty_layers():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 300))
    for _ in range(20):
        x = ReLU().forward(Affine.create(300, 300, rng, "relu").forward(x)[0])[0]
    assert 0.5 < np.mean(x**2) < 2  # with the tanh gain half of it is lost at every layer, a factor 1e-6 in all


def test_biases_start_at_zero_and_one_seed_gives_one_start_in_either_dtype():
    double, single = (Affine.create(4, 3, np.random.default_rng(7), dtype=dtype).params for dtype in (np.float64, np.float32))
    assert not double["bias"].any()
    assert single["weight"].dtype == single["bias"].dtype == np.float32
    assert (single["weight"] == double["weight"].astype(np.float32)).all()


def test_an_unknown_gain_and_an_empty_layer_are_refused():
    with pytest.raises(ValueError, match="'relu' or 'tanh', not 'selu'"):
        Affine.create(2, 2, np.random.default_rng(0), gain="selu")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="was given 0 and 2"):
        Affine.create(0, 2, np.random.default_rng(0))
