"""Optimisers: what to do with a gradient once backpropagation has found it.

The two are different steps. Backpropagation says how the loss changes with each parameter; an optimiser decides how far to move.

SGD                 Robbins and Monro (1951), "A stochastic approximation method"
  momentum          Polyak (1964), "Some methods of speeding up the convergence of iteration methods"
  nesterov          Nesterov (1983); in the form of Sutskever et al. (2013), "On the importance of initialization and momentum in deep learning"
NormalizedMomentum  momentum whose step has the same length always; analysed by Cutkosky and Mehta (2020), "Momentum improves normalized SGD"
AdaGrad             Duchi, Hazan and Singer (2011), "Adaptive subgradient methods for online learning and stochastic optimization"
RMSProp             Tieleman and Hinton (2012), lecture 6.5 of "Neural networks for machine learning"
Adam                Kingma and Ba (2015), "Adam: a method for stochastic optimization"
AdamW               Loshchilov and Hutter (2019), "Decoupled weight decay regularization"

Momentum is summed (v ← βv + g) as in torch, not averaged (v ← βv + (1 - β)g): the two walk alike when the averaged one has lr / (1 - β).
eps stands outside the root everywhere, as in torch. Defaults are torch's. `course_lib.optimizers` holds the same for torch parameters.
"""

from collections.abc import Mapping

import numpy as np

from course_lib.scratch.functional import Array


class Optimizer:
    """Changes parameters in place, one `step` a batch. A subclass says in `update` how one array moves.

    steps: how many have been taken, the one under way included. state: what a subclass remembers of each parameter, by its name.
    lr may be changed between steps; that is all that a schedule does.
    """

    def __init__(self, params: Mapping[str, Array], lr: float):
        """params are kept, not copied: whoever shares the arrays sees them move. lr is the learning rate, at least 0."""
        if not lr >= 0:
            raise ValueError(f"lr must be at least 0, was given {lr}")
        for name, param in params.items():
            if param.dtype.kind != "f":
                raise ValueError(f"parameter {name!r} must hold floats to be moved in place, not {param.dtype}")
        self.params = params
        self.lr = lr
        self.steps = 0
        self.state: dict[str, dict[str, Array]] = {}

    def step(self, grads: Mapping[str, Array]) -> None:
        """Move every parameter once. grads has the same names and the same shapes as params; if not, nothing moves.

        Shapes must be equal, not just fit: a bias gradient (N, H) that was never summed over the batch must not pass for (H,).
        """
        if missing := self.params.keys() - grads.keys():
            raise ValueError(f"no gradient for {sorted(missing)}")
        if extra := grads.keys() - self.params.keys():
            raise ValueError(f"a gradient for {sorted(extra)}, but there is no such parameter; there are {sorted(self.params)}")
        for name, param in self.params.items():
            if grads[name].shape != param.shape:
                raise ValueError(f"the gradient of {name!r} has shape {grads[name].shape}, its parameter {param.shape}")
        self.steps += 1
        self.move(grads)

    def move(self, grads: Mapping[str, Array]) -> None:
        """All arrays, one after the other. A subclass whose step depends on all of them together overrides this."""
        for name, param in self.params.items():
            self.update(name, param, grads[name])

    def update(self, name: str, param: Array, grad: Array) -> None:
        """Change param in place. The name is the key under which a subclass keeps its memory of this array."""
        raise NotImplementedError

    def memory(self, name: str, kind: str, like: Array) -> Array:
        """The array of this kind that is remembered for a parameter: zeros, shaped like it, when it is asked for first."""
        return self.state.setdefault(name, {}).setdefault(kind, np.zeros_like(like))


class SGD(Optimizer):
    """v ← momentum · v + grad;  param ← param - lr · v.  Without momentum, v is the gradient.

    nesterov: param ← param - lr · (grad + momentum · v), a look at where the momentum is about to carry it.
    """

    def __init__(self, params: Mapping[str, Array], lr: float, momentum: float = 0.0, nesterov: bool = False):
        super().__init__(params, lr)
        _check_decay("momentum", momentum)
        if nesterov and momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        self.momentum, self.nesterov = momentum, nesterov

    def update(self, name: str, param: Array, grad: Array) -> None:
        if self.momentum == 0:
            param -= self.lr * grad
            return
        velocity = self.memory(name, "velocity", param)
        velocity *= self.momentum
        velocity += grad
        param -= self.lr * (grad + self.momentum * velocity if self.nesterov else velocity)


class NormalizedMomentum(Optimizer):
    """v ← momentum · v + (1 - momentum) · grad;  param ← param - lr · v / ‖v‖, the norm taken over all parameters together.

    Every step is lr long, however flat or steep the place, so it stops only when lr does. Where v is exactly 0 it stays.
    """

    def __init__(self, params: Mapping[str, Array], lr: float, momentum: float = 0.9):
        super().__init__(params, lr)
        _check_decay("momentum", momentum)
        self.momentum = momentum

    def move(self, grads: Mapping[str, Array]) -> None:
        for name, param in self.params.items():
            velocity = self.memory(name, "velocity", param)
            velocity *= self.momentum
            velocity += (1 - self.momentum) * grads[name]
        norm = global_norm({name: self.state[name]["velocity"] for name in self.params})
        if norm > 0:
            for name, param in self.params.items():
                param -= self.lr * (self.state[name]["velocity"] / norm)


class AdaGrad(Optimizer):
    """s ← s + grad²;  param ← param - lr · grad / (√s + eps).  What has moved much slows down, and never speeds up again."""

    def __init__(self, params: Mapping[str, Array], lr: float = 0.01, eps: float = 1e-10):
        super().__init__(params, lr)
        self.eps = eps

    def update(self, name: str, param: Array, grad: Array) -> None:
        squares = self.memory(name, "squares", param)
        squares += grad**2
        param -= self.lr * grad / (np.sqrt(squares) + self.eps)


class RMSProp(Optimizer):
    """s ← alpha · s + (1 - alpha) · grad²;  param ← param - lr · grad / (√s + eps).  AdaGrad that forgets."""

    def __init__(self, params: Mapping[str, Array], lr: float = 0.01, alpha: float = 0.99, eps: float = 1e-8):
        super().__init__(params, lr)
        _check_decay("alpha", alpha)
        self.alpha, self.eps = alpha, eps

    def update(self, name: str, param: Array, grad: Array) -> None:
        squares = self.memory(name, "squares", param)
        squares *= self.alpha
        squares += (1 - self.alpha) * grad**2
        param -= self.lr * grad / (np.sqrt(squares) + self.eps)


class Adam(Optimizer):
    """m ← β₁m + (1 - β₁)grad;  s ← β₂s + (1 - β₂)grad²;  param ← param - lr · m̂ / (√ŝ + eps).

    m̂ = m / (1 - β₁ᵗ) and ŝ = s / (1 - β₂ᵗ) take out the pull towards the zeros that both averages start from; t counts steps from 1.
    """

    def __init__(self, params: Mapping[str, Array], lr: float = 0.001, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8):
        super().__init__(params, lr)
        _check_decay("betas[0]", betas[0])
        _check_decay("betas[1]", betas[1])
        self.betas, self.eps = betas, eps

    def update(self, name: str, param: Array, grad: Array) -> None:
        beta1, beta2 = self.betas
        mean, squares = self.memory(name, "mean", param), self.memory(name, "squares", param)
        mean *= beta1
        mean += (1 - beta1) * grad
        squares *= beta2
        squares += (1 - beta2) * grad**2
        unbiased_mean, unbiased_squares = mean / (1 - beta1**self.steps), squares / (1 - beta2**self.steps)
        param -= self.lr * unbiased_mean / (np.sqrt(unbiased_squares) + self.eps)


class AdamW(Adam):
    """Adam, and beside it param ← param - lr · weight_decay · param, which never enters the averages."""

    def __init__(
        self,
        params: Mapping[str, Array],
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ):
        super().__init__(params, lr, betas, eps)
        if not weight_decay >= 0:
            raise ValueError(f"weight_decay must be at least 0, was given {weight_decay}")
        self.weight_decay = weight_decay

    def update(self, name: str, param: Array, grad: Array) -> None:
        param *= 1 - self.lr * self.weight_decay
        super().update(name, param, grad)


def global_norm(grads: Mapping[str, Array]) -> float:
    """The length of all arrays laid end to end: the root of the sum of all squares."""
    return float(np.sqrt(sum(np.sum(np.square(grad, dtype=np.float64)) for grad in grads.values())))


def clip_by_global_norm(grads: Mapping[str, Array], max_norm: float) -> tuple[dict[str, Array], float]:
    """Gradients no longer than max_norm, all scaled by one factor so that their direction stays → (new dict, the norm that was found).

    Pascanu, Mikolov and Bengio (2013), "On the difficulty of training recurrent neural networks". Short gradients stay as they are.
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm must be above 0, was given {max_norm}")
    norm = global_norm(grads)
    factor = min(1.0, max_norm / norm) if norm > 0 else 1.0
    return {name: grad * grad.dtype.type(factor) for name, grad in grads.items()}, norm


def _check_decay(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{name} must be at least 0 and less than 1, was given {value}")
