"""A multilayer perceptron that classifies: affine, activation, affine, …, affine, then softmax with cross-entropy.

The backward pass is that of Rumelhart, Hinton and Williams (1986), "Learning representations by back-propagating errors": the
chain of layers walked from the last to the first, each turning the gradient of its output into that of its input.

N batch, D inputs, K classes.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from course_lib.scratch import functional, layers
from course_lib.scratch.functional import Array

ACTIVATIONS: dict[str, type[layers.Layer]] = {"relu": layers.ReLU, "tanh": layers.Tanh, "sigmoid": layers.Sigmoid}


@dataclass(frozen=True)
class MLPConfig:
    """sizes: the width of the input, of each hidden layer, and the number of classes: (D, …, K)."""

    sizes: tuple[int, ...] = (64, 64, 10)
    activation: Literal["relu", "tanh", "sigmoid"] = "relu"
    dtype: Literal["float32", "float64"] = "float64"

    def __post_init__(self):
        if len(self.sizes) < 2 or min(self.sizes) < 1:
            raise ValueError(f"sizes needs an input width and a number of classes, all at least 1; was given {self.sizes}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {list(ACTIVATIONS)}, not {self.activation!r}")
        if self.dtype not in ("float32", "float64"):
            raise ValueError(f"dtype must be 'float32' or 'float64', not {self.dtype!r}")


class MLP:
    """`params` holds weight1 (D, H), bias1 (H,), weight2, … and is the only state. Fill its arrays or replace them: the next pass sees it."""

    def __init__(self, config: MLPConfig, seed: int = 0):
        """Weights for ReLU are drawn after He et al. (2015), for tanh and sigmoid after Glorot and Bengio (2010)."""
        rng = np.random.default_rng(seed)
        gain = "relu" if config.activation == "relu" else "tanh"
        self.config = config
        self.params: dict[str, Array] = {}
        for depth, (inputs, outputs) in enumerate(zip(config.sizes, config.sizes[1:], strict=False), start=1):
            layer = layers.Affine.create(inputs, outputs, rng, gain, config.dtype)
            self.params |= {f"{name}{depth}": param for name, param in layer.params.items()}

    def with_params(self, params: Mapping[str, Array]) -> Self:
        """The same network with other parameters, whose arrays are kept as they are, not copied."""
        shapes, wanted = ({name: param.shape for name, param in each.items()} for each in (params, self.params))
        if shapes != wanted:
            raise ValueError(f"wanted parameters of shapes {wanted}, was given {shapes}")
        other = copy.copy(self)
        other.params = dict(params)
        return other

    def layers(self) -> list[layers.Layer]:
        """The chain as it stands now: affine at even positions, activation at odd ones."""
        depth = len(self.config.sizes) - 1
        chain: list[layers.Layer] = [layers.Affine(self.params["weight1"], self.params["bias1"])]
        for number in range(2, depth + 1):
            chain += [ACTIVATIONS[self.config.activation](), layers.Affine(self.params[f"weight{number}"], self.params[f"bias{number}"])]
        return chain

    def forward(self, x: ArrayLike) -> tuple[Array, list[Array]]:
        """x (N, D) → (logits (N, K), one cache a layer)."""
        out = np.asarray(x, dtype=self.config.dtype)
        caches = []
        for layer in self.layers():
            out, cache = layer.forward(out)
            caches.append(cache)
        return out, caches

    def logits(self, x: ArrayLike) -> Array:
        """x (N, D) → (N, K)."""
        return self.forward(x)[0]

    def predict(self, x: ArrayLike) -> NDArray[np.integer]:
        """x (N, D) → the most likely class of each row, (N,)."""
        return self.logits(x).argmax(axis=1)

    def loss_and_gradients(self, x: ArrayLike, labels: ArrayLike) -> tuple[float, dict[str, Array]]:
        """x (N, D), labels (N,) → (mean cross-entropy in nats, its gradients keyed and shaped like `params`)."""
        logits, caches = self.forward(x)
        grad = functional.cross_entropy_backward(logits, labels)
        grads: dict[str, Array] = {}
        chain = list(zip(self.layers(), caches, strict=True))
        for position in range(len(chain) - 1, 0, -1):
            layer, cache = chain[position]
            grad, layer_grads = layer.backward(grad, cache)
            grads |= {f"{name}{position // 2 + 1}": layer_grad for name, layer_grad in layer_grads.items()}
        grads["weight1"], grads["bias1"] = functional.affine_backward_params(grad, caches[0])
        return functional.cross_entropy(logits, labels), grads


def train(
    model: MLP,
    x: ArrayLike,
    labels: ArrayLike,
    *,
    epochs: int,
    batch_size: int = 32,
    lr: float = 0.1,
    seed: int = 0,
    on_epoch: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Stochastic gradient descent in place. x (N, D), labels (N,) → each epoch's mean training loss over its N rows.

    An epoch goes through all rows once in a fresh random order (from `seed`); the last batch may be smaller. A row's loss is
    taken just before the step that uses it, so the mean lags a little behind the model that the epoch ends with.
    on_epoch(epoch, loss) is called after every epoch, counted from 1.
    """
    from course_lib.scratch.optim import SGD  # here, because optim answers exercises of chapter 04, and the network alone does not need it

    if epochs < 0 or batch_size < 1:
        raise ValueError(f"wanted epochs of at least 0 and a batch_size of at least 1, was given {epochs} and {batch_size}")
    x, labels = np.asarray(x, dtype=model.config.dtype), np.asarray(labels)
    if labels.shape != x.shape[:1] or len(labels) == 0:
        raise ValueError(f"wanted x (N, D) and labels (N,) with at least one row; was given x {x.shape}, labels {labels.shape}")
    rng = np.random.default_rng(seed)
    optimizer = SGD(model.params, lr)
    history = []
    for epoch in range(1, epochs + 1):
        total = 0.0
        order = rng.permutation(len(x))
        for start in range(0, len(x), batch_size):
            batch = order[start : start + batch_size]
            loss, grads = model.loss_and_gradients(x[batch], labels[batch])
            optimizer.step(grads)
            total += loss * len(batch)
        history.append(total / len(x))
        if on_epoch is not None:
            on_epoch(epoch, history[-1])
    return history
