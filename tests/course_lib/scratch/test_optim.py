import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.scratch.optim import SGD, Optimizer


@given(seed=st.integers(0, 2**32 - 1), lr=st.floats(0, 2), steps=st.integers(1, 5))
def test_sgd_walks_where_torch_walks(seed, lr, steps):
    rng = np.random.default_rng(seed)
    params = {"weight": rng.normal(size=(3, 2)), "bias": rng.normal(size=2), "scale": np.array(rng.normal())}
    leaves = {name: torch.tensor(param, requires_grad=True) for name, param in params.items()}
    ours, theirs = SGD(params, lr), torch.optim.SGD(leaves.values(), lr)
    for _ in range(steps):
        grads = {name: np.asarray(rng.normal(size=param.shape)) for name, param in params.items()}
        for name, leaf in leaves.items():
            leaf.grad = torch.from_numpy(grads[name])
        ours.step(grads)
        theirs.step()
    for name, leaf in leaves.items():
        np.testing.assert_allclose(params[name], leaf.detach(), rtol=1e-12, atol=1e-12)


def test_a_step_moves_the_arrays_in_place_keeps_their_dtype_and_leaves_the_gradients_alone():
    weight, grad = np.ones(3, np.float32), np.ones(3, np.float32)
    SGD({"weight": weight}, lr=0.25).step({"weight": grad})
    assert weight.tolist() == [0.75] * 3 and weight.dtype == np.float32
    assert grad.tolist() == [1] * 3


@pytest.mark.parametrize(
    ("grads", "message"),
    [
        ({"weight": np.ones((4, 3))}, r"no gradient for \['bias'\]"),
        ({"weight": np.ones((4, 3)), "bias": np.ones(3), "wieght": np.ones(1)}, r"\['wieght'\].*there are \['bias', 'weight'\]"),
        ({"weight": np.ones((4, 3)), "bias": np.ones((8, 3))}, r"'bias' has shape \(8, 3\), its parameter \(3,\)"),
        ({"weight": np.ones((4, 3)), "bias": np.ones((1, 3))}, r"'bias' has shape \(1, 3\)"),
        ({"weight": np.ones((4, 3)), "bias": np.ones(1)}, r"'bias' has shape \(1,\)"),
        ({"weight": np.ones((4, 3)), "bias": np.array(1.0)}, r"'bias' has shape \(\)"),
    ],
)
def test_gradients_that_do_not_fit_are_refused_by_name_and_nothing_has_moved(grads, message):
    params = {"weight": np.zeros((4, 3)), "bias": np.zeros(3)}
    with pytest.raises(ValueError, match=message):
        SGD(params, lr=1.0).step(grads)
    assert not params["weight"].any() and not params["bias"].any()


@pytest.mark.parametrize("lr", [-0.1, float("nan")])
def test_a_negative_or_undefined_learning_rate_is_refused(lr):
    with pytest.raises(ValueError, match="lr must be at least 0"):
        SGD({}, lr)


def test_integer_parameters_are_refused_because_a_step_would_be_rounded_away():
    with pytest.raises(ValueError, match=r"'weight' must hold floats.*int64"):
        SGD({"weight": np.arange(3)}, 0.1)  # pyright: ignore[reportArgumentType]


def test_a_new_optimizer_needs_to_say_only_how_one_array_moves():
    class SignDescent(Optimizer):
        def update(self, name, param, grad):
            param -= self.lr * np.sign(grad)

    params = {"weight": np.zeros(2)}
    SignDescent(params, 0.5).step({"weight": np.array([3.0, -7.0])})
    assert params["weight"].tolist() == [-0.5, 0.5]
    with pytest.raises(NotImplementedError):
        Optimizer(params, 0.5).step({"weight": np.ones(2)})
