"""What has to lie in memory while a model learns: weights, gradients, the optimiser's state, and the activations that the backward pass needs.

The 16 bytes a parameter of mixed-precision Adam are those of Rajbhandari et al. (2020), "ZeRO", section 3.1; the activations are counted as by
Korthikanti et al. (2022), "Reducing activation recomputation in large Transformer models", section 4, without their parallelism.

B batch, T context in tokens, W width, A heads, L layers. All results are bytes; 1 GB is 10⁹ bytes.
"""

from dataclasses import dataclass

from course_lib.scale.models import TransformerShape


@dataclass(frozen=True)
class Recipe:
    """Bytes for each parameter: its weight, its gradient, and all that the optimiser keeps about it."""

    name: str
    weight: int
    gradient: int
    optimizer: int

    @property
    def bytes_per_param(self) -> int:
        """All three together."""
        return self.weight + self.gradient + self.optimizer


INFERENCE_16 = Recipe("16-bit, no training", 2, 0, 0)
SGD_32 = Recipe("32-bit SGD", 4, 4, 0)
MOMENTUM_32 = Recipe("32-bit SGD with momentum", 4, 4, 4)
ADAM_32 = Recipe("32-bit Adam", 4, 4, 8)
ADAM_MIXED = Recipe("mixed-precision Adam", 2, 2, 12)  # 16-bit weight and gradient; 32-bit copy of the weight and two averages
RECIPES = (INFERENCE_16, SGD_32, MOMENTUM_32, ADAM_32, ADAM_MIXED)


def state_bytes(params: int, recipe: Recipe) -> dict[str, int]:
    """What is there whatever the batch: {"weights", "gradients", "optimizer"} → bytes."""
    return {"weights": params * recipe.weight, "gradients": params * recipe.gradient, "optimizer": params * recipe.optimizer}


def block_activation_bytes(batch: int, context: int, width: int, heads: int) -> int:
    """What one block of a GPT-2 keeps for its backward pass, in 16 bits, with dropout masks of one byte: B T W (34 + 5 A T / W).

    Per token: attention keeps 11 W (input 2 W, queries and keys 4 W, values 2 W, the mixed values 2 W, a mask W) and 5 A T for its maps (softmax 2,
    mask 1, masked 2); the feed-forward part 19 W (input 2 W, before and after its activation 8 W each, mask W); the two norms 4 W.
    """
    return batch * context * (34 * width + 5 * heads * context)


def activation_bytes(shape: TransformerShape, batch: int, context: int | None = None, recompute: bool = False) -> int:
    """Of all blocks. With recompute, every block keeps its input alone (2 B T W) and one at a time is computed again in full.

    The embeddings, the last norm and the output scores are left out; the scores (B T V) can weigh as much as several blocks.
    """
    tokens = shape.positions if context is None else context
    full = block_activation_bytes(batch, tokens, shape.width, shape.heads)
    return shape.layers * 2 * batch * tokens * shape.width + full if recompute else shape.layers * full


def training_bytes(
    shape: TransformerShape, params: int, batch: int, context: int | None = None, recipe: Recipe = ADAM_MIXED, recompute: bool = False
) -> dict[str, int]:
    """{"weights", "gradients", "optimizer", "activations"} → bytes. A recipe that keeps no gradients keeps no activations either."""
    if min(params, batch) < 1:
        raise ValueError(f"params and batch must be at least 1, got {params} and {batch}")
    activations = activation_bytes(shape, batch, context, recompute) if recipe.gradient else 0
    return state_bytes(params, recipe) | {"activations": activations}
