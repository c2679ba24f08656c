"""The training loop: what Keras calls compile, fit, evaluate and predict, and what it does not: early stopping and exact resume.

One loop serves every network whose forward gives logits and whose data fit into memory. All of a run's randomness comes from its config's seed:
the order of epoch e from (seed, e), and everything drawn inside the network, such as dropout, from torch's global generator, which `fit` seeds.
So a run that is cut off and resumed from its checkpoint ends in the same weights, bit for bit, as one that was not (on a processor, with the same
torch and thread count).

Dimensions: N rows, K classes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib import checkpoint as checkpoints
from course_lib.device import seed_everything

Loss = Callable[[Tensor, Tensor], Tensor]  # (logits, targets) → the mean loss of the batch


@dataclass(frozen=True)
class TrainConfig:
    """How to train. weight_decay is AdamW's (decoupled from the gradient); patience in epochs, None for no early stopping."""

    epochs: int = 10
    batch_size: int = 32
    lr: float = 1e-3
    weight_decay: float = 0.0
    patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.batch_size < 1 or (self.patience is not None and self.patience < 1):
            raise ValueError(f"wanted epochs of at least 0, batch_size and patience of at least 1, was given {self}")
        if not (self.lr >= 0 and self.weight_decay >= 0):
            raise ValueError(f"wanted lr and weight_decay of at least 0, was given {self}")


@dataclass(frozen=True)
class Scores:
    """loss: mean over the rows, in the unit of the loss function (nats); accuracy: share of rows answered rightly."""

    loss: float
    accuracy: float


@dataclass(frozen=True)
class Epoch:
    """What one epoch was like. loss: mean over its rows, each just before the step that used it; validation figures after its last step."""

    number: int
    loss: float
    val_loss: float | None = None
    val_accuracy: float | None = None


@dataclass
class EarlyStopping:
    """Stop when `patience` epochs in a row have brought no new best. A loss that is not a number is no improvement."""

    patience: int
    best: float = float("inf")
    best_epoch: int = -1
    epochs: int = field(default=0)

    def step(self, loss: float) -> bool:
        """To be called with each epoch's validation loss, in order. → True when it is time to stop."""
        if loss < self.best:
            self.best, self.best_epoch = loss, self.epochs
        self.epochs += 1
        return self.epochs - 1 - self.best_epoch >= self.patience


@contextmanager
def evaluation_mode(net: nn.Module) -> Iterator[None]:
    """Dropout and batch normalisation as in use, no gradients recorded; afterwards every part is in the mode that it was in."""
    training = {module: module.training for module in net.modules()}
    net.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in training.items():
            module.training = mode


def predict(net: nn.Module, x: Tensor, batch_size: int = 1024) -> Tensor:
    """x (N, ...) → logits (N, K) in evaluation mode, on the device of x."""
    with evaluation_mode(net):
        return torch.cat([net(batch) for batch in x.split(batch_size)])


def answers(logits: Tensor) -> Tensor:
    """logits (N, K) → the most likely class (N,); with a single column, whether its logit is above 0, (N, 1)."""
    return (logits > 0).long() if logits.shape[-1] == 1 else logits.argmax(-1)


def evaluate(net: nn.Module, x: Tensor, y: Tensor, *, loss: Loss = F.cross_entropy, batch_size: int = 1024) -> Scores:
    """Mean loss and accuracy over all rows in evaluation mode: the mean over rows, however they fall into batches.

    x (N, ...), y as the loss wants it: (N,) classes for cross-entropy, (N, 1) zeros and ones for a single logit.
    """
    if len(x) == 0 or len(x) != len(y):
        raise ValueError(f"wanted as many rows as labels and at least one; was given x {tuple(x.shape)}, y {tuple(y.shape)}")
    logits = predict(net, x, batch_size)
    right = answers(logits).reshape(-1) == y.reshape(-1)
    return Scores(loss(logits, y).item(), right.double().mean().item())


def epoch_order(rows: int, seed: int, epoch: int) -> Tensor:
    """A permutation of range(rows) that depends on nothing but (seed, epoch), so that any epoch can be begun anew."""
    return torch.randperm(rows, generator=torch.Generator().manual_seed((seed << 20) + epoch))


def fit(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    config: TrainConfig | None = None,
    *,
    loss: Loss = F.cross_entropy,
    validation: tuple[Tensor, Tensor] | None = None,
    make_optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW,
    file: str | Path | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> list[Epoch]:
    """Train `net` in place and return what each epoch was like.

    x (N, ...), y as the loss wants it, on the device of the network; validation (x, y) likewise, never trained on.
    make_optimizer(params, lr=..., weight_decay=...) makes the optimiser.
    With config.patience, training stops early by the validation loss, and the network ends with the weights of its best epoch.
    file: a checkpoint is written there after every epoch, and when it is there already, the run goes on from it.
    on_epoch is called after each epoch and its checkpoint; an exception of its own ends the run, which can be resumed.
    """
    config = config or TrainConfig()
    if len(x) == 0 or len(x) != len(y):
        raise ValueError(f"wanted as many rows as labels and at least one; was given x {tuple(x.shape)}, y {tuple(y.shape)}")
    if config.patience is not None and validation is None:
        raise ValueError("early stopping needs validation=(x, y) to judge by")
    optimizer = make_optimizer(net.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    stopper = EarlyStopping(config.patience) if config.patience is not None else None
    history, best, stopped = [], None, False

    if file is not None and Path(file).exists():
        found = checkpoints.load(file, device=x.device)
        if found["config"] != asdict(config):
            raise ValueError(f"{file} belongs to a run with {found['config']}; this one has {asdict(config)}")
        checkpoints.restore(found, net, optimizer)
        history, best, stopped = [Epoch(**record) for record in found["history"]], found["best"], found["stopped"]
        stopper = EarlyStopping(**found["stopper"]) if found["stopper"] else None
    else:
        seed_everything(config.seed)

    while len(history) < config.epochs and not stopped:
        mean_loss = train_epoch(net, optimizer, x, y, loss, config.batch_size, epoch_order(len(x), config.seed, len(history)))
        scores = evaluate(net, *validation, loss=loss) if validation is not None else None
        history.append(Epoch(len(history) + 1, mean_loss, *((scores.loss, scores.accuracy) if scores else ())))
        if stopper is not None and scores is not None:
            stopped = stopper.step(scores.loss)
            if stopper.best_epoch == stopper.epochs - 1:
                best = checkpoints.copied(net.state_dict())
        if file is not None:
            records: dict[str, Any] = {"history": [asdict(epoch) for epoch in history], "best": best, "stopped": stopped}
            state = asdict(stopper) if stopper else None
            checkpoints.save(checkpoints.take_checkpoint(net, optimizer, config=asdict(config), stopper=state, **records), file)
        if on_epoch is not None:
            on_epoch(history[-1])
    if best is not None:
        net.load_state_dict(best)
    return history


def train_epoch(net: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, loss: Loss, batch_size: int, order: Tensor) -> float:
    """One pass over the rows in `order` (N,), a step after every batch. → the mean loss over the rows, each just before its step."""
    net.train()
    total = torch.zeros((), device=x.device)  # kept on the device: asking a GPU for a number after every step would make it wait
    for batch in order.to(x.device).split(batch_size):
        optimizer.zero_grad()
        batch_loss = loss(net(x[batch]), y[batch])
        batch_loss.backward()
        optimizer.step()
        total += batch_loss.detach() * len(batch)
    return total.item() / len(order)
