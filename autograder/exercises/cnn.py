"""What the exercises of chapter 06 demand. Trusted side: student code is reached only through `student`."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from autograder.checking import case, close, exercise, holds, inputs_unchanged, same
from autograder.checking.cases import StudentError

CONV = ("course_lib.scratch.conv", "course_lib.scratch.pooling")


def normal(rng, *shape, scale=1.0):
    """Normal numbers as a tensor of torch's own kind."""
    return torch.from_numpy(scale * rng.normal(size=shape)).float()


SINGLE = "single steps, nothing added: the kernel fits size - kernel + 1 times"
BOTH = "padding is added on both sides"
REST = "with a stride, what is left over at the end is not counted"
SPREAD = "a dilated kernel covers more than it has weights"
TOGETHER = "all of them together"


@exercise("cnn.output_size", points=2, reference=CONV)
def output_size(student, rng):
    """At how many places a kernel fits."""
    with case(SINGLE, hint="Lay a kernel of 3 on 5 pixels: it can begin at pixel 0, 1 or 2."):
        for size, kernel in ((5, 3), (28, 5), (9, 4)):
            same(student.output_size(size, kernel), size - kernel + 1, "the number of places")
    with case(BOTH, hint="padding=1 makes the axis longer by 2."):
        for size, kernel, padding in ((28, 3, 1), (28, 5, 2), (8, 3, 2)):
            same(student.output_size(size, kernel, padding=padding), size + 2 * padding - kernel + 1, "the number of places")
    with case(REST, hint="Whole steps only, rounded down; and the place before the first step counts too."):
        for size, kernel, stride, wanted in ((28, 2, 2, 14), (7, 2, 2, 3), (28, 3, 2, 13), (8, 3, 3, 2)):
            same(student.output_size(size, kernel, stride=stride), wanted, "the number of places")
    with case(SPREAD, hint="K weights that stand d apart have K - 1 gaps: the kernel covers d (K - 1) + 1 pixels."):
        for size, kernel, dilation, wanted in ((9, 3, 2, 5), (28, 5, 3, 16), (11, 2, 4, 7)):
            same(student.output_size(size, kernel, dilation=dilation), wanted, "the number of places")
    with case(TOGETHER, hint="First how much the kernel covers, then how much room is left beside it, then the steps."):
        for _ in range(20):
            size, kernel, stride, padding, dilation = (int(rng.integers(*between)) for between in ((16, 40), (2, 5), (2, 4), (1, 4), (2, 4)))
            wanted = len(range(0, size + 2 * padding - dilation * (kernel - 1), stride))
            same(student.output_size(size, kernel, stride=stride, padding=padding, dilation=dilation), wanted, "the number of places")


@output_size.right("the formula")
def _(size, kernel, stride=1, padding=0, dilation=1):
    covered = dilation * (kernel - 1) + 1
    return (size + 2 * padding - covered) // stride + 1


FORMULA = "the formula"
output_size.slip("the first place forgotten", (" // stride + 1", " // stride"), of=FORMULA, fails=(SINGLE, BOTH, REST, SPREAD, TOGETHER))
output_size.slip("padding on one side", ("2 * padding", "padding"), of=FORMULA, fails=(BOTH, TOGETHER))
output_size.slip(
    "rounded up",
    ("(size + 2 * padding - covered) // stride + 1", "-(-(size + 2 * padding - covered) // stride) + 1"),
    of=FORMULA,
    fails=(REST, TOGETHER),
)
output_size.slip("dilation times the whole kernel", ("dilation * (kernel - 1) + 1", "dilation * kernel"), of=FORMULA, fails=(SPREAD, TOGETHER))
output_size.slip("dilation ignored", ("dilation * (kernel - 1) + 1", "kernel"), of=FORMULA, fails=(SPREAD, TOGETHER))
output_size.slip("a fraction of a place", (" // stride", " / stride"), of=FORMULA, fails=(REST, TOGETHER))


@output_size.right("by counting")
def _(size, kernel, stride=1, padding=0, dilation=1):
    last = -padding + dilation * (kernel - 1)  # the pixel under the kernel's last weight
    places = 0
    while last < size + padding:
        places, last = places + 1, last + stride
    return places


def convolved(x, weight, bias, **how):
    """By torch, in float64."""
    return F.conv2d(torch.from_numpy(x), torch.from_numpy(weight), torch.from_numpy(bias), **how).numpy()


PLACES = "one channel: the kernel is laid on every place as it is"
CHANNELS = "several channels: every output channel adds up all input channels, and its own bias"
STRIDE = "with a stride"
PADDING = "with padding: zeros around the picture"
DILATION = "with dilation: gaps between the kernel's weights"
BATCH = "every picture of a batch, each for itself"
OBLONG = "pictures and kernels need not be square"
KEPT = "leaves its inputs as they were"


@exercise("cnn.conv2d", points=4, reference=CONV)
def conv2d(student, rng):
    """Convolution, place by place."""
    x, weight, bias = rng.normal(size=(2, 3, 7, 7)), rng.normal(size=(4, 3, 3, 3)), rng.normal(size=4)
    one, kernel = x[:1, :1], weight[:1, :1]
    with case(PLACES, hint="A window of the picture times the kernel, element by element, added up. Nothing is turned round."):
        close(student.conv2d(one, kernel, np.zeros(1)), convolved(one, kernel, np.zeros(1)))
    with case(CHANNELS, hint="weight[o] has the shape of a window, (C, K, L): multiply, add up everything, add bias[o]."):
        close(student.conv2d(x[:1], weight, bias), convolved(x[:1], weight, bias))
    with case(BATCH, hint="The first axis of x and of the result is the picture."):
        close(student.conv2d(x, weight, bias), convolved(x, weight, bias))
    with case(STRIDE, hint="Place p begins at pixel p · stride."):
        close(student.conv2d(x, weight, bias, stride=2), convolved(x, weight, bias, stride=2))
        close(student.conv2d(x, weight, bias, stride=3), convolved(x, weight, bias, stride=3))
    with case(PADDING, hint="np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding))) makes the larger picture."):
        close(student.conv2d(x, weight, bias, padding=2), convolved(x, weight, bias, padding=2))
    with case(DILATION, hint="A slice can have a step: padded[..., top : top + covered : dilation, …]."):
        close(student.conv2d(x, weight, bias, dilation=2), convolved(x, weight, bias, dilation=2))
    with case(OBLONG, hint="Rows come before columns: the third axis is the height, of the picture as of the kernel."):
        wide, low = rng.normal(size=(2, 3, 5, 9)), rng.normal(size=(4, 3, 2, 3))
        how = {"stride": 2, "padding": 1, "dilation": 2}
        close(student.conv2d(wide, low, bias, **how), convolved(wide, low, bias, **how))
    with case(KEPT, side=True):
        student.conv2d(x, weight, bias, padding=1)
        inputs_unchanged(student)


@conv2d.right("four loops")
def _(x, weight, bias, stride=1, padding=0, dilation=1):
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    tall, wide = dilation * (weight.shape[2] - 1) + 1, dilation * (weight.shape[3] - 1) + 1
    rows, columns = (x.shape[2] - tall) // stride + 1, (x.shape[3] - wide) // stride + 1
    out = np.zeros((len(x), len(weight), rows, columns))
    for n in range(len(x)):
        for o in range(len(weight)):
            for p in range(rows):
                for q in range(columns):
                    top, left = p * stride, q * stride
                    window = x[n, :, top : top + tall : dilation, left : left + wide : dilation]
                    out[n, o, p, q] = np.sum(window * weight[o]) + bias[o]
    return out


LOOPS = "four loops"
conv2d.slip(
    "the kernel turned round, as mathematicians convolve",
    ("window * weight[o]", "window * weight[o, :, ::-1, ::-1]"),
    of=LOOPS,
    fails=(PLACES, CHANNELS, BATCH, STRIDE, PADDING, DILATION, OBLONG),
)
conv2d.slip("bias forgotten", (" + bias[o]", ""), of=LOOPS, fails=(CHANNELS, BATCH, STRIDE, PADDING, DILATION, OBLONG))
conv2d.slip(
    "the bias once for every window's number",
    ("np.sum(window * weight[o]) + bias[o]", "np.sum(window * weight[o] + bias[o])"),
    of=LOOPS,
    fails=(CHANNELS, BATCH, STRIDE, PADDING, DILATION, OBLONG),
)
conv2d.slip(
    "the mean over the channels",
    ("np.sum(window * weight[o])", "np.sum(np.mean(window * weight[o], axis=0))"),
    of=LOOPS,
    fails=(CHANNELS, BATCH, STRIDE, PADDING, DILATION, OBLONG),
)
conv2d.slip(
    "the first channel alone",
    ("np.sum(window * weight[o])", "np.sum(window[0] * weight[o, 0])"),
    of=LOOPS,
    fails=(CHANNELS, BATCH, STRIDE, PADDING, DILATION, OBLONG),
)
conv2d.slip("steps of one, whatever the stride", ("top, left = p * stride, q * stride", "top, left = p, q"), of=LOOPS, fails=(STRIDE, OBLONG))
conv2d.slip(
    "padded after, not around", ("(padding, padding), (padding, padding))", "(0, 2 * padding), (0, 2 * padding))"), of=LOOPS, fails=(PADDING, OBLONG)
)
conv2d.slip(
    "padded with the nearest pixel",
    ("(padding, padding), (padding, padding)))", '(padding, padding), (padding, padding)), mode="edge")'),
    of=LOOPS,
    fails=(PADDING, OBLONG),
)
conv2d.slip(
    "the kernel's width for its height",
    ("tall, wide = dilation * (weight.shape[2] - 1) + 1", "tall, wide = dilation * (weight.shape[3] - 1) + 1"),
    of=LOOPS,
    fails=OBLONG,
)
conv2d.slip("the first picture for all", ("x[n, :,", "x[0, :,"), of=LOOPS, fails=(BATCH, STRIDE, PADDING, DILATION, OBLONG))
conv2d.slip(
    "dilation ignored",
    ("tall, wide = dilation * (weight.shape[2] - 1) + 1, dilation * (weight.shape[3] - 1) + 1", "tall, wide = weight.shape[2:]"),
    ("top : top + tall : dilation, left : left + wide : dilation", "top : top + tall, left : left + wide"),
    of=LOOPS,
    fails=(DILATION, OBLONG),
)


@conv2d.right("the kernel's weights in the outer loops, all places at once")
def _(x, weight, bias, stride=1, padding=0, dilation=1):
    n, c, h, w = x.shape
    o, _, k, l = weight.shape
    padded = np.zeros((n, c, h + 2 * padding, w + 2 * padding))
    padded[:, :, padding : padding + h, padding : padding + w] = x
    p = (h + 2 * padding - dilation * (k - 1) - 1) // stride + 1
    q = (w + 2 * padding - dilation * (l - 1) - 1) // stride + 1
    out = np.broadcast_to(bias[None, :, None, None], (n, o, p, q)).copy()
    for i in range(k):
        for j in range(l):
            part = padded[:, :, i * dilation :: stride, j * dilation :: stride][:, :, :p, :q]
            out += np.einsum("ncpq,oc->nopq", part, weight[:, :, i, j])
    return out


COLUMN = "one channel: every window is a column, the places in reading order"
INSIDE = "within a column: channel by channel, row by row"


@exercise("cnn.im2col", points=4, reference=CONV)
def im2col(student, rng):
    """Every window as a column."""
    x = rng.normal(size=(2, 3, 6, 8))

    def wanted(x, kernel, **how):
        return F.unfold(torch.from_numpy(x), kernel, **how).numpy()

    with case(COLUMN, hint="The first column is the window in the corner, the second the one a step to its right."):
        close(student.im2col(x[:1, :1], (2, 2)), wanted(x[:1, :1], (2, 2)))
    with case(INSIDE, hint="From (N, C, K, L, P, Q) to (N, C·K·L, P·Q): a reshape keeps the order of the axes, so bring them into this order first."):
        close(student.im2col(x, (3, 3)), wanted(x, (3, 3)))
    with case(OBLONG, hint="The kernel is a pair: its height, its width."):
        close(student.im2col(x, (2, 4)), wanted(x, (2, 4)))
    with case(STRIDE, hint="sliding_window_view gives all places; keep every stride-th, along both axes."):
        close(student.im2col(x, (3, 2), stride=2), wanted(x, (3, 2), stride=2))
        close(student.im2col(x, (2, 3), stride=3), wanted(x, (2, 3), stride=3))
    with case(PADDING, hint="Pad before you look for windows."):
        close(student.im2col(x, (3, 3), padding=1), wanted(x, (3, 3), padding=1))
        close(student.im2col(x, (2, 3), padding=2, stride=2), wanted(x, (2, 3), padding=2, stride=2))
    with case(DILATION, hint="A window that covers d (K - 1) + 1 rows, of which every d-th is kept."):
        close(student.im2col(x, (2, 3), dilation=2), wanted(x, (2, 3), dilation=2))
        close(student.im2col(x, (3, 2), dilation=2, stride=2, padding=1), wanted(x, (3, 2), dilation=2, stride=2, padding=1))
    with case("the columns are a copy: writing into them leaves the picture alone, and the input is as it was", side=True):
        student.im2col(x, (1, 1))
        inputs_unchanged(student)


@im2col.right("a sliding window")
def _(x, kernel, stride=1, padding=0, dilation=1):
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    tall, wide = dilation * (kernel[0] - 1) + 1, dilation * (kernel[1] - 1) + 1
    view = np.lib.stride_tricks.sliding_window_view(x, (tall, wide), axis=(2, 3))  # (N, C, P, Q, K, L)
    view = view[:, :, ::stride, ::stride, ::dilation, ::dilation]
    n, c, p, q, k, l = view.shape
    return view.transpose(0, 1, 4, 5, 2, 3).reshape(n, c * k * l, p * q)


WINDOW = "a sliding window"
EVERYWHERE = (INSIDE, OBLONG, STRIDE, PADDING, DILATION)
im2col.slip("the axes not brought into order", ("view.transpose(0, 1, 4, 5, 2, 3).reshape", "view.reshape"), of=WINDOW, fails=(COLUMN, *EVERYWHERE))
im2col.slip(
    "windows as rows",
    ("view.transpose(0, 1, 4, 5, 2, 3).reshape(n, c * k * l, p * q)", "view.transpose(0, 2, 3, 1, 4, 5).reshape(n, p * q, c * k * l)"),
    of=WINDOW,
    fails=(COLUMN, *EVERYWHERE),
)
im2col.slip("channels last within a column", ("view.transpose(0, 1, 4, 5, 2, 3)", "view.transpose(0, 4, 5, 1, 2, 3)"), of=WINDOW, fails=EVERYWHERE)
im2col.slip(
    "places down the columns first", ("view.transpose(0, 1, 4, 5, 2, 3)", "view.transpose(0, 1, 4, 5, 3, 2)"), of=WINDOW, fails=(COLUMN, *EVERYWHERE)
)
im2col.slip("stride along the rows alone", ("::stride, ::stride, ::dil", "::stride, :, ::dil"), of=WINDOW, fails=(STRIDE, PADDING, DILATION))
im2col.slip(
    "dilation as a stride",
    ("::stride, ::stride, ::dilation, ::dilation]", "::dilation, ::dilation, ::dilation, ::dilation]"),
    of=WINDOW,
    fails=(STRIDE, PADDING, DILATION),
)
im2col.slip("padding forgotten", ("(padding, padding), (padding, padding))", "(0, 0), (0, 0))"), of=WINDOW, fails=(PADDING, DILATION))
im2col.slip(
    "width before height",
    ("dilation * (kernel[0] - 1) + 1, dilation * (kernel[1] - 1) + 1", "dilation * (kernel[1] - 1) + 1, dilation * (kernel[0] - 1) + 1"),
    of=WINDOW,
    fails=(OBLONG, STRIDE, PADDING, DILATION),
)


@im2col.right("one slice for each weight of the kernel")
def _(x, kernel, stride=1, padding=0, dilation=1):
    n, c, h, w = x.shape
    k, l = kernel
    p = (h + 2 * padding - dilation * (k - 1) - 1) // stride + 1
    q = (w + 2 * padding - dilation * (l - 1) - 1) // stride + 1
    padded = np.pad(x, [(0, 0), (0, 0), (padding, padding), (padding, padding)])
    out = np.empty((n, c, k, l, p, q), dtype=x.dtype)
    for i in range(k):
        for j in range(l):
            out[:, :, i, j] = padded[:, :, i * dilation : i * dilation + stride * p : stride, j * dilation : j * dilation + stride * q : stride]
    return out.reshape(n, c * k * l, p * q)


@im2col.right("strides by hand")
def _(x, kernel, stride=1, padding=0, dilation=1):
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    (n, c, h, w), (k, l) = x.shape, kernel
    p, q = (h - dilation * (k - 1) - 1) // stride + 1, (w - dilation * (l - 1) - 1) // stride + 1
    a, b, down, right = x.strides
    strides = (a, b, down * dilation, right * dilation, down * stride, right * stride)
    return np.lib.stride_tricks.as_strided(x, (n, c, k, l, p, q), strides).reshape(n, c * k * l, p * q)


GRAD_BIAS = "the bias: the sum over pictures and places"
GRAD_WEIGHT = "the weight: every place and every picture contributes"
GRAD_X = "the picture: a pixel hears from every window that it stood in"
GRAD_PADDING = "with padding: what belongs to the zeros outside is cut off"


@exercise("cnn.conv2d_backward", points=5, reference=CONV)
def conv2d_backward(student, rng):
    """The three gradients of a convolution."""
    x, weight = rng.normal(size=(3, 2, 6, 7)), rng.normal(size=(4, 2, 3, 2))

    def wanted(x, weight, **how):
        leaf, kernel, bias = (torch.from_numpy(value).requires_grad_() for value in (x, weight, np.zeros(len(weight))))
        out = F.conv2d(leaf, kernel, bias, **how)
        upstream = torch.from_numpy(rng.normal(size=tuple(out.shape)))
        return upstream.numpy(), tuple(grad.numpy() for grad in torch.autograd.grad((out * upstream).sum(), (leaf, kernel, bias)))

    grad_out, (grad_x, grad_weight, grad_bias) = wanted(x, weight)
    with case(GRAD_BIAS, hint="bias[o] was added at every place of every picture: N·P·Q contributions."):
        close(student.conv2d_backward(grad_out, x, weight)[2], grad_bias)
    with case(
        GRAD_WEIGHT,
        hint="For one picture, out = W @ columns is an affine layer: its weight's gradient is grad_out @ columns.T. Sum over the pictures.",
    ):
        close(student.conv2d_backward(grad_out, x, weight)[1], grad_weight)
    with case(GRAD_X, hint="W.T @ grad_out is the gradient of the columns. A pixel stands in several of them: add (+=) every one to its place."):
        close(student.conv2d_backward(grad_out, x, weight)[0], grad_x)
    with case(STRIDE, hint="Column (p, q) came from rows p · stride + i. Pixels that no window reached have gradient 0."):
        for stride in (2, 3):
            given, expected = wanted(x, weight, stride=stride)
            close(student.conv2d_backward(given, x, weight, stride=stride), expected)
    with case(GRAD_PADDING, hint="Add up in an array of the padded size, and give back its inner part."):
        given, expected = wanted(x, weight, padding=2)
        close(student.conv2d_backward(given, x, weight, padding=2), expected)
    with case(DILATION, hint="The kernel's weight (i, j) lay on pixel (p · stride + i · dilation, q · stride + j · dilation)."):
        given, expected = wanted(x, weight, dilation=2, stride=2, padding=1)
        close(student.conv2d_backward(given, x, weight, dilation=2, stride=2, padding=1), expected)
    with case(KEPT, side=True):
        student.conv2d_backward(grad_out, x, weight)
        inputs_unchanged(student)


@conv2d_backward.right("one weight of the kernel at a time")
def _(grad_out, x, weight, stride=1, padding=0, dilation=1):
    h, w = x.shape[2:]
    k, l = weight.shape[2:]
    p, q = grad_out.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    grad_padded, grad_weight = np.zeros_like(padded), np.zeros_like(weight)
    for i in range(k):
        for j in range(l):
            rows = slice(i * dilation, i * dilation + stride * p, stride)
            columns = slice(j * dilation, j * dilation + stride * q, stride)
            grad_weight[:, :, i, j] = np.einsum("nopq,ncpq->oc", grad_out, padded[:, :, rows, columns])
            grad_padded[:, :, rows, columns] += np.einsum("nopq,oc->ncpq", grad_out, weight[:, :, i, j])
    return grad_padded[:, :, padding : padding + h, padding : padding + w], grad_weight, grad_out.sum(axis=(0, 2, 3))


ONE_WEIGHT = "one weight of the kernel at a time"
HARDER = (STRIDE, GRAD_PADDING, DILATION)
conv2d_backward.slip(
    "written over instead of added",
    ("grad_padded[:, :, rows, columns] += ", "grad_padded[:, :, rows, columns] = "),
    of=ONE_WEIGHT,
    fails=(GRAD_X, *HARDER),
)
conv2d_backward.slip(
    "the bias averaged over the pictures",
    ("grad_out.sum(axis=(0, 2, 3))", "grad_out.mean(axis=0).sum(axis=(1, 2))"),
    of=ONE_WEIGHT,
    fails=(GRAD_BIAS, *HARDER),
)
conv2d_backward.slip(
    "the bias summed over the pictures alone", ("grad_out.sum(axis=(0, 2, 3))", "grad_out.sum(axis=0)"), of=ONE_WEIGHT, fails=(GRAD_BIAS, *HARDER)
)
conv2d_backward.slip(
    "the weight's gradient averaged over the batch",
    ("padded[:, :, rows, columns])", "padded[:, :, rows, columns]) / len(x)"),
    of=ONE_WEIGHT,
    fails=(GRAD_WEIGHT, *HARDER),
)
conv2d_backward.slip(
    "the kernel turned round once too often", ("weight[:, :, i, j])", "weight[:, :, k - 1 - i, l - 1 - j])"), of=ONE_WEIGHT, fails=(GRAD_X, *HARDER)
)
conv2d_backward.slip(
    "the padding still on it",
    ("grad_padded[:, :, padding : padding + h, padding : padding + w]", "grad_padded"),
    of=ONE_WEIGHT,
    fails=(GRAD_PADDING, DILATION),
)
conv2d_backward.slip(
    "the corner cut out instead of the middle",
    ("grad_padded[:, :, padding : padding + h, padding : padding + w]", "grad_padded[:, :, :h, :w]"),
    of=ONE_WEIGHT,
    fails=(GRAD_PADDING, DILATION),
)


@conv2d_backward.right("by torch's own building blocks")
def _(grad_out, x, weight, stride=1, padding=0, dilation=1):
    kernel = tuple(weight.shape[2:])
    how = {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    columns = F.unfold(torch.from_numpy(np.ascontiguousarray(x)), **how)
    upstream = torch.from_numpy(np.ascontiguousarray(grad_out)).flatten(2)
    flat = torch.from_numpy(np.ascontiguousarray(weight)).flatten(1)
    # fold fits every column that a picture of this size has; the upstream has just as many
    grad_x = F.fold(flat.T @ upstream, tuple(x.shape[2:]), **how)
    grad_weight = torch.einsum("nol,nkl->ok", upstream, columns).reshape(weight.shape)
    return grad_x.numpy(), grad_weight.numpy(), upstream.sum((0, 2)).numpy()


LARGEST = "max: the gradient goes to the pixel that was the largest"
SHARED = "mean: every pixel of a window gets an equal share"
OVERLAP = "overlapping windows: a pixel that serves two gets both gradients"
TIES = "of equally large pixels, the first in reading order gets it all"
LEFT_OVER = "pixels that fill no whole window get nothing"


@exercise("cnn.pool2d_backward", points=4, reference=CONV)
def pool2d_backward(student, rng):
    """The way back through a pooling."""

    def wanted(x, size, stride, kind):
        leaf = torch.from_numpy(x).requires_grad_()
        out = (F.max_pool2d if kind == "max" else F.avg_pool2d)(leaf, size, stride)
        upstream = torch.from_numpy(rng.normal(size=tuple(out.shape)))
        return upstream.numpy(), torch.autograd.grad((out * upstream).sum(), leaf)[0].numpy()

    def ask(x, size, stride, kind):
        given, expected = wanted(x, size, stride, kind)
        close(student.pool2d_backward(given, x, size, stride, kind), expected)

    x = rng.permutation(2.0 * 3 * 6 * 6 * np.linspace(-1, 1, 2 * 3 * 6 * 6)).reshape(2, 3, 6, 6)  # no two alike
    with case(LARGEST, hint="Moving any other pixel a little does not change the maximum: slope 0. Moving the largest does: slope 1."):
        ask(x, 2, 2, "max")
        ask(x, 3, 3, "max")
    with case(SHARED, hint="The mean of S² numbers changes with each of them at the rate 1/S²."):
        ask(x, 2, 2, "mean")
        ask(x, 3, 3, "mean")
    with case(OVERLAP, hint="With a stride smaller than the size, windows share pixels. Add, do not write over."):
        for kind in ("max", "mean"):
            ask(x, 3, 1, kind)
            ask(x, 3, 2, kind)
    with case(TIES, hint="argmax gives the first of equals; `window == window.max()` marks all of them. After a ReLU, windows of zeros are common."):
        ask(np.maximum(rng.integers(-3, 2, size=(2, 2, 6, 6)).astype(float), 0), 2, 2, "max")
        ask(np.zeros((1, 1, 4, 4)), 2, 2, "max")
        ask(np.array([[[[1.0, 2.0], [2.0, 1.0]]]]), 2, 2, "max")  # the first of equals, row by row
    with case(LEFT_OVER, hint="Seven rows hold three windows of two; the gradient of the seventh row is 0, and it belongs to the result."):
        odd = rng.permutation(np.arange(2.0 * 7 * 5)).reshape(1, 2, 7, 5)
        for kind in ("max", "mean"):
            ask(odd, 2, 2, kind)
            ask(odd, 2, 3, kind)  # rows between windows
    with case(KEPT, side=True):
        for kind in ("max", "mean"):
            given, _ = wanted(x, 2, 2, kind)
            student.pool2d_backward(given, x, 2, 2, kind)
            inputs_unchanged(student)


@pool2d_backward.right("window by window")
def _(grad_out, x, size, stride, kind):
    grad_x = np.zeros_like(x)
    for n, c, p, q in np.ndindex(grad_out.shape):
        top, left = p * stride, q * stride
        window = x[n, c, top : top + size, left : left + size]
        part = grad_x[n, c, top : top + size, left : left + size]
        if kind == "max":
            row, column = divmod(int(window.argmax()), size)
            part[row, column] += grad_out[n, c, p, q]
        else:
            part += grad_out[n, c, p, q] / size**2
    return grad_x


BY_WINDOW = "window by window"
ALL_MAX = (LARGEST, OVERLAP, TIES, LEFT_OVER)
pool2d_backward.slip("written over where windows overlap", ("part[row, column] += grad", "part[row, column] = grad"), of=BY_WINDOW, fails=OVERLAP)
pool2d_backward.slip(
    "of equals, the first column by column",
    ("divmod(int(window.argmax()), size)", "divmod(int(window.T.argmax()), size)[::-1]"),
    of=BY_WINDOW,
    fails=TIES,
)
pool2d_backward.slip("no share: the whole gradient to every pixel", (" / size**2", ""), of=BY_WINDOW, fails=(SHARED, OVERLAP, LEFT_OVER))
pool2d_backward.slip("shared by the side, not the area", ("size**2", "size"), of=BY_WINDOW, fails=(SHARED, OVERLAP, LEFT_OVER))
pool2d_backward.slip(
    "row and column swapped", ("row, column = divmod", "column, row = divmod"), of=BY_WINDOW, fails=(LARGEST, OVERLAP, TIES, LEFT_OVER)
)
pool2d_backward.slip("the smallest", ("window.argmax()", "window.argmin()"), of=BY_WINDOW, fails=(LARGEST, OVERLAP, TIES, LEFT_OVER))
pool2d_backward.slip(
    "windows side by side, whatever the stride", ("p * stride, q * stride", "p * size, q * size"), of=BY_WINDOW, fails=(OVERLAP, LEFT_OVER)
)
pool2d_backward.slip(
    "multiplied by the pixel",
    ("grad_out[n, c, p, q]\n        else", "grad_out[n, c, p, q] * window.max()\n        else"),
    of=BY_WINDOW,
    fails=ALL_MAX,
)
pool2d_backward.slip(
    "to all that are equally large",
    (
        "row, column = divmod(int(window.argmax()), size)\n            part[row, column] += grad_out[n, c, p, q]",
        "part += (window == window.max()) * grad_out[n, c, p, q]",
    ),
    of=BY_WINDOW,
    fails=TIES,
)
pool2d_backward.slip(
    "the size of what was pooled alone",
    ("return grad_x", "return grad_x[:, :, : (grad_out.shape[2] - 1) * stride + size, : (grad_out.shape[3] - 1) * stride + size]"),
    of=BY_WINDOW,
    fails=(OVERLAP, LEFT_OVER),
)


@pool2d_backward.right("all windows at once")
def _(grad_out, x, size, stride, kind):
    n, c, p, q = grad_out.shape
    places = np.arange(x.shape[2] * x.shape[3]).reshape(x.shape[2:])
    corner = places[: p * stride : stride, : q * stride : stride][:p, :q].reshape(1, 1, p, q)
    within = (np.arange(size)[:, None] * x.shape[3] + np.arange(size)).ravel()  # steps from a window's corner to its pixels
    where = (corner[..., None] + within).repeat(n, axis=0).repeat(c, axis=1)  # (N, C, P, Q, S·S)
    flat = x.reshape(n, c, -1)
    values = np.take_along_axis(flat[:, :, None], where.reshape(n, c, 1, -1), axis=3).reshape(where.shape)
    if kind == "max":
        shares = np.eye(size * size)[values.argmax(axis=-1)]
    else:
        shares = np.full(where.shape, 1 / size**2)
    out = np.zeros_like(flat)
    for a in range(n):
        for b in range(c):
            np.add.at(out[a, b], where[a, b].ravel(), (shares[a, b] * grad_out[a, b, ..., None]).ravel())
    return out.reshape(x.shape)


ALONE = "one layer sees as much as its kernel covers"
STACK = "layers on top of each other, in single steps"
LATER = "a stride widens the view of every layer after it, and not its own"
GAPS = "dilation widens the view without weights"
JUMP = "the jump: how far apart two neighbours look"
LE_NET = "a whole network: convolutions and poolings, in their order"


@exercise("cnn.receptive_field", points=3, reference="course_lib.nn.receptive")
def receptive_field(student, rng):
    """How much of the picture a number sees."""

    def wanted(layers):
        """By going back from one number: which pixels along an axis does it reach?"""
        first, last, jump = 0, 0, 1
        for kernel, stride, dilation in reversed(layers):
            first, last = first * stride, last * stride + dilation * (kernel - 1)
            jump *= stride
        return last - first + 1, jump

    def ask(*layers):
        close(np.array(student.receptive_field(list(layers))), np.array(wanted(layers)))

    with case(ALONE, hint="It begins at 1, the pixel itself. A kernel of K adds K - 1."):
        for kernel in (3, 5, 7):
            ask((kernel, 1, 1))
    with case(STACK, hint="Two kernels of 3 see 5 pixels: the outer ones of the second kernel's three lie one further out."):
        ask((3, 1, 1), (3, 1, 1))
        ask((3, 1, 1), (5, 1, 1), (3, 1, 1), (2, 1, 1))
    with case(LATER, hint="A layer's gaps are measured in the jump that its input has. Multiply the jump by the stride afterwards."):
        ask((3, 2, 1))
        ask((3, 2, 1), (5, 1, 1))
        ask((3, 1, 1), (2, 2, 1), (3, 1, 1))
        ask((3, 2, 1), (3, 2, 1), (3, 2, 1))
    with case(GAPS, hint="K weights that stand d apart cover d (K - 1) + 1."):
        ask((3, 1, 2), (3, 1, 4))
        ask((3, 2, 2), (3, 1, 3))
    with case(JUMP, hint="The strides multiply."):
        for _ in range(5):
            layers = [(int(rng.integers(2, 5)), int(rng.integers(2, 4)), 1) for _ in range(3)]
            same(int(student.receptive_field(layers)[1]), wanted(layers)[1], "the jump")
    with case(LE_NET, hint="Go through the layers from the first to the last; the order counts."):
        ask((5, 1, 1), (2, 2, 1), (5, 1, 1), (2, 2, 1))
        ask((7, 2, 1), (3, 2, 1), (3, 1, 1), (3, 1, 1), (3, 2, 1), (3, 1, 2))


@receptive_field.right("forward, field and jump")
def _(layers):
    field, jump = 1, 1
    for kernel, stride, dilation in layers:
        field = field + dilation * (kernel - 1) * jump
        jump = jump * stride
    return field, jump


FORWARD = "forward, field and jump"
receptive_field.slip(
    "the stride first",
    (
        "        field = field + dilation * (kernel - 1) * jump\n        jump = jump * stride",
        "        jump = jump * stride\n        field = field + dilation * (kernel - 1) * jump",
    ),
    of=FORWARD,
    fails=(LATER, GAPS, LE_NET),
)
receptive_field.slip("strides forgotten", ("* (kernel - 1) * jump", "* (kernel - 1)"), of=FORWARD, fails=(LATER, GAPS, LE_NET))
receptive_field.slip(
    "kernels added up", ("field, jump = 1, 1", "field, jump = 0, 1"), ("(kernel - 1)", "kernel"), of=FORWARD, fails=(STACK, LATER, GAPS, LE_NET)
)
receptive_field.slip("dilation forgotten", ("dilation * (kernel - 1)", "(kernel - 1)"), of=FORWARD, fails=(GAPS, LE_NET))
receptive_field.slip("strides added up", ("jump = jump * stride", "jump = jump + stride - 1"), of=FORWARD, fails=(LATER, JUMP, LE_NET))
receptive_field.slip("from the last layer to the first", ("in layers", "in layers[::-1]"), of=FORWARD, fails=(LATER, GAPS, LE_NET))


@receptive_field.right("backward from one number")
def _(layers):
    seen, jump = 1, 1
    for kernel, stride, dilation in reversed(layers):
        seen = (seen - 1) * stride + dilation * (kernel - 1) + 1
        jump *= stride
    return seen, jump


MAPS_FREE = "the number of maps has nothing to do with the number of classes: the second convolution has 2 · width"
ROWS_STAY = "64 pictures of 28 × 28 give 64 rows of logits"
ANY_SIZE = "any size from 4 × 4 up, odd ones too"
GUESSED = "pictures of another size never change the number of rows"
FOR_ITSELF = "the answer to a picture does not depend on those beside it"
LAYERS = "its answer: convolution, ReLU, pooling, twice, and one affine layer"


def mended_answer(state, x):
    """What the network's layers answer with these weights."""
    for name in ("conv1", "conv2"):
        x = F.max_pool2d(F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=1).relu(), 2)
    return x.flatten(1) @ state["fc.weight"].T + state["fc.bias"]


def mended_state(net, rng):
    """Weights of the check's own for a network of the student's, loaded into it. → the state dict"""
    state = {name: normal(rng, *value.shape, scale=0.3) for name, value in net.state_dict().items()}
    net.load_state_dict(state)
    return state


def rows_are_answers(net, x, rng):
    """A row of logits for each picture, which are those of the layers."""
    state = mended_state(net, rng)
    logits = net(x)
    same(list(logits.shape), [len(x), len(state["fc.bias"])], "the shape of the logits")
    wanted = mended_answer(state, x)
    holds(torch.allclose(logits, wanted, rtol=1e-3, atol=1e-2), "The rows are there, but their values are not what these layers give.")


@exercise("cnn.MendedCNN", points=4, seconds=4, mends=(MAPS_FREE, ROWS_STAY, ANY_SIZE, FOR_ITSELF, GUESSED))
def MendedCNN(student, rng):
    """A small network for pictures of any size."""
    with case(MAPS_FREE, hint="What is called classes in the program, and where is it used for something else?"):
        for classes in (2, 10):
            state = student.MendedCNN(1, 8, classes, 32).state_dict()
            same(
                [list(state[name].shape) for name in ("conv1.weight", "conv2.weight", "fc.weight")],
                [[8, 1, 3, 3], [16, 8, 3, 3], [classes, 16 * 8 * 8]],
                "the shapes of conv1, conv2 and fc",
            )
    with case(ROWS_STAY, hint="view(-1, …) gives up the first axis to whatever fits. flatten(1) never touches it."):
        rows_are_answers(student.MendedCNN(1, 8, 10, 28), normal(rng, 64, 1, 28, 28), rng)
    with case(ANY_SIZE, hint="Two poolings halve twice, rounded down each time: (size // 2) // 2 pixels are left along each side."):
        for size, channels in ((16, 1), (30, 3), (17, 1), (23, 2), (4, 1)):
            rows_are_answers(student.MendedCNN(channels, 4, 10, size), normal(rng, 64, channels, size, size), rng)
    with case(FOR_ITSELF, hint="Rows of the affine layer's input must be whole pictures."):
        net, x = student.MendedCNN(1, 4, 10, 28), normal(rng, 64, 1, 28, 28)
        mended_state(net, rng)
        together = net(x)
        same(list(together.shape), [64, 10], "the shape of the logits")
        holds(not torch.allclose(together[0], together[1]), "Two pictures get the same logits.")
        close(together[-16:], net(x[-16:]), rtol=1e-3, atol=1e-3)
    with case(
        GUESSED, hint="view(-1, …) cuts pictures of 28 × 28 into 49 rows. flatten(1) keeps the pictures apart, and the layer refuses them.", side=True
    ):
        net, x = student.MendedCNN(1, 8, 10, 32), normal(rng, 64, 1, 28, 28)
        try:
            rows = int(net(x).shape[0])
        except StudentError:  # to refuse them is right
            rows = 64
        same(rows, 64, "the number of rows")
    with case(LAYERS, hint="A ReLU after each convolution, then the pooling; none after the affine layer."):
        net, x = student.MendedCNN(3, 4, 5, 32), normal(rng, 6, 3, 32, 32)
        state = mended_state(net, rng)
        close(net(x), mended_answer(state, x), rtol=1e-3, atol=1e-2)


@MendedCNN.right("counted in advance")
class _(nn.Module):
    def __init__(self, channels, width, classes, size):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1)
        side = size // 2 // 2
        self.fc = nn.Linear(2 * width * side * side, classes)

    def forward(self, x):
        x = F.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = F.max_pool2d(torch.relu(self.conv2(x)), 2)
        return self.fc(x.flatten(1))


COUNTED = "counted in advance"
MendedCNN.slip(
    "as it was found",
    ("nn.Conv2d(width, 2 * width, 3, padding=1)", "nn.Conv2d(width, classes, 3, padding=1)"),
    ("nn.Linear(2 * width * side * side, classes)", "nn.Linear(classes * 8 * 8, classes)"),
    ("x.flatten(1)", "x.view(-1, self.fc.in_features)"),
    of=COUNTED,
    fails=(MAPS_FREE, ROWS_STAY, ANY_SIZE, FOR_ITSELF, GUESSED),
)
MendedCNN.slip("the sizes mended, the rows still guessed", ("x.flatten(1)", "x.view(-1, self.fc.in_features)"), of=COUNTED, fails=GUESSED)
MendedCNN.slip("7 × 7 in place of 8 × 8", ("side = size // 2 // 2", "side = 7"), of=COUNTED, fails=(MAPS_FREE, ANY_SIZE, LAYERS))
MendedCNN.slip(
    "the class count as channels still",
    ("nn.Conv2d(width, 2 * width, 3, padding=1)", "nn.Conv2d(width, classes, 3, padding=1)"),
    ("nn.Linear(2 * width * side", "nn.Linear(classes * side"),
    of=COUNTED,
    fails=MAPS_FREE,
)
MendedCNN.slip("odd sizes rounded up", ("size // 2 // 2", "-(-size // 4)"), of=COUNTED, fails=ANY_SIZE)
MendedCNN.slip(
    "no ReLU after the second convolution", ("torch.relu(self.conv2(x))", "self.conv2(x)"), of=COUNTED, fails=(ROWS_STAY, ANY_SIZE, LAYERS)
)
MendedCNN.slip(
    "everything flattened",
    ("x.flatten(1)", "x.flatten().reshape(1, -1)[:, : self.fc.in_features]"),
    of=COUNTED,
    fails=(ROWS_STAY, ANY_SIZE, FOR_ITSELF, GUESSED, LAYERS),
)
MendedCNN.slip("a softmax at the end", ("self.fc(x.flatten(1))", "self.fc(x.flatten(1)).softmax(1)"), of=COUNTED, fails=(ROWS_STAY, ANY_SIZE, LAYERS))


MendedCNN.slip(
    "the same for every picture", ("self.fc(x.flatten(1))", "self.fc(0 * x.flatten(1))"), of=COUNTED, fails=(ROWS_STAY, ANY_SIZE, FOR_ITSELF, LAYERS)
)


@MendedCNN.right("measured with a blank picture")
class _(nn.Module):
    def __init__(self, channels, width, classes, size):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, kernel_size=3, padding="same")
        self.conv2 = nn.Conv2d(width, 2 * width, kernel_size=3, padding="same")
        with torch.no_grad():
            self.fc = nn.Linear(self.maps(torch.zeros(1, channels, size, size)).numel(), classes)

    def maps(self, x):
        for conv in (self.conv1, self.conv2):
            x = F.max_pool2d(conv(x).relu(), 2)
        return x

    def forward(self, x):
        return self.fc(self.maps(x).reshape(len(x), -1))


def drawn_block(block, rng):
    """Weights and averages of the check's own, loaded into a block with batch normalisation. → the state dict"""
    state = {}
    for name, value in block.state_dict().items():
        if not value.is_floating_point():
            state[name] = value
        elif name.endswith("running_var"):
            state[name] = torch.from_numpy(rng.uniform(0.5, 2, size=tuple(value.shape))).float()
        else:
            state[name] = normal(rng, *value.shape, scale=0.3 if value.ndim == 4 else 0.5)
    block.load_state_dict(state)
    return state


def residual_answer(state, x, stride, training):
    """What a residual block of these weights answers."""

    def norm(x, name):
        mean, var = state[f"{name}.running_mean"].clone(), state[f"{name}.running_var"].clone()
        return F.batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"], training=training)

    change = norm(F.conv2d(x, state["conv1.weight"], stride=stride, padding=1), "norm1").relu()
    change = norm(F.conv2d(change, state["conv2.weight"], padding=1), "norm2")
    short = norm(F.conv2d(x, state["shortcut.0.weight"], stride=stride), "shortcut.1") if "shortcut.0.weight" in state else x
    return (short + change).relu()


BLOCK_STATE = {"conv1.weight", "norm1.weight", "norm1.bias", "conv2.weight", "norm2.weight", "norm2.bias"}
PARTS = "two convolutions without bias and two normalisations, nothing else, when the shape stays"
PROJECTION = "a 1 × 1 convolution with normalisation on the shortcut when channels or stride change"
ADDED = "its answer: relu(x + change)"
RESIZED = "its answer when the picture is halved and the channels change"
IDENTITY = "with the second normalisation's weight at 0 it adds that one's bias to x, and no more"
IN_USE = "in evaluation: by the remembered averages"


@exercise("cnn.ResidualBlock", points=5, seconds=4, reference="course_lib.nn.residual")
def ResidualBlock(student, rng):
    """Two layers that say what to change, and a shortcut around them."""
    x = normal(rng, 4, 6, 8, 8)

    def learnt(block):
        """The names of a block's parameters, without what a normalisation remembers."""
        return {name for name in block.state_dict() if not name.rpartition(".")[2].startswith(("running_", "num_"))}

    with case(PARTS, hint="nn.Identity() has no parameters. A convolution before a normalisation needs no bias: bias=False."):
        holds(learnt(student.ResidualBlock(6, 6)) == BLOCK_STATE, f"Its parameters should be called {', '.join(sorted(BLOCK_STATE))}.")
        state = student.ResidualBlock(6, 6).state_dict()
        same([list(state[f"conv{number}.weight"].shape) for number in (1, 2)], [[6, 6, 3, 3], [6, 6, 3, 3]], "the shapes of conv1 and conv2")
    with case(PROJECTION, hint="self.shortcut = nn.Sequential(nn.Conv2d(…, 1, stride=stride, bias=False), nn.BatchNorm2d(…)) in these cases."):
        for arguments in ((6, 9), (6, 6, 2), (6, 12, 2)):
            block = student.ResidualBlock(*arguments)
            wanted = BLOCK_STATE | {"shortcut.0.weight", "shortcut.1.weight", "shortcut.1.bias"}
            holds(learnt(block) == wanted, f"Its parameters should be called {', '.join(sorted(wanted))}.")
            same(list(block.state_dict()["shortcut.0.weight"].shape), [arguments[1], 6, 1, 1], "the shape of the shortcut's convolution")
    with case(ADDED, hint="conv1, norm1, ReLU, conv2, norm2; then add the shortcut; the last ReLU comes after the sum."):
        block = student.ResidualBlock(6, 6)
        state = drawn_block(block, rng)
        close(block(x), residual_answer(state, x, 1, training=True), rtol=1e-3, atol=1e-3)
    with case(RESIZED, hint="conv1 has the stride, and so has the shortcut; conv2 has stride 1."):
        for channels, stride in ((9, 1), (6, 2), (12, 2), (5, 3)):
            block = student.ResidualBlock(6, channels, stride)
            state = drawn_block(block, rng)
            close(block(x), residual_answer(state, x, stride, training=True), rtol=1e-3, atol=1e-3)
    with case(IDENTITY, hint="Nothing may stand between x and the sum: no normalisation, no ReLU, no factor."):
        block = student.ResidualBlock(6, 6)
        state = drawn_block(block, rng)
        bias = normal(rng, 6).abs()
        block.load_state_dict({**state, "norm2.weight": torch.zeros(6), "norm2.bias": bias})
        close(block(x.abs()), x.abs() + bias[:, None, None], rtol=1e-4, atol=1e-5)
    with case(IN_USE, hint="Each place needs a normalisation of its own, as a module: it remembers averages of what comes by there."):
        block = student.ResidualBlock(6, 9, 2)
        state = drawn_block(block, rng)
        block.eval()
        close(block(x), residual_answer(state, x, 2, training=False), rtol=1e-3, atol=1e-3)
        close(block(x[:1]), residual_answer(state, x[:1], 2, training=False), rtol=1e-3, atol=1e-3)


@ResidualBlock.right("spelled out")
class _(nn.Module):
    def __init__(self, in_channels, out_channels, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels))

    def forward(self, x):
        change = torch.relu(self.norm1(self.conv1(x)))
        change = self.norm2(self.conv2(change))
        return torch.relu(self.shortcut(x) + change)


SPELLED = "spelled out"
ANSWERS = (ADDED, RESIZED, IN_USE)
ResidualBlock.slip("no shortcut", ("self.shortcut(x) + change", "change"), of=SPELLED, fails=(*ANSWERS, IDENTITY))
ResidualBlock.slip(
    "the ReLU before the sum", ("torch.relu(self.shortcut(x) + change)", "self.shortcut(x) + torch.relu(change)"), of=SPELLED, fails=ANSWERS
)
ResidualBlock.slip("no ReLU after the sum", ("torch.relu(self.shortcut(x) + change)", "self.shortcut(x) + change"), of=SPELLED, fails=ANSWERS)
ResidualBlock.slip("the first ReLU forgotten", ("torch.relu(self.norm1(self.conv1(x)))", "self.norm1(self.conv1(x))"), of=SPELLED, fails=ANSWERS)
ResidualBlock.slip(
    "one normalisation for both places", ("self.norm2(self.conv2(change))", "self.norm1(self.conv2(change))"), of=SPELLED, fails=(*ANSWERS, IDENTITY)
)
ResidualBlock.slip(
    "convolutions with bias",
    ("out_channels, 3, padding=1, bias=False", "out_channels, 3, padding=1"),
    of=SPELLED,
    fails=(PARTS, PROJECTION, IN_USE),
)
ResidualBlock.slip("a projection every time", ("if stride != 1 or in_channels != out_channels:", "if True:"), of=SPELLED, fails=(PARTS, IDENTITY))
ResidualBlock.slip(
    "a projection for channels alone",
    ("if stride != 1 or in_channels != out_channels:", "if in_channels != out_channels:"),
    of=SPELLED,
    fails=(PROJECTION, RESIZED),
)
ResidualBlock.slip(
    "the stride in both convolutions",
    ("out_channels, 3, padding=1, bias=False", "out_channels, 3, stride=stride, padding=1, bias=False"),
    of=SPELLED,
    fails=(RESIZED, IN_USE),
)
ResidualBlock.slip("nothing but x", ("self.shortcut(x) + change", "x"), of=SPELLED, fails=(*ANSWERS, IDENTITY))
ResidualBlock.slip("multiplied instead of added", ("self.shortcut(x) + change", "self.shortcut(x) * change"), of=SPELLED, fails=(*ANSWERS, IDENTITY))


@ResidualBlock.right("each way for itself, an empty chain for the identity")
class _(nn.Module):
    def __init__(self, in_channels, out_channels, stride=1):
        super().__init__()

        def convolution(inputs, kernel, step):
            return nn.Conv2d(inputs, out_channels, kernel, step, kernel // 2, bias=False)

        self.conv1, self.norm1 = convolution(in_channels, 3, stride), nn.BatchNorm2d(out_channels)
        self.conv2, self.norm2 = convolution(out_channels, 3, 1), nn.BatchNorm2d(out_channels)
        same_shape = stride == 1 and in_channels == out_channels
        self.shortcut = nn.Sequential(*([] if same_shape else [convolution(in_channels, 1, stride), nn.BatchNorm2d(out_channels)]))

    def forward(self, x):
        out = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        out += self.shortcut(x)
        return out.clamp(min=0)


BRANCHES = ("one", "reduce3", "three", "reduce5", "five", "pool")
SIX_CONVS = "six convolutions, each with the channels that it is told"
BESIDE = "the branches' channels one after the other: one, three, five, pool"
SAME_SIZE = "height and width stay as they are"
REDUCED = "a ReLU between the narrow convolution and the wide one"
POOLED = "the pooling branch: the largest of 3 × 3 neighbours, in single steps, then 1 × 1"
POSITIVE = "a ReLU over all branches at the end"


@exercise("cnn.Inception", points=4, seconds=4, reference="course_lib.nn.inception")
def Inception(student, rng):
    """Four branches side by side."""
    widths = (5, 4, 6, 2, 3, 7)  # one, reduce3, three, reduce5, five, pool
    x = normal(rng, 3, 8, 9, 7)

    def made():
        block = student.Inception(8, *widths)
        state = {name: normal(rng, *value.shape, scale=0.3) for name, value in block.state_dict().items()}
        block.load_state_dict(state)
        return block, state

    def conv(state, name, x):
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight, state[f"{name}.bias"], padding=weight.shape[2] // 2)

    def parts(state, x):
        return (
            conv(state, "one", x),
            conv(state, "three", conv(state, "reduce3", x).relu()),
            conv(state, "five", conv(state, "reduce5", x).relu()),
            conv(state, "pool", F.max_pool2d(x, 3, 1, 1)),
        )

    def channels(number):
        """The channels of a branch in the result."""
        ends = np.cumsum([0, widths[0], widths[2], widths[4], widths[5]])
        return slice(ends[number], ends[number + 1])

    with case(SIX_CONVS, hint="one, reduce3, reduce5 and pool have 1 × 1 kernels, three has 3 × 3, five has 5 × 5; all have a bias."):
        state = student.Inception(8, *widths).state_dict()
        shapes = {
            "one": [5, 8, 1, 1],
            "reduce3": [4, 8, 1, 1],
            "three": [6, 4, 3, 3],
            "reduce5": [2, 8, 1, 1],
            "five": [3, 2, 5, 5],
            "pool": [7, 8, 1, 1],
        }
        same({name: list(state[f"{name}.weight"].shape) for name in BRANCHES}, shapes, "the shapes of the weights")
        same(sorted(state), sorted(f"{name}.{kind}" for name in BRANCHES for kind in ("weight", "bias")), "the names in state_dict()")
    with case(SAME_SIZE, hint="padding=1 for 3 × 3, padding=2 for 5 × 5; the pooling has stride=1 and padding=1.", side=True):
        block, _ = made()
        same(list(block(x).shape), [3, 21, 9, 7], "the shape of the result")
    with case(BESIDE, hint="torch.cat(…, dim=1) puts channels side by side."):
        block, state = made()
        out, wanted = block(x), parts(state, x)
        for number in (0, 1, 2):
            close(out[:, channels(number)].clamp(min=0), wanted[number].relu(), rtol=1e-3, atol=1e-3)
    with case(REDUCED, hint="Two convolutions in a row without anything between are one convolution."):
        block, state = made()
        close(block(x)[:, channels(1)].clamp(min=0), parts(state, x)[1].relu(), rtol=1e-3, atol=1e-3)
        close(block(-x)[:, channels(2)].clamp(min=0), parts(state, -x)[2].relu(), rtol=1e-3, atol=1e-3)
    with case(POOLED, hint="F.max_pool2d(x, 3, stride=1, padding=1), before the 1 × 1 convolution."):
        block, state = made()
        close(block(x)[:, channels(3)].clamp(min=0), parts(state, x)[3].relu(), rtol=1e-3, atol=1e-3)
        close(block(x - 9)[:, channels(3)].clamp(min=0), parts(state, x - 9)[3].relu(), rtol=1e-3, atol=1e-3)
    with case(POSITIVE, hint="The 1 × 1 branch and the pooling branch need it as much as the others."):
        block, state = made()
        close(block(x), torch.cat(parts(state, x), dim=1).relu(), rtol=1e-3, atol=1e-3)


@Inception.right("four branches and cat")
class _(nn.Module):
    def __init__(self, in_channels, one, reduce3, three, reduce5, five, pool):
        super().__init__()
        self.one = nn.Conv2d(in_channels, one, 1)
        self.reduce3 = nn.Conv2d(in_channels, reduce3, 1)
        self.three = nn.Conv2d(reduce3, three, 3, padding=1)
        self.reduce5 = nn.Conv2d(in_channels, reduce5, 1)
        self.five = nn.Conv2d(reduce5, five, 5, padding=2)
        self.pool = nn.Conv2d(in_channels, pool, 1)

    def forward(self, x):
        branch3 = self.three(torch.relu(self.reduce3(x)))
        branch5 = self.five(torch.relu(self.reduce5(x)))
        pooled = self.pool(F.max_pool2d(x, 3, stride=1, padding=1))
        return torch.relu(torch.cat([self.one(x), branch3, branch5, pooled], dim=1))


CAT = "four branches and cat"
Inception.slip(
    "no ReLU between narrow and wide",
    ("self.three(torch.relu(self.reduce3(x)))", "self.three(self.reduce3(x))"),
    of=CAT,
    fails=(BESIDE, REDUCED, POSITIVE),
)
Inception.slip(
    "no ReLU at the end",
    ("torch.relu(torch.cat([self.one(x), branch3, branch5, pooled], dim=1))", "torch.cat([self.one(x), branch3, branch5, pooled], dim=1)"),
    of=CAT,
    fails=POSITIVE,
)
Inception.slip(
    "the branches in another order",
    ("[self.one(x), branch3, branch5, pooled]", "[self.one(x), branch5, branch3, pooled]"),
    of=CAT,
    fails=(BESIDE, REDUCED, POSITIVE),
)
Inception.slip(
    "the pooling after the convolution",
    ("self.pool(F.max_pool2d(x, 3, stride=1, padding=1))", "F.max_pool2d(self.pool(x), 3, stride=1, padding=1)"),
    of=CAT,
    fails=(POOLED, POSITIVE),
)
Inception.slip("a mean in place of the maximum", ("F.max_pool2d(x,", "F.avg_pool2d(x,"), of=CAT, fails=(POOLED, POSITIVE))
Inception.slip(
    "5 × 5 without enough padding, the picture cut to match",
    ("five, 5, padding=2)", "five, 5, padding=1)"),
    ("branch3, branch5, pooled]", "branch3, F.pad(branch5, (0, 2, 0, 2)), pooled]"),
    of=CAT,
    fails=(BESIDE, REDUCED, POSITIVE),
)
Inception.slip(
    "3 × 3 on the whole picture, without narrowing",
    ("nn.Conv2d(reduce3, three, 3, padding=1)", "nn.Conv2d(in_channels, three, 3, padding=1)"),
    ("self.three(torch.relu(self.reduce3(x)))", "self.three(x)"),
    of=CAT,
    fails=(SIX_CONVS, BESIDE, REDUCED, POOLED, POSITIVE),
)


@Inception.right("written into one result")
class _(nn.Module):
    def __init__(self, in_channels, one, reduce3, three, reduce5, five, pool):
        super().__init__()
        for name, arguments in {
            "one": (in_channels, one, 1),
            "reduce3": (in_channels, reduce3, 1),
            "three": (reduce3, three, 3),
            "reduce5": (in_channels, reduce5, 1),
            "five": (reduce5, five, 5),
            "pool": (in_channels, pool, 1),
        }.items():
            self.add_module(name, nn.Conv2d(*arguments, padding="same"))

    def forward(self, x):
        near = F.unfold(F.pad(x, (1, 1, 1, 1), value=float("-inf")), 3).unflatten(1, (x.shape[1], 9)).amax(2).reshape(x.shape)
        at = self.get_submodule
        parts = [at("one")(x), at("three")(at("reduce3")(x).clamp(min=0)), at("five")(at("reduce5")(x).clamp(min=0)), at("pool")(near)]
        return torch.cat([part.relu() for part in parts], 1)
