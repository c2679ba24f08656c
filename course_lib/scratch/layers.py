"""Layers: a formula, its gradient and its parameters under one name.

A layer keeps its parameters and nothing of a run. `forward` hands back what `backward` will need, the cache, and the caller
keeps it; so one layer can be run twice before either gradient is taken, and a forgotten cache is an error, not a stale one.

Initial weights keep the size of the signal from layer to layer: He, Zhang, Ren and Sun (2015), "Delving deep into rectifiers",
equation 10, for ReLU; Glorot and Bengio (2010), "Understanding the difficulty of training deep feedforward neural networks",
equation 16, for tanh.

N batch, D inputs, H outputs.
"""

from typing import Literal, Protocol, Self

import numpy as np
from numpy.typing import DTypeLike

from course_lib.scratch import functional
from course_lib.scratch.functional import Array

Gain = Literal["relu", "tanh"]


class Layer(Protocol):
    """What a chain of layers needs to know about each of them."""

    params: dict[str, Array]

    def forward(self, x: Array) -> tuple[Array, Array]:
        """x → (out, cache)."""
        ...

    def backward(self, grad_out: Array, cache: Array) -> tuple[Array, dict[str, Array]]:
        """Gradient of out, and the cache of that very forward pass → (gradient of x, gradients keyed like `params`)."""
        ...


class Affine:
    """x (N, D) → x @ weight + bias (N, H). The cache is x."""

    def __init__(self, weight: Array, bias: Array):
        """weight (D, H) and bias (H,) are kept as they are, not copied."""
        self.params = {"weight": weight, "bias": bias}

    @classmethod
    def create(cls, inputs: int, outputs: int, rng: np.random.Generator, gain: Gain = "relu", dtype: DTypeLike = np.float64) -> Self:
        """A layer with random weights and zero biases.

        gain "relu": normal with variance 2 / inputs (He et al.): half of the signal dies in a ReLU, the 2 makes up for it.
        gain "tanh": uniform within ±√(6 / (inputs + outputs)) (Glorot and Bengio), whose variance is a compromise between
        what the forward pass (1 / inputs) and the backward pass (1 / outputs) ask for.
        The draw is made in float64 and rounded, so that one seed gives the same start in every dtype.
        """
        if inputs < 1 or outputs < 1:
            raise ValueError(f"a layer needs at least one input and one output, was given {inputs} and {outputs}")
        if gain == "relu":
            weight = rng.normal(scale=np.sqrt(2 / inputs), size=(inputs, outputs))
        elif gain == "tanh":
            bound = np.sqrt(6 / (inputs + outputs))
            weight = rng.uniform(-bound, bound, size=(inputs, outputs))
        else:
            raise ValueError(f"gain must be 'relu' or 'tanh', not {gain!r}")
        return cls(weight.astype(dtype), np.zeros(outputs, dtype))

    def forward(self, x: Array) -> tuple[Array, Array]:
        return functional.affine(x, self.params["weight"], self.params["bias"]), x

    def backward(self, grad_out: Array, cache: Array) -> tuple[Array, dict[str, Array]]:
        grad_x, grad_weight, grad_bias = functional.affine_backward(grad_out, cache, self.params["weight"])
        return grad_x, {"weight": grad_weight, "bias": grad_bias}

    def backward_params(self, grad_out: Array, cache: Array) -> dict[str, Array]:
        """`backward` without the gradient of x, which nobody needs of the first layer: x is data."""
        grad_weight, grad_bias = functional.affine_backward_params(grad_out, cache)
        return {"weight": grad_weight, "bias": grad_bias}


class ReLU:
    """max(x, 0). The cache is x."""

    def __init__(self):
        self.params: dict[str, Array] = {}

    def forward(self, x: Array) -> tuple[Array, Array]:
        return functional.relu(x), x

    def backward(self, grad_out: Array, cache: Array) -> tuple[Array, dict[str, Array]]:
        return functional.relu_backward(grad_out, cache), {}


class Tanh:
    """The hyperbolic tangent. The cache is what it returned: the slope is a function of that."""

    def __init__(self):
        self.params: dict[str, Array] = {}

    def forward(self, x: Array) -> tuple[Array, Array]:
        out = np.tanh(x)
        return out, out

    def backward(self, grad_out: Array, cache: Array) -> tuple[Array, dict[str, Array]]:
        return functional.tanh_backward(grad_out, cache), {}


class Sigmoid:
    """1 / (1 + exp(-x)). The cache is what it returned."""

    def __init__(self):
        self.params: dict[str, Array] = {}

    def forward(self, x: Array) -> tuple[Array, Array]:
        out = functional.sigmoid(x)
        return out, out

    def backward(self, grad_out: Array, cache: Array) -> tuple[Array, dict[str, Array]]:
        return functional.sigmoid_backward(grad_out, cache), {}
