"""The optimisers of `course_lib.scratch.optim` for torch parameters, each a `torch.optim.Optimizer` of about ten lines.

They obey torch's contract: parameter groups, closures, `state_dict` and every learning-rate scheduler of torch work with them, and a parameter
without a gradient is passed over. They walk where torch.optim's walk; torch's are faster, because they treat all parameters in one go. Papers are
named in `course_lib.scratch.optim`. NormalizedMomentum has no counterpart in torch.optim.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

Closure = Callable[[], Any]


class _Optimizer(torch.optim.Optimizer):
    """A step for each parameter alone. `state` is what is remembered of it; every tensor in it travels with `state_dict`."""

    def __init__(self, params: Iterable[Any], **defaults: Any):
        for name in ("lr", "eps", "weight_decay"):
            if not defaults.get(name, 0) >= 0:
                raise ValueError(f"{name} must be at least 0, was given {defaults[name]}")
        decays = {"momentum": defaults.get("momentum", 0), "alpha": defaults.get("alpha", 0)}
        decays |= {f"betas[{i}]": beta for i, beta in enumerate(defaults.get("betas", ()))}
        for name, value in decays.items():
            if not 0 <= value < 1:
                raise ValueError(f"{name} must be at least 0 and less than 1, was given {value}")
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Move every parameter that has a gradient. closure computes the loss and the gradients anew; its result is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self.move(group, [param for param in group["params"] if param.grad is not None])
        return loss

    def move(self, group: dict[str, Any], params: list[Tensor]) -> None:
        """One group's parameters, one after the other. An optimiser whose step depends on all of them together overrides this."""
        for param in params:
            if param.grad is not None:
                self.update(param, param.grad, self.state[param], group)

    def update(self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Change param in place."""
        raise NotImplementedError


def _memory(state: dict[str, Any], kind: str, like: Tensor) -> Tensor:
    if kind not in state:
        state[kind] = torch.zeros_like(like, memory_format=torch.preserve_format)
    return state[kind]


class SGD(_Optimizer):
    """v ← momentum · v + grad;  param ← param - lr · v, or with nesterov param - lr · (grad + momentum · v)."""

    def __init__(self, params: Iterable[Any], lr: float = 0.001, momentum: float = 0.0, nesterov: bool = False):
        if nesterov and momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        super().__init__(params, lr=lr, momentum=momentum, nesterov=nesterov)

    def update(self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if group["momentum"] != 0:
            velocity = _memory(state, "velocity", param).mul_(group["momentum"]).add_(grad)
            grad = grad.add(velocity, alpha=group["momentum"]) if group["nesterov"] else velocity
        param.add_(grad, alpha=-group["lr"])


class NormalizedMomentum(_Optimizer):
    """v ← momentum · v + (1 - momentum) · grad;  param ← param - lr · v / ‖v‖, the norm over all parameters of the group together."""

    def __init__(self, params: Iterable[Any], lr: float, momentum: float = 0.9):
        super().__init__(params, lr=lr, momentum=momentum)

    def move(self, group: dict[str, Any], params: list[Tensor]) -> None:
        velocities = []
        for param in params:
            velocity = _memory(self.state[param], "velocity", param).mul_(group["momentum"])
            velocities.append(velocity if param.grad is None else velocity.add_(param.grad, alpha=1 - group["momentum"]))
        norm = torch.stack([velocity.double().norm() for velocity in velocities]).norm().item() if velocities else 0.0
        if norm > 0:
            for param, velocity in zip(params, velocities, strict=True):
                param.add_(velocity, alpha=-group["lr"] / norm)


class AdaGrad(_Optimizer):
    """s ← s + grad²;  param ← param - lr · grad / (√s + eps)."""

    def __init__(self, params: Iterable[Any], lr: float = 0.01, eps: float = 1e-10):
        super().__init__(params, lr=lr, eps=eps)

    def update(self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        squares = _memory(state, "squares", param).addcmul_(grad, grad)
        param.addcdiv_(grad, squares.sqrt().add_(group["eps"]), value=-group["lr"])


class RMSProp(_Optimizer):
    """s ← alpha · s + (1 - alpha) · grad²;  param ← param - lr · grad / (√s + eps)."""

    def __init__(self, params: Iterable[Any], lr: float = 0.01, alpha: float = 0.99, eps: float = 1e-8):
        super().__init__(params, lr=lr, alpha=alpha, eps=eps)

    def update(self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        squares = _memory(state, "squares", param).mul_(group["alpha"]).addcmul_(grad, grad, value=1 - group["alpha"])
        param.addcdiv_(grad, squares.sqrt().add_(group["eps"]), value=-group["lr"])


class Adam(_Optimizer):
    """m ← β₁m + (1 - β₁)grad;  s ← β₂s + (1 - β₂)grad²;  param ← param - lr · m̂ / (√ŝ + eps), with m̂ = m/(1 - β₁ᵗ), ŝ = s/(1 - β₂ᵗ).

    weight_decay is decoupled, as in AdamW; Adam itself has none.
    """

    def __init__(self, params: Iterable[Any], lr: float = 0.001, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8):
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=0.0)

    def update(self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        state["step"] = t = state.get("step", 0) + 1
        if group["weight_decay"] != 0:
            param.mul_(1 - group["lr"] * group["weight_decay"])
        mean = _memory(state, "mean", param).mul_(beta1).add_(grad, alpha=1 - beta1)
        squares = _memory(state, "squares", param).mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        root = squares.div(1 - beta2**t).sqrt_().add_(group["eps"])
        param.addcdiv_(mean, root, value=-group["lr"] / (1 - beta1**t))


class AdamW(Adam):
    """Adam, and beside it param ← param - lr · weight_decay · param, which never enters the averages."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ):
        _Optimizer.__init__(self, params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)
