# Chapter 06, the one source. `course build` makes the student notebook from it; see the README for the header keys.
# %% [markdown] lang="en"
# # 06 · Networks that look
#
# Take a thousand pictures of digits, and deal the pixels of every picture out anew, all in the same order. You could not read them any more.
# The network of chapter 03 would not notice: to it, a picture is a list of numbers, and which of them are neighbours it was never told.
# **What does a network gain that knows what a neighbour is?** Fewer numbers to learn, and an eye that works everywhere in the picture at once.
#
# At the end of this chapter you can
#
# - write a convolution as loops, as one matrix product, and its gradient, equal to PyTorch's;
# - say how much of the picture each number of a network sees, and prove it with gradients;
# - build LeNet, a residual block and a block of branches, and mend one of the source articles' networks;
# - measure what convolution is worth: against an equally large network without it, on pictures that are moved, and in fonts never seen.
#
# **The exercises take about two hours, the reading one more.** Good places to stop are after sections 4, 6 and 8. **You need** chapter 03
# (gradients of an affine layer), and from chapter 05 what a module is and what `fit` does.

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from autograder import check, predict, progress_board
from course_lib.data import digits, glyphs, pictures
from course_lib.data.glyphs import STRANGE_FONTS, from_text
from course_lib.device import best_device, course_size, describe_device
from course_lib.interactive import digit_grid, feature_maps, progress, show, show_static
from course_lib.metrics import mean_and_interval
from course_lib.nn.cnn import LeNet, SmallCNN, equal_mlp, randomly_shifted, shifted
from course_lib.train import TrainConfig, evaluate, fit
from course_lib.train import predict as logits_of

torch.set_num_threads(1)  # such small networks only lose time by dividing the work
device = best_device()
FULL = course_size() == "full"  # set COURSE_SIZE=full on a machine with a GPU
print("computing on", describe_device())

progress_board("cnn")

# %% [markdown] lang="en"
# ## 1 · Pictures
#
# The digits of the earlier chapters have 8 × 8 pixels, which is little to look at. Our example from here on: digits of 28 × 28 pixels, rendered
# from 19 fonts that come with matplotlib, each turned, bent, stretched, moved and made noisy in its own way. They need no network, there are as
# many as one likes, and we know what was done to each. (`pictures("mnist")` and `pictures("cifar10")` fetch the classic sets, when there is a
# network, in the same form; what is below runs with MNIST as it is, and with CIFAR-10 where the channels are said to be three.)

# %%
split = pictures("glyphs", seed=0)
print(split)
show_static(
    digit_grid(split.x_train[:20, 0], titles=[split.class_names[y] for y in split.y_train[:20]]),
    alt="Twenty rendered digits in various fonts, tilted, bent, faded and noisy, with their labels above.",
)

# %% [markdown] lang="en"
# `x` has the shape (N, C, H, W): pictures, **channels** (one for grey, three for red, green and blue), rows, columns. This order is PyTorch's.
#
# And here is what chapter 03's network is given to learn from: the same pictures, their pixels dealt out anew.

# %%
order = np.random.default_rng(0).permutation(28 * 28)
scrambled = split.x_train[:10].reshape(10, -1)[:, order].reshape(10, 28, 28)
show_static(
    digit_grid(scrambled, titles=[split.class_names[y] for y in split.y_train[:10]]),
    alt="The first ten digits with all pixels in another order, the same for each: grey noise in which nobody can read.",
)

# %% [markdown] lang="en"
# An affine layer has a weight for every pixel and every output. If its input is scrambled, scramble its weights in the same way, and it computes
# the same. So it can learn from the scrambled pictures exactly as well, which means that it makes **no use** of how a picture is laid out.
#
# It also pays for it. Suppose that the first layer should make six new pictures out of one, each of 28 × 28 numbers, as this chapter's network will.
# **Predict:** how many adjustable numbers, biases included, does an affine layer need for that?

# %% predict="first_layer"
# A number. (784 numbers go in. How many come out, and how many weights has each of them? And a bias each.)
layer_guess = ...

# %%
with torch.device("meta"):  # shapes without memory
    affine = nn.Linear(28 * 28, 6 * 28 * 28)
    convolution = nn.Conv2d(1, 6, kernel_size=5, padding=2)
predict.reveal(
    "cnn.first_layer",
    guess=layer_guess,
    truth=sum(p.numel() for p in affine.parameters()),
    because="4,704 outputs with 784 weights and a bias each. The convolution that does it "
    f"in this chapter has {sum(p.numel() for p in convolution.parameters())}.",
)

# %% [markdown] lang="en"
# ## 2 · Convolution: one small template, everywhere
#
# Two facts about pictures make the millions unnecessary. **What belongs together is near together**: an edge, a corner, the end of a stroke show
# in a few pixels. And **what is worth finding here is worth finding there**: a corner is a corner wherever it is. So take a small table of weights,
# the **kernel** (or filter), lay it on every place of the picture, multiply, add up:
#
# $$ \text{out}_{n,o,p,q} = b_o + \sum_{c=1}^{C} \sum_{i=0}^{K-1} \sum_{j=0}^{L-1} w_{o,c,i,j} \; x_{n,\,c,\;p s + i d,\; q s + j d} $$
#
# | symbol | in code | shape | what it is |
# | --- | --- | --- | --- |
# | $x$ | `x` | (N, C, H, W) | N pictures of C channels, with a border of zeros around them where there is padding |
# | $w$ | `weight` | (O, C, K, L) | for each of the O output channels, a kernel of K × L weights on each input channel |
# | $b$ | `bias` | (O,) | one number for each output channel |
# | $s, d$ | `stride`, `dilation` | whole numbers | how far the kernel moves each time; how far apart its weights lie |
# | out | `out` | (N, O, P, Q) | O new pictures, called **feature maps** |
#
# The sum goes over **all** input channels: an output channel sees everything that lies under its window. Mathematicians turn the kernel round before
# they lay it on and call *that* convolution; what networks compute is a *cross-correlation*. A kernel that is learnt anyway does not care, and
# neither do we, but whoever compares with `scipy.signal.convolve` will.
#
# Here is a kernel made by hand. It subtracts what is left of a place from what is right of it:

# %%
seven = torch.from_numpy(split.x_test[split.y_test == 7][:1])
upright = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])  # Sobel's
found = [F.conv2d(seven, kernel[None, None], padding=1).abs() for kernel in (upright, upright.T)]
show_static(
    digit_grid(
        torch.cat([seven, *found])[:, 0].numpy() / [[[1.0]], [[4.0]], [[4.0]]],
        titles=["a 7", "upright", "level"],
    ),
    alt="A 7, and two maps of it: one is dark along its upright edges, the other along its level edges.",
)

# %% [markdown] lang="en"
# Eighteen weights, and the picture is taken apart by direction. In a network nobody writes such kernels; it learns them, by the same gradient as
# everything else.
#
# ### How many places?
#
# A kernel of 3 on an axis of 5 pixels can begin at pixel 0, 1 or 2: three places. **Padding** adds pixels (zeros) on both sides, so that the map can
# be as large as the picture. A **stride** of $s$ keeps every $s$-th place. **Dilation** $d$ spreads the weights, so that K of them cover
# $d(K-1)+1$ pixels. Only whole places count.


# %% exercise="output_size" minutes=6 level=1
def output_size(size, kernel, stride=1, padding=0, dilation=1):
    """At how many places along an axis a kernel fits.

    size: pixels along the axis; padding: pixels added on either side; all whole numbers → a whole number

    >>> output_size(5, 3), output_size(28, 5, padding=2), output_size(7, 2, stride=2)
    (3, 28, 3)
    """
    ### BEGIN SOLUTION
    covered = dilation * (kernel - 1) + 1
    return (size + 2 * padding - covered) // stride + 1
    ### END SOLUTION


# %% check="output_size"
check("cnn.output_size", output_size)

# %% [markdown] lang="en"
# Now the convolution itself, as the formula says it: for every picture, output channel, row and column of the result, cut out the window, multiply
# it by the kernel, add everything up. It will be slow, and it will be the truth that everything faster is compared with.


# %% exercise="conv2d" minutes=15 level=1
def conv2d(x, weight, bias, stride=1, padding=0, dilation=1):
    """Convolution place by place, in NumPy. x (N, C, H, W), weight (O, C, K, L), bias (O,) → (N, O, P, Q)

    The inputs are left as they were.

    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> conv2d(x, np.ones((1, 1, 2, 2)), np.array([100.0]))
    array([[[[108., 112.],
             [120., 124.]]]])
    """
    ### BEGIN SOLUTION
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    outputs, _, tall, wide = weight.shape
    rows = output_size(x.shape[2], tall, stride, padding, dilation)
    columns = output_size(x.shape[3], wide, stride, padding, dilation)
    down, right = dilation * (tall - 1) + 1, dilation * (wide - 1) + 1  # what the kernel covers
    out = np.zeros((len(x), outputs, rows, columns))
    for n, o, p, q in np.ndindex(out.shape):
        top, left = p * stride, q * stride
        window = padded[n, :, top : top + down : dilation, left : left + right : dilation]
        out[n, o, p, q] = (window * weight[o]).sum() + bias[o]  # (C, K, L) times (C, K, L)
    return out
    ### END SOLUTION


# %% check="conv2d"
check("cnn.conv2d", conv2d)

# %% [markdown] lang="en"
# <details><summary>"operands could not be broadcast together"</summary>
#
# At the last place the window has become too small: too many places, or the window begins at <code>p</code> where it should begin at
# <code>p * stride</code>. Print <code>window.shape</code> and compare with <code>weight[o].shape</code>.
# </details>
# <details><summary>How do I go through four axes without four loops?</summary>
#
# <code>for n, o, p, q in np.ndindex(out.shape):</code> goes through all places of an array of that shape.
# </details>
#
# ## 3 · The same as one matrix product
#
# Python is slow at loops and fast at one thing: matrix products. Turn the convolution into one. Write every window as a **column** of C·K·L numbers,
# all P·Q columns side by side. Each kernel is a row of C·K·L weights. Then
#
# $$ \underbrace{\text{out}_n}_{(O,\; P Q)} = \underbrace{W}_{(O,\; C K L)} \; \underbrace{\text{columns}_n}_{(C K L,\; P Q)} + b . $$
#
# This trick is called **im2col** ("image to columns"). It makes the picture K·L times as large, since a pixel stands in as many windows as the
# kernel has weights, and it is worth it.
#
# The windows need not be cut out one by one. An array is a block of numbers plus a rule, its **strides**: how many bytes further the next row lies,
# how many the next column. With another rule the same block can be read as an array of windows, without copying a number:

# %%
small = np.arange(16.0).reshape(4, 4)
view = np.lib.stride_tricks.sliding_window_view(small, (2, 3))
print("a table of", view.shape[:2], "windows of", view.shape[2:])
print("strides of the picture:", small.strides, "and of the windows:", view.strides)
print("in the same memory:", np.shares_memory(small, view))
print(view[1, 1])

# %% [markdown] lang="en"
# A step to the next window is as long as a step to the next pixel, which is why both pairs of strides are the same. Now write `im2col`. The view
# gives you (N, C, P, Q, K, L), if you ask for windows along the last two axes; what is wanted has C, K, L before P, Q.


# %% exercise="im2col" minutes=15 level=2
def im2col(x, kernel, stride=1, padding=0, dilation=1):
    """Every window of every picture as a column. x (N, C, H, W), kernel (K, L) → (N, C·K·L, P·Q)

    Within a column: channel by channel, and row by row. The columns: the places in reading order.

    >>> im2col(np.arange(9.0).reshape(1, 1, 3, 3), (2, 2))[0]
    array([[0., 1., 3., 4.],
           [1., 2., 4., 5.],
           [3., 4., 6., 7.],
           [4., 5., 7., 8.]])
    """
    ### BEGIN SOLUTION
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    covered = tuple(dilation * (side - 1) + 1 for side in kernel)
    view = np.lib.stride_tricks.sliding_window_view(padded, covered, axis=(2, 3))
    view = view[:, :, ::stride, ::stride, ::dilation, ::dilation]  # (N, C, P, Q, K, L)
    n, c, p, q, k, l = view.shape
    return view.transpose(0, 1, 4, 5, 2, 3).reshape(n, c * k * l, p * q)
    ### END SOLUTION


# %% check="im2col"
check("cnn.im2col", im2col)

# %% [markdown] lang="en"
# <details><summary>The shape is right and the numbers are not</summary>
#
# <code>reshape</code> never moves a number; it reads them in the order of the axes. Bring the axes into the order N, C, K, L, P, Q with
# <code>transpose</code> first.
# </details>
# <details><summary>Where do stride and dilation go?</summary>
#
# Ask for windows that cover d (K − 1) + 1 pixels. Of the places keep every stride-th, of the pixels within a window every dilation-th: both are
# slices with a step.
# </details>
#
# With it, the convolution is short. How much faster is it than the loops, and how far is it from PyTorch's?


# %%
def conv2d_columns(x, weight, bias, stride=1, padding=0, dilation=1):
    """Equal to conv2d, as one matrix product a picture."""
    rows = output_size(x.shape[2], weight.shape[2], stride, padding, dilation)
    columns = im2col(x, weight.shape[2:], stride, padding, dilation)  # (N, C·K·L, P·Q)
    out = weight.reshape(len(weight), -1) @ columns + bias[:, None]  # (N, O, P·Q)
    return out.reshape(len(x), len(weight), rows, -1)


# %% train
rng = np.random.default_rng(0)
x, weight, bias = (
    rng.normal(size=(8, 6, 14, 14)),
    rng.normal(size=(16, 6, 5, 5)),
    rng.normal(size=16),
)
torch_arrays = [torch.from_numpy(array) for array in (x, weight, bias)]
ways = {
    "loops": lambda: conv2d(x, weight, bias),
    "columns": lambda: conv2d_columns(x, weight, bias),
    "torch": lambda: F.conv2d(*torch_arrays).numpy(),
}
truth, conv_times = ways["torch"](), {name: [] for name in ways}
for _turn in range(5):
    for name, way in ways.items():
        begun = time.perf_counter()
        out = way()
        conv_times[name].append(time.perf_counter() - begun)
        assert np.allclose(out, truth)
for name, times in conv_times.items():
    print(f"{name:8s} {np.median(times) * 1e3:8.2f} ms, equal to torch's to ten digits")

# %% [markdown] lang="en"
# Same numbers, and more than a hundred times faster than the loops. That is the second layer of this chapter's network, on eight pictures. Section 10
# compares a whole forward and backward pass with PyTorch.
#
# ## 4 · The way back
#
# Because the convolution is a matrix product now, chapter 03 has its gradients already. For one picture, $\text{out} = W\,\text{columns} + b$, and
# with the upstream gradient $g$ of shape (O, P·Q):
#
# - the **bias** was added at every place: its gradient is the sum of $g$ over the places, and over the pictures;
# - the **weight** served every place: $g \; \text{columns}^\top$, summed over the pictures;
# - the **columns** get $W^\top g$, of shape (C·K·L, P·Q).
#
# One thing is new. The columns are copies of pixels, and a pixel stands in several columns: it has reached the loss in several ways. **Paths add
# up.** So run the copying in reverse, and add: for each of the K·L positions within the kernel, the numbers of all places go back to a slice of the
# (padded) picture. With stride 1 and no dilation, the pixels that position (i, j) of the kernel has looked at are rows $i$ to $i + P - 1$ and
# columns $j$ to $j + Q - 1$.


# %% exercise="conv2d_backward" minutes=20 level=3
def conv2d_backward(grad_out, x, weight, stride=1, padding=0, dilation=1):
    """The three gradients of a convolution.

    grad_out (N, O, P, Q): gradient with respect to its result; x (N, C, H, W), weight (O, C, K, L)
    → (grad_x (N, C, H, W), grad_weight (O, C, K, L), grad_bias (O,))

    >>> g, x, weight = np.ones((1, 1, 2, 2)), np.arange(9.0).reshape(1, 1, 3, 3), np.ones((1, 1, 2, 2))
    >>> grad_x, grad_weight, grad_bias = conv2d_backward(g, x, weight)
    >>> grad_x[0, 0]  # the middle pixel stood in four windows
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    >>> grad_weight[0, 0]
    array([[ 8., 12.],
           [20., 24.]])
    >>> grad_bias
    array([4.])
    """
    ### BEGIN SOLUTION
    n, c, h, w = x.shape
    o, _, k, l = weight.shape
    p, q = grad_out.shape[2:]
    g = grad_out.reshape(n, o, p * q)
    columns = im2col(x, (k, l), stride, padding, dilation)  # (N, C·K·L, P·Q)
    grad_weight = (g @ columns.transpose(0, 2, 1)).sum(axis=0).reshape(weight.shape)
    grad_columns = (weight.reshape(o, -1).T @ g).reshape(n, c, k, l, p, q)
    grad_padded = np.zeros((n, c, h + 2 * padding, w + 2 * padding))
    for i in range(k):
        for j in range(l):
            top, left = i * dilation, j * dilation
            rows = slice(top, top + stride * p, stride)
            grad_padded[:, :, rows, left : left + stride * q : stride] += grad_columns[:, :, i, j]
    grad_x = grad_padded[:, :, padding : padding + h, padding : padding + w]
    return grad_x, grad_weight, grad_out.sum(axis=(0, 2, 3))
    ### END SOLUTION


# %% check="conv2d_backward"
check("cnn.conv2d_backward", conv2d_backward)

# %% [markdown] lang="en"
# <details><summary>Only the gradient of x is wrong</summary>
#
# Is it <code>+=</code>? With <code>=</code> the last window to write wins. If the stride is larger than 1, do the slices have that step, too?
# </details>
# <details><summary>A slice is one too long with a stride</summary>
#
# P places with step s: <code>top : top + stride * p : stride</code> has just P entries, whatever is left over at the end.
# </details>
#
# A gradient that can be measured need not be believed. As in chapter 03, nudge a number, look at the loss, and compare:

# %%
rng = np.random.default_rng(1)
x, weight = rng.normal(size=(2, 3, 7, 6)), rng.normal(size=(4, 3, 3, 2))
how = {"stride": 2, "padding": 1, "dilation": 2}
upstream = rng.normal(size=conv2d(x, weight, np.zeros(4), **how).shape)
grads = dict(zip(("x", "weight"), conv2d_backward(upstream, x, weight, **how)[:2], strict=True))
for name, array in (("x", x), ("weight", weight)):
    worst = 0.0
    for place in [tuple(rng.integers(array.shape)) for _ in range(25)]:
        losses = []
        for step in (1e-5, -1e-5):
            array[place] += step
            losses.append((upstream * conv2d_columns(x, weight, np.zeros(4), **how)).sum())
            array[place] -= step
        worst = max(worst, abs((losses[0] - losses[1]) / 2e-5 - grads[name][place]))
    print(f"{name:6s} 25 slopes measured, largest difference {worst:.1e}")

# %% [markdown] lang="en"
# Some pixels have slope 0 there: with these steps no window reached them, and the two ways agree on that as well.
#
# ## 5 · Pooling: less of the same
#
# Where exactly a corner lies matters less than that there is one. **Pooling** looks at a small window of *one* channel and keeps one number: the
# largest (max pooling) or the mean. Windows of 2 × 2 side by side halve the picture in both directions, so what follows has a quarter of the work,
# sees twice as far with the same kernel, and is bothered less when everything moves by a pixel. There is nothing to learn in it.
#
# Forward it is a line, with your columns: put the channels among the pictures, so that each is a picture of its own.


# %%
def pool2d(x, size, stride, kind):
    """x (N, C, H, W) → (N, C, P, Q): of every size × size window its maximum (kind "max") or its mean ("mean")."""
    n, c, h, w = x.shape
    columns = im2col(x.reshape(n * c, 1, h, w), (size, size), stride)  # (N·C, size², P·Q)
    pooled = columns.max(axis=1) if kind == "max" else columns.mean(axis=1)
    return pooled.reshape(n, c, output_size(h, size, stride), output_size(w, size, stride))


# %% [markdown] lang="en"
# And back? Ask of each pixel what its slope is. The mean of $S^2$ numbers moves with each of them at the rate $1/S^2$. The maximum moves with the
# largest alone: the others could move a little and nothing would change. That is a ReLU in another guise: it passes here and blocks there, and
# forward decides where. Of several equally large ones (after a ReLU, windows full of zeros are common) let the first in reading order have it all,
# as PyTorch does. Windows may overlap, when the stride is smaller than the size; then a pixel can win twice.


# %% exercise="pool2d_backward" minutes=15 level=2
def pool2d_backward(grad_out, x, size, stride, kind):
    """The gradient on its way back through pool2d.

    grad_out (N, C, P, Q), x (N, C, H, W) as it went in; size, stride: whole numbers; kind "max" or "mean"
    → grad_x (N, C, H, W)

    >>> x = np.array([[[[1.0, 2.0], [4.0, 3.0]]]])
    >>> pool2d_backward(np.array([[[[8.0]]]]), x, 2, 2, "max")[0, 0]
    array([[0., 0.],
           [8., 0.]])
    >>> pool2d_backward(np.array([[[[8.0]]]]), x, 2, 2, "mean")[0, 0]
    array([[2., 2.],
           [2., 2.]])
    """
    ### BEGIN SOLUTION
    grad_x = np.zeros(x.shape)
    for n, c, p, q in np.ndindex(grad_out.shape):
        here = (n, c, slice(p * stride, p * stride + size), slice(q * stride, q * stride + size))
        if kind == "max":
            row, column = np.unravel_index(x[here].argmax(), (size, size))
            grad_x[here][row, column] += grad_out[n, c, p, q]
        else:
            grad_x[here] += grad_out[n, c, p, q] / size**2
    return grad_x
    ### END SOLUTION


# %% check="pool2d_backward"
check("cnn.pool2d_backward", pool2d_backward)

# %% [markdown] lang="en"
# <details><summary>How do I write into a part of an array?</summary>
#
# A slice is a view: <code>part = grad_x[n, c, 0:2, 0:2]</code> and then <code>part[row, column] += …</code> writes into <code>grad_x</code>.
# </details>
#
# ## 6 · What does one number see?
#
# A number of the first map sees the window under its kernel. A number of the second map sees a window of the *first map*, and through it a larger
# window of the picture. What it can see at all is its **receptive field**: nothing outside can change it. A network that must tell a 3 from an 8
# needs numbers that see the whole character.
#
# **Predict:** two convolutions with kernel 3, a pooling of 2 × 2 with stride 2, two more convolutions with kernel 3. How many pixels wide is the
# receptive field of a number at the end?

# %% predict="receptive_field"
# A number. (After the pooling, neighbours in a map lie two pixels of the picture apart.)
field_guess = ...


# %%
def seen_by_the_middle(net, size):
    """Which pixels of a size × size picture move the middle number of the net's last map: (size, size), by the gradient."""
    torch.manual_seed(0)
    x = torch.randn(64, 1, size, size).requires_grad_()
    maps = net(x)
    maps[:, :, maps.shape[2] // 2, maps.shape[3] // 2].sum().backward()
    return x.grad.abs().sum(dim=(0, 1))


def three_by_three(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3), nn.ReLU())


torch.manual_seed(0)
stack = nn.Sequential(
    three_by_three(1, 8),
    three_by_three(8, 8),
    nn.MaxPool2d(2),
    three_by_three(8, 8),
    three_by_three(8, 8),
)
seen = seen_by_the_middle(stack, 28)
predict.reveal(
    "cnn.receptive_field",
    guess=field_guess,
    truth=int((seen.sum(dim=0) > 0).sum()),
    because="Measured, by the gradient: 3, 5, then 6 with the pooling, and the last two kernels reach 2 · 2 pixels further each.",
)

# %%
figure, axis = plt.subplots(figsize=(3.4, 3.4), layout="constrained")
axis.imshow(seen, cmap="gray_r")
axis.set(title="whose gradient is not 0", xlabel="column", ylabel="row")
plt.close(figure)
show_static(
    figure,
    alt="A square of 14 by 14 pixels within 28 by 28: dark in the middle, faint at its edges, white outside.",
)

# %% [markdown] lang="en"
# The square has sharp edges and a soft middle: a pixel at the rim reaches the number in one way, one in the middle in many ways. What a number sees
# *well* is a good deal smaller than its receptive field (Luo et al., 2016, call it the effective one).
#
# Write the rule. Keep two numbers while you go through the layers: the **field**, how far the view reaches, and the **jump**, how many pixels lie
# between the views of two neighbours. A layer that covers $d(K-1)+1$ of its inputs widens the field by $d(K-1)$ jumps; *then* its stride widens the
# jump.


# %% exercise="receptive_field" minutes=10 level=2
def receptive_field(layers):
    """How much of the picture a number of the last layer sees, along one axis.

    layers: list of (kernel, stride, dilation), from the picture on; a pooling counts like a convolution
    → (field, jump), two whole numbers

    >>> receptive_field([(3, 1, 1), (3, 1, 1), (2, 2, 1), (3, 1, 1), (3, 1, 1)])
    (14, 2)
    """
    ### BEGIN SOLUTION
    field, jump = 1, 1
    for kernel, stride, dilation in layers:
        field += dilation * (kernel - 1) * jump
        jump *= stride
    return field, jump
    ### END SOLUTION


# %% check="receptive_field"
check("cnn.receptive_field", receptive_field)

# %% [markdown] lang="en"
# Does the rule hold for any stack? Draw some at random, count, and measure with gradients:

# %% train
rng = np.random.default_rng(0)
for _draw in range(6):
    layers = [
        (int(rng.integers(2, 5)), int(rng.integers(1, 3)), int(rng.integers(1, 3)))
        for _ in range(4)
    ]
    net = nn.Sequential(
        *(nn.Conv2d(1, 1, k, stride=s, dilation=d, bias=False) for k, s, d in layers)
    )
    field, jump = receptive_field(layers)
    with torch.no_grad():
        for module in net:
            module.weight.fill_(1.0)  # nothing cancels
    along = seen_by_the_middle(net, 80).sum(dim=0).nonzero().flatten()
    measured = int(along[-1] - along[0]) + 1
    print(f"{layers}: counted {field}, measured {measured}")
    assert measured == field

# %% [markdown] lang="en"
# ### Why a ReLU between two convolutions
#
# Two kernels of 3 see as much as one of 5, with 18 weights in place of 25 (for one channel), and a ReLU between them makes two steps out of one.
# That ReLU is no trifle. Both articles that tell what a convolutional network is made of list convolution, pooling and a fully connected layer,
# and no activation. Without one, and with nothing else between them that is not linear, two convolutions are *one*:

# %%
torch.manual_seed(0)
first, second = torch.randn(1, 1, 3, 3), torch.randn(1, 1, 3, 3)
x = torch.randn(1, 1, 28, 28)
one_after_the_other = F.conv2d(F.conv2d(x, first), second)
together = F.conv2d(first, second.flip(2, 3), padding=2)  # the two kernels, laid on each other
print("kernel of both:", tuple(together.shape[2:]))
print(f"largest difference: {(F.conv2d(x, together) - one_after_the_other).abs().max():.1e}")

# %% [markdown] lang="en"
# ## 7 · A whole network
#
# **LeNet** (LeCun et al., 1998) read the amounts on cheques for American banks. It is the pattern of all that came after: convolutions and poolings
# in turn, the maps smaller and more of them, then affine layers that see everything. Here is its layout with today's parts (ReLU, max pooling):
#
# | layer | result | parameters | sees |
# | --- | --- | --- | --- |
# | picture | 1 × 28 × 28 | | |
# | convolution 5 × 5, padding 2, ReLU | 6 × 28 × 28 | 156 | 5 |
# | max pooling 2 × 2 | 6 × 14 × 14 | | 6 |
# | convolution 5 × 5, ReLU | 16 × 10 × 10 | 2,416 | 14 |
# | max pooling 2 × 2 | 16 × 5 × 5 | | 16 |
# | affine 400 → 120, ReLU | 120 | 48,120 | all |
# | affine 120 → 84, ReLU | 84 | 10,164 | all |
# | affine 84 → 10 | 10 logits | 850 | all |
#
# In PyTorch that is a handful of lines; `LeNet` of `course_lib.nn.cnn` has just these. Where are its parameters, and where is its work?

# %%
net = LeNet()
print(net)
x = torch.zeros(1, 1, 28, 28)
for name, layer in net.named_children():
    numbers = sum(p.numel() for p in layer.parameters())
    places = {"conv1": 28 * 28, "conv2": 10 * 10}.get(name, 1)
    print(f"{name:6s} {numbers:7,} parameters, {layer.weight.numel() * places:8,} multiplications")
print("in all", f"{sum(p.numel() for p in net.parameters()):,}", "parameters")

# %% [markdown] lang="en"
# The convolutions hold 4% of the parameters and do 86% of the work: a weight that serves every place is used at every place.
#
# Now train it. `fit` and `evaluate` are those of chapter 05, from the library. The held-out thousand has the same fonts, bent in ways that the
# network has not seen. (With `COURSE_SIZE=full` it trains for twenty epochs instead of six, and should read about 99.7%.)

# %%
x_train, y_train, x_test, y_test = (
    torch.from_numpy(array).to(device)
    for array in (split.x_train, split.y_train, split.x_test, split.y_test)
)
EPOCHS = 20 if FULL else 6


def trained(build, x, y, seed, epochs=None, lr=3e-3):
    """A fresh network, trained with AdamW on x, y in batches of 64: the last third of the epochs at a fifth of the rate."""
    torch.manual_seed(seed)
    net = build().to(device)
    epochs = EPOCHS if epochs is None else epochs
    last = max(1, epochs // 3)
    for part, rate in ((epochs - last, lr), (last, lr / 5)):
        fit(net, x, y, TrainConfig(epochs=part, batch_size=64, lr=rate, seed=seed))
    return net


# %% train
begun = time.perf_counter()
lenet = trained(LeNet, x_train, y_train, seed=0)
seconds = time.perf_counter() - begun
scores = evaluate(lenet, x_test, y_test)
print(f"held-out digits read by LeNet: {scores.accuracy:.1%}, after {seconds:.0f} s of training")

# %% [markdown] lang="en"
# ### Look inside
#
# Pick a picture, a layer and a filter. Most filters of the first layer answer to edges or strokes of some direction; of the second, which looks at six
# maps at once, the picture shows the mean of its six tables. Then **move the picture** and watch the map of the first layer move along, pixel by pixel: that is what
# "the same kernel everywhere" means, and it is called *equivariance*.

# %% figure="feature_maps" alt="A picture, one filter of the chosen layer as a small grid of weights, the map that this filter draws of the picture, and the maps of the layer's other filters below. Lists choose the picture, the layer and the filter, a slider moves the picture to the right."
drawing = from_text("""
..####..
.#....#.
......#.
...###..
......#.
.#....#.
..####..
""")
chosen = {f"a {digit}": split.x_test[split.y_test == digit][0, 0] for digit in range(10)}
chosen |= {
    "my drawing": drawing,
    "a dot": from_text("#") * (np.hypot(*np.mgrid[-14:14, -14:14]) < 3),
}
show(feature_maps(lenet, chosen))

# %% [markdown] lang="en"
# The drawing is made of characters: change it in the cell, run the cell again, and look at your own. What does the network read?

# %% train
for name in ("my drawing", "a dot"):
    says = logits_of(lenet, torch.from_numpy(chosen[name])[None, None].to(device)).softmax(dim=1)[0]
    best = says.topk(2)
    print(
        f"{name}: {best.indices[0]} with probability {best.values[0]:.2f}, "
        f"{best.indices[1]} with {best.values[1]:.2f}"
    )

# %% [markdown] lang="en"
# It has no way to say that a dot is no digit: softmax divides its belief among ten answers, whatever it is shown. Chapter 18 comes back to that.
#
# ### The articles' network
#
# One of the source articles gives a small network of this kind in PyTorch. As printed it does not get as far as a wrong answer: it calls
# `F.relu` without importing `F`, and its `forward` uses a name that only `__init__` knows. Two `NameError`s, which are kind errors: they come at
# once and name themselves. (Three of its arguments are called sizes; they count channels, maps and classes. The size of the picture is no argument,
# and that is where the trouble begins.) Behind them stand the unkind ones. In our words, and with both names mended:


# %%
class AsPrinted(nn.Module):
    """The article's layers: two convolutions with pooling, one affine layer."""

    def __init__(self, channels, width, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, classes, 3, padding=1)
        self.fc = nn.Linear(classes * 8 * 8, classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc(x.view(-1, self.fc.in_features))


print("32 × 32:", tuple(AsPrinted(1, 16, 10)(torch.zeros(64, 1, 32, 32)).shape))

# %% [markdown] lang="en"
# With pictures of 32 × 32 pixels all is well: two poolings leave 8 × 8. **Predict:** give it 64 of our pictures of **28 × 28**, ten classes. How
# many rows of logits come out?

# %% predict="rows"
# A number. (Two poolings leave 7 × 7 pixels of ten maps. All pictures' numbers together are then cut into rows of 10 · 8 · 8.)
rows_guess = ...

# %%
predict.reveal(
    "cnn.rows",
    guess=rows_guess,
    truth=len(AsPrinted(1, 16, 10)(torch.zeros(64, 1, 28, 28))),
    because="64 · 490 numbers are 49 · 640. Every row mixes numbers of two pictures or three.",
)

# %% [markdown] lang="en"
# `view(-1, …)` makes whatever number of rows fits, and here 49 fit without a remainder. With 64 labels the loss will complain, late and about
# something else; whoever only asks for answers gets 49 of them. The rule: **never let the batch axis be guessed**. `flatten(1)` keeps it.
#
# The third mistake raises nothing at all. The number of *classes* is used as the number of *maps* of the second convolution. With two classes, all
# that the network knows of a picture must pass through two maps. Mend all of it.


# %% exercise="MendedCNN" minutes=12 level=2
class MendedCNN(nn.Module):
    """Two convolutions (3 × 3, padding 1), each with ReLU and 2 × 2 max pooling, then one affine layer.

    channels: of the pictures; width: maps of the first convolution, and the second has twice as many;
    size: height and width of the pictures, any from 4 up. x (N, channels, size, size) → logits (N, classes)
    The layers are called conv1, conv2 and fc.
    """

    def __init__(self, channels, width, classes, size):
        super().__init__()
        ### BEGIN SOLUTION
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1)
        left = size // 2 // 2  # pixels along each side after two poolings, each rounded down
        self.fc = nn.Linear(2 * width * left * left, classes)
        ### ELSE BROKEN
        # self.conv1 = nn.Conv2d(channels, width, 3, padding=1)
        # self.conv2 = nn.Conv2d(width, classes, 3, padding=1)
        # self.fc = nn.Linear(classes * 8 * 8, classes)
        ### END SOLUTION

    def forward(self, x):
        ### BEGIN SOLUTION
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc(x.flatten(1))  # one row for each picture, whatever comes
        ### ELSE BROKEN
        # x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        # x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        # return self.fc(x.view(-1, self.fc.in_features))
        ### END SOLUTION


# %% check="MendedCNN"
check("cnn.MendedCNN", MendedCNN)

# %% [markdown] lang="en"
# What does the narrow place cost? Two classes that look alike, B and 8, pictures of 28 × 28, three seeds. To compare the channels alone, both
# networks flatten rightly.


# %% train
class TwoMaps(MendedCNN):
    """MendedCNN with as many maps in its second convolution as there are classes."""

    def __init__(self, channels, width, classes, size):
        super().__init__(channels, width, classes, size)
        self.conv2 = nn.Conv2d(width, classes, 3, padding=1)
        self.fc = nn.Linear(classes * (size // 4) ** 2, classes)


pair = glyphs(seed=0, characters="8B", per_class=500)
pair_tensors = [
    torch.from_numpy(array).to(device)
    for array in (pair.x_train, pair.y_train, pair.x_test, pair.y_test)
]
for kind in (TwoMaps, MendedCNN):
    shares = [
        evaluate(
            trained(lambda kind=kind: kind(1, 8, 2, 28), *pair_tensors[:2], seed, epochs=4),
            *pair_tensors[2:],
        ).accuracy
        for seed in range(3)
    ]
    print(f"{kind.__name__:10s} held-out 8 and B: " + ", ".join(f"{share:.1%}" for share in shares))

# %% [markdown] lang="en"
# With every seed the network with sixteen maps reads more than the one with two. It is no catastrophe, which is what makes this kind of mistake so
# long-lived: nothing fails, and a few points are missing. (Here more maps also mean a larger last layer, so that not all of the gain need be the maps'.)
#
# ## 8 · What is convolution worth?
#
# The honest opponent is a fully connected network with **as many parameters**, on the same pictures, with the same training. `equal_mlp` makes one:
# 784 → W → W → 10, with the width that comes nearest to LeNet's 61,706.

# %% train
mlp = equal_mlp(LeNet(), 28 * 28, 10)
print(f"LeNet has {sum(p.numel() for p in LeNet().parameters()):,} parameters,", end=" ")
print(
    f"the other network, {mlp[1].out_features} wide, {sum(p.numel() for p in mlp.parameters()):,}"
)

builders = {"LeNet": LeNet, "fully connected": lambda: equal_mlp(LeNet(), 28 * 28, 10)}
nets = {name: [] for name in builders}
for seed in progress(range(3), "three seeds of both"):
    for name, build in builders.items():
        known = name == "LeNet" and seed == 0
        nets[name].append(lenet if known else trained(build, x_train, y_train, seed))
for name, group in nets.items():
    shares = [evaluate(net, x_test, y_test).accuracy for net in group]
    print(f"{name:16s} held-out digits: {mean_and_interval(shares).percent()}")

# %% [markdown] lang="en"
# Now the test that the introduction promised: **move** the held-out pictures to the right, by more and more pixels. In training, characters were up to
# two pixels off the middle. Nobody needs to learn anew what a 4 is because it stands further right, one should think.

# %% train
shifts = range(9)
curves = {
    name: [
        [evaluate(net, shifted(x_test, right=right), y_test).accuracy for right in shifts]
        for net in group
    ]
    for name, group in nets.items()
}
figure, axis = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
for (name, lines), (marker, colour) in zip(
    curves.items(), (("o", "#0072B2"), ("^", "#B34700")), strict=True
):
    axis.plot(shifts, np.mean(lines, axis=0), marker=marker, color=colour, label=name)
    axis.fill_between(
        shifts, np.min(lines, axis=0), np.max(lines, axis=0), color=colour, alpha=0.15
    )
axis.axhline(0.1, color="#8C8C8C", linestyle=":", label="guessing")
axis.set(xlabel="pixels to the right", ylabel="read rightly", ylim=(0, 1.02))
axis.legend(frameon=False)
plt.close(figure)
show_static(
    figure,
    alt="Share read rightly against the shift in pixels. Both fall; the fully connected network falls earlier and lower. Bands show the spread over three seeds.",
)
for right in (2, 4, 6):
    print(
        f"{right} pixels:",
        ", ".join(f"{name} {np.mean(lines, axis=0)[right]:.1%}" for name, lines in curves.items()),
    )

# %% [markdown] lang="en"
# The convolutional network is the better one at every shift, and it is far from doing well: at four pixels it reads about six in ten, where the
# fully connected one reads a third. "A CNN does not care where things are" is often said. It is not true of LeNet.
#
# Where is the difference lost? The maps move with the picture, as you saw. Then comes `flatten`, and the first affine layer has **another weight
# for every place of every map**. It has to learn a 4 on the left and a 4 on the right as two things, exactly as the fully connected network does
# from the first layer on. So replace the flattening by the mean of every map, which does not ask where. The rest is convolutions, with a tenth of
# LeNet's parameters:


# %% train
def mean_cnn():
    """Three convolutions, the mean of every map, one affine layer."""
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 5, stride=2, padding=2), nn.ReLU()),  # (N, 8, 14, 14)
        *(nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()),  # (N, 32, 7, 7)
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)),
    )


nets["mean of every map"] = [
    trained(mean_cnn, x_train, y_train, seed) for seed in progress(range(2), "two seeds")
]
print(f"{sum(p.numel() for p in mean_cnn().parameters()):,} parameters")
for right in (0, 2, 4, 6):
    shares = [
        evaluate(net, shifted(x_test, right=right), y_test).accuracy
        for net in nets["mean of every map"]
    ]
    print(f"{right} pixels: " + ", ".join(f"{share:.1%}" for share in shares))

# %% [markdown] lang="en"
# At rest it is a point or so behind LeNet. Moved by six pixels, it still reads more than nine in ten, where LeNet reads a quarter. So there are two
# properties, and they live in different layers. *Equivariance* (the map moves along) belongs to the convolution. *Invariance* (the answer stays)
# comes from what forgets the place: the mean at the end, and a little of it from each pooling.
#
# ### Augmentation: tell it what does not matter
#
# Whoever knows that a shift does not change the answer can say so with data: move every training picture at random, best anew in every epoch (here: two moved copies of
# each). That is **augmentation**. It helps both networks, and it needs no new pictures.

# %% train
augmented = {}
generator = torch.Generator().manual_seed(0)
moved_copies = [randomly_shifted(x_train.cpu(), 6, generator).to(device) for _ in range(2)]
x_moved, y_moved = torch.cat([x_train, *moved_copies]), torch.cat([y_train] * 3)
for name, build in builders.items():
    net = trained(build, x_moved, y_moved, seed=0, epochs=max(2, EPOCHS // 3))
    augmented[name] = [
        evaluate(net, shifted(x_test, right=right), y_test).accuracy for right in (0, 2, 4, 6)
    ]
    print(
        f"{name:16s} trained on moved pictures, 0, 2, 4, 6 pixels:",
        ", ".join(f"{share:.1%}" for share in augmented[name]),
    )

# %% [markdown] lang="en"
# As many steps of training as before, on pictures moved by up to six pixels. LeNet gains most of what it had lost; the fully connected network gains,
# too, but has to spend its parameters on every place anew. What the architecture does not know, data can teach, at a price.
#
# ### The scrambled pixels
#
# The chapter began with a claim: the fully connected network would not notice if all pixels were dealt out anew. Take it at its word, and ask LeNet, too.

# %% train
order = torch.from_numpy(np.random.default_rng(0).permutation(28 * 28)).to(device)
dealt, dealt_test = (
    images.flatten(1)[:, order].reshape(-1, 1, 28, 28) for images in (x_train, x_test)
)
for name, build in builders.items():
    plain = evaluate(nets[name][0], x_test, y_test).accuracy
    share = evaluate(trained(build, dealt, y_train, seed=0), dealt_test, y_test).accuracy
    print(f"{name:16s} as they are: {plain:.1%}, scrambled: {share:.1%}")

# %% [markdown] lang="en"
# The one reads scrambled pictures as it reads any others, up to the luck of its first weights. The other loses what it had on it, and more: it looks for
# neighbours where there are none. An architecture is a bet on what the data are like. For pictures it is a good one.
#
# ### A stranger's hand
#
# One more question to a test set is always worth asking: *unlike what* are its rows? Ours so far were unlike the training rows in how they are bent.
# Now keep four fonts for the test alone.

# %% train
strange = glyphs(seed=0, held_out="fonts")
strange_tensors = [
    torch.from_numpy(array).to(device)
    for array in (strange.x_train, strange.y_train, strange.x_test, strange.y_test)
]
print("never seen in training:", ", ".join(STRANGE_FONTS))
for name, build in builders.items():
    shares = [
        evaluate(
            trained(build, *strange_tensors[:2], seed, epochs=5), *strange_tensors[2:]
        ).accuracy
        for seed in range(2)
    ]
    print(f"{name:16s} digits in strange fonts: " + ", ".join(f"{share:.1%}" for share in shares))

# %% [markdown] lang="en"
# Both lose about a point against fonts that they know, and the distance between the two stays. Whether a test asks for new pictures or for new
# *fonts* is not a detail of the split: say which, whenever you report a figure.
#
# ### Back to 8 × 8
#
# And the digits that we began with, real handwriting of 8 × 8 pixels? In chapter 03 a network of affine layers read about 98% of them. `SmallCNN` has
# three convolutions of 3 × 3 with batch normalisation and a pooling between.

# %% train
hand = digits(seed=0, dtype="float32", flat=False)
hand_tensors = [
    torch.from_numpy(array).to(device)
    for array in (hand.x_train[:, None], hand.y_train, hand.x_test[:, None], hand.y_test)
]
shares = [
    evaluate(
        trained(SmallCNN, *hand_tensors[:2], seed, epochs=9, lr=5e-3), *hand_tensors[2:]
    ).accuracy
    for seed in progress(range(3), "8 × 8 digits")
]
print("8 × 8 digits, held out, three seeds: " + ", ".join(f"{share:.1%}" for share in shares))

# %% [markdown] lang="en"
# ## 9 · Deeper: shortcuts and branches
#
# If two layers are good, are twenty better? In 2015 He and others saw something odd: a network of 56 plain layers was *worse* than one of 20, **on the
# training pictures**. So it was no learning by heart. The deep one could copy the shallow one and let the rest do nothing, and gradient descent did not
# find even that. "Do nothing" is hard to learn for a layer: it has to become the identity.
#
# Their remedy is a **residual block**. The layers say only what to *change*:
#
# $$ y = \mathrm{ReLU}\bigl(x + F(x)\bigr), \qquad F = \text{norm}_2 \circ \text{conv}_2 \circ \mathrm{ReLU} \circ \text{norm}_1 \circ \text{conv}_1 . $$
#
# To do nothing, $F$ must be zero, which is easy. And on the way back, the gradient of $x + F(x)$ is the upstream gradient plus what comes through
# $F$: there is a path on which nothing multiplies it. (The last ReLU can still close.) Where the block halves the picture or changes the number of
# channels, $x$ does not fit $F(x)$; there the **shortcut** gets a 1 × 1 convolution with a normalisation of its own.
#
# A convolution that is followed by a normalisation needs no bias: the mean is subtracted anyway.


# %% exercise="ResidualBlock" minutes=15 level=3
class ResidualBlock(nn.Module):
    """Two 3 × 3 convolutions and a shortcut: relu(shortcut(x) + norm2(conv2(relu(norm1(conv1(x)))))).

    x (N, in_channels, H, W) → (N, out_channels, P, Q). conv1 has the stride; both have padding 1 and no bias.
    The parts are called conv1, norm1, conv2, norm2 (nn.Conv2d, nn.BatchNorm2d) and shortcut: nn.Identity() if
    stride is 1 and the channels stay, else nn.Sequential of a 1 × 1 convolution (with the stride, without bias)
    and a batch normalisation.
    """

    def __init__(self, in_channels, out_channels, stride=1):
        super().__init__()
        ### BEGIN SOLUTION
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )
        ### END SOLUTION

    def forward(self, x):
        ### BEGIN SOLUTION
        change = F.relu(self.norm1(self.conv1(x)))
        change = self.norm2(self.conv2(change))
        return F.relu(self.shortcut(x) + change)
        ### END SOLUTION


# %% check="ResidualBlock"
check("cnn.ResidualBlock", ResidualBlock)

# %% [markdown] lang="en"
# <details><summary>Right in training mode, wrong in evaluation</summary>
#
# Does one normalisation serve two places? Then its averages are those of neither. (A ReLU before the sum is wrong in both modes.) Go through the formula from the inside out and tick every part once.
# </details>
#
# Out of your blocks, a small network as in the paper: three stages, each later one with twice the channels on half the picture; at the end the **mean
# of every map** and one affine layer. With B blocks a stage it has 6B + 2 layers. To compare, the same without the shortcuts.


# %%
class PlainBlock(ResidualBlock):
    """The same layers, no shortcut."""

    def forward(self, x):
        change = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(change)))


def deep_cnn(kind, blocks, width=8):
    """1 + 6·blocks + 1 layers for pictures of one channel and ten classes."""
    stages, inputs = [], width
    for stage in range(3):
        for block in range(blocks):
            outputs = width * 2**stage
            stages.append(kind(inputs, outputs, 2 if stage and block == 0 else 1))
            inputs = outputs
    stem = [nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(
        *stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 10)
    )


# %% train
live = {}
for kind in progress((PlainBlock, ResidualBlock), "20 layers"):
    net = trained(lambda kind=kind: deep_cnn(kind, 3), *hand_tensors[:2], seed=0, epochs=4)
    live[kind] = [evaluate(net, *hand_tensors[side : side + 2]).accuracy for side in (0, 2)]
    print(
        f"{kind.__name__:14s} 20 layers: training {live[kind][0]:.1%}, held out {live[kind][1]:.1%}"
    )

# %% [markdown] lang="en"
# One seed is one seed, and 56 layers take their time. `benchmarks/depth.py` has trained 8, 20 and 56 layers with five seeds each in the same way, and
# stored what came out. Your two networks are drawn into its picture.

# %% train
from course_lib.nn.depth import stored

rows, styles = (
    stored(),
    ((False, PlainBlock, "o", "#B34700"), (True, ResidualBlock, "^", "#0072B2")),
)
figure, panels = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained", sharey=True)
for side, (axis, name) in enumerate(zip(panels, ("learnt", "held_out"), strict=True)):
    for residual, kind, marker, colour in styles:
        chosen_rows = [row for row in rows if row.residual is residual]
        depths = sorted({row.layers for row in chosen_rows})
        values = [[getattr(r, name) for r in chosen_rows if r.layers == d] for d in depths]
        label = "with shortcuts" if residual else "without"
        axis.plot(depths, np.mean(values, axis=1), marker=marker, color=colour, label=label)
        axis.plot(depths, values, ".", color=colour, alpha=0.4)
        axis.plot(20, live[kind][side], marker="*", markersize=13, color=colour, mec="black")
    axis.set(
        xlabel="layers", title=("training pictures", "held-out pictures")[side], ylim=(0, 1.03)
    )
panels[0].set_ylabel("read rightly")
panels[0].legend(frameon=False, loc="lower left")
plt.close(figure)
show_static(
    figure,
    alt="Share read rightly against depth. With shortcuts it stays near 1 on the training pictures; without, it falls to between 0.17 and 0.36 at 56 layers. Held-out pictures show the same. Stars mark the two networks trained just now.",
)
for residual in (False, True):
    means = [
        np.mean([row.learnt for row in rows if row.residual is residual and row.layers == depth])
        for depth in (8, 20, 56)
    ]
    print(
        f"{'with' if residual else 'no':4s} shortcuts, training pictures, 8, 20, 56 layers: "
        + ", ".join(f"{mean:.1%}" for mean in means)
    )

# %% [markdown] lang="en"
# Without shortcuts, 20 layers are worse than 8 and 56 are hopeless, **on the pictures that they learn from**, which rules out learning by heart. With
# shortcuts 56 layers still learn, and are no gain: on held-out pictures they read a few points fewer than 8. (These pictures are too small and too few to
# need 56 layers. And four epochs are short; plain networks would go on improving for a while.)
#
# ### Branches
#
# Which kernel is right, 1 × 1, 3 × 3 or 5 × 5? **Inception** (Szegedy et al., 2015) does not choose: it computes all of them side by side, and a
# pooling as well, and puts the maps next to each other as channels. That would be expensive, so a 1 × 1 convolution, which mixes channels and sees no
# neighbours, first makes few channels out of many.


# %% exercise="Inception" minutes=12 level=2
class Inception(nn.Module):
    """Four branches over the same picture, their maps one after the other, and a ReLU over all: x (N, C, H, W) →
    (N, one + three + five + pool, H, W), in this order.

    one: 1 × 1 convolution. three: 1 × 1 to `reduce3` channels, ReLU, 3 × 3. five: 1 × 1 to `reduce5` channels, ReLU, 5 × 5.
    pool: 3 × 3 max pooling in single steps, then 1 × 1. The six convolutions (with bias) are called one, reduce3,
    three, reduce5, five and pool, as their widths are; height and width of the picture stay as they are.
    """

    def __init__(self, in_channels, one, reduce3, three, reduce5, five, pool):
        super().__init__()
        ### BEGIN SOLUTION
        self.one = nn.Conv2d(in_channels, one, 1)
        self.reduce3 = nn.Conv2d(in_channels, reduce3, 1)
        self.three = nn.Conv2d(reduce3, three, 3, padding=1)
        self.reduce5 = nn.Conv2d(in_channels, reduce5, 1)
        self.five = nn.Conv2d(reduce5, five, 5, padding=2)
        self.pool = nn.Conv2d(in_channels, pool, 1)
        ### END SOLUTION

    def forward(self, x):
        ### BEGIN SOLUTION
        branches = [
            self.one(x),
            self.three(F.relu(self.reduce3(x))),
            self.five(F.relu(self.reduce5(x))),
            self.pool(F.max_pool2d(x, 3, stride=1, padding=1)),
        ]
        return F.relu(torch.cat(branches, dim=1))
        ### END SOLUTION


# %% check="Inception"
check("cnn.Inception", Inception)

# %% [markdown] lang="en"
# <details><summary>"Sizes of tensors must match except in dimension 1"</summary>
#
# A branch has changed the picture's size: 3 × 3 needs padding 1, 5 × 5 padding 2, and a pooling steps by its own size unless told
# <code>stride=1</code>.
# </details>
#
# The first such block of GoogLeNet takes 192 channels to 256. What do the narrow convolutions save?

# %%
block = Inception(192, 64, 96, 128, 16, 32, 32)
without = {"one": (64, 1), "three": (128, 3), "five": (32, 5), "pool": (32, 1)}
wide = sum(channels * (192 * kernel**2 + 1) for channels, kernel in without.values())
narrow = sum(p.numel() for p in block.parameters())
print(f"with narrow convolutions {narrow:,} parameters, without {wide:,}")

# %% [markdown] lang="en"
# ## 10 · Measured: against PyTorch
#
# **Is it right?** The checks have compared values and gradients with PyTorch's. Once more, a whole layer as you would use it, in float32:

# %% train
rng = np.random.default_rng(0)
x, weight = (
    rng.normal(size=size).astype(np.float32) for size in ((16, 16, 28, 28), (32, 16, 3, 3))
)
bias = np.zeros(32, dtype=np.float32)
upstream = rng.normal(size=(16, 32, 28, 28)).astype(np.float32)
torch_x, torch_weight, torch_bias = (
    torch.from_numpy(array).requires_grad_() for array in (x, weight, bias)
)
torch_upstream = torch.from_numpy(upstream)


def yours():
    conv2d_columns(x, weight, bias, padding=1)
    return conv2d_backward(upstream, x, weight, padding=1)


def theirs():
    out = F.conv2d(torch_x, torch_weight, torch_bias, padding=1)
    return torch.autograd.grad(out, (torch_x, torch_weight, torch_bias), torch_upstream)


gap = max(
    np.abs(mine - other.numpy()).max() / np.abs(mine).max()
    for mine, other in zip(yours(), theirs(), strict=True)
)
clocks = {"yours": [], "torch": []}
for _turn in range(15):
    for name, work in (("yours", yours), ("torch", theirs)):
        begun = time.perf_counter()
        work()
        clocks[name].append(time.perf_counter() - begun)
medians = {name: np.median(times[3:]) * 1e3 for name, times in clocks.items()}
print(f"largest difference of a gradient: {gap:.1e} of its size")
print(", ".join(f"{name} {median:.1f} ms" for name, median in medians.items()), end=" ")
print(f"for forward and backward, a ratio of {medians['yours'] / medians['torch']:.1f}")

# %% [markdown] lang="en"
# PyTorch's processor kernels for float32 do not build columns at all: they walk through the picture in blocks that fit into the cache. (For float64, as
# here, it builds columns too.) The course's own version,
# `course_lib.scratch.conv`, makes the columns of a few pictures at a time for the same reason; `benchmarks/conv.py` measures it.
#
# Two more levers are the library's. **Channels last** keeps the numbers of a picture in memory in the order (N, H, W, C), with the same shape as
# ever: `x.contiguous(memory_format=torch.channels_last)`. Kernels that work on all channels of a pixel at once like that. **Mixed precision** does
# the products in 16 bits where that is safe, and is made for graphics cards with units for it. What do they do on *your* machine?

# %% train
batch = 256 if device.type == "cuda" else 16
ways = {
    "as it comes": (torch.contiguous_format, False),
    "channels last": (torch.channels_last, False),
}
if device.type == "cuda":
    ways["channels last, 16 bits"] = (torch.channels_last, True)
pictures_in = torch.rand(batch, 1, 28, 28, device=device)
labels_in = torch.arange(batch, device=device) % 10
format_times = {name: [] for name in ways}
for _turn in range(5):
    for name, (memory_format, half) in ways.items():
        net = deep_cnn(ResidualBlock, 1, width=32).to(device, memory_format=memory_format)
        given = pictures_in.contiguous(memory_format=memory_format)
        for _step in range(2):  # the first warms up
            begun = time.perf_counter()
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
                loss = F.cross_entropy(net(given), labels_in)
            loss.backward()
            loss.item()  # a GPU has done its work only when one asks
        format_times[name].append(time.perf_counter() - begun)
for name, times in format_times.items():
    print(f"{name:22s} {np.median(times) * 1e3:7.1f} ms a step for {batch} pictures on {device}")

# %% [markdown] lang="en"
# On a processor the order in memory may help, do nothing or cost something, depending on the kernels that your build of PyTorch has: that is why one
# measures. On a graphics card with 16-bit units, both together are what people use for convolutional networks.

# %% [markdown] lang="en"
# ## Common mistakes, by symptom
#
# | you see | probably | do |
# | --- | --- | --- |
# | "mat1 and mat2 shapes cannot be multiplied" at the first affine layer | the flattened size was computed for other pictures | print `x.shape` before `flatten(1)`, or send a blank picture through |
# | "Expected input batch_size (49) to match target batch_size (64)" | `view(-1, …)` has cut rows through pictures | `flatten(1)` |
# | "expected input to have 1 channels, but got 64 channels" (or however many rows there are) | the channel axis is missing: (N, H, W) | `x[:, None]` |
# | "expected input to have 1 channels, but got 28 channels" | the channels come last: (N, H, W, C) | `permute(0, 3, 1, 2)` |
# | everything runs, accuracy is poor on colour pictures | (N, H, W, C) was *reshaped* to (N, C, H, W) | `permute(0, 3, 1, 2)`; look at a picture after loading |
# | maps get two pixels smaller with each layer (four with 5 × 5) | no padding | `padding=1` for 3 × 3, `padding=2` for 5 × 5 |
# | right in training mode, poor in use | batch normalisation in the wrong mode, or too few batches for its averages | `net.eval()`; a few epochs more |
# | the second half of a deep network does not learn | no shortcuts, or a ReLU or factor on the shortcut | the shortcut is the identity wherever shapes allow |
# | fine on the test set, poor on your own pictures | they are unlike *everything* in both sets: dark on light, off the middle, larger | look at both side by side; augment |
# | your kernel finds everything mirrored | a library that turns kernels round | `scipy.signal.correlate`, not `convolve` |

# %% [markdown] lang="en"
# ## Questions from the source articles
#
# **Is a convolutional network made of convolution, pooling and a fully connected layer?** Two articles say so. They leave out the
# activation. Without it, and with pooling by the mean, the whole network is one affine layer (section 6); pooling by the maximum is not linear either, and
# can stand in for it. The other two can be done without: strides do the work of pooling, and a mean over every map does that of
# the large affine layers. Your deep network has one affine layer of 330 parameters and no pooling but that mean.
#
# **Does the fully connected layer "do the classification"?** So one article explains it, by a sentence that says that the fully connected layer
# classifies through the fully connected layer. It weighs what the maps found. The convolutions before it decide what there is to weigh.
#
# **Are ResNet and Inception large models?** One article names them as its examples in vision. ResNet-50 has 25.6 million parameters (you can count
# them with chapter 01's functions), GoogLeNet, the first network of Inception blocks, about 7 million. BERT-base has four times the former, GPT-3
# seven thousand times. They are *deep*, and they were large for 2015.
#
# **Are such networks for pictures only?** "Mainly for image tasks", says one article. The two facts of section 2 (what is near belongs together; what
# is worth finding here is worth finding there) hold for sound and for text along one axis, and there are convolutions with one axis and with three.
#
# **What are object detection and object recognition?** One article lists both beside classification. *Recognition* is the old name for the whole
# field and for classification; *detection* asks where as well, and draws a box. Chapter 15 does it.

# %% [markdown] lang="en"
# ## Bonus: draw the picture that a filter likes best
#
# (Not graded.) Start from grey noise, and move the *picture* up the gradient of one number: the mean of map 3 of `conv2`, say. Fifty steps of 0.5 along
# the gradient divided by its length; keep the pixels between 0 and 1. What does the filter look for? Try it with an untrained network too.
#
# <details><summary>One way to do it</summary>
#
# <pre>
# x = torch.full((1, 1, 28, 28), 0.5) + 0.05 * torch.randn(1, 1, 28, 28)
# for _ in range(50):
#     x.requires_grad_()
#     maps = lenet.conv2(F.max_pool2d(F.relu(lenet.conv1(x)), 2))
#     (slope,) = torch.autograd.grad(maps[0, 3].mean(), x)
#     x = (x.detach() + 0.5 * slope / slope.norm()).clamp(0, 1)
# </pre>
# </details>

# %%
# Yours to try.

# %% [markdown] lang="en"
# ## What you have now
#
# The convolution and pooling of this chapter live on in `course_lib.scratch.conv` and `.pooling`, the networks in `course_lib.nn` (`cnn`, `residual`,
# `inception`, `receptive`), the pictures in `course_lib.data`. **Next:** chapter 07, for data that come one after the other, and chapter 15, where
# networks like these find things in pictures.
#
# *Further reading:* LeCun, Bottou, Bengio & Haffner, "Gradient-based learning applied to document recognition", Proc. IEEE 86 (1998). He, Zhang, Ren &
# Sun, "Deep residual learning for image recognition", CVPR (2016). Szegedy et al., "Going deeper with convolutions", CVPR (2015). Luo, Li, Urtasun &
# Zemel, "Understanding the effective receptive field in deep convolutional neural networks", NeurIPS (2016). Dumoulin & Visin, "A guide to convolution
# arithmetic for deep learning" (2016).
