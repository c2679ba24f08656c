"""The recurrent network of NumPy against torch, and what is left of its gradient against the theory."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.scratch.recurrent import gradient_by_distance, initial_rnn, rnn_backward, rnn_forward, with_spectral_radius


def torch_layer(params):
    """nn.RNN in float64 with the same weights; its two biases are ours and zeros."""
    inputs, hidden = params["weight_x"].shape
    layer = torch.nn.RNN(inputs, hidden).double()
    with torch.no_grad():
        layer.weight_ih_l0.copy_(torch.from_numpy(params["weight_x"].T))
        layer.weight_hh_l0.copy_(torch.from_numpy(params["weight_h"].T))
        layer.bias_ih_l0.copy_(torch.from_numpy(params["bias"]))
        layer.bias_hh_l0.zero_()
    return layer


@given(st.integers(1, 12), st.integers(1, 4), st.integers(1, 4), st.integers(1, 6), st.integers(0, 99))
def test_states_and_all_gradients_are_torchs_to_1e_10(steps, rows, inputs, hidden, seed):
    rng = np.random.default_rng(seed)
    params = initial_rnn(inputs, hidden, radius=1.2, seed=seed)
    params["bias"] = rng.normal(size=hidden)
    xs, h0, grad_hs = rng.normal(size=(steps, rows, inputs)), rng.normal(size=(rows, hidden)), rng.normal(size=(steps, rows, hidden))
    hs = rnn_forward(params, xs, h0)
    grads = rnn_backward(params, xs, h0, hs, grad_hs)

    layer = torch_layer(params)
    leaf_x, leaf_h = torch.from_numpy(xs).requires_grad_(), torch.from_numpy(h0[None]).requires_grad_()
    states, _ = layer(leaf_x, leaf_h)
    (states * torch.from_numpy(grad_hs)).sum().backward()
    np.testing.assert_allclose(hs, states.detach().numpy(), rtol=1e-10, atol=1e-12)
    for found, wanted in (
        (grads["weight_x"], layer.weight_ih_l0.grad.T),
        (grads["weight_h"], layer.weight_hh_l0.grad.T),
        (grads["bias"], layer.bias_ih_l0.grad),
        (grads["xs"], leaf_x.grad),
        (grads["h0"], leaf_h.grad[0]),
    ):
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("radius", [0.5, 0.9, 1.1])
def test_a_scaled_rotation_leaves_the_radius_to_the_power_of_the_distance(radius):
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    lengths = gradient_by_distance(with_spectral_radius(rotation, radius), np.zeros((30, 2, 8)), rng.normal(size=(2, 8)))
    np.testing.assert_allclose(lengths / lengths[0], radius ** np.arange(30), rtol=1e-10)


def test_the_length_at_each_distance_is_that_of_the_gradient_that_autograd_finds_there():
    params = initial_rnn(2, 5, radius=1.1)
    rng = np.random.default_rng(0)
    xs, h0, grad = rng.normal(size=(6, 3, 2)), np.zeros((3, 5)), rng.normal(size=(3, 5))
    hs = rnn_forward(params, xs, h0)
    leaves = {name: torch.from_numpy(value) for name, value in params.items()}
    states = [torch.from_numpy(hs[0]).requires_grad_()]
    for x in torch.from_numpy(xs[1:]):
        states.append(torch.tanh(x @ leaves["weight_x"] + states[-1] @ leaves["weight_h"] + leaves["bias"]))
    wanted = torch.autograd.grad((states[-1] * torch.from_numpy(grad)).sum(), states)
    np.testing.assert_allclose(gradient_by_distance(params["weight_h"], hs, grad), [part.norm().item() for part in reversed(wanted)], rtol=1e-10)


def test_below_a_largest_singular_value_of_1_the_gradient_must_shrink_at_every_step():
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(10, 10))
    weight *= 0.95 / np.linalg.norm(weight, 2)
    lengths = gradient_by_distance(weight, rng.uniform(-1, 1, size=(20, 4, 10)), rng.normal(size=(4, 10)))
    assert (np.diff(lengths) < 0).all()


def test_inputs_are_left_as_they_were_and_float32_stays_float32():
    params = {name: value.astype(np.float32) for name, value in initial_rnn(2, 3).items()}
    xs, h0, grad = np.ones((4, 2, 2), np.float32), np.zeros((2, 3), np.float32), np.ones((4, 2, 3), np.float32)
    hs = rnn_forward(params, xs, h0)
    grads = rnn_backward(params, xs, h0, hs, grad)
    assert hs.dtype == np.float32 and all(value.dtype == np.float32 for value in grads.values())
    assert (h0 == 0).all() and (grad == 1).all()


def test_what_does_not_fit_is_refused_in_words():
    params = initial_rnn(2, 3)
    with pytest.raises(ValueError, match=r"xs must be \(T, N, 2\), was given \(4, 2, 5\)"):
        rnn_forward(params, np.ones((4, 2, 5)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"h0 must be \(2, 3\), was given \(1, 3\)"):
        rnn_forward(params, np.ones((4, 2, 2)), np.zeros((1, 3)))
    with pytest.raises(ValueError, match=r"no parameter \['bias'\]"):
        rnn_forward({name: params[name] for name in ("weight_x", "weight_h")}, np.ones((4, 2, 2)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="no scale gives it another spectral radius"):
        with_spectral_radius(np.triu(np.ones((3, 3)), 1), 0.9)
