"""A recurrent network (Elman, 1990, "Finding structure in time") and backpropagation through time (Werbos, 1990), spelled out.

One cell, used at every step:  h_t = tanh(x_t @ weight_x + h_{t-1} @ weight_h + bias).

Going back through it, a state's gradient has two sources: what the loss asks of that state itself, and what comes from the next state. The second
source is a product of one Jacobian for every step, which is why it vanishes or explodes (Bengio, Simard and Frasconi, 1994; Pascanu, Mikolov and
Bengio, 2013). `gradient_by_distance` measures that product.

Dimensions: T steps, N sequences, D inputs, H units. Weights multiply from the right, as in `layers`, so that weight_h is (H, H) in x @ W order.
"""

from collections.abc import Mapping

import numpy as np

from course_lib.scratch.functional import Array

NAMES = ("weight_x", "weight_h", "bias")


def initial_rnn(inputs: int, hidden: int, *, radius: float = 1.0, seed: int = 0) -> dict[str, Array]:
    """weight_x (D, H) of size 1/√D, weight_h (H, H) normal with the given spectral radius, bias (H,) of zeros; float64."""
    if inputs < 1 or hidden < 1:
        raise ValueError(f"wanted at least one input and one unit, was given {inputs} and {hidden}")
    rng = np.random.default_rng(seed)
    weight_x = rng.normal(size=(inputs, hidden)) / np.sqrt(inputs)
    return {"weight_x": weight_x, "weight_h": with_spectral_radius(rng.normal(size=(hidden, hidden)), radius), "bias": np.zeros(hidden)}


def rnn_forward(params: Mapping[str, Array], xs: Array, h0: Array) -> Array:
    """Every state of a recurrent network. xs (T, N, D), h0 (N, H) → (T, N, H): h_1 … h_T."""
    check_shapes(params, xs, h0)
    inputs = xs @ params["weight_x"] + params["bias"]  # (T, N, H): what does not depend on the state, for all steps at once
    hs = np.empty_like(inputs)
    h = h0
    for t in range(len(xs)):
        h = np.tanh(inputs[t] + h @ params["weight_h"])  # (N, H)
        hs[t] = h
    return hs


def rnn_backward(params: Mapping[str, Array], xs: Array, h0: Array, hs: Array, grad_hs: Array) -> dict[str, Array]:
    """Backpropagation through time.

    xs, h0 and hs as given to and by rnn_forward; grad_hs (T, N, H): how the loss depends on each state directly, not through later states
    → the gradients of weight_x, weight_h, bias, xs and h0, by these names, each of its own shape.
    """
    check_shapes(params, xs, h0)
    if hs.shape != grad_hs.shape:
        raise ValueError(f"hs and grad_hs must have one shape, were given {hs.shape} and {grad_hs.shape}")
    grad_zs = np.empty_like(hs)
    later = np.zeros_like(h0)  # (N, H): what the loss, through later states, asks of the present one
    for t in reversed(range(len(xs))):
        grad_zs[t] = (grad_hs[t] + later) * (1 - hs[t] ** 2)
        later = grad_zs[t] @ params["weight_h"].T
    before = np.concatenate([h0[None], hs[:-1]])  # (T, N, H): the state that each step started from
    return {
        "weight_x": np.einsum("tnd,tnh->dh", xs, grad_zs),  # one cell, used T times: its gradients add up
        "weight_h": np.einsum("tnj,tnh->jh", before, grad_zs),
        "bias": grad_zs.sum(axis=(0, 1)),
        "xs": grad_zs @ params["weight_x"].T,
        "h0": later,
    }


def with_spectral_radius(matrix: Array, radius: float) -> Array:
    """The matrix (H, H), scaled so that the largest absolute value of its eigenvalues is `radius`."""
    largest = np.abs(np.linalg.eigvals(matrix)).max()
    if not largest > 0:
        raise ValueError("every eigenvalue of the matrix is 0; no scale gives it another spectral radius")
    return matrix * (radius / largest)


def gradient_by_distance(weight_h: Array, hs: Array, grad_last: Array) -> Array:
    """How much of a gradient that arrives at the last state is left, k steps earlier.

    hs (T, N, H); grad_last (N, H), the gradient of a loss that looks at h_T alone
    → (T,): entry k is the Euclidean length of the gradient with respect to h_{T-k}, all N·H numbers as one vector; entry 0 is that of grad_last.
    """
    lengths, grad = [], grad_last
    for h in hs[::-1]:
        lengths.append(float(np.sqrt((grad**2).sum())))
        grad = (grad * (1 - h**2)) @ weight_h.T
    return np.array(lengths)


def check_shapes(params: Mapping[str, Array], xs: Array, h0: Array) -> None:
    """ValueError, in words, unless the parameters, the sequences and the first state fit together."""
    if missing := set(NAMES) - params.keys():
        raise ValueError(f"no parameter {sorted(missing)}; wanted are {', '.join(NAMES)}")
    inputs, hidden = params["weight_x"].shape
    if params["weight_h"].shape != (hidden, hidden) or params["bias"].shape != (hidden,):
        raise ValueError(f"beside weight_x {(inputs, hidden)}, weight_h has shape {params['weight_h'].shape} and bias {params['bias'].shape}")
    if xs.ndim != 3 or xs.shape[2] != inputs:
        raise ValueError(f"xs must be (T, N, {inputs}), was given {xs.shape}")
    if h0.shape != (xs.shape[1], hidden):
        raise ValueError(f"h0 must be {(xs.shape[1], hidden)}, was given {h0.shape}")
