"""How many adjustable numbers? Exact counts from shapes alone, as torch and Hugging Face's models have them.

Names of dimensions: D inputs, H outputs or hidden units, C channels, K kernel side, V vocabulary, P positions, W width of a token, F feed-forward.
"""

import itertools
from collections.abc import Sequence

from course_lib.scale.models import TransformerShape


def affine_params(inputs: int, outputs: int, bias: bool = True) -> int:
    """x W + b: a weight for each pair of input and output, and a bias for each output."""
    return inputs * outputs + bias * outputs


def mlp_params(sizes: Sequence[int], bias: bool = True) -> int:
    """A chain of affine layers; sizes (inputs, hidden …, outputs). Activations have no parameters."""
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"sizes needs at least an input and an output, all at least 1; got {tuple(sizes)}")
    return sum(affine_params(inputs, outputs, bias) for inputs, outputs in itertools.pairwise(sizes))


def conv2d_params(in_channels: int, out_channels: int, kernel: int | tuple[int, int], groups: int = 1, bias: bool = True) -> int:
    """A convolution over pictures. Their height and width do not occur: the same kernel serves every place.

    With groups, every output channel sees in_channels / groups of the inputs.
    """
    if in_channels % groups or out_channels % groups:
        raise ValueError(f"in_channels {in_channels} and out_channels {out_channels} must be multiples of groups {groups}")
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    return affine_params(in_channels // groups * height * width, out_channels, bias)


def lstm_params(inputs: int, hidden: int, layers: int = 1, bidirectional: bool = False, bias: bool = True) -> int:
    """torch's LSTM (Hochreiter and Schmidhuber, 1997, with Gers's forget gate): four affine maps of the input and four of the state.

    torch keeps a bias for either, of which one would do; other libraries keep one. In every layer but the first the input is the
    state below, of both directions where there are two.
    """
    directions = 2 if bidirectional else 1
    widths = [inputs, *[directions * hidden] * (layers - 1)]
    return sum(directions * 4 * (affine_params(width, hidden, bias) + affine_params(hidden, hidden, bias)) for width in widths)


def layer_norm_params(width: int) -> int:
    """A scale and a shift for each of the `width` numbers."""
    return 2 * width


def attention_params(width: int, kv_width: int | None = None, bias: bool = True) -> int:
    """Queries, keys, values and output: four maps. The number of heads does not occur; heads share the width among them."""
    narrow = width if kv_width is None else kv_width
    return 2 * affine_params(width, width, bias) + 2 * affine_params(width, narrow, bias)


def block_params(width: int, hidden: int) -> int:
    """One block of Vaswani et al. (2017) as BERT and GPT-2 have it: attention, feed-forward, and a layer norm for each."""
    return attention_params(width) + mlp_params((width, hidden, width)) + 2 * layer_norm_params(width)


def transformer_parts(shape: TransformerShape) -> dict[str, int]:
    """Part → parameters. The parts: token table, positions, attention, feed-forward, norms, head. Their sum is the model's count."""
    width, hidden, layers = shape.width, shape.hidden, shape.layers
    parts = {"token table": shape.vocabulary * width}
    if shape.family == "llama":
        return parts | {
            "positions": 0,
            "attention": layers * attention_params(width, shape.kv_width, bias=False),
            "feed-forward": layers * 3 * width * hidden,
            "norms": (2 * layers + 1) * width,
            "head": shape.vocabulary * width,
        }
    segments = shape.segments if shape.family == "bert" else 0
    return parts | {
        "positions": (shape.positions + segments) * width,
        "attention": layers * attention_params(width),
        "feed-forward": layers * mlp_params((width, hidden, width)),
        "norms": (2 * layers + 1) * layer_norm_params(width),
        "head": affine_params(width, width) if shape.family == "bert" else 0,  # BERT's pooler; GPT-2's head is the token table
    }


def transformer_params(shape: TransformerShape) -> int:
    """All parameters of BERT (without a task head), GPT-2 or Llama, each shared table counted once."""
    return sum(transformer_parts(shape).values())


def resnet50_params(classes: int = 1000) -> int:
    """ResNet-50 (He et al., 2015): 53 convolutions without biases, a scale and a shift per channel after each, one affine layer."""

    def normed(in_channels: int, out_channels: int, kernel: int) -> int:
        return conv2d_params(in_channels, out_channels, kernel, bias=False) + 2 * out_channels

    total, channels = normed(3, 64, 7), 64
    for narrow, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            total += normed(channels, narrow, 1) + normed(narrow, narrow, 3) + normed(narrow, 4 * narrow, 1)
            total += normed(channels, 4 * narrow, 1) if block == 0 else 0  # the shortcut that changes the width
            channels = 4 * narrow
    return total + affine_params(channels, classes)
