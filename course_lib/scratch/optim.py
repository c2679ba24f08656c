"""Optimisers: what to do with a gradient once backpropagation has found it.

The two are different steps. Backpropagation says how the loss changes with each parameter; an optimiser decides how far to move.
Stochastic gradient descent is from Robbins and Monro (1951), "A stochastic approximation method".
"""

from collections.abc import Mapping

from course_lib.scratch.functional import Array


class Optimizer:
    """Changes parameters in place, one `step` a batch. A subclass says in `update` how one array moves."""

    def __init__(self, params: Mapping[str, Array], lr: float):
        """params are kept, not copied: whoever shares the arrays sees them move. lr is the learning rate, at least 0."""
        if not lr >= 0:
            raise ValueError(f"lr must be at least 0, was given {lr}")
        for name, param in params.items():
            if param.dtype.kind != "f":
                raise ValueError(f"parameter {name!r} must hold floats to be moved in place, not {param.dtype}")
        self.params = params
        self.lr = lr

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
        for name, param in self.params.items():
            self.update(name, param, grads[name])

    def update(self, name: str, param: Array, grad: Array) -> None:
        """Change param in place. The name is the key under which a subclass keeps its memory of this array."""
        raise NotImplementedError


class SGD(Optimizer):
    """Stochastic gradient descent: param ← param - lr · grad."""

    def update(self, name: str, param: Array, grad: Array) -> None:
        param -= self.lr * grad
