"""What the exercises of chapter 01 demand. Trusted side: student code is reached only through `student`."""

import itertools
from dataclasses import replace

import numpy as np

from autograder.checking import case, close, exercise, holds, inputs_unchanged, same
from course_lib.scale import counting, flops, hardware, memory
from course_lib.scale.models import BERT_BASE, BERT_LARGE, GPT2, GPT3, TransformerShape

LAYERS = ("course_lib.scratch.functional", "course_lib.scratch.layers", "course_lib.scratch.mlp")
COUNTING = "course_lib.scale.counting"


def reference_layer(x, weight, bias):
    return np.maximum(x @ weight + bias, 0)


@exercise("large_models.neuron", points=2, reference=LAYERS)
def neuron(student, rng):
    """One neuron: weigh, add, let only positive sums through."""
    x, weight = rng.uniform(0.5, 2, size=5), rng.uniform(0.5, 2, size=5)
    with case("adds up every input times its weight, and the bias", hint="A sum over i of x[i] * weight[i]; the bias comes once, at the end."):
        close(student.neuron(x, weight, 3.0), float(x @ weight + 3))
        close(student.neuron(-x, -weight, 3.0), float(x @ weight + 3))
        mixed = np.where(np.arange(5) == np.argmin(x * weight), -weight, weight)  # one product is negative, the sum is not
        close(student.neuron(x, mixed, 3.0), float(x @ mixed + 3))
    with case("a positive bias can switch a neuron on", hint="Add the bias first; the comparison with 0 comes last."):
        close(student.neuron(x, -weight, float(x @ weight) + 0.5), 0.5)
    with case("a negative sum gives 0", hint="The larger of the sum and 0.", side=True):
        close(student.neuron(x, -weight, 0.25), 0.0)
        close(student.neuron(x, weight, -float(x @ weight) - 1), 0.0)
    with case("one input, or a hundred", hint="Do not count on a certain number of inputs."):
        many = rng.uniform(0, 1, size=100)
        close(student.neuron(many, many, 0.0), float(many @ many))
        close(student.neuron(x[:1], weight[:1], 1.0), float(x[0] * weight[0] + 1))
    with case("leaves its inputs as they were", hint="`x *= weight` writes into the caller's array; `x * weight` makes a new one.", side=True):
        student.neuron(x, weight, 1.0)
        inputs_unchanged(student)


ADDS, ON, NEGATIVE, MANY = (
    "adds up every input times its weight, and the bias",
    "a positive bias can switch a neuron on",
    "a negative sum gives 0",
    "one input, or a hundred",
)


@neuron.wrong("the bias forgotten", fails=(ADDS, ON, MANY, NEGATIVE))
def _(x, weight, bias):
    return max(0.0, float(np.sum(x * weight)) + 0 * bias) if np.sum(x * weight) < 0 else float(np.sum(x * weight))


@neuron.wrong("the bias added after the comparison with 0", fails=(ON, NEGATIVE))
def _(x, weight, bias):
    return max(0.0, float(np.dot(x, weight))) + bias


@neuron.wrong("negative sums let through", fails=NEGATIVE)
def _(x, weight, bias):
    return float(np.dot(x, weight) + bias)


@neuron.wrong("the sign dropped", fails=NEGATIVE)
def _(x, weight, bias):
    return abs(float(np.dot(x, weight) + bias))


@neuron.wrong("the bias added for every input", fails=(ADDS, ON))
def _(x, weight, bias):
    return max(0.0, float(np.sum(x * weight + bias)))


@neuron.wrong("the mean instead of the sum", fails=(ADDS, ON, MANY))
def _(x, weight, bias):
    return max(0.0, float(np.mean(x * weight) + bias))


@neuron.wrong("every product compared with 0", fails=(ADDS, ON, NEGATIVE))
def _(x, weight, bias):
    return max(0.0, float(np.maximum(x * weight, 0).sum() + bias))


@neuron.wrong("written into the caller's array", fails="leaves its inputs as they were")
def _(x, weight, bias):
    x *= weight
    return max(0.0, float(x.sum() + bias))


@neuron.right("one input at a time")
def _(x, weight, bias):
    total = bias
    for value, factor in zip(x, weight, strict=True):
        total += value * factor
    return total if total > 0 else 0.0


@neuron.right("an array of no axes, through maximum")
def _(x, weight, bias):
    return np.maximum(np.einsum("i,i->", x, weight) + bias, 0)


@exercise("large_models.layer", points=3, reference=LAYERS)
def layer(student, rng):
    """A layer: many neurons look at the same inputs, for many rows at once."""
    x, weight, bias = rng.normal(size=(7, 5)), rng.normal(size=(5, 3)), rng.normal(size=3)
    x[0], weight[:, 0], bias[0] = np.abs(x[0]), np.abs(weight[:, 0]), 0.5  # so that something is positive
    with case("one row, one unit: the neuron of before", hint="x (1, D) times weight (D, 1) is one sum of products."):
        close(student.layer(x[:1], weight[:, :1], bias[:1]), reference_layer(x[:1], weight[:, :1], bias[:1]))
    ink, strength, shifts = np.abs(x) + 0.1, np.abs(weight) + 0.1, np.arange(1.0, 4.0)  # every sum is positive: ReLU changes nothing
    with case("every unit has its own column of weights, and its own bias", hint="Column j of weight and bias[j] belong to unit j."):
        close(student.layer(ink[:1], strength, shifts), reference_layer(ink[:1], strength, shifts))
    with case("a batch: every row gets its own answer", hint="x @ weight does all rows at once; do not sum over them."):
        close(student.layer(ink, strength, shifts), reference_layer(ink, strength, shifts))
    with case("as many units as inputs", hint="With a square weight a transpose goes unnoticed: unit j takes column j, not row j."):
        square = rng.uniform(0.1, 2, size=(5, 5))
        close(student.layer(ink, square, np.arange(1.0, 6.0)), reference_layer(ink, square, np.arange(1.0, 6.0)))
    with case("the bias is added before the comparison with 0", hint="First x @ weight + bias, all of it; the comparison with 0 comes last."):
        lifting = (ink @ strength).max(axis=0) + shifts  # every sum is negative without its bias, and positive with it
        close(student.layer(ink, -strength, lifting), reference_layer(ink, -strength, lifting))
    with case("nothing negative comes out", hint="The larger of each sum and 0: np.maximum(sums, 0)."):
        found = student.layer(np.concatenate([x, -x]), weight, 0 * bias)
        close(found, reference_layer(np.concatenate([x, -x]), weight, 0 * bias))
    with case("leaves its inputs as they were", side=True):
        student.layer(x, weight, bias)
        inputs_unchanged(student)


ONE_UNIT, OWN, BATCH, SQUARE, BEFORE, RELU = (
    "one row, one unit: the neuron of before",
    "every unit has its own column of weights, and its own bias",
    "a batch: every row gets its own answer",
    "as many units as inputs",
    "the bias is added before the comparison with 0",
    "nothing negative comes out",
)


@layer.right("one number at a time")
def _(x, weight, bias):
    rows, units = len(x), weight.shape[1]
    out = np.zeros((rows, units))
    for n in range(rows):
        for j in range(units):
            total = bias[j]
            for i in range(x.shape[1]):
                total += x[n, i] * weight[i, j]
            out[n, j] = max(total, 0.0)
    return out


layer.slip("no comparison with 0", ("max(total, 0.0)", "total"), of="one number at a time", fails=RELU)
layer.slip("the bias of the first unit for all", ("bias[j]", "bias[0]"), of="one number at a time", fails=(OWN, BATCH, SQUARE, BEFORE))
layer.slip("rows and columns of the weight swapped", ("weight[i, j]", "weight[j, i]"), of="one number at a time",
    fails=(ONE_UNIT, OWN, BATCH, SQUARE, BEFORE, RELU, "leaves its inputs as they were"))  # fmt: skip
layer.slip("only the last row kept", ("out[n, j]", "out[-1, j]"), of="one number at a time", fails=(BATCH, SQUARE, BEFORE, RELU))


@layer.wrong("transposed until the shapes fit", fails=SQUARE)
def _(x, weight, bias):
    fits = weight.T if weight.shape[1] == x.shape[1] else weight
    return np.maximum(x @ fits + bias, 0)


@layer.wrong("the bias left out", fails=(ONE_UNIT, OWN, BATCH, SQUARE, BEFORE))
def _(x, weight, bias):
    return np.maximum(x @ weight, 0)


@layer.wrong("the bias added after the comparison with 0", fails=BEFORE)
def _(x, weight, bias):
    return np.maximum(x @ weight, 0) + bias


@layer.wrong("averaged over the batch", fails=(BATCH, SQUARE, BEFORE, RELU))
def _(x, weight, bias):
    return np.maximum(x @ weight + bias, 0).mean(axis=0, keepdims=True)


@layer.wrong("squashed to 0 and 1", fails=(ONE_UNIT, OWN, BATCH, SQUARE, BEFORE, RELU))
def _(x, weight, bias):
    return (x @ weight + bias > 0).astype(float)


@layer.right("with a column of ones for the bias")
def _(x, weight, bias):
    sums = np.concatenate([x, np.ones((len(x), 1))], axis=1) @ np.concatenate([weight, bias[None]])
    return np.where(sums > 0, sums, 0.0)


@exercise("large_models.mlp_params", points=2, reference=COUNTING)
def mlp_params(student, rng):
    """The adjustable numbers of a chain of layers."""
    sizes = [int(size) for size in rng.choice(np.arange(3, 60), size=5, replace=False)]
    with case("one layer: a weight for each pair, a bias for each output", hint="D × H weights and H biases."):
        same(student.mlp_params(sizes[:2]), counting.mlp_params(sizes[:2]))
    with case("a hidden layer: two tables of weights, two rows of biases", hint="Add up over neighbours: (D, H), then (H, K)."):
        same(student.mlp_params(sizes[:3]), counting.mlp_params(sizes[:3]))
    with case("any depth", hint="Go through all neighbouring pairs of sizes, not only the first two."):
        same(student.mlp_params(sizes), counting.mlp_params(sizes))
    with case(
        "layers of equal size", hint="Two layers may have the same size and still have weights of their own: go by their places, not by their sizes."
    ):
        width, other = sizes[3:]
        for alike in ([64, 64, 10], [width] * 4, [width, other, width, other]):
            same(student.mlp_params(alike), counting.mlp_params(alike))
    with case("enormous counts stay exact", hint="Whole numbers of Python never overflow; NumPy's int32 and floats do not hold every one."):
        huge = [94_906_268, 94_906_281, 3]  # an odd number above 2**53
        same(student.mlp_params(huge), counting.mlp_params(huge))
    with case("sizes may be a tuple, and stay as they were", side=True):
        same(student.mlp_params(tuple(sizes)), counting.mlp_params(sizes))
        student.mlp_params(sizes)
        inputs_unchanged(student)


ONE, HIDDEN, DEPTH, ALIKE_SIZES, EXACT, TUPLE = (
    "one layer: a weight for each pair, a bias for each output",
    "a hidden layer: two tables of weights, two rows of biases",
    "any depth",
    "layers of equal size",
    "enormous counts stay exact",
    "sizes may be a tuple, and stay as they were",
)


@mlp_params.right("weights and biases apart")
def _(sizes):
    weights = sum(sizes[i] * sizes[i + 1] for i in range(len(sizes) - 1))
    return weights + sum(sizes[1:])


mlp_params.slip(
    "weights only", ("weights + sum(sizes[1:])", "weights"), of="weights and biases apart", fails=(ONE, HIDDEN, DEPTH, ALIKE_SIZES, EXACT, TUPLE)
)
mlp_params.slip(
    "a bias for every input too", ("sizes[1:]", "sizes"), of="weights and biases apart", fails=(ONE, HIDDEN, DEPTH, ALIKE_SIZES, EXACT, TUPLE)
)
mlp_params.slip("the last layer forgotten", ("len(sizes) - 1", "max(1, len(sizes) - 2)"), of="weights and biases apart",
    fails=(HIDDEN, DEPTH, ALIKE_SIZES, EXACT, TUPLE))  # fmt: skip


@mlp_params.wrong("a network of one hidden layer, always", fails=(ONE, DEPTH, ALIKE_SIZES, TUPLE))
def _(sizes):
    inputs, hidden, outputs = (*sizes, 0)[:3] if len(sizes) < 3 else sizes[:3]
    return inputs * hidden + hidden + hidden * outputs + outputs + (len(sizes) < 3)


@mlp_params.wrong("neurons counted", fails=(ONE, HIDDEN, DEPTH, ALIKE_SIZES, EXACT, TUPLE))
def _(sizes):
    return sum(sizes)


@mlp_params.wrong("in floating point", fails=EXACT)
def _(sizes):
    return float(sum(np.float64(inputs) * outputs + outputs for inputs, outputs in itertools.pairwise(sizes)))


mlp_params.slip("the neighbour looked up by size", ("sizes[i] * sizes[i + 1]", "sizes[i] * sizes[sizes.index(sizes[i]) + 1]"),
    of="weights and biases apart", fails=ALIKE_SIZES)  # fmt: skip


@mlp_params.wrong("a set of pairs", fails=ALIKE_SIZES)
def _(sizes):
    return sum((inputs + 1) * outputs for inputs, outputs in set(itertools.pairwise(sizes)))


@mlp_params.wrong("a dict from each size to the next", fails=ALIKE_SIZES)
def _(sizes):
    return sum((inputs + 1) * outputs for inputs, outputs in dict(itertools.pairwise(sizes)).items())


@mlp_params.right("the arrays are made in mind, and their shapes multiplied")
def _(sizes):
    shapes = [(inputs + 1, outputs) for inputs, outputs in itertools.pairwise(sizes)]
    total = 0
    for rows, columns in shapes:
        total += rows * columns
    return total


@exercise("large_models.conv_cost", points=3, reference=COUNTING)
def conv_cost(student, rng):
    """A convolution: few parameters, used at every place."""
    channels_in, channels_out = (int(number) for number in rng.choice(np.arange(5, 40), size=2, replace=False))
    kernel, height, width = int(rng.choice([3, 5, 7])), int(rng.integers(40, 60)), int(rng.integers(10, 30))

    def wanted(inputs, outputs, side, rows, columns):
        return counting.conv2d_params(inputs, outputs, side), inputs * outputs * side * side * rows * columns

    with case("grey in, one channel out: one kernel and one bias", hint="A K × K kernel has K² weights."):
        same(student.conv_cost(1, 1, kernel, height, width)[0], kernel * kernel + 1)
    with case("parameters: every output channel has a kernel over all input channels", hint="C_out kernels of C_in × K × K weights."):
        same(student.conv_cost(channels_in, channels_out, kernel, height, width)[0], wanted(channels_in, channels_out, kernel, height, width)[0])
    with case(
        "a larger picture changes no parameter", hint="The same kernel is laid on every place. The picture's size must not occur in the first number."
    ):
        small, large = (student.conv_cost(channels_in, channels_out, kernel, side, side)[0] for side in (8, 224))
        same(small, large)
        same(small, wanted(channels_in, channels_out, kernel, 8, 8)[0])
    with case(
        "multiplications: every weight at every place",
        hint="Each of the height × width places uses every weight once; a bias is added, not multiplied.",
    ):
        same(student.conv_cost(channels_in, channels_out, kernel, height, width)[1], wanted(channels_in, channels_out, kernel, height, width)[1])
    with case("1 × 1: a layer that looks at one place", hint="K = 1 is allowed: the kernel has one weight for each input channel."):
        same(tuple(student.conv_cost(channels_in, channels_out, 1, height, width)), wanted(channels_in, channels_out, 1, height, width))
    with case("enormous counts stay exact", hint="Python's whole numbers are exact at any size; a float rounds above 2**53."):
        huge = 2**27 + 1, 2**27 + 3, 3, 3, 5
        same(tuple(student.conv_cost(*huge)), wanted(*huge))


GREY, CHANNELS, LARGER, MULTIPLICATIONS, POINT = (
    "grey in, one channel out: one kernel and one bias",
    "parameters: every output channel has a kernel over all input channels",
    "a larger picture changes no parameter",
    "multiplications: every weight at every place",
    "1 × 1: a layer that looks at one place",
)


@conv_cost.right("weights first")
def _(in_channels, out_channels, kernel, height, width):
    weights = out_channels * in_channels * kernel**2
    biases = out_channels
    return weights + biases, weights * height * width


conv_cost.slip("one kernel shared by all input channels", ("out_channels * in_channels * kernel", "out_channels * kernel"), of="weights first",
    fails=(CHANNELS, LARGER, MULTIPLICATIONS, POINT, EXACT))  # fmt: skip
conv_cost.slip("the kernel's side for its area", ("kernel**2", "kernel"), of="weights first", fails=(GREY, CHANNELS, LARGER, MULTIPLICATIONS, EXACT))
conv_cost.slip(
    "a bias for each input channel", ("biases = out_channels", "biases = in_channels"), of="weights first", fails=(CHANNELS, LARGER, POINT, EXACT)
)
conv_cost.slip("no bias", ("biases = out_channels", "biases = 0"), of="weights first", fails=(GREY, CHANNELS, LARGER, POINT, EXACT))
conv_cost.slip(
    "biases multiplied too", ("weights * height", "(weights + biases) * height"), of="weights first", fails=(MULTIPLICATIONS, POINT, EXACT)
)
conv_cost.slip("each weight multiplied once", ("weights * height * width", "weights"), of="weights first", fails=(MULTIPLICATIONS, POINT, EXACT))
conv_cost.slip("height taken for width", ("height * width", "height * height"), of="weights first", fails=(MULTIPLICATIONS, POINT, EXACT))


@conv_cost.wrong("weights of its own for every place", fails=(GREY, CHANNELS, LARGER, POINT, EXACT))
def _(in_channels, out_channels, kernel, height, width):
    weights = out_channels * in_channels * kernel**2 * height * width
    return weights + out_channels, weights


@conv_cost.wrong("in floating point", fails=EXACT)
def _(in_channels, out_channels, kernel, height, width):
    weights = float(out_channels) * in_channels * kernel**2
    return weights + out_channels, weights * height * width


@conv_cost.right("as an affine layer on a patch")
def _(in_channels, out_channels, kernel, height, width):
    patch = in_channels * kernel * kernel
    places = height * width
    return [(patch + 1) * out_channels, patch * places * out_channels]


@exercise("large_models.lstm_params", points=3, reference=COUNTING)
def lstm_params(student, rng):
    """Four gates, each with weights for the input and for the state."""
    inputs, hidden = (int(number) for number in rng.choice(np.arange(5, 60), size=2, replace=False))

    def wanted(inputs, hidden, layers, biases):
        return counting.lstm_params(inputs, hidden, layers) - (0 if biases == 2 else 4 * hidden * layers)

    with case("one layer with two biases, as torch counts", hint="Four gates; each has D × H weights, H × H weights and `biases` × H biases."):
        same(student.lstm_params(inputs, hidden, 1, 2), wanted(inputs, hidden, 1, 2))
    with case("one layer with one bias, as Keras counts", hint="`biases` says how many rows of H biases each gate has."):
        same(student.lstm_params(inputs, hidden, 1, 1), wanted(inputs, hidden, 1, 1))
    with case(
        "the second layer reads the first one's state",
        hint="What comes into layer 2 is H wide, not D: its input tables and its state tables are all H × H.",
    ):
        same(student.lstm_params(inputs, hidden, 2, 2), wanted(inputs, hidden, 2, 2))
    with case("any number of layers", hint="Only the first layer sees the D inputs; every later one has input tables and state tables of H × H."):
        same(student.lstm_params(inputs, hidden, 5, 1), wanted(inputs, hidden, 5, 1))
    with case("enormous counts stay exact", hint="Python's whole numbers are exact at any size; a float rounds above 2**53."):
        same(student.lstm_params(94_906_270, 94_906_267, 3, 2), wanted(94_906_270, 94_906_267, 3, 2))
    with case("inputs as wide as the state", side=True):
        same(student.lstm_params(hidden, hidden, 3, 2), wanted(hidden, hidden, 3, 2))


TORCH, KERAS, SECOND, ANY, ALIKE = (
    "one layer with two biases, as torch counts",
    "one layer with one bias, as Keras counts",
    "the second layer reads the first one's state",
    "any number of layers",
    "inputs as wide as the state",
)


@lstm_params.right("layer by layer")
def _(inputs, hidden, layers, biases):
    total, width = 0, inputs
    for _layer in range(layers):
        gate = width * hidden + hidden * hidden + biases * hidden
        total += 4 * gate
        width = hidden
    return total


EVERYTHING = (TORCH, KERAS, SECOND, ANY, EXACT, ALIKE)
lstm_params.slip("one map, as in a plain recurrent network", ("4 * gate", "gate"), of="layer by layer", fails=EVERYTHING)
lstm_params.slip("three gates, as in a GRU", ("4 * gate", "3 * gate"), of="layer by layer", fails=EVERYTHING)
lstm_params.slip("one bias always", ("biases * hidden", "hidden"), of="layer by layer", fails=(TORCH, SECOND, EXACT, ALIKE))
lstm_params.slip("two biases always", ("biases * hidden", "2 * hidden"), of="layer by layer", fails=(KERAS, ANY))
lstm_params.slip("every layer reads the input", ("        width = hidden\n", ""), of="layer by layer", fails=(SECOND, ANY, EXACT))
lstm_params.slip("the state's weights forgotten", ("width * hidden + hidden * hidden +", "width * hidden +"), of="layer by layer", fails=EVERYTHING)
lstm_params.slip("the later layers forgotten", ("range(layers)", "range(1)"), of="layer by layer", fails=(SECOND, ANY, EXACT, ALIKE))


@lstm_params.wrong("in floating point", fails=EXACT)
def _(inputs, hidden, layers, biases):
    return 4.0 * hidden * (inputs + hidden + biases) + (layers - 1) * 4.0 * hidden * (2 * hidden + biases)


@lstm_params.right("in one formula")
def _(inputs, hidden, layers, biases):
    return 4 * hidden * (inputs + hidden + biases) + (layers - 1) * 4 * hidden * (2 * hidden + biases)


@exercise("large_models.block_params", points=3, reference=COUNTING)
def block_params(student, rng):
    """One block of a Transformer."""
    with case(
        "the blocks of GPT-2, of GPT-3, and others four times as wide inside",
        hint="Attention: four maps d → d. Feed-forward: d → h and h → d. Two layer norms of 2d. All maps have biases.",
    ):
        for size in (GPT2.width, GPT3.width, int(rng.integers(8, 200))):
            same(student.block_params(size, 4 * size), counting.block_params(size, 4 * size))
    width, hidden = (int(number) for number in rng.choice(np.arange(8, 200), size=2, replace=False))
    attention, norms = counting.attention_params(width), 2 * counting.layer_norm_params(width)
    with case(
        "what does not depend on the feed-forward width",
        hint="Query, key, value and output make four maps with biases; each norm has a scale and a shift.",
    ):
        one, two = (student.block_params(width, size) for size in (hidden, 2 * hidden))
        same(2 * one - two - width, attention + norms)
    with case("each further feed-forward unit costs its weights in and out, and one bias", hint="d weights into it, one bias, d weights out of it."):
        one, two = (student.block_params(width, size) for size in (hidden, hidden + 1))
        same(two - one, 2 * width + 1)
    with case("any width, any feed-forward width", hint="The feed-forward width is given; it need not be four times the width."):
        same(student.block_params(width, hidden), counting.block_params(width, hidden))
    with case("enormous counts stay exact", hint="Python's whole numbers are exact at any size; a float rounds above 2**53."):
        same(student.block_params(94_906_268, 94_906_281), counting.block_params(94_906_268, 94_906_281))


GPT_BLOCK, FIXED, UNIT, WIDTHS = (
    "the blocks of GPT-2, of GPT-3, and others four times as wide inside",
    "what does not depend on the feed-forward width",
    "each further feed-forward unit costs its weights in and out, and one bias",
    "any width, any feed-forward width",
)


@block_params.right("part by part")
def _(width, hidden):
    attention = 4 * (width * width + width)
    feed_forward = width * hidden + hidden + hidden * width + width
    norms = 2 * (2 * width)
    return attention + feed_forward + norms


WHOLE = (GPT_BLOCK, FIXED, WIDTHS, EXACT)
block_params.slip("the output map of attention forgotten", ("attention = 4", "attention = 3"), of="part by part", fails=WHOLE)
block_params.slip("no biases in attention", ("width * width + width", "width * width"), of="part by part", fails=WHOLE)
block_params.slip("one layer norm", ("2 * (2 * width)", "2 * width"), of="part by part", fails=WHOLE)
block_params.slip("no layer norm", ("2 * (2 * width)", "0"), of="part by part", fails=WHOLE)
block_params.slip(
    "the way back to the width forgotten", (" + hidden * width + width", ""), of="part by part", fails=(GPT_BLOCK, FIXED, UNIT, WIDTHS, EXACT)
)
block_params.slip("no biases in the feed-forward part", ("width * hidden + hidden + hidden * width + width", "2 * width * hidden"),
    of="part by part", fails=(GPT_BLOCK, FIXED, UNIT, WIDTHS, EXACT))  # fmt: skip


@block_params.wrong("four times the width, always", fails=(FIXED, UNIT, WIDTHS, EXACT))
def _(width, hidden):
    return 12 * width * width + 13 * width


@block_params.wrong("twelve times the square", fails=(GPT_BLOCK, FIXED, UNIT, WIDTHS, EXACT))
def _(width, hidden):
    return 12 * width * width


@block_params.wrong("in floating point", fails=EXACT)
def _(width, hidden):
    return 4.0 * (width * width + width) + 2.0 * width * hidden + hidden + 5.0 * width


@block_params.right("rows and columns of every table")
def _(width, hidden):
    tables = [(width + 1, width)] * 4 + [(width + 1, hidden), (hidden + 1, width), (2, width), (2, width)]
    return sum(rows * columns for rows, columns in tables)


@exercise(
    "large_models.mend_bert_params",
    points=3,
    reference=COUNTING,
    mends=(
        "BERT-base, and a very small BERT",
        "BERT-large",
        "a longer text costs a row of the table for each position, and no more",
        "another layer costs one block",
    ),
)
def mend_bert_params(student, rng):
    """How many parameters has BERT?"""

    def shape(**changes):
        numbers = {"vocabulary": 999, "positions": 33, "width": 24, "hidden": 50, "layers": 3, "heads": 4, "segments": 2} | changes
        return TransformerShape("a BERT", "bert", **numbers)

    def count(shape):
        return student.mend_bert_params(shape.vocabulary, shape.positions, shape.segments, shape.width, shape.hidden, shape.layers)

    with case(
        "BERT-base, and a very small BERT",
        hint="All positions of a text go through the same blocks. The three tables stay: each position has a row in one of them.",
    ):
        small = shape(vocabulary=int(rng.integers(50, 90)), positions=int(rng.integers(5, 40)), hidden=int(rng.integers(30, 60)))
        for one, name in (
            (BERT_BASE, "BERT-base"),
            (small, f"a BERT of {small.vocabulary} tokens, {small.positions} positions, width {small.width} and {small.layers} layers"),
        ):
            same(count(one), counting.transformer_params(one), f"the count of {name}")
    with case("BERT-large", hint="Nothing about BERT-base may be written into the program as a number."):
        same(count(BERT_LARGE), counting.transformer_params(BERT_LARGE))
    positions, layers = (int(number) for number in rng.integers(5, 40, size=2))
    with case(
        "a longer text costs a row of the table for each position, and no more",
        hint="The same blocks serve every position, as a kernel serves every place. But the table of positions keeps its row for each.",
    ):
        same(count(shape(positions=positions + 7)) - count(shape(positions=positions)), 7 * 24)
        holds(bool(count(shape(vocabulary=1, positions=1)) > 3 * counting.block_params(24, 50)), "The blocks have gone, and not only their copies.")
    with case("another layer costs one block", hint="Each of the layers has weights of its own; positions do not."):
        same(count(shape(layers=layers + 1)) - count(shape(layers=layers)), counting.block_params(24, 50))
    with case("another word, or another segment, costs one row", side=True):
        same(count(shape(vocabulary=1009)) - count(shape()), 10 * 24)
        same(count(shape(segments=5)) - count(shape()), 3 * 24)


BASE, LARGE, LONGER, LAYER, ROW = (
    "BERT-base, and a very small BERT",
    "BERT-large",
    "a longer text costs a row of the table for each position, and no more",
    "another layer costs one block",
    "another word, or another segment, costs one row",
)


@mend_bert_params.right("part by part")
def _(vocabulary, positions, segments, width, hidden, layers):
    embeddings = (vocabulary + positions + segments) * width + 2 * width
    attention = 4 * (width * width + width)
    feed_forward = width * hidden + hidden + hidden * width + width
    norms = 2 * (2 * width)
    pooler = width * width + width
    return embeddings + layers * (attention + feed_forward + norms) + pooler


mend_bert_params.slip("a block for every position, as it was found", ("layers * (attention", "positions * layers * (attention"), of="part by part",
    fails=(BASE, LARGE, LONGER, LAYER))  # fmt: skip
mend_bert_params.slip(
    "the same block in all layers", ("layers * (attention", "1 * (attention"), of="part by part", fails=(BASE, LARGE, LONGER, LAYER)
)
mend_bert_params.slip("a block for every segment", ("layers * (attention", "segments * layers * (attention"), of="part by part",
    fails=(BASE, LARGE, LAYER, ROW))  # fmt: skip
mend_bert_params.slip("positions thrown out altogether", ("(vocabulary + positions + segments)", "(vocabulary + segments)"), of="part by part",
    fails=(BASE, LARGE, LONGER))  # fmt: skip
mend_bert_params.slip("512 written as a number", ("vocabulary + positions +", "vocabulary + 512 +"), of="part by part", fails=(BASE, LONGER))
mend_bert_params.slip("attention at every position, the rest shared", ("(attention + feed", "(positions * attention + feed"), of="part by part",
    fails=(BASE, LARGE, LONGER, LAYER))  # fmt: skip


@mend_bert_params.right("tables of rows and columns")
def _(vocabulary, positions, segments, width, hidden, layers):
    block = [(width + 1, width)] * 4 + [(width + 1, hidden), (hidden + 1, width)] + [(2, width)] * 2
    tables = [(vocabulary, width), (positions, width), (segments, width), (2, width), *block * layers, (width + 1, width)]
    return sum(rows * columns for rows, columns in tables)


@exercise("large_models.training_memory", points=5, reference="course_lib.scale.memory")
def training_memory(student, rng):
    """What lies in memory while a Transformer learns."""
    heads, head_width = int(rng.integers(2, 9)), int(rng.choice([8, 24, 32, 64]))
    shape = TransformerShape("a model", "gpt2", 1000, 4096, head_width * heads, 4 * head_width * heads, int(rng.integers(3, 30)), heads)
    batch, context, params = int(rng.integers(2, 9)), int(rng.integers(50, 300)), int(rng.integers(10**6, 10**9))

    def ask(params=params, batch=batch, context=context, recompute=False):
        return student.training_memory(params, shape.layers, shape.width, shape.heads, batch, context, recompute)

    def wanted(batch=batch, context=context, recompute=False):
        return memory.training_bytes(shape, params, batch, context, memory.ADAM_MIXED, recompute)

    with case("weights and gradients take two bytes each", hint="16 bits are 2 bytes."):
        found = ask()
        close((found["weights"], found["gradients"]), (2 * params, 2 * params))
    with case(
        "the optimiser keeps three 32-bit numbers for each parameter", hint="A precise copy of the weight and Adam's two averages, 4 bytes each."
    ):
        close(ask()["optimizer"], 12 * params)
    with case(
        "activations: short texts in one row",
        hint="Per layer and token 34 d bytes, and 5 a T for the maps: the maps of a heads compare it with T tokens.",
    ):
        close(ask(batch=1, context=1)["activations"], wanted(batch=1, context=1)["activations"])
        close(ask(batch=1)["activations"], wanted(batch=1)["activations"])
    with case(
        "activations grow in proportion to the batch, and faster than in proportion to the context",
        hint="A token is compared with the T tokens of its own text, never with those of another: the batch enters once, the context twice.",
    ):
        one = ask()["activations"]
        close(ask(batch=3 * batch)["activations"], 3 * one)
        close(ask(context=2 * context)["activations"], wanted(context=2 * context)["activations"])
    with case(
        "recomputing keeps each layer's input, and one layer in full",
        hint="2 bytes × width for each token and layer; and one layer as it is without recomputing.",
    ):
        close(ask(recompute=True)["activations"], wanted(recompute=True)["activations"])
    with case("recomputing changes the activations alone", side=True):
        same(sorted(ask(recompute=True)), ["activations", "gradients", "optimizer", "weights"], "the keys, sorted,")
        with_, without = ask(recompute=True), ask()
        close([with_[key] for key in ("weights", "gradients", "optimizer")], [without[key] for key in ("weights", "gradients", "optimizer")])


TWO, THREE, SHORT, GROW, RECOMPUTE, ALONE = (
    "weights and gradients take two bytes each",
    "the optimiser keeps three 32-bit numbers for each parameter",
    "activations: short texts in one row",
    "activations grow in proportion to the batch, and faster than in proportion to the context",
    "recomputing keeps each layer's input, and one layer in full",
    "recomputing changes the activations alone",
)


@training_memory.right("layer by layer")
def _(params, layers, width, heads, batch, context, recompute):
    tokens = batch * context
    one_layer = tokens * (34 * width + 5 * heads * context)
    if recompute:
        activations = layers * tokens * 2 * width + one_layer
    else:
        activations = layers * one_layer
    return {"weights": 2 * params, "gradients": 2 * params, "optimizer": 12 * params, "activations": activations}


training_memory.slip("everything in 32 bits", ('"weights": 2 * params, "gradients": 2 *', '"weights": 4 * params, "gradients": 4 *'),
    of="layer by layer", fails=TWO)  # fmt: skip
training_memory.slip("Adam's averages without the precise copy", ("12 * params", "8 * params"), of="layer by layer", fails=THREE)
training_memory.slip("the maps forgotten", ("(34 * width + 5 * heads * context)", "34 * width"), of="layer by layer", fails=(SHORT, GROW, RECOMPUTE))
training_memory.slip("maps without their heads", ("5 * heads * context", "5 * context"), of="layer by layer", fails=(SHORT, GROW, RECOMPUTE))
training_memory.slip("maps of a token with itself only", ("5 * heads * context", "5 * heads"), of="layer by layer", fails=(SHORT, GROW, RECOMPUTE))
training_memory.slip("as many heads as sixteens in the width", ("5 * heads * context", "5 * (width // 16) * context"), of="layer by layer",
    fails=(SHORT, GROW, RECOMPUTE))  # fmt: skip
training_memory.slip("tokens compared with the whole batch", ("5 * heads * context", "5 * heads * tokens"), of="layer by layer",
    fails=(GROW, RECOMPUTE))  # fmt: skip
training_memory.slip("one layer taken for all", ("layers * one_layer", "one_layer"), of="layer by layer", fails=(SHORT, GROW))
training_memory.slip("the batch forgotten", ("tokens = batch * context", "tokens = context"), of="layer by layer", fails=(GROW, RECOMPUTE))
training_memory.slip("nothing is kept in full", (" + one_layer", ""), of="layer by layer", fails=RECOMPUTE)
training_memory.slip("inputs of one byte", ("tokens * 2 * width", "tokens * width"), of="layer by layer", fails=RECOMPUTE)
training_memory.slip("recomputing spares gradients too", ('"gradients": 2 * params', '"gradients": 0 if recompute else 2 * params'),
    of="layer by layer", fails=ALONE)  # fmt: skip


@training_memory.right("in floating point, token by token")
def _(params, layers, width, heads, batch, context, recompute):
    per_token = 34.0 * width + 5.0 * heads * context
    kept = 2.0 * width * layers + per_token if recompute else per_token * layers
    out = {name: size * float(params) for name, size in (("weights", 2), ("gradients", 2), ("optimizer", 12))}
    out["activations"] = kept * batch * context
    return out


@exercise("large_models.training_cost", points=4, reference="course_lib.scale.flops")
def training_cost(student, rng):
    """Operations, days and dollars of a training run."""
    card = replace(hardware.A100, peak=float(rng.uniform(1e14, 2e15)))
    params, tokens = float(rng.uniform(1e8, 1e11)), float(rng.uniform(1e10, 1e13))
    share, cards, price = float(rng.uniform(0.25, 0.6)), int(rng.integers(8, 2000)), float(rng.uniform(1, 4))
    right = flops.training_cost(params, tokens, flops.Plan(card, cards, share, price))

    def ask(**changes):
        given = {"params": params, "tokens": tokens, "peak": card.peak, "utilisation": share, "cards": cards, "price": price} | changes
        return student.training_cost(*given.values())

    with case("operations: two forward and four backward, for each parameter and token", hint="6 N D."):
        close(ask()["flops"], right.flops)
    with case("days: operations by what all cards really do in a day", hint="peak × utilisation × cards in a second; 86,400 seconds in a day."):
        close(ask()["days"], right.days)
    with case("dollars: every card is paid for every hour", hint="cards × days × 24 hours × price."):
        close(ask()["dollars"], right.dollars)
    with case("a lower utilisation takes longer and costs more", hint="The cards do `utilisation` of their peak: it belongs in the divisor."):
        close(ask(utilisation=share / 2)["days"], 2 * right.days)
        close(ask(utilisation=share / 2)["dollars"], 2 * right.dollars)
    with case("twice the cards: half the days, the same bill", hint="Half as long, but twice as many cards are paid for."):
        found = ask(cards=2 * cards)
        close((found["days"], found["dollars"]), (right.days / 2, right.dollars))
    with case("the operations depend on neither cards nor price", side=True):
        close(ask(cards=1, price=0.0, utilisation=1.0)["flops"], right.flops)
        holds(ask(price=0.0)["dollars"] == 0, "Cards that cost nothing make a bill of something.")


OPERATIONS, DAYS, DOLLARS, LOWER, TWICE, NEITHER = (
    "operations: two forward and four backward, for each parameter and token",
    "days: operations by what all cards really do in a day",
    "dollars: every card is paid for every hour",
    "a lower utilisation takes longer and costs more",
    "twice the cards: half the days, the same bill",
    "the operations depend on neither cards nor price",
)


@training_cost.right("seconds first")
def _(params, tokens, peak, utilisation, cards, price):
    operations = 6 * params * tokens
    seconds = operations / (peak * utilisation * cards)
    return {"flops": operations, "days": seconds / 86400, "dollars": seconds / 3600 * cards * price}


LATER = (DAYS, LOWER, DOLLARS, TWICE)
training_cost.slip("forward only", ("6 * params", "2 * params"), of="seconds first", fails=(OPERATIONS, *LATER, NEITHER))
training_cost.slip("a multiply-add counted once", ("6 * params", "3 * params"), of="seconds first", fails=(OPERATIONS, *LATER, NEITHER))
training_cost.slip("the peak taken at its word", ("peak * utilisation * cards", "peak * cards"), of="seconds first", fails=LATER)
training_cost.slip("utilisation on the wrong side", ("(peak * utilisation * cards)", "(peak * cards) * utilisation"), of="seconds first", fails=LATER)
training_cost.slip(
    "one card paid for", ("seconds / 3600 * cards * price", "seconds / 3600 * price"), of="seconds first", fails=(LOWER, DOLLARS, TWICE)
)
training_cost.slip("paid by the day", ("seconds / 3600 * cards", "seconds / 86400 * cards"), of="seconds first", fails=(LOWER, DOLLARS, TWICE))
training_cost.slip("hours called days", ("seconds / 86400", "seconds / 3600"), of="seconds first", fails=(DAYS, LOWER, TWICE))
training_cost.slip("always the peak of an A100", ("peak * utilisation", "312e12 * utilisation"), of="seconds first", fails=LATER)
training_cost.slip("one card works", ("peak * utilisation * cards", "peak * utilisation"), of="seconds first", fails=LATER)


@training_cost.right("operations as a whole number, beyond 64 bits")
def _(params, tokens, peak, utilisation, cards, price):
    operations = int(6 * params * tokens)
    hours = operations / (peak * utilisation * cards) / 3600
    return {"flops": operations, "days": hours / 24, "dollars": hours * cards * price}


@training_cost.right("card-hours first")
def _(params, tokens, peak, utilisation, cards, price):
    forward, backward = 2 * params * tokens, 4 * params * tokens
    card_hours = (forward + backward) / peak / utilisation / 3600
    return {"flops": forward + backward, "days": card_hours / cards / 24, "dollars": price * card_hours}
