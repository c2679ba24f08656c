"""How much arithmetic, how long, how dear? The rule 6ND and what it leaves out.

A multiplication and an addition are two floating-point operations (FLOPs). N parameters, D training tokens. On the way forward every parameter
of a matrix is multiplied with one number and added to a sum: 2 N per token. On the way back there are two products of that size: 4 N.
6 N D is Kaplan et al. (2020), "Scaling laws for neural language models", section 2.1. Attention compares tokens with tokens, and this needs no
parameters: another 12 L W T per token of a context of T (Chowdhery et al., 2022, "PaLM", appendix B), unless half of it is masked and skipped.
"""

from dataclasses import dataclass

from course_lib.scale.hardware import Accelerator
from course_lib.scale.models import TransformerShape


def training_flops(params: float, tokens: float) -> float:
    """6 N D."""
    return 6.0 * params * tokens


def attention_flops(shape: TransformerShape, tokens: float, context: int | None = None) -> float:
    """What comparing tokens adds to 6 N D, masked comparisons included: 12 L W T for each token."""
    return 12.0 * shape.layers * shape.width * (shape.positions if context is None else context) * tokens


@dataclass(frozen=True)
class Plan:
    """`cards` of one kind, kept busy to `utilisation` of their peak (0 to 1), rented at `price` dollars for a card's hour."""

    card: Accelerator
    cards: int
    utilisation: float
    price: float

    def __post_init__(self) -> None:
        if not 0 < self.utilisation <= 1:
            raise ValueError(f"utilisation is a share of the peak, above 0 and at most 1; got {self.utilisation}")
        if self.cards < 1 or self.price < 0:
            raise ValueError(f"wanted at least one card and no negative price; got {self.cards} and {self.price}")


@dataclass(frozen=True)
class Cost:
    """What a training run takes."""

    flops: float
    card_hours: float
    days: float
    dollars: float
    kilowatt_hours: float  # of the cards at their limit; the rest of the building comes on top


def training_cost(params: float, tokens: float, plan: Plan) -> Cost:
    """By 6 N D, at the plan's utilisation."""
    flops = training_flops(params, tokens)
    hours = flops / (plan.card.peak * plan.utilisation) / 3600
    return Cost(flops, hours, hours / plan.cards / 24, hours * plan.price, hours * plan.card.watts / 1000)


def utilisation(params: float, tokens: float, card: Accelerator, card_hours: float) -> float:
    """The share of the peak that a run of known length reached, by 6 N D."""
    return training_flops(params, tokens) / (card.peak * card_hours * 3600)
