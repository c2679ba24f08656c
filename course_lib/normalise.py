"""Batch and layer normalisation from their definitions: Ioffe and Szegedy (2015), Ba, Kiros and Hinton (2016).

Both subtract a mean, divide by a standard deviation, and let the network undo it with a learnt scale and shift. They differ in what is averaged
over. Batch normalisation averages each feature over the rows of the batch, so rows see each other, and it needs averages kept from training when a
single row is asked. Layer normalisation averages each row over its own features, in training and after.

Dimensions: N rows, W features.
"""

import torch
from torch import Tensor, nn


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """x (..., W), weight (W,), bias (W,) → (..., W): each row shifted to mean 0 and scaled to variance 1 (divisor W), then weight and bias."""
    centred = x - x.mean(-1, keepdim=True)  # (..., W)
    out = centred / torch.sqrt(centred.square().mean(-1, keepdim=True) + eps)  # (..., W)
    if weight is not None:
        out = out * weight
    return out if bias is None else out + bias


class BatchNorm(nn.Module):
    """`nn.BatchNorm1d` for rows: parameters weight, bias (W,); buffers running_mean, running_var (W,)."""

    def __init__(self, features: int, momentum: float = 0.1, eps: float = 1e-5):
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))

    def forward(self, x: Tensor) -> Tensor:
        """x (N, W) → (N, W). In training mode N must be at least 2: one row has no spread.

        The batch is divided by its own deviation (divisor N); what is remembered is the unbiased variance (divisor N - 1), as torch has it.
        """
        if self.training:
            if len(x) < 2:
                raise ValueError(f"wanted at least 2 rows in training mode, got x {tuple(x.shape)}")
            mean, var = x.mean(0), x.var(0, correction=0)  # (W,), (W,)
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(var * len(x) / (len(x) - 1), self.momentum)
        else:
            mean, var = self.running_mean, self.running_var
        return (x - mean) / torch.sqrt(var + self.eps) * self.weight + self.bias
