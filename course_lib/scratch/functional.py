"""The formulas of a small neural network, each next to the formula of its gradient.

Every `*_backward` takes `grad_out`, the gradient of the loss with respect to what the forward function returned, and gives the
gradient with respect to what it was given: grad_in = grad_out · d(out)/d(in). The derivations are those of Goodfellow, Bengio
and Courville, Deep Learning (2016), sections 6.2, 6.3 and 6.5.

N batch, D inputs, H outputs, K classes. No function changes its arguments. float32 stays float32 and float64 stays float64;
integers are computed with in float64.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.floating]


def sigmoid(z: ArrayLike) -> Array:
    """1 / (1 + exp(-z)), elementwise.

    The exponent is never positive, so nothing overflows: for z < 0 the same fraction is written exp(z) / (1 + exp(z)).
    """
    z = _floats(z)
    small = np.exp(-np.abs(z))
    return np.where(z >= 0, 1, small) / (1 + small)


def sigmoid_backward(grad_out: Array, out: Array) -> Array:
    """out = sigmoid(z) → gradient with respect to z: the slope is out (1 - out)."""
    return grad_out * out * (1 - out)


def tanh_backward(grad_out: Array, out: Array) -> Array:
    """out = np.tanh(z) → gradient with respect to z: the slope is 1 - out²."""
    return grad_out * (1 - out * out)


def relu(z: ArrayLike) -> Array:
    """max(z, 0), elementwise."""
    return np.maximum(_floats(z), 0)


def relu_backward(grad_out: Array, z: Array) -> Array:
    """Gradient with respect to z: the slope is 1 where z > 0, else 0.

    At exactly 0 the slope is undefined; we take 0, as torch does.
    """
    return np.where(np.asarray(z) > 0, grad_out, 0)


def softmax(scores: ArrayLike) -> Array:
    """Scores to probabilities along the last axis: scores (..., K) → (..., K), each row positive with sum 1.

    Adding a constant to a row changes nothing, so each row's maximum is subtracted first and the largest exponent is 0.
    A score of -inf gets probability 0; a row of nothing but -inf has no distribution and gives nan.
    """
    scores = _floats(scores)
    exp = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)


def log_softmax(scores: ArrayLike) -> Array:
    """log(softmax(scores)) along the last axis, (..., K) → (..., K), without taking the log of a probability that underflowed to 0."""
    scores = _floats(scores)
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def cross_entropy(logits: ArrayLike, labels: ArrayLike) -> float:
    """Mean over the rows of -log softmax(logits)[label], in nats.

    logits (N, K), labels (N,) integers in 0 … K-1 → float. Finite as long as the differences between a row's logits are.
    """
    logits, labels = _labelled(logits, labels)
    return -float(log_softmax(logits)[np.arange(len(labels)), labels].mean())


def cross_entropy_backward(logits: ArrayLike, labels: ArrayLike) -> Array:
    """Gradient of `cross_entropy` with respect to the logits: (softmax(logits) - onehot(labels)) / N, shape (N, K)."""
    logits, labels = _labelled(logits, labels)
    grad = softmax(logits)
    grad[np.arange(len(labels)), labels] -= 1
    grad /= len(labels)
    return grad


def affine(x: Array, weight: Array, bias: Array) -> Array:
    """x @ weight + bias: x (N, D), weight (D, H), bias (H,) → (N, H)."""
    if x.ndim != 2 or weight.ndim != 2 or x.shape[1] != weight.shape[0] or bias.shape != weight.shape[1:]:
        raise ValueError(f"affine wants x (N, D), weight (D, H), bias (H,); was given x {x.shape}, weight {weight.shape}, bias {bias.shape}")
    return x @ weight + bias


def affine_backward(grad_out: Array, x: Array, weight: Array) -> tuple[Array, Array, Array]:
    """grad_out (N, H), x (N, D), weight (D, H) → (grad_x (N, D), grad_weight (D, H), grad_bias (H,))."""
    if grad_out.ndim != 2 or grad_out.shape[1] != weight.shape[1]:
        raise ValueError(f"affine_backward wants grad_out (N, H) and weight (D, H); was given grad_out {grad_out.shape}, weight {weight.shape}")
    return grad_out @ weight.T, *affine_backward_params(grad_out, x)


def affine_backward_params(grad_out: Array, x: Array) -> tuple[Array, Array]:
    """The half of `affine_backward` that a first layer needs: grad_out (N, H), x (N, D) → (grad_weight (D, H), grad_bias (H,)).

    Every row of the batch used the same weight and bias, so their gradients are sums over the N rows.
    """
    if grad_out.ndim != 2 or x.ndim != 2 or len(grad_out) != len(x):
        raise ValueError(f"the gradient of an affine map wants grad_out (N, H) and x (N, D); was given grad_out {grad_out.shape}, x {x.shape}")
    return x.T @ grad_out, grad_out.sum(axis=0)


def _floats(values: ArrayLike) -> Array:
    """The values as an array of floats. Integers become float64: differences of unsigned ones would wrap around."""
    array = np.asarray(values)
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def _labelled(logits: ArrayLike, labels: ArrayLike) -> tuple[Array, NDArray[np.integer]]:
    """Logits and labels as arrays that fit together, or a ValueError that says why they do not."""
    logits, labels = _floats(logits), np.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or labels.size == 0:
        raise ValueError(f"wanted logits (N, K) and labels (N,) with at least one row; was given logits {logits.shape}, labels {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be integers, not {labels.dtype}")
    lowest, highest = labels.min(), labels.max()
    if lowest < 0 or highest >= logits.shape[1]:
        raise ValueError(f"labels must lie in 0 … {logits.shape[1] - 1}; was given {lowest} … {highest}")
    return logits, labels
