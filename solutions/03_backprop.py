# Chapter 03, the one source. `course build` makes the student notebook from it; see the README for the header keys.
# %% [markdown] lang="en"
# # 03 · Backpropagation from scratch
#
# A network looks at a handwritten 3 and says 8. It has 2,410 adjustable numbers. **Which of them should move, which way, and how fast would
# that help?** Backpropagation answers this for all of them at once, for about the price of looking twice more.
#
# At the end of this chapter you can
#
# - derive the gradient of every part of a small network, and say where each factor comes from;
# - compute all gradients in one backward pass, and test with a measurement that they are right;
# - train a network, in NumPy alone, that reads about 98% of handwritten digits it has never seen;
# - write a small engine of the kind that libraries use to do all of this for you, and tell what it can and cannot know.
#
# **The exercises take about two hours, the reading one more**; your results are kept, and good places to stop are after sections 3, 5 and
# 7. **You need** Python, NumPy arrays (shapes, `@`, broadcasting) and the derivatives of school mathematics: of products, of $e^x$ and
# $\log x$. You do not need any knowledge of neural networks.
#
# Every exercise ends with a `check(...)` cell: run the cell with your code, then the check. It shows which cases are right and, where one
# is not, what is wrong. Run it as often as you like. The course grew out of five articles on large models. Where they are vague or wrong we
# say so and take them at their word; we call them *the source articles*, and you need not have read them.

# %%
import math

import matplotlib.pyplot as plt
import numpy as np

from autograder import check, predict, progress_board
from course_lib.data import digits
from course_lib.interactive import (
    boundary_steps,
    digit_grid,
    example_graph,
    graph_steps,
    show,
    show_static,
)

progress_board("backprop")

# %% [markdown] lang="en"
# ## 1 · One wrong answer
#
# Our example for the whole chapter: 1,797 small pictures of digits, 8 × 8 pixels each, bundled with scikit-learn. We flatten every picture
# into 64 numbers between 0 (paper) and 1 (ink). The network may learn from 1,438 of them; the other 359 it never sees until we examine it.

# %%
split = digits(seed=0)
x_train, y_train, x_test, y_test = split.x_train, split.y_train, split.x_test, split.y_test
print(split)

# %%
show_static(
    digit_grid(x_train[:10], titles=[str(label) for label in y_train[:10]]),
    alt="Ten handwritten digits, eight by eight grey pixels each, with their labels above.",
)

# %% [markdown] lang="en"
# The network turns 64 pixels into 32 numbers and those into 10, one **score** for each digit (also called a *logit*). The largest score is
# its answer.
#
# $$ z = x\,W_1 + b_1, \qquad h = \max(z, 0), \qquad s = h\,W_2 + b_2 . $$
#
# | symbol | in code | shape | what it is |
# | --- | --- | --- | --- |
# | $x$ | `x` | (N, 64) | N pictures, one in each **row** |
# | $W_1, b_1$ | `weight1`, `bias1` | (64, 32), (32,) | the first layer's parameters |
# | $z$ | `z` | (N, 32) | the first layer's output |
# | $h$ | `hidden` | (N, 32) | the same with negative numbers set to 0, which is called **ReLU** |
# | $W_2, b_2$ | `weight2`, `bias2` | (32, 10), (10,) | the second layer's parameters |
# | $s$ | `logits` | (N, 10) | the scores |
#
# An affine layer ($xW + b$) alone can only weigh and add. The ReLU in between is what lets two of them do more than one. Each of the 32
# numbers is called a *unit* or *neuron*. The weights start at random, the biases at 0. (Why these random sizes? Each number of $z$ is a sum
# of 64 terms; the factor $\sqrt{2/64}$ keeps it from being huge or tiny. Chapter 05 measures what happens without it.)


# %%
def initial_params(inputs, hidden, classes, seed):
    """Random weights of a sensible size, biases at zero: a dict of four float64 arrays."""
    rng = np.random.default_rng(seed)
    return {
        "weight1": rng.normal(size=(inputs, hidden)) * np.sqrt(2 / inputs),
        "bias1": np.zeros(hidden),
        "weight2": rng.normal(size=(hidden, classes)) * np.sqrt(2 / hidden),
        "bias2": np.zeros(classes),
    }


def forward(params, x):
    """x (N, D) → (z (N, H), hidden (N, H), logits (N, K))."""
    z = x @ params["weight1"] + params["bias1"]
    hidden = np.maximum(z, 0)
    logits = hidden @ params["weight2"] + params["bias2"]
    return z, hidden, logits


params = initial_params(64, 32, 10, seed=8)
print("adjustable numbers:", sum(value.size for value in params.values()))

# %%
answers = forward(params, x_test)[2].argmax(axis=1)
print(f"right before any training: {np.mean(answers == y_test):.1%}")

row = int(np.flatnonzero((y_test == 3) & (answers == 8))[0])  # the first 3 that it takes for an 8
picture, label = x_test[row : row + 1], y_test[row : row + 1]  # (1, 64) and (1,): a batch of one
show_static(
    digit_grid(picture, titles=[f"a {label[0]}, read {answers[row]}"], columns=2),
    alt="A handwritten 3 that the untrained network reads as an 8.",
)

# %% [markdown] lang="en"
# This 3 is one of the held-out pictures: the network will never learn from it. We follow it through the chapter and ask again at the end.
#
# Which way should each of the 2,410 numbers move, and how fast does the error fall if it does? That is a **gradient**: for a loss $L$ (one
# number that says how wrong the network is) and a parameter $w$, the slope $\partial L / \partial w$, which is the derivative of $L$ when
# only $w$ moves and everything else stays. A slope of 3 says: raise $w$ by a tiny 0.001, and $L$ rises by about 0.003. So to lower $L$,
# move $w$ down. A gradient is about small moves: it says which numbers would help most if they moved a little, not whose fault the answer
# was.
#
# You could measure each slope: nudge one number, look at all pictures again, put it back. For 2,410 numbers that is thousands of passes
# over the data for a single step. (We will do it once, in section 6, to check ourselves.) The chain rule gets them all from **one** pass
# forward and **one** back.

# %% [markdown] lang="en"
# ## 2 · The chain rule, on one neuron
#
# Before 2,410 numbers, take a network of one neuron: it multiplies its input by a weight, adds a bias, squashes the result with $\tanh$,
# and we measure the squared distance from a target $t$:
#
# $$ L = \bigl(\tanh(w x + b) - t\bigr)^2 . $$
#
# Break this into single operations and name every result: $p = wx$, $\;z = p + b$, $\;y = \tanh z$, $\;e = y - t$, $\;L = e^2$. Each
# operation knows just one thing: how its own result changes with its own inputs, its **local slope**. For $e^2$ that is $2e$; for a sum it
# is 1; for the product $wx$, the slope with respect to $w$ is $x$; for $y = \tanh z$ it is $1 - y^2$ (take that from a table of
# derivatives).
#
# The **chain rule** says that slopes along a path multiply: if $z$ moves 2 times as fast as $w$, and $L$ moves 3 times as fast as $z$, then
# $L$ moves 6 times as fast as $w$. Here,
#
# $$ \frac{\partial L}{\partial w} = \underbrace{2e}_{L \leftarrow e} \cdot \underbrace{1}_{e \leftarrow y} \cdot \underbrace{(1-y^2)}_{y \leftarrow z} \cdot
#    \underbrace{1}_{z \leftarrow p} \cdot \underbrace{x}_{p \leftarrow w} . $$
#
# **Why start at the loss?** A product can be multiplied from either end. From the right you start at one parameter and carry "how fast this
# result moves with $w$" up to the loss; for the next parameter, you start again. From the left you start at the loss and carry *how much
# $L$ changes when this result changes*. That number is the same for everything below it, so one sweep from the loss down serves **all**
# parameters. There is one loss and there are many parameters: this is the whole reason for going backward.
#
# **Paths add up.** If a number reaches the loss in two ways, both count. In $L = x \cdot x$, moving $x$ moves the left factor and the right
# factor; each alone gives the slope $x$, together $2x$, as you know from school.
#
# Everything in this chapter is these three sentences. Move the slider: values flow to the right, then gradients flow to the left.

# %% figure="graph_steps" alt="The graph of L = (tanh(w x + b) - t) squared. A slider reveals its values from left to right and then its gradients from right to left."
show(graph_steps(example_graph()))

# %% [markdown] lang="en"
# Two things to see in the figure, because the code will rely on them:
#
# 1. **Backward needs the values of forward.** The slope of $\tanh$ is $1 - y^2$, and $y$ was computed on the way forward. That is one
#    reason why training needs more memory than answering: intermediate results are kept until the gradient comes by.
# 2. **A step back is local.** A node receives "how $L$ changes with my result" (the *upstream* gradient, `grad_out` in code), multiplies by
#    its local slope, and passes the product on. It knows nothing of the rest of the graph.
#
# So each piece of a network needs just two functions: `piece(input)`, and `piece_backward(grad_out, ...)`. Let us write the first one.
#
# ### ReLU
#
# $h = \max(z, 0)$, elementwise. Where $z$ is positive, $h = z$ and the slope is 1. Where $z$ is negative, $h$ stays 0 however $z$ moves:
# slope 0. Exactly at 0 there is a corner and no slope; we take 0 there, as libraries do.


# %% exercise="relu_backward" minutes=4 level=1
def relu_backward(grad_out, z):
    """The gradient of the loss with respect to z, where the forward pass computed np.maximum(z, 0).

    grad_out (any shape): gradient with respect to the ReLU's output
    z (same shape): its input → array of the same shape
    The inputs are left as they were.

    >>> relu_backward(np.array([5.0, -6.0, 7.0]), np.array([1.0, 2.0, -3.0]))
    array([ 5., -6.,  0.])
    """
    ### BEGIN SOLUTION
    # True counts as 1 and False as 0: the local slope, times what came from above.
    return grad_out * (z > 0)
    ### END SOLUTION


# %% check="relu_backward"
check("backprop.relu_backward", relu_backward)

# %% [markdown] lang="en"
# <details><summary>My gradient has the wrong sign somewhere</summary>
#
# Whether the gradient passes is decided by the sign of <b>z</b>. The sign of <code>grad_out</code> has no say: a negative gradient through
# an open ReLU stays negative, as the −6 in the example.
# </details>
#
# ### Why not the sigmoid?
#
# One of the source articles writes $a = \sigma(z)$ for the activation, and for decades that was the sigmoid, $\sigma(z) = 1/(1 + e^{-z})$,
# whose slope is $\sigma(z)\,(1 - \sigma(z))$. On the way back through a chain of ten single neurons, ten such slopes are multiplied.
# **Predict** before you run: how large can that product be at the very best, if every weight is 1 and every neuron sits where its slope is
# steepest?

# %% predict="sigmoid_chain"
# A number between 0 and 1.
# (Where is s·(1 - s) largest, for s between 0 and 1? Then ten of those in a row.)
sigmoid_guess = ...

# %%
z_axis = np.linspace(-6, 6, 1001)
sigmoid = 1 / (1 + np.exp(-z_axis))
steepest = np.max(sigmoid * (1 - sigmoid))
predict.reveal(
    "backprop.sigmoid_chain",
    guess=sigmoid_guess,
    truth=steepest**10,
    because=f"The steepest slope is {steepest:.2f}, at z = 0, and {steepest:.2f} to the tenth is "
    "about a millionth. An open ReLU passes 1.",
)

# %% [markdown] lang="en"
# This is the **vanishing gradient**: unless larger weights make up for it, the first layers of a deep sigmoid network hear almost nothing
# of the error. ReLU is not free of trouble (a unit that is off for every picture learns nothing at all), but where it is on, it passes the
# gradient undiminished. We return to depth in chapter 05.

# %% [markdown] lang="en"
# ## 3 · A whole layer at once
#
# Now the affine layer, for **one** picture: $x$ has $D$ numbers, the output $z$ has $H$, and
#
# $$ z_j = \sum_i x_i\, W_{ij} + b_j . $$
#
# We are given $g_j = \partial L / \partial z_j$, the upstream gradient, and want three gradients. Ask of each quantity: *which outputs does
# it reach, and with what slope?*
#
# - $b_j$ reaches only $z_j$, with slope 1.
# - $W_{ij}$ reaches only $z_j$, with slope $x_i$.
# - $x_i$ reaches **every** $z_j$, with slope $W_{ij}$. It has several paths to the loss, and **gradients of several paths add up**.
#
# That last rule is the other half of the chain rule, and the half that people forget.
#
# <details><summary>What about the formula ∂L/∂W = ∂L/∂z · ∂z/∂W?</summary>
#
# So it stands in one of the source articles. It is true, but you cannot type it: ∂z/∂W has one number for each output <i>and</i> each
# weight, H × D × H in all, nearly all of them zero. Nobody ever builds it. Working out, as above, what is left when the zeros are gone is
# the actual work of backpropagation, and it ends in a single product.
# </details>


# %% exercise="affine_backward" minutes=10 level=1
def affine_backward(grad_out, x, weight):
    """The three gradients of z = x @ weight + bias, for one row.

    grad_out (H,): gradient with respect to z; x (D,); weight (D, H)
    → (grad_x (D,), grad_weight (D, H), grad_bias (H,))

    >>> g, x, weight = np.array([1.0, 10.0]), np.array([2.0, 3.0, 4.0]), np.ones((3, 2))
    >>> grad_x, grad_weight, grad_bias = affine_backward(g, x, weight)
    >>> grad_x
    array([11., 11., 11.])
    >>> grad_weight  # np.outer(a, b) makes such a table of products
    array([[ 2., 20.],
           [ 3., 30.],
           [ 4., 40.]])
    >>> grad_bias
    array([ 1., 10.])
    """
    ### BEGIN SOLUTION
    grad_x = weight @ grad_out  # x[i] reaches every z[j]: sum over j of weight[i, j] grad_out[j]
    grad_weight = np.outer(x, grad_out)  # weight[i, j] reaches only z[j], with slope x[i]
    grad_bias = grad_out  # bias[j] reaches only z[j], with slope 1
    return grad_x, grad_weight, grad_bias
    ### END SOLUTION


# %% check="affine_backward"
check("backprop.affine_backward", affine_backward)

# %% [markdown] lang="en"
# <details><summary>How do I know whether to transpose?</summary>
#
# Let the shapes tell you: a gradient always has the shape of the thing it belongs to. <code>grad_weight</code> must be (D, H), and (D,)
# with (H,) makes (D, H) in just one way without summing. When D equals H the shapes cannot help; then go back to the indices: entry [i, j]
# is x[i] times grad_out[j].
# </details>
#
# ### A batch, and a bug to find
#
# Training does not look at one picture at a time but at a **batch** of N, one in each row. The same weights and the same bias serve all
# rows, so each parameter has N paths to the loss, and N contributions to its gradient.
#
# Here is the batch version as somebody wrote it:
#
# ```python
# grad_x = grad_out @ weight.T
# grad_weight = x.T @ grad_out
# grad_bias = grad_out
# ```
#
# It runs, and as long as all batches have the same size and a step is written `b = b - rate * grad_b` (section 6 is about such steps),
# training runs through and the loss falls nicely. **Before you mend it, predict** what it does in a simple task: fit a straight line $y =
# wx + b$ to 40 noisy points, by making the mean squared distance small, with a bias gradient like the program's: one number *for each row*.
# After 500 steps, is the loss on these points higher than with the right gradient, about the same, or lower?

# %% predict="bias_bug"
# "higher", "same" or "lower".
# (What becomes of b when an array with one number for each of the 40 points is subtracted from it?)
bias_guess = ...

# %%
rng = np.random.default_rng(0)
points = rng.uniform(-1, 1, size=40)
targets = 2 * points + 1 + rng.normal(scale=0.5, size=40)
fits = {}
for name, summed in (("right", True), ("buggy", False)):
    w, b = 0.0, 0.0
    for _step in range(500):
        error = w * points + b - targets  # the loss is the mean of error²
        grad_b = 2 * error / len(points)  # one number for each row …
        w, b = (
            w - 0.3 * np.sum(2 * error * points / len(points)),
            b - 0.3 * (grad_b.sum() if summed else grad_b),
        )
    fits[name] = (np.mean((w * points + b - targets) ** 2), w * points + b)
print({name: f"training loss {loss:.4f}" for name, (loss, _) in fits.items()})
predict.reveal(
    "backprop.bias_bug",
    guess=bias_guess,
    truth="lower" if fits["buggy"][0] < 0.9 * fits["right"][0] else "not lower",
    because="b silently became an array of 40 biases, one for each training point, "
    "and every point learnt its own noise by heart.",
)

# %%
figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
order = np.argsort(points)
axis.plot(points, targets, "o", color="0.25", label="the 40 points")
axis.plot(
    points[order],
    fits["right"][1][order],
    "-",
    linewidth=2.5,
    color="#0b6aa2",
    label="bias gradient summed",
)
axis.plot(
    points[order], fits["buggy"][1][order], "--", linewidth=1.5, color="#b34700", label="not summed"
)
axis.set(xlabel="x", ylabel="y")
axis.legend(frameon=False)
plt.close(figure)
show_static(
    figure,
    alt="Forty noisy points. The summed gradient gives a straight line through them; "
    "the unsummed one gives a jagged line through every single point.",
)

# %% [markdown] lang="en"
# A falling training loss is no proof of a right gradient. The bug shows only when the network must answer for other rows than those it was
# trained on, when a batch has another size, or when somebody looks at the shape of `b`. NumPy's broadcasting hid it.
#
# Now mend the program. For N rows, $z = xW + b$ with $x$ (N, D), and `grad_out` (N, H).


# %% exercise="mend_affine_backward" minutes=5 level=2
def mend_affine_backward(grad_out, x, weight):
    """The three gradients of z = x @ weight + bias, for a batch.

    grad_out (N, H), x (N, D), weight (D, H) → (grad_x (N, D), grad_weight (D, H), grad_bias (H,)).
    """
    ### BEGIN SOLUTION
    grad_x = grad_out @ weight.T  # row by row what one row needed
    grad_weight = x.T @ grad_out  # the sum over the rows of np.outer(x[n], grad_out[n])
    grad_bias = grad_out.sum(axis=0)  # one bias served all rows: it hears from all of them
    return grad_x, grad_weight, grad_bias
    ### ELSE BROKEN
    # grad_x = grad_out @ weight.T
    # grad_weight = x.T @ grad_out
    # grad_bias = grad_out
    # return grad_x, grad_weight, grad_bias
    ### END SOLUTION


# %% check="mend_affine_backward"
check("backprop.mend_affine_backward", mend_affine_backward)

# %% [markdown] lang="en"
# <details><summary>Sum or mean?</summary>
#
# The sum. If the loss is a mean over the batch, the factor 1/N is already inside <code>grad_out</code>; it comes in where the mean is taken
# (section 4), and nowhere else.
# </details>
#
# Why is `x.T @ grad_out` already a sum over the batch? Entry [i, j] of the product is $\sum_n x_{ni}\, g_{nj}$: the matrix product sums
# over the rows by itself. The bias has no product to do it, so you must.

# %% [markdown] lang="en"
# ## 4 · From scores to a loss
#
# Scores are any numbers. To say *how wrong* an answer is, we turn the K scores of a row into probabilities with **softmax**,
#
# $$ p_k = \frac{e^{s_k}}{\sum_j e^{s_j}}, $$
#
# which makes them positive and lets them add up to 1, the largest score getting the largest share. In exact arithmetic that is all. In a
# computer $e^{1000}$ is `inf`, and `inf / inf` is `nan`. The way out: adding the same constant to all scores of a row changes nothing (it
# cancels in the fraction), so subtract the largest score of each row first. Then the largest exponent is 0, and `exp` cannot overflow.


# %% exercise="softmax" minutes=6 level=1
def softmax(scores):
    """Scores to probabilities along the last axis, for any number of axes before it.

    scores (..., K) → (..., K); finite for any finite scores. The input is left as it was.

    >>> softmax(np.array([[0.0, np.log(3.0)], [1000.0, 1000.0]]))
    array([[0.25, 0.75],
           [0.5 , 0.5 ]])
    """
    ### BEGIN SOLUTION
    # The largest exponent of each row is 0.
    exp = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)
    ### END SOLUTION


# %% check="softmax"
check("backprop.softmax", softmax)

# %% [markdown] lang="en"
# <details><summary>"operands could not be broadcast together"</summary>
#
# A sum over the last axis drops that axis: (5, 7) becomes (5,), which does not line up with (5, 7). <code>keepdims=True</code> leaves it in
# place as (5, 1).
# </details>
#
# The loss is the **surprise** at the right answer: if the network gave it probability $p$, the surprise is $-\log p$. Certain and right
# costs 0; probability ½ costs $\log 2 \approx 0.69$; near 0 costs a lot. (The logarithm is the natural one, and the unit of surprise is
# then called a *nat*.) The loss of a batch is the mean over its rows, and it is called **cross-entropy**:
#
# $$ L = -\frac1N \sum_{n} \log p_{n,\,y_n}, \qquad \log p_k = s_k - \log \sum_j e^{s_j} . $$
#
# The right-hand form matters. If you compute $p$ first and take its logarithm afterwards, a score far below the largest gives $p = 0$
# exactly, and $\log 0 = -\infty$. Work with the scores instead, and subtract the maximum of each row from them first, as before.
#
# **Predict:** what is the mean cross-entropy of a network that has learnt nothing, and gives each of the ten digits about the same
# probability?

# %% predict="untrained_loss"
# A number. (The surprise at something that had probability 1/10.)
loss_guess = ...

# %%
evenly = math.log(10)
scores = forward(params, x_train)[2]
print(
    f"the scores of our untrained network lie between {scores.min():.1f} and {scores.max():.1f}: "
    "not all alike, so it will do a little worse"
)
predict.reveal(
    "backprop.untrained_loss",
    guess=loss_guess,
    truth=evenly,
    because="-log(1/10) = log 10. A first loss far above this means a bug or a bad start.",
)


# %% exercise="cross_entropy" minutes=10 level=2
def cross_entropy(logits, labels):
    """Mean cross-entropy in nats.

    logits (N, K): scores; labels (N,): integers 0 … K-1 → one number, finite also for scores in the thousands.
    The inputs are left as they were.

    >>> round(float(cross_entropy(np.array([[0.0, np.log(3.0)]]), np.array([1]))), 4)  # -log 0.75
    0.2877
    >>> float(cross_entropy(np.array([[1000.0, 0.0]]), np.array([1])))
    1000.0
    """
    ### BEGIN SOLUTION
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -log_probabilities[np.arange(len(labels)), labels].mean()  # row n, column labels[n]
    ### END SOLUTION


# %% check="cross_entropy"
check("backprop.cross_entropy", cross_entropy)

# %% [markdown] lang="en"
# <details><summary>How do I pick one number from each row?</summary>
#
# With two lists of indices of the same length: <code>table[[0, 1, 2], [4, 0, 2]]</code> gives the three entries (0, 4), (1, 0) and (2, 2).
# </details>
#
# What does our untrained network cost, on all training pictures and on our 3?

# %%
print(f"mean loss of the untrained network: {cross_entropy(scores, y_train):.3f}")
our_logits = forward(params, picture)[2]
for digit in (3, 8):
    print(f"probability of {digit}: {softmax(our_logits)[0, digit]:.3f}")
print(f"loss for this picture: {cross_entropy(our_logits, label):.3f}")

# %% [markdown] lang="en"
# Now back through both at once. Take one row with right answer $y$: $L = \log\sum_j e^{s_j} - s_y$. The slope of the first term with
# respect to $s_k$ is $e^{s_k} / \sum_j e^{s_j} = p_k$. The slope of the second is $-1$ for $k = y$ and 0 otherwise. So
#
# $$ \frac{\partial L}{\partial s_k} = p_k - [k = y] , $$
#
# where $[k = y]$ is 1 for the right answer and 0 for every other. Probability given, minus probability deserved. Softmax and logarithm,
# awkward one by one, cancel to the simplest gradient of the chapter. It also says how learning ends: where the network is right and sure,
# $p$ is nearly what was deserved, the gradient nearly 0, and little moves.
#
# For a batch the loss is a *mean*, and this is the place where the $1/N$ comes in.


# %% exercise="cross_entropy_backward" minutes=8 level=2
def cross_entropy_backward(logits, labels):
    """The gradient of cross_entropy(logits, labels) with respect to the logits.

    logits (N, K), labels (N,) → (N, K). The inputs are left as they were.

    >>> cross_entropy_backward(np.array([[0.0, np.log(3.0)]]), np.array([1]))
    array([[ 0.25, -0.25]])
    """
    ### BEGIN SOLUTION
    grad = softmax(logits)
    grad[np.arange(len(labels)), labels] -= 1  # given minus deserved
    return grad / len(labels)  # the loss is a mean over the rows
    ### END SOLUTION


# %% check="cross_entropy_backward"
check("backprop.cross_entropy_backward", cross_entropy_backward)

# %% [markdown] lang="en"
# The first thing that our 3 sends back, one number for each score. A negative slope says "raise this score", a positive one "lower it":

# %%
for digit, slope in enumerate(cross_entropy_backward(our_logits, label)[0]):
    print(f"score of {digit}: slope {slope:+.3f}  {'raise' if slope < 0 else 'lower'}")

# %% [markdown] lang="en"
# ## 5 · Trust nothing: measure a slope
#
# Everything so far was derived with a pencil, and pencils slip. A slope can also be **measured**: move $x$ a little to both sides and see
# how much $f$ moves,
#
# $$ \frac{\partial f}{\partial x} \approx \frac{f(x + h) - f(x - h)}{2h} . $$
#
# It is slow (two evaluations for every single number) and never exact, but it knows nothing of your derivation, which makes it the best
# witness there is.
#
# How small should $h$ be? The error of this **central difference** shrinks like $h^2$ (a curve's bend to both sides cancels); that of the
# one-sided $(f(x+h) - f(x))/h$ only like $h$. Smaller seems better. But a computer keeps about 16 digits of $f(x+h)$ and $f(x-h)$, so their
# difference is off by about $10^{-16}$, and dividing by $h$ makes that $10^{-16}/h$. **Predict:** in float64, for a well-behaved function,
# which $h$ makes the central difference most accurate? (Where are $h^2$ and $10^{-16}/h$ about equal?)

# %% predict="best_step"
# One of 1e-1, 1e-3, 1e-5, 1e-8, 1e-12 — or any number you can give a reason for.
step_guess = ...

# %%
steps = 10.0 ** np.arange(-13, 0, 0.25)
spots = np.linspace(0.5, 1.5, 41)  # many places, so that no lucky rounding decides
central = np.array(
    [
        np.mean(np.abs((np.sin(spots + h) - np.sin(spots - h)) / (2 * h) - np.cos(spots)))
        for h in steps
    ]
)
onesided = np.array(
    [np.mean(np.abs((np.sin(spots + h) - np.sin(spots)) / h - np.cos(spots))) for h in steps]
)
predict.reveal(
    "backprop.best_step",
    guess=step_guess,
    truth=float(steps[central.argmin()]),
    because="Above it the formula is too coarse, below it rounding takes over. "
    "Anything from 1e-6 to 1e-4 is fine.",
)

# %%
figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
axis.loglog(steps, onesided, "--", color="#b34700", linewidth=2, label="one-sided")
axis.loglog(steps, central, "-", color="#0b6aa2", linewidth=2.5, label="central")
axis.set(xlabel="step h", ylabel="mean error of the slope of sin")
axis.legend(frameon=False)
plt.close(figure)
show_static(
    figure,
    alt="Error of a measured slope against the step, both on logarithmic axes: two V-shaped curves. "
    "The central one is lower and has its lowest point near 1e-5.",
)


# %% exercise="numerical_gradient" minutes=10 level=2
def numerical_gradient(function, x, step=1e-5):
    """Measure the gradient of a function that turns an array into one number, by central differences.

    function: takes an array shaped like x and returns one number
    x: array of any shape, integers allowed; it is left as it was
    step: the h of the formula → float64 array shaped like x

    >>> numerical_gradient(np.sum, np.array([[1, 2], [3, 4]])).round(6)
    array([[1., 1.],
           [1., 1.]])
    """
    ### BEGIN SOLUTION
    point = np.array(x, dtype=np.float64)  # a copy of our own; integers could not hold 1 + 0.00001
    slopes = np.empty_like(point)
    for index in np.ndindex(point.shape):  # (0, 0), (0, 1), …
        value = point[index]
        point[index] = value + step
        above = function(point)
        point[index] = value - step
        below = function(point)
        point[index] = value  # put back before the next one moves
        slopes[index] = (above - below) / (2 * step)
    return slopes
    ### END SOLUTION


# %% check="numerical_gradient"
check("backprop.numerical_gradient", numerical_gradient)

# %% [markdown] lang="en"
# <details><summary>How do I visit every element of an array of any shape?</summary>
#
# <code>for index in np.ndindex(x.shape)</code> gives (0, 0), (0, 1), … one after the other, for any number of axes, and
# <code>x[index]</code> is the element there.
# </details>
#
# Now your derivation of section 4 stands trial:

# %%
some_logits, some_labels = np.random.default_rng(1).normal(size=(4, 3)), np.array([0, 2, 1, 1])
derived = cross_entropy_backward(some_logits, some_labels)
measured = numerical_gradient(lambda moved: cross_entropy(moved, some_labels), some_logits)
print("largest difference:", np.abs(derived - measured).max())

# %% [markdown] lang="en"
# ## 6 · The whole network, forward and back
#
# All pieces are there. Forward, keep what backward will need; then walk the same chain in reverse:
#
# | read down: forward | read up: backward |
# | --- | --- |
# | `z` from `x`, `weight1`, `bias1` | `mend_affine_backward` gives the gradients of `weight1` and `bias1` |
# | `hidden` from `z` | `relu_backward` turns the gradient of `hidden` into that of `z` |
# | `logits` from `hidden`, `weight2`, `bias2` | `mend_affine_backward` gives the gradients of `hidden`, `weight2` and `bias2` |
# | `loss` from `logits` and `labels` | `cross_entropy_backward` gives the gradient of `logits` |
#
# Each step back takes the gradient of what its row made, and gives the gradients of what its row was made from. Put together the functions
# that you have written; `forward` from section 1 gives you `z`, `hidden` and `logits`. The gradient of `x`, which `mend_affine_backward`
# also gives, is not needed: the pictures are not ours to change.


# %% exercise="loss_and_gradients" minutes=12 level=2
def loss_and_gradients(params, x, labels):
    """The mean cross-entropy of a batch and its gradient with respect to every parameter.

    params: dict with weight1 (D, H), bias1 (H,), weight2 (H, K), bias2 (K,); x (N, D); labels (N,)
    → (loss, grads), where grads is a dict with the same keys and shapes as params.
    Nothing that was given is changed.
    """
    ### BEGIN SOLUTION
    z, hidden, logits = forward(params, x)
    loss = cross_entropy(logits, labels)

    grad_logits = cross_entropy_backward(logits, labels)
    grad_hidden, grad_weight2, grad_bias2 = mend_affine_backward(
        grad_logits, hidden, params["weight2"]
    )
    grad_z = relu_backward(grad_hidden, z)  # z decides what passes, as it stood on the way forward
    # Nobody asks how to change the pictures, so the first of the three is not kept.
    _, grad_weight1, grad_bias1 = mend_affine_backward(grad_z, x, params["weight1"])
    return loss, {
        "weight1": grad_weight1,
        "bias1": grad_bias1,
        "weight2": grad_weight2,
        "bias2": grad_bias2,
    }
    ### END SOLUTION


# %% check="loss_and_gradients"
check("backprop.loss_and_gradients", loss_and_gradients)

# %% [markdown] lang="en"
# And the trial, on the real network with real pictures. Measuring all 2,410 slopes takes 4,820 passes over the data; we use 20 pictures.

# %% train
x_few, y_few = x_train[:20], y_train[:20]
loss, grads = loss_and_gradients(params, x_few, y_few)
for name in params:
    measured = numerical_gradient(
        lambda moved, name=name: loss_and_gradients({**params, name: moved}, x_few, y_few)[0],
        params[name],
    )
    print(
        f"{name}: largest difference {np.abs(grads[name] - measured).max():.1e}, "
        f"largest slope {np.abs(grads[name]).max():.1e}"
    )

# %% [markdown] lang="en"
# And the question of the first line has its answer. For our 3 alone, which of the 2,410 numbers would help most if they moved a little?

# %%
_, blame = loss_and_gradients(params, picture, label)
for name in params:
    place = np.unravel_index(np.abs(blame[name]).argmax(), blame[name].shape)
    silent = np.mean(blame[name] == 0)
    print(
        f"{name}: steepest slope {blame[name][place]:+.3f} at {tuple(int(i) for i in place)}; "
        f"{silent:.0%} of its slopes are exactly 0"
    )

# %% [markdown] lang="en"
# Many slopes are exactly 0. A weight in the first layer has no influence where its pixel is white or its unit is off; a weight in the
# second has none where the hidden number that it multiplies is 0.
#
# <details><summary>One parameter is off by far more than the others</summary>
#
# Walk back from the loss: the first gradient that is wrong (bias2, then weight2, then bias1, then weight1) is where the mistake is made;
# those before it on the way back are right. A difference in a handful of entries of weight1 and bias1 only, and of the order of 1e-2 or
# less, can be a ReLU whose z is so near 0 that the step h crosses the corner.
# </details>
#
# ### Two different things
#
# We have a loss and a gradient. We have not *learnt* anything: no parameter has moved. One of the source articles calls backpropagation "an
# optimisation algorithm" and gives its three steps as forward pass, loss, **gradient descent**. That mixes up two things:
#
# - **Backpropagation measures.** It tells how the loss would change with each parameter, at the point where they all are now. It changes
#   nothing.
# - **Gradient descent moves.** It takes a gradient, whoever computed it, and moves every parameter by $-\text{lr}$ times its own slope:
#   $\;w \leftarrow w - \text{lr} \cdot \partial L/\partial w$. The number `lr` is called the *learning rate*.
#
# Why does that lower the loss? Each parameter moves by $-\text{lr} \cdot$ slope, and that changes $L$ by about slope times move, so all
# together by about $-\text{lr} \cdot \sum \text{slope}^2$, which is never positive. But slopes are about *small* moves. With a large `lr`
# the slopes have changed before the move is done, and the loss may rise.
#
# Does the difference between measuring and moving matter, as long as both happen? Here is a program that makes gradient descent a part *of*
# the backward pass: every layer is updated as soon as its gradient is known. **Find out what it computes that is not the gradient, and mend
# it.**


# %% exercise="mend_train_step" minutes=8 level=2
def mend_train_step(params, x, labels, lr):
    """One step of gradient descent.

    params as in loss_and_gradients, x (N, D), labels (N,), lr the learning rate
    → (loss before the step, new params): a new dict of new arrays; what was given is left as it was.
    """
    ### BEGIN SOLUTION
    # Measure, with all parameters where they are; then move them all.
    loss, grads = loss_and_gradients(params, x, labels)
    return loss, {name: params[name] - lr * grads[name] for name in params}
    ### ELSE BROKEN
    # new = dict(params)
    # z, hidden, logits = forward(params, x)
    # loss = cross_entropy(logits, labels)
    # grad_logits = cross_entropy_backward(logits, labels)
    # new["weight2"] = new["weight2"] - lr * hidden.T @ grad_logits
    # new["bias2"] = new["bias2"] - lr * grad_logits.sum(axis=0)
    # grad_hidden = grad_logits @ new["weight2"].T
    # grad_z = relu_backward(grad_hidden, z)
    # new["weight1"] = new["weight1"] - lr * x.T @ grad_z
    # new["bias1"] = new["bias1"] - lr * grad_z.sum(axis=0)
    # return loss, new
    ### END SOLUTION


# %% check="mend_train_step"
check("backprop.mend_train_step", mend_train_step)

# %% [markdown] lang="en"
# The program that you found sends the error back through a `weight2` that did not exist when the error was made. (Updating early is not the
# crime: had it kept the *old* `weight2` for the way back, it would be right.) How bad is it? Train with both, for 10 epochs (that word is
# explained in a moment), at two learning rates:


# %% train
def entangled_step(params, x, labels, lr):
    """The program as you found it."""
    new = dict(params)
    z, hidden, logits = forward(params, x)
    grad_logits = cross_entropy_backward(logits, labels)
    new["weight2"] = new["weight2"] - lr * hidden.T @ grad_logits
    new["bias2"] = new["bias2"] - lr * grad_logits.sum(axis=0)
    grad_z = relu_backward(grad_logits @ new["weight2"].T, z)
    new["weight1"] = new["weight1"] - lr * x.T @ grad_z
    new["bias1"] = new["bias1"] - lr * grad_z.sum(axis=0)
    return cross_entropy(logits, labels), new


for lr in (0.1, 0.5):
    for name, step in (("mended", mend_train_step), ("as found", entangled_step)):
        trial, rng = initial_params(64, 32, 10, seed=0), np.random.default_rng(0)
        with np.errstate(all="ignore"):  # what overflows here is on show
            for _epoch in range(10):
                for batch in np.array_split(rng.permutation(len(x_train)), 90):
                    loss, trial = step(trial, x_train[batch], y_train[batch], lr)
            right = np.mean(forward(trial, x_test)[2].argmax(axis=1) == y_test)
        print(f"lr {lr}, {name:8s}: last loss {loss:9.3g}, {right:.1%} of held-out digits")

# %% [markdown] lang="en"
# At the small rate nobody would notice. At the rate that the next section uses, the right program trains well and the found one runs into
# overflow, and you would have blamed the learning rate. Keep measuring and moving apart, and you also gain a freedom: any optimiser of
# chapter 04 can use the same gradients.

# %% [markdown] lang="en"
# ## 7 · Learn to read
#
# **Stochastic gradient descent** repeats one move: take a small random batch, measure the gradient on it, step. One pass over all training
# rows is an **epoch**. Four details to get right:
#
# - a **new random order** in every epoch, the same for rows and labels: sorted data would teach one digit at a time, each overwriting the
#   last;
# - **every row once** in an epoch, in batches of `batch_size`; the last batch may be smaller;
# - **a step after every batch**, not after every epoch;
# - **all randomness from the seed**, weights and orders, so that you can repeat what you report.


# %% exercise="train" minutes=15 level=3
def train(x, labels, *, hidden=64, epochs=40, batch_size=16, lr=0.5, seed=0):
    """Train a two-layer network by stochastic gradient descent.

    x (N, D), labels (N,): the training rows; hidden: width of the hidden layer; lr: learning rate
    → params, as initial_params makes them, after training. The number of classes is labels.max() + 1.
    """
    ### BEGIN SOLUTION
    params = initial_params(x.shape[1], hidden, labels.max() + 1, seed)
    rng = np.random.default_rng(seed)
    for _epoch in range(epochs):
        order = rng.permutation(len(x))
        for start in range(0, len(x), batch_size):
            batch = order[start : start + batch_size]  # a slice past the end is just shorter
            _, params = mend_train_step(params, x[batch], labels[batch], lr)
    return params
    ### END SOLUTION


# %% check="train"
check("backprop.train", train)

# %% [markdown] lang="en"
# The network is now twice as wide as before, with 64 hidden units. One run proves little: another seed gives another start, another order,
# and another split into training and held-out pictures. We train five networks from scratch and report all of them.

# %% train
scores = []
for seed in range(5):
    fold = digits(seed=seed)
    network = train(fold.x_train, fold.y_train, seed=seed)
    scores.append(np.mean(forward(network, fold.x_test)[2].argmax(axis=1) == fold.y_test))
print("held-out accuracy by seed:", "  ".join(f"{score:.1%}" for score in scores))
print(f"mean {np.mean(scores):.1%}, lowest {np.min(scores):.1%}, highest {np.max(scores):.1%}")

# %% [markdown] lang="en"
# Two remarks on honesty. We report held-out pictures, because a network may know its training pictures by heart. And the width, the number
# of epochs and the learning rate were chosen by trying a few and looking at such held-out scores, so these are a little flattering;
# besides, the same 13 writers are on both sides. Chapters 02 and 05 take that apart.
#
# And our 3? The network that was trained with seed 0 has never seen it. Below are some of the pictures that it still gets wrong. Would you
# have read them?

# %% train
learnt = train(x_train, y_train, seed=0)
ours = softmax(forward(learnt, picture)[2])[0]
print(f"our 3 is now read as a {ours.argmax()}, with probability {ours.max():.3f}")

told = forward(learnt, x_test)[2].argmax(axis=1)
wrong = np.flatnonzero(told != y_test)[:10]
show_static(
    digit_grid(x_test[wrong], titles=[f"{y_test[i]}, read {told[i]}" for i in wrong], columns=5),
    alt="Held-out digits that the network misreads, each with its label and what the network said.",
)

# %% [markdown] lang="en"
# What happens *inside* while the loss falls? In 64 dimensions nobody can look. In two, one can: below, a smaller relative of our network
# ($\tanh$ in place of ReLU, all points in every step) learns to separate two half moons. The line is where it finds both classes equally
# likely. Move through training with 16 hidden units and see the line bend around the points. Then try **2 hidden units**: what can the line
# no longer do? Go back to 16 and try a **learning rate of 3**: what does the loss do that it does not do at 0.3?

# %% figure="boundary_steps" alt="Points of two classes, the line where the network finds both equally likely, and the loss curve. Sliders choose the moment in training, the number of hidden units and the learning rate."
show(boundary_steps())

# %% [markdown] lang="en"
# ## 8 · Let the machine do the chain rule
#
# You derived every gradient by hand. A new layer would need another. But the recipe never changed: *receive, multiply by the local slope,
# pass on, add up where paths meet*. A program can follow it for **any** formula, if it remembers how the formula was computed. That is the
# core of `torch.autograd`, the engine of PyTorch. You will write it now for single numbers.
#
# Each number becomes a node that knows its **parents**: what it was computed from. A node passes its gradient on to its parents, but only
# when that gradient is complete: when every node that was computed *from* it has had its turn. So list the nodes such that each stands
# **after all of its parents**, and walk that list from its end. Such a list is called a **topological order**.
#
# For now a graph is a dict of names. One rule makes the list: *before you list a node, list its parents; never list a node twice.* (Going
# down to the parents first, as far as it goes, is called a *depth-first* walk.)


# %% exercise="topological_order" minutes=15 level=3
def topological_order(parents, output):
    """All nodes that `output` was computed from, and itself: each once, each after all of its parents.

    parents: dict from each node's name to the tuple of its parents' names (empty for an input)
    → list of names, `output` last
    Graphs can be deep: it must work for a chain of 3,000 nodes, where recursion stops at about 1,000.

    >>> topological_order({"L": ("p", "x"), "p": ("x",), "x": (), "unused": ()}, "L")
    ['x', 'p', 'L']
    """
    ### BEGIN SOLUTION
    order, seen = [], set()
    # What is still to do. True: the node's parents have been listed, so list the node itself.
    stack = [(output, False)]
    while stack:
        node, parents_listed = stack.pop()
        if parents_listed:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))  # comes up again when everything pushed after it is done
            stack.extend((parent, False) for parent in parents[node])
    return order
    ### END SOLUTION


# %% check="topological_order"
check("backprop.topological_order", topological_order)

# %% [markdown] lang="en"
# <details><summary>Where do I start without recursion?</summary>
#
# Keep a list of pairs (node, are its parents listed already?) and take the last pair off until the list is empty. A node that comes up for
# the first time goes back onto the list with the answer "yes", and its parents go on top of it, so that they come up earlier. When it comes
# up again, its turn has come.
# </details>
#
# Now the engine. A `Value` holds a number (`data`), its `parents`, and for each parent the local slope (`local_gradients`), noted down
# during the forward pass when it is known anyway. Here is the pattern, for the sum: $c = a + b$ has slope 1 with respect to both.
#
# ```python
# Value(self.data + other.data, parents=(self, other), local_gradients=(1.0, 1.0), op="+")
# ```
#
# Write the product, the $\tanh$ and the backward pass. The walk of `backward` is that of `topological_order`, over `node.parents` in place
# of `parents[node]`. Graphs here are small, so recursion is allowed.


# %% exercise="Value" minutes=20 level=3
class Value:
    """A number that remembers how it was computed."""

    def __init__(self, data, parents=(), local_gradients=(), op="", label=""):
        self.data = float(data)
        self.parents = tuple(parents)
        # d(self) / d(parent), one number for each parent
        self.local_gradients = tuple(local_gradients)
        self.op, self.label = op, label  # for pictures only
        self.grad = 0.0  # d(output) / d(self), once output.backward() has run

    def __repr__(self):
        return f"Value(data={self.data:.4g}, grad={self.grad:.4g})"

    def __add__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(
            self.data + other.data, parents=(self, other), local_gradients=(1.0, 1.0), op="+"
        )

    def __mul__(self, other):
        """self * other, where other is a Value or a plain number."""
        other = other if isinstance(other, Value) else Value(other)
        ### BEGIN SOLUTION
        return Value(
            self.data * other.data,
            parents=(self, other),
            local_gradients=(other.data, self.data),
            op="*",
        )
        ### END SOLUTION

    def tanh(self):
        """The hyperbolic tangent of this number."""
        ### BEGIN SOLUTION
        out = math.tanh(self.data)
        return Value(out, parents=(self,), local_gradients=(1 - out**2,), op="tanh")
        ### END SOLUTION

    def backward(self):
        """Fill in `grad` of this node (it is 1) and of every node before it: how fast this one changes with it.

        Called once for each graph: all grads are 0 before.
        """
        ### BEGIN SOLUTION
        order, seen = [], set()

        def visit(node):
            if node not in seen:
                seen.add(node)
                for parent in node.parents:
                    visit(parent)
                order.append(node)

        visit(self)
        self.grad = 1.0
        for node in reversed(
            order
        ):  # children first: when a node's turn comes, its gradient is complete
            for parent, local in zip(node.parents, node.local_gradients, strict=True):
                parent.grad += local * node.grad  # += because paths add up
        ### END SOLUTION

    # Everything below is made of the operations above.
    __radd__ = __add__
    __rmul__ = __mul__

    def __neg__(self):
        return self * -1.0

    def __sub__(self, other):
        return self + (other if isinstance(other, Value) else Value(other)) * -1.0

    def __rsub__(self, other):
        return Value(other) + self * -1.0


# %% check="Value"
check("backprop.Value", Value)

# %% [markdown] lang="en"
# Watch your own engine. In this formula `x` is used three times and `q` twice. Step to where the gradients come back, and see a node
# **wait** until all its contributions have arrived.

# %%
x, y = Value(0.5, label="x"), Value(2.0, label="y")
q = x * y + x
q.label = "q"
out = q * q + x.tanh()
out.label = "L"
out.backward()
measured = numerical_gradient(
    lambda v: (v[0] * v[1] + v[0]) ** 2 + np.tanh(v[0]), np.array([0.5, 2.0])
)
print(
    f"dL/dx = {x.grad:.6f}, measured {measured[0]:.6f};  dL/dy = {y.grad:.6f}, measured {measured[1]:.6f}"
)
show(graph_steps(out))

# %% [markdown] lang="en"
# What can the engine not know? It differentiates **the program that ran**, not the formula in your head. A branch that was taken is treated
# as if it could not have been otherwise, and a number that was copied out of the graph (`float(x.data)`) is a constant: the gradient stops
# there without a word. Nor can it tell a right program from a wrong one. The bias bug of section 3 would get a perfectly good gradient, of
# a model with a bias for every row.

# %% [markdown] lang="en"
# ## 9 · Measured: against PyTorch
#
# The same network, the same parameters, the same batch, in float64, once with your hand-written backward pass and once with
# `torch.autograd`. First: are they equal? Then: which is faster? They take turns, so that a busy moment of your machine hits both alike,
# and we compare the medians.

# %%
import time

import torch

torch.set_num_threads(1)
batch, batch_labels = x_train[:64], y_train[:64]
tensors = {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}
torch_x, torch_labels = torch.from_numpy(batch), torch.from_numpy(batch_labels)


def torch_loss():
    hidden = torch.relu(torch_x @ tensors["weight1"] + tensors["bias1"])
    return torch.nn.functional.cross_entropy(
        hidden @ tensors["weight2"] + tensors["bias2"], torch_labels
    )


loss, grads = loss_and_gradients(params, batch, batch_labels)
theirs = dict(zip(tensors, torch.autograd.grad(torch_loss(), list(tensors.values())), strict=True))
print(f"loss: {loss:.12f} (yours)   {torch_loss().item():.12f} (torch)")
print(
    "largest difference of any gradient:",
    max(np.abs(grads[name] - theirs[name].numpy()).max() for name in params),
)

# %%
clocks = {
    "forward, NumPy": [],
    "forward and backward, NumPy": [],
    "forward and backward, torch": [],
}
for _turn in range(300):
    for name, work in zip(
        clocks,
        (
            lambda: forward(params, batch),
            lambda: loss_and_gradients(params, batch, batch_labels),
            lambda: torch.autograd.grad(torch_loss(), list(tensors.values())),
        ),
        strict=True,
    ):
        start = time.perf_counter()
        work()
        clocks[name].append(time.perf_counter() - start)
medians = {name: np.median(times[50:]) * 1e6 for name, times in clocks.items()}
for name, median in medians.items():
    print(f"{name:29s} {median:7.0f} µs")
ratio = medians["forward and backward, NumPy"] / medians["forward, NumPy"]
print(f"all 2,410 slopes cost {ratio:.1f} forward passes; measuring them would cost 4,820")

# %% [markdown] lang="en"
# How many times a forward pass the whole gradient costs depends on the machine, and here also on Python's overhead, which such a small
# network cannot hide. What does not depend on it: the number of multiplications. Each affine layer does one matrix product forward and two
# back, one for its weight and one for its input, so a backward pass costs about **twice** a forward pass, however many parameters there
# are. (The first layer needs no gradient of its input; ours computes it and throws it away. In this small network that is nearly half of
# the backward pass, in a deep one next to nothing.) It is one reason why networks with billions of parameters can be trained at all.

# %% [markdown] lang="en"
# ## Common mistakes, by symptom
#
# | you see | probably | do |
# | --- | --- | --- |
# | loss is `nan` after some steps | `exp` overflowed, or `log(0)`, or a learning rate far too large | subtract the row maximum; take logs of scores, not of probabilities; try a tenth of the rate |
# | loss stays at its first value | nothing moves: the step is not taken, or its result is not kept | compare a parameter before and after a step |
# | loss falls to 2.303 and stays | the network answers evenly: all ReLUs are off (rate too large), or the weights started at 0 | count the hidden numbers that are 0; try a tenth of the rate |
# | loss rises steadily | the sign of the step or of a gradient is turned round | compare with `numerical_gradient` |
# | loss falls, accuracy stays near 10% | rows and labels are shuffled differently, or the labels belong to other rows | look at ten pictures with their labels, *after* shuffling |
# | works for one batch size, fails for another | a bias has grown a batch axis, or a size is written as a number | print the shape of every parameter after a step |
# | `weight1` wrong, `weight2` right | the ReLU on the way back: its mask must come from `z`, not from the gradient | check each arrow back alone |
# | gradients grow with every call | they are added up (+=) and never set to zero | make new ones in each pass (in PyTorch: `zero_grad`) |
# | gradients are a factor N off | the mean is missing, or is taken twice | divide where the mean is, and only there |
# | right gradients, training still poor | the measurement is fine; the moving is not | learning rate, order, batch size: chapters 04 and 05 |

# %% [markdown] lang="en"
# ## Questions from the source articles
#
# **Is backpropagation an optimisation algorithm?** (Two of the articles say so.) No. It computes a gradient and changes nothing. Gradient
# descent is an optimisation algorithm; it uses the gradient and does not care where it came from. You have mended a program that mixed the
# two.
#
# **Do networks learn "through forward and backward propagation"?** Forward computes the answer and the loss, backward computes the slopes,
# and the *update* learns. After a forward and a backward pass the network is exactly as clever as before.
#
# **Which layers learn?** Those with parameters. The input "layer" has none: it is the data. Two affine layers, such as ours, are often
# called a three-layer network, the input counted in; always ask what is being counted.
#
# **Why $z = Wx + b$ there and $z = xW + b$ here?** The same map with $W$ transposed, written for one column vector or for many rows. With
# rows, a batch is simply a matrix. PyTorch has rows too, but keeps the weight of its layers transposed; chapter 05 comes to that. The
# gradients transpose along: $\partial L/\partial W$ is $g\,x^\top$ for columns and $x^\top g$ for rows.
#
# **Why $\frac{\partial L}{\partial b} = \frac{\partial L}{\partial z}\frac{\partial z}{\partial b}$, when in code it is a sum?** For one
# row the second factor is the identity matrix, and the two are equal. For a batch, $z$ stands for N rows that share one $b$; the formula
# still holds, but the product hides a sum over the rows. You have seen what forgetting it does.
#
# **Who found it?** Sweeping derivatives back through the stages of a process is older than neural networks that learn this way: it is in
# control theory of the early 1960s (Kelley, Bryson, Dreyfus). For arbitrary programs, at the cost of a few evaluations, it is Seppo
# Linnainmaa's (1970). Paul Werbos applied it to neural networks (1982, going on from his thesis of 1974), and Rumelhart, Hinton and
# Williams made it famous in 1986 by showing that hidden units trained with it learn useful features.

# %% [markdown] lang="en"
# ## Bonus: ask the pictures
#
# (Not graded.) In `loss_and_gradients` one gradient was thrown away: that of the **input**. It says how the loss changes with every pixel.
# Take the trained network and a picture that it reads rightly, compute that gradient, and move the *picture* a little **up** the loss,
# every pixel by 0.15 in the direction of its gradient's sign. What does the network say now, and can you see the difference? You have made
# an *adversarial example*, the subject of chapter 18.
#
# <details><summary>One way to do it</summary>
#
# <pre>
# z, hidden, logits = forward(learnt, picture)
# grad_logits = cross_entropy_backward(logits, label)
# grad_z = relu_backward(grad_logits @ learnt["weight2"].T, z)
# grad_picture = grad_z @ learnt["weight1"].T
# fooled = np.clip(picture + 0.15 * np.sign(grad_picture), 0, 1)
# </pre>
# </details>

# %%
# Yours to try.

# %% [markdown] lang="en"
# ## What you have now
#
# Every piece of this chapter lives on in `course_lib.scratch` (`functional`, `layers`, `mlp`, `optim`, `gradcheck`, `autograd`), written a
# little more generally; the next chapters import it from there. **Next:** chapter 04 asks how to move once the gradient is known, and
# chapter 05 does all of this again in PyTorch, where you will know what each line does for you.
#
# *Further reading:* Rumelhart, Hinton & Williams, "Learning representations by back-propagating errors", Nature 323 (1986). Baydin,
# Pearlmutter, Radul & Siskind, "Automatic differentiation in machine learning: a survey", JMLR 18 (2018). Goodfellow, Bengio & Courville,
# *Deep Learning* (2016), section 6.5.
