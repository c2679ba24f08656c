# Chapter 07, the one source. `course build` makes the student notebook from it; see the README for the header keys.
# %% [markdown] lang="en"
# # 07 · Recurrent networks
#
# You are read fifty numbers, one after the other. Two of them come with a ring of a bell. At the end you are asked: what is the sum of those
# two? For you this is easy, since you write the first one down. **Where does a network write it down, and does it find it again?**
#
# A recurrent network carries a state from step to step, and that is all the paper it has. One of the source articles says that its loop
# "thereby" captures long-range dependencies. We take that at its word and test it: the fifty numbers are our example for the whole chapter,
# and its last section decides who can add them up.
#
# At the end of this chapter you can
#
# - write a recurrent network and its backpropagation through time in NumPy, and say why its gradient vanishes or explodes;
# - build the cells of LSTM and GRU, equal to PyTorch's, and say which line of theirs is the remedy;
# - put sequences of unequal length into one batch without reading the padding;
# - train a model that writes text letter by letter, and place it on a ladder from knowing nothing upwards;
# - judge a claim like the article's by an experiment.
#
# **The exercises take about two hours, the reading one more.** Good places to stop are after sections 3, 5 and 6. **You need** chapter 03
# (backpropagation through tanh and an affine layer) and chapter 05 (PyTorch modules).

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from autograder import check, predict, progress_board
from course_lib.data import prose_split
from course_lib.device import best_device, course_size, describe_device
from course_lib.interactive import memory_profile, progress, show, show_static
from course_lib.nn.recurrent.adding import (
    SOLVED,
    AddingConfig,
    adding_batch,
    stored,
    train_adder,
)
from course_lib.nn.recurrent.text import (
    Alphabet,
    detached,
    held_out_loss,
    sample,
    stored_losses,
    streams,
)

torch.set_num_threads(1)  # such small networks only lose time by dividing the work
device = best_device()
print("computing on", describe_device())

progress_board("rnn")

# %% [markdown] lang="en"
# ## 1 · Two marked numbers
#
# The **adding problem** (Hochreiter & Schmidhuber, 1997; here in the form of Le, Jaitly & Hinton, 2015) is a test of memory and of nothing else. Every step of a sequence is a pair: a random
# number between 0 and 1, and a mark, which is 1 twice (once in each half of the sequence) and 0 otherwise. Here are three short ones:

# %%
x, y = adding_batch(3, length=8, seed=0)
for sequence, answer in zip(x, y, strict=True):
    steps = "  ".join(f"{number:.2f}{'*' if mark else ' '}" for number, mark in sequence)
    print(f"{steps}   sum {answer.item():.2f}")

# %% [markdown] lang="en"
# We shall judge by the **mean squared error** of the answer. Before we build anything: who learns nothing at all can still answer 1 every time,
# which is the mean of the sum. **Predict:** what mean squared error does this earn? (A number drawn evenly from 0 to 1 has variance 1/12.)

# %% predict="guessing"
# A number.
guessing_guess = ...

# %%
_, answers = adding_batch(100_000, length=50, seed=1)
predict.reveal(
    "rnn.guessing",
    guess=guessing_guess,
    truth=((answers - 1) ** 2).mean().item(),
    because="the variances of two independent numbers add up, whatever the length: 1/12 + 1/12 = 1/6. "
    "An error of 0.167 is the floor of those who remember nothing.",
)

# %% [markdown] lang="en"
# Why not give all 50 × 2 numbers to the network of chapter 03 at once? One may. But then every position has weights of its own: what it has
# learnt about step 3 tells it nothing about step 4, and for 51 steps one needs another network. We want one that does **the same at every step**.
#
# ## 2 · One cell, used at every step
#
# A **recurrent network** keeps a state, $H$ numbers. At each step it makes a new state from the old one and from what it reads (Elman, 1990):
#
# $$ h_t = \tanh\!\left(x_t\,W_x + h_{t-1}\,W_h + b\right), \qquad t = 1, \dots, T . $$
#
# | symbol | in code | shape | what it is |
# | --- | --- | --- | --- |
# | $x_t$ | `xs[t - 1]` | (N, D) | what is read at step $t$, for N sequences side by side; `xs` is (T, N, D) |
# | $h_t$ | `hs[t - 1]` | (N, H) | the state after step $t$; `hs` is (T, N, H) |
# | $h_0$ | `h0` | (N, H) | the state before the first step, mostly zeros |
# | $W_x, W_h, b$ | `weight_x`, `weight_h`, `bias` | (D, H), (H, H), (H,) | the parameters, **the same at every step** |
#
# One article names a hidden layer and an output layer as the parts of such a network. The part that makes it recurrent is $W_h$, and an output
# layer need not be there: some tasks want an answer at every step, ours wants one after the last, and a network that only hands its state on
# (chapter 09) wants none.
#
# Time is the **first** axis here, so that `xs[t]` is a whole batch.


# %% exercise="rnn_forward" minutes=10 level=1
def rnn_forward(params, xs, h0):
    """Every state of a recurrent network.

    params: dict of arrays weight_x (D, H), weight_h (H, H), bias (H,); xs (T, N, D); h0 (N, H)
    → (T, N, H): the states after step 1, …, T, without h0

    >>> params = {"weight_x": np.ones((1, 1)), "weight_h": np.ones((1, 1)), "bias": np.zeros(1)}
    >>> rnn_forward(params, np.array([[[1.0]], [[0.0]]]), np.zeros((1, 1))).round(4).ravel()
    array([0.7616, 0.642 ])
    """
    ### BEGIN SOLUTION
    h, hs = h0, []
    for x in xs:
        h = np.tanh(x @ params["weight_x"] + h @ params["weight_h"] + params["bias"])
        hs.append(h)
    return np.stack(hs)
    ### END SOLUTION


# %% check="rnn_forward"
check("rnn.rnn_forward", rnn_forward)

# %% [markdown] lang="en"
# <details><summary>My result has the shape (N, H)</summary>
#
# That is one state. Collect the state of every step in a list and stack them: <code>np.stack(states)</code>.
# </details>
#
# ## 3 · Backpropagation through time
#
# Unroll the loop, and what you see is a deep network: T layers, one above the other, which all have the same weights. Nothing new is needed to go
# back through it, only chapter 03 with two reminders.
#
# **Paths add up.** $h_t$ is used twice: the loss may ask something of it directly, and step $t + 1$ starts from it. Write $\delta_t$ for the
# gradient of the loss with respect to the sum inside the tanh of step $t$, and $g_t$ for what the loss asks of $h_t$ **directly**. Then, from the
# last step to the first,
#
# $$ \delta_t = \bigl(g_t + \delta_{t+1} W_h^\top\bigr) \odot (1 - h_t^2), \qquad \delta_{T+1} = 0 , $$
#
# where $\odot$ multiplies number by number and $1 - h_t^2$ is the slope of tanh.
#
# **One weight, used T times.** Each use contributes to its gradient:
#
# $$ \frac{\partial L}{\partial W_x} = \sum_t x_t^\top \delta_t, \qquad
#    \frac{\partial L}{\partial W_h} = \sum_t h_{t-1}^\top \delta_t, \qquad
#    \frac{\partial L}{\partial b} = \sum_t \sum_n \delta_{t,n} . $$
#
# | symbol | in code | shape | what it is |
# | --- | --- | --- | --- |
# | $g_t$ | `grad_hs[t - 1]` | (N, H) | given: what the loss asks of $h_t$, not through later states |
# | $\delta_t$ | your choice | (N, H) | the gradient inside the tanh |
# | $\delta_{t+1} W_h^\top$ | your choice | (N, H) | what later steps ask of $h_t$; for $t = 0$ it is the gradient of $h_0$ |
#
# This is called **backpropagation through time** (Werbos, 1990).


# %% exercise="rnn_backward" minutes=25 level=3
def rnn_backward(params, xs, h0, hs, grad_hs):
    """Backpropagation through time.

    params, xs, h0: as given to rnn_forward; hs (T, N, H): what it returned
    grad_hs (T, N, H): the gradient of the loss with respect to each state, not through later states
    → dict with the gradients of "weight_x", "weight_h", "bias" and "h0", each of its own shape
    """
    ### BEGIN SOLUTION
    grads = {name: np.zeros_like(value) for name, value in params.items()}
    later = np.zeros_like(h0)
    for t in reversed(range(len(xs))):
        before = hs[t - 1] if t > 0 else h0
        delta = (grad_hs[t] + later) * (1 - hs[t] ** 2)
        grads["weight_x"] += xs[t].T @ delta
        grads["weight_h"] += before.T @ delta
        grads["bias"] += delta.sum(axis=0)
        later = delta @ params["weight_h"].T
    return {**grads, "h0": later}
    ### END SOLUTION


# %% check="rnn_backward"
check("rnn.rnn_backward", rnn_backward)

# %% [markdown] lang="en"
# <details><summary>Only the case with one step passes</summary>
#
# What arrives at step t must go on to step t - 1. Begin with <code>later = 0</code> before the loop, use <code>grad_hs[t] + later</code> in
# it, and set <code>later = delta @ params["weight_h"].T</code> at its end.
# </details>
# <details><summary>weight_h alone is wrong</summary>
#
# It multiplied the state <i>before</i> the step: <code>hs[t - 1]</code>, and <code>h0</code> in the first. (<code>hs[-1]</code> is the last
# state, so that <code>hs[t - 1]</code> for t = 0 raises no error.)
# </details>
#
# Is it the gradient? PyTorch's autograd, which knows nothing of time, is the judge: the same network in tensors, and a loss that looks at every
# state.

# %%
rng = np.random.default_rng(0)
params = {
    "weight_x": rng.normal(size=(2, 16)),
    "weight_h": rng.normal(size=(16, 16)) / 4,
    "bias": np.zeros(16),
}
xs, h0 = rng.normal(size=(50, 8, 2)), np.zeros((8, 16))
hs = rnn_forward(params, xs, h0)
grads = rnn_backward(params, xs, h0, hs, grad_hs=hs)  # of the loss ½ Σ h²

leaves = {name: torch.from_numpy(value).requires_grad_() for name, value in params.items()}
h, loss = torch.from_numpy(h0), 0.0
for x_t in torch.from_numpy(xs):
    h = torch.tanh(x_t @ leaves["weight_x"] + h @ leaves["weight_h"] + leaves["bias"])
    loss = loss + (h**2).sum() / 2
loss.backward()
gap = max(
    np.abs(leaf.grad.numpy() - grads[name]).max() / np.abs(grads[name]).max()
    for name, leaf in leaves.items()
)
print(f"50 steps: largest relative difference from autograd {gap:.1e}")

# %% [markdown] lang="en"
# ## 4 · What is left of a gradient
#
# You have the right gradient. Is it of any use? Suppose that the answer is asked for after step 50, and the number that matters was read at
# step 1. What the loss says about it has to come back through 49 steps, and each multiplies by the same $W_h^\top$ and by slopes of at most 1.
#
# Multiplying by one matrix again and again is ruled by its **eigenvalues**: the factors by which it stretches the directions that it does not turn. The
# largest absolute value among them is called the **spectral radius** $\rho$. In the long run, each multiplication stretches a vector by
# $\rho$. (In the long run: for a short while, a matrix may do otherwise, as you will see.)
#
# **Predict:** a matrix that only rotates, and shrinks everything to 0.9. No tanh. A gradient arrives at the last state: what share of it is left
# 50 steps back?

# %% predict="shrink"
# A number between 0 and 1.
shrink_guess = ...

# %%
rotation = np.linalg.qr(rng.normal(size=(64, 64)))[0]  # a random rotation: it changes no length
gradient = rng.normal(size=64)
left = gradient
for _step in range(50):
    left = left @ (0.9 * rotation).T
predict.reveal(
    "rnn.shrink",
    guess=shrink_guess,
    truth=np.linalg.norm(left) / np.linalg.norm(gradient),
    because="0.9 to the power of 50 is 0.005. With 1.1 it would have been 117: the same arithmetic, the other way.",
)

# %% [markdown] lang="en"
# Now measure it in a network as it is, with its tanh. The loss looks at the last state alone.


# %% exercise="gradient_by_distance" minutes=10 level=2
def gradient_by_distance(weight_h, hs, grad_last):
    """How long the gradient still is, k steps before the last state.

    weight_h (H, H); hs (T, N, H): the states of rnn_forward; grad_last (N, H): the gradient that arrives at the last state
    → (T,): entry k is the length (the root of the sum of all squares) of the gradient with respect to the state k steps
    before the last; entry 0 is the length of grad_last itself

    >>> gradient_by_distance(np.array([[0.5]]), np.zeros((3, 1, 1)), np.array([[8.0]]))
    array([8., 4., 2.])
    """
    ### BEGIN SOLUTION
    lengths, grad = [], grad_last
    for h in hs[::-1]:
        lengths.append(np.linalg.norm(grad))
        grad = (grad * (1 - h**2)) @ weight_h.T
    return np.array(lengths)
    ### END SOLUTION


# %% check="gradient_by_distance"
check("rnn.gradient_by_distance", gradient_by_distance)

# %% [markdown] lang="en"
# A random matrix, scaled to four spectral radii, in a network that reads small random numbers; the median of five draws of everything:


# %%
def with_spectral_radius(matrix, radius):
    """The matrix, scaled so that its largest eigenvalue has this absolute value."""
    return matrix * (radius / np.abs(np.linalg.eigvals(matrix)).max())


def share_left(radius, seed, input_size=0.1, hidden=64, steps=50):
    """Shares of a gradient that are left at distances 0, 1, …, steps - 1, in a fresh random network."""
    rng = np.random.default_rng(seed)
    params = {
        "weight_x": rng.normal(size=(2, hidden)),
        "weight_h": with_spectral_radius(rng.normal(size=(hidden, hidden)), radius),
        "bias": np.zeros(hidden),
    }
    hs = rnn_forward(params, input_size * rng.normal(size=(steps, 8, 2)), np.zeros((8, hidden)))
    lengths = gradient_by_distance(params["weight_h"], hs, rng.normal(size=(8, hidden)))
    return lengths / lengths[0]


for radius in (0.5, 0.9, 1.1, 2.0):
    shares = np.median([share_left(radius, seed) for seed in range(5)], axis=0)
    print(
        f"spectral radius {radius}: share left after 10 steps {shares[10]:.1e}, after 49 {shares[49]:.1e};"
        f" radius to the power of 49 {radius**49:.1e}"
    )
shares = np.median([share_left(2.0, seed, input_size=10.0) for seed in range(5)], axis=0)
print(f"spectral radius 2.0, inputs 100 times as large: share left after 49 steps {shares[49]:.1e}")

# %% [markdown] lang="en"
# This is the whole trouble with recurrent networks (Bengio, Simard & Frasconi, 1994).
#
# - **Below 1 the gradient vanishes.** It does not become wrong, it becomes small: what happened long ago no longer counts against the
#   noise of what happened just now.
# - **Above 1 it may explode.** It need not: large *inputs* push the states to where tanh is flat, and the flat slopes shrink what the
#   matrix stretches. Then it vanishes again, as the last line shows: the same radius, other inputs.
# - Left to itself, training does not keep the absolute values of 64 eigenvalues at exactly 1. (Networks whose matrix is held orthogonal do.)
#
# Precisely, if the largest *singular value* of $W_h$ (its largest stretch in a single step) is below 1, the gradient must vanish; for an explosion it
# must be above 1. The spectral radius says how fast in the long run, and between the two, a random matrix may stretch for some steps before it
# shrinks. Try it in the figure: the dots on the left are the eigenvalues. Compare the two kinds of matrix at radius 0.9, and then let the units squash.

# %% figure="memory_profile" alt="Left: eigenvalues of a recurrent matrix and the circle of radius 1. Right: the share of a gradient that is left after 0 to 49 steps back, on a logarithmic axis, beside the spectral radius to that power. Lists choose the radius, the kind of matrix and the squashing."
show(memory_profile())

# %% [markdown] lang="en"
# ### Against explosions: clipping
#
# An exploding gradient can be seen, so it can be helped. **Clipping** (Pascanu, Mikolov & Bengio, 2013) measures the length of all gradients
# together, and if it exceeds a limit, scales them all to that length. The direction stays. You wrote it in chapter 04 as
# `clip_by_global_norm`. Here it is at work: adding with 20 steps, your two functions, plain gradient descent, a matrix with spectral radius 2, five seeds.


# %% train
def train_in_numpy(seed, max_norm, steps=200, length=20, hidden=32, lr=0.1):
    """Train a recurrent network of NumPy on the adding problem. → (losses, lengths of the gradients before clipping)"""
    rng = np.random.default_rng(seed)
    params = {
        "weight_x": rng.normal(size=(2, hidden)),
        "weight_h": with_spectral_radius(rng.normal(size=(hidden, hidden)), 2.0),
        "bias": np.zeros(hidden),
        "weight_out": rng.normal(size=(hidden, 1)) / np.sqrt(hidden),
    }
    losses, lengths = [], []
    for step in range(steps):
        x, y = (part.double().numpy() for part in adding_batch(32, length, seed=1000 * seed + step))
        xs, h0 = x.swapaxes(0, 1), np.zeros((32, hidden))
        recurrent = {name: params[name] for name in ("weight_x", "weight_h", "bias")}
        hs = rnn_forward(recurrent, xs, h0)
        error = 1 + hs[-1] @ params["weight_out"] - y  # 1 is the mean of the answers
        losses.append((error**2).mean())
        grad_hs = np.zeros_like(hs)
        grad_hs[-1] = 2 / 32 * error @ params["weight_out"].T
        grads = rnn_backward(recurrent, xs, h0, hs, grad_hs)
        grads["weight_out"] = hs[-1].T @ (2 / 32 * error)
        lengths.append(np.sqrt(sum((grads[name] ** 2).sum() for name in params)))
        scale = min(1.0, max_norm / lengths[-1])
        for name in params:
            params[name] -= lr * scale * grads[name]
    return np.array(losses), np.array(lengths)


with np.errstate(all="ignore"):  # where numbers explode, NumPy would warn
    for name, max_norm in (("not clipped", np.inf), ("clipped to 1", 1.0)):
        runs = [train_in_numpy(seed, max_norm) for seed in range(5)]
        print(f"{name:12s} last losses:", "  ".join(f"{loss[-50:].mean():.2g}" for loss, _ in runs))
lengths = [length for _, lengths in runs for length in lengths]
print(f"clipped: median length {np.median(lengths):.1f}, longest {max(lengths):.1f}")

# %% [markdown] lang="en"
# Not clipped, all five runs are lost, to numbers with hundreds of digits. It is tempting to say that the gradient through time exploded. It need not
# have: once the states stand near ±1, the output layer alone is too steep for a rate of 0.1, each step overshoots further than the one before, and the
# large error makes the gradients through time long as well. (Try `lr=0.03` without clipping.) Clipping bounds the step whatever made it long: in the clipped runs the longest gradient,
# measured before it was clipped, is about fifteen times as long as the usual one. (The usual length tells you where a limit can stand.)
#
# But look at the losses that clipping has saved: they are above 0.167. The network is alive, and it cannot add.
#
#
# Against *vanishing*, clipping does nothing: a gradient of nearly zero can be made longer, but the direction in which it would point has drowned.
# For that one needs another cell.
#
# ## 5 · Gates: a line that is only added to
#
# What harms the memory is that **everything** that is kept goes through $W_h$ and a tanh at every step. The **LSTM** (Hochreiter & Schmidhuber,
# 1997) keeps a second state, the **cell** $c$, which goes through neither. It is multiplied, number by number, by a factor between 0 and 1, and added
# to. (The factor, the forget gate, came three years later: Gers, Schmidhuber & Cummins, 2000. In 1997 it was the constant 1.)
#
# $$ c_t = f_t \odot c_{t-1} + i_t \odot g_t, \qquad h_t = o_t \odot \tanh(c_t) . $$
#
# Three **gates** decide, each with weights of its own. Each is a sigmoid $\sigma$, so that it lies between 0 (shut) and 1 (open):
#
# | symbol | rows of the matrices | what it is |
# | --- | --- | --- |
# | $i_t = \sigma(\cdot)$ | 0 to H | **input gate**: how much of the new is taken in |
# | $f_t = \sigma(\cdot)$ | H to 2H | **forget gate**: how much of the old is **kept** (1 keeps; the name is the wrong way round) |
# | $g_t = \tanh(\cdot)$ | 2H to 3H | the **candidate**: what might be taken in |
# | $o_t = \sigma(\cdot)$ | 3H to 4H | **output gate**: how much of the cell is shown |
#
# The dot stands each time for $W_{ih}\,x_t + b_{ih} + W_{hh}\,h_{t-1} + b_{hh}$ with that part's own rows. PyTorch keeps the four parts of
# each in one array, `weight_ih` (4H, D), `weight_hh` (4H, H), `bias_ih` and `bias_hh` (4H,), in the order **i, f, g, o**; other libraries
# have other orders, and nothing warns you when you load the weights of one into the other.
#
# On the line from $c_{t-1}$ to $c_t$ the gradient is multiplied by $f_t$ alone. If the network keeps $f$ at 1, it comes back unharmed. How near to 1
# must that be? A usual advice is to start the forget gate's bias at 1, "so that the network begins by remembering". **Predict:** with that bias and no
# other input to the gate, what share of the cell is left after 50 steps?

# %% predict="forget"
# The power of ten: for a share of 0.001 write -3.
forget_guess = ...

# %%
kept = torch.sigmoid(torch.tensor(1.0, dtype=torch.float64))
predict.reveal(
    "rnn.forget",
    guess=forget_guess,
    truth=torch.log10(kept**50).item(),
    because=f"sigmoid(1) is {kept:.2f}, and {kept:.2f} to the power of 50 is {kept**50:.1e}. A bias of 1 remembers for a few "
    "steps. To keep half over 50 steps, the gate must stand at 0.986, which is a bias of about 4.3.",
)

# %% [markdown] lang="en"
# So a bias of 1 is a start, not a memory; the network has to open its gates further, where it needs to, and it can, because *some* gradient comes
# back. Write the cell. In PyTorch's modules, batches are rows and weights stand as (outputs, inputs), so `F.linear(x, weight_ih, bias_ih)` is
# $x\,W_{ih}^\top + b_{ih}$.


# %% exercise="lstm_cell" minutes=12 level=2
def lstm_cell(x, state, weight_ih, weight_hh, bias_ih, bias_hh):
    """One step of an LSTM, equal to PyTorch's.

    x (N, D); state: the pair (h, c), both (N, H); weight_ih (4H, D), weight_hh (4H, H), bias_ih and bias_hh (4H,):
    input gate, forget gate, candidate, output gate, in this order → the pair (new h, new c)
    """
    ### BEGIN SOLUTION
    h, c = state
    z = F.linear(x, weight_ih, bias_ih) + F.linear(h, weight_hh, bias_hh)
    i, f, g, o = z.chunk(4, dim=1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c
    ### END SOLUTION


# %% check="lstm_cell"
check("rnn.lstm_cell", lstm_cell)

# %% [markdown] lang="en"
# ### The GRU: two gates, one state
#
# The **gated recurrent unit** (Cho et al., 2014) does with one state and three parts:
#
# $$ r = \sigma(a_r + u_r), \qquad z = \sigma(a_z + u_z), \qquad n = \tanh(a_n + r \odot u_n), \qquad h_t = (1 - z) \odot n + z \odot h_{t-1} . $$
#
# | symbol | what it is |
# | --- | --- |
# | $a = W_{ih}\,x_t + b_{ih}$ | what the input says, three parts: $a_r$, $a_z$, $a_n$ |
# | $u = W_{hh}\,h_{t-1} + b_{hh}$ | what the state says, likewise |
# | $r$ | **reset gate**: how much the state may say about the candidate |
# | $z$ | **update gate**: how much of the old state stays (so in the paper and in PyTorch; many texts have it the other way round) |
# | $n$ | the candidate |
#
# One detail divides the world: does $r$ multiply the state *before* the product, $U(r \odot h)$, or the product, $r \odot (U h + b)$? The paper
# has the first. PyTorch has the second, since then $U h$ is one product for all three parts. The two are different networks, and weights trained with
# one do not work in the other. The parts stand in the order **r, z, n**.


# %% exercise="gru_cell" minutes=12 level=2
def gru_cell(x, h, weight_ih, weight_hh, bias_ih, bias_hh):
    """One step of a GRU, equal to PyTorch's.

    x (N, D); h (N, H); weight_ih (3H, D), weight_hh (3H, H), bias_ih and bias_hh (3H,):
    reset gate, update gate, candidate, in this order → the new h (N, H)
    """
    ### BEGIN SOLUTION
    from_x, from_h = F.linear(x, weight_ih, bias_ih), F.linear(h, weight_hh, bias_hh)
    xr, xz, xn = from_x.chunk(3, dim=1)
    hr, hz, hn = from_h.chunk(3, dim=1)
    r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
    n = torch.tanh(xn + r * hn)
    return (1 - z) * n + z * h
    ### END SOLUTION


# %% check="gru_cell"
check("rnn.gru_cell", gru_cell)

# %% [markdown] lang="en"
# <details><summary>"The next h is torch's" fails, but the gates seem right</summary>
#
# <code>r</code> multiplies <code>W h + b</code>, the bias <code>bias_hh</code> of the candidate included.
# </details>
#
# ### Measured: your cells and PyTorch's layers
#
# The check compared values. Here are gradients too: both cells, unrolled over 50 steps, against `nn.LSTM` and `nn.GRU` with the same weights, in
# double precision.

# %%
torch.manual_seed(0)
x = torch.randn(8, 50, 2, dtype=torch.float64)
wanted_of_states = torch.randn(8, 50, 16, dtype=torch.float64)  # what the loss asks of each state
zeros = x.new_zeros(8, 16)
for layer, cell, state in (
    (nn.LSTM(2, 16, batch_first=True), lstm_cell, (zeros, zeros)),
    (nn.GRU(2, 16, batch_first=True), gru_cell, zeros),
):
    layer.double()
    own = [param.detach().clone().requires_grad_() for param in layer.parameters()]
    states = []
    for t in range(50):
        state = cell(x[:, t], state, *own)
        states.append(state[0] if isinstance(state, tuple) else state)
    ours, theirs = torch.stack(states, dim=1), layer(x)[0]
    (ours * wanted_of_states).sum().backward()
    (theirs * wanted_of_states).sum().backward()
    gap = max(
        (a.grad - b.grad).abs().max().item() for a, b in zip(own, layer.parameters(), strict=True)
    )
    print(
        f"nn.{type(layer).__name__}: states differ by at most {(ours - theirs).abs().max().item():.1e}, "
        f"gradients by {gap:.1e}"
    )

# %% [markdown] lang="en"
# ### Does the line hold?
#
# Now the measurement of section 4 for all kinds of cells, as they start, before any training: how much does what was *read* $k$ steps ago count for
# the last state? (The gradient with respect to $x_{50-k}$, as a share of that with respect to $x_{50}$.)


# %%
def reading_profile(kind, forget_bias=None, steps=50, hidden=64):
    """Share of the gradient with respect to the input of k = 0, 1, … steps ago, median of five fresh layers."""
    profiles = []
    for seed in range(5):
        torch.manual_seed(seed)
        layer = kind(2, hidden, batch_first=True)
        if forget_bias is not None:
            with torch.no_grad():
                layer.bias_ih_l0[hidden : 2 * hidden] = forget_bias
        x = torch.randn(16, steps, 2, requires_grad=True)
        last = layer(x)[0][:, -1]
        (last * torch.randn_like(last)).sum().backward()
        sizes = x.grad.square().sum(dim=(0, 2)).sqrt().flip(0)  # the nearest first
        profiles.append((sizes / sizes[0]).numpy())
    return np.median(profiles, axis=0)


profiles = {
    "RNN": reading_profile(nn.RNN),
    "GRU": reading_profile(nn.GRU),
    "LSTM": reading_profile(nn.LSTM),
    "LSTM, forget bias 1": reading_profile(nn.LSTM, 1.0),
    "LSTM, forget bias 4.3": reading_profile(nn.LSTM, 4.3),
}
for name, profile in profiles.items():
    print(f"{name:22s} share left after 10 steps {profile[10]:.1e}, after 49 {profile[49]:.1e}")

# %%
figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
for (name, profile), style in zip(profiles.items(), ("-", "--", ":", "-.", "-"), strict=True):
    width = 3 if name.endswith("4.3") else 1.8
    axis.plot(profile, style, linewidth=width, label=name)
axis.set(xlabel="steps ago", ylabel="share of the gradient", yscale="log", ylim=(1e-16, 5))
axis.legend(frameon=False, ncols=2, fontsize=9)
plt.close(figure)
show_static(
    figure,
    alt="How much the input of k steps ago counts for the last state, on a logarithmic axis, for untrained layers. "
    "Plain RNN, GRU and LSTM fall by many powers of ten over 50 steps; the LSTM with forget bias 1 falls "
    "more slowly, and with forget bias 4.3 it stays within a factor of ten.",
)

# %% [markdown] lang="en"
# Did you expect the plain LSTM and GRU to do better? As they come from PyTorch, their gates start near one half, so that the line loses a good third or more at every step,
# and after 49 steps there is as good as nothing left, as in the RNN. **The cell does not remember by itself; it can be told to.** A forget bias of 1
# gains many powers of ten, one of 4.3 keeps everything. (More than everything: the way through the gates adds to what comes along the line.)
# Training can move these biases, and in a moment it will.
#
#
# ## 6 · Sequences of unequal length
#
# Sentences are not all 50 words long. To put them into one array they are **padded**: the shorter ones get zeros behind their end. The network
# must know where each ends, or it goes on reading zeros, and every step on zeros changes the state. A batch then is a pair: `x` (N, T, D) and
# `lengths` (N,), each from 1 to T.
#
# **Predict:** 10,000 sequences with lengths drawn evenly from 1 to 20 are padded to 20 steps, and a program answers each from `states[:, -1]`, the
# state after step 20. What share of the rows is answered from the right step?

# %% predict="right_step"
# A number between 0 and 1.
step_guess = ...

# %%
lengths = torch.randint(1, 21, (10_000,), generator=torch.Generator().manual_seed(0))
predict.reveal(
    "rnn.right_step",
    guess=step_guess,
    truth=(lengths == 20).double().mean().item(),
    because="only rows of full length end at the last step: one in twenty.",
)

# %% [markdown] lang="en"
# There are two ways to do it right. A **mask**: compute every step for every row, and where a row has ended, throw the new state away and keep the old
# one. Or **packing** (`nn.utils.rnn.pack_padded_sequence`): sort by length and let the batch shrink as rows end, so that nothing is computed in vain.
# They must give the same. Write the first; your `gru_cell` does the step.


# %% exercise="padded_gru" minutes=15 level=2
def padded_gru(x, lengths, h, weight_ih, weight_hh, bias_ih, bias_hh):
    """A GRU over a padded batch.

    x (N, T, D); lengths (N,): the number of real steps of each row, 1 to T; h (N, H): the first state; the rest as gru_cell's
    → (states (N, T, H): after each real step, and zeros after a row's end; last (N, H): after each row's last real step)
    """
    ### BEGIN SOLUTION
    states = []
    for t in range(x.shape[1]):
        new = gru_cell(x[:, t], h, weight_ih, weight_hh, bias_ih, bias_hh)
        real = (t < lengths)[:, None]  # (N, 1)
        h = torch.where(real, new, h)
        states.append(torch.where(real, new, 0.0))
    return torch.stack(states, dim=1), h
    ### END SOLUTION


# %% check="padded_gru"
check("rnn.padded_gru", padded_gru)

# %% [markdown] lang="en"
# <details><summary>"the last state of each row" fails, and the states are right</summary>
#
# The mask must act on the state that is carried on, not only on what is written down: <code>h = torch.where(real, new, h)</code>.
# </details>
#
# ### A bug hunt
#
# Here is the recurrent network of one of the source articles, in our own words and with a `lengths` that it does not use. It classifies a sequence by
# its last state. On sequences of one length, on a processor, it works. There are **two** mistakes in it. One costs accuracy and raises no error;
# the other raises an error on the day somebody moves the network to a graphics card, or to double precision.
#
# What does the first one cost? A task: sequences of 5 to 40 random numbers, and the question whether the **last** real one is above a half.


# %% exercise="Reader" minutes=10 level=2
class Reader(nn.Module):
    """A recurrent network that answers once, at the end of each sequence.

    x (N, T, inputs), padded; lengths (N,): the number of real steps of each row → (N, outputs).
    Works on any device and in any precision: that of x and of the network. The parts keep their names, rnn and fc.
    """

    def __init__(self, inputs, hidden, outputs):
        super().__init__()
        self.rnn = nn.RNN(inputs, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, outputs)

    def forward(self, x, lengths):
        ### BEGIN SOLUTION
        h0 = x.new_zeros(1, x.size(0), self.rnn.hidden_size)  # like x: its device, its dtype
        out, _last = self.rnn(x, h0)
        rows = torch.arange(x.size(0), device=x.device)
        return self.fc(out[rows, lengths - 1])  # each row at its own last step
        ### ELSE BROKEN
        # h0 = torch.zeros(1, x.size(0), self.rnn.hidden_size)
        # out, _last = self.rnn(x, h0)
        # return self.fc(out[:, -1, :])
        ### END SOLUTION


# %% check="Reader"
check("rnn.Reader", Reader)

# %% [markdown] lang="en"
# <details><summary>"shape mismatch: indexing tensors could not be broadcast"</summary>
#
# One index for the rows and one for the steps, both of length N: <code>out[torch.arange(N), lengths - 1]</code>. With <code>out[:, lengths -
# 1]</code> every row is taken at every length.
# </details>
#
# And this is what reading the padding costs, over three seeds. `AsFound` is the program of the bug hunt.


# %% train
class AsFound(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.fc = nn.RNN(1, 32, batch_first=True), nn.Linear(32, 1)

    def forward(self, x, lengths):
        return self.fc(self.rnn(x)[0][:, -1])


def last_above_half(count, generator):
    """Is the last real number above a half? → x (N, 40, 1), lengths (N,), y (N, 1)"""
    x = torch.rand(count, 40, 1, generator=generator)
    lengths = torch.randint(5, 41, (count,), generator=generator)
    y = (x[torch.arange(count), lengths - 1] > 0.5).float()
    x[torch.arange(40) >= lengths[:, None]] = 0.0
    return x, lengths, y


def share_right(build, seed, steps=300):
    torch.manual_seed(seed)
    net, generator = build(), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _step in range(steps):
        x, lengths, y = last_above_half(64, generator)
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(net(x, lengths), y).backward()
        optimizer.step()
    x, lengths, y = last_above_half(2000, generator)
    with torch.no_grad():
        return ((net(x, lengths) > 0).float() == y).double().mean().item()


for name, build in (("as found", AsFound), ("mended", lambda: Reader(1, 32, 1))):
    print(f"{name:9s}", "  ".join(f"{share_right(build, seed):.1%}" for seed in range(3)))

# %% [markdown] lang="en"
# The program as found guesses. Its state after forty steps has read up to 35 zeros, and what it knew about the last real number is gone the way of
# section 4. It would not look broken: it runs, its loss is finite, and trained on batches of one length it learns.
#
#
# ## 7 · A model that reads letter by letter
#
# Language is where such networks grew up. The task: read a text, and after every letter say how likely each letter is to be the next. A **language
# model** is judged by its **surprise** at a text that it has not seen: the mean of $-\log p(\text{the letter that came})$, which is the
# cross-entropy of chapter 03. Less is better, and $e^{\text{loss}}$ reads as "between how many equally likely letters does it waver".
#
# The text is the Python language's own reference manual, which every Python carries; the last tenth is held out.

# %%
train_text, test_text = prose_split()
alphabet = Alphabet.of(train_text)
train_ids, test_ids = alphabet.encode(train_text), alphabet.encode(test_text)
print(
    f"{len(train_ids):,} characters to learn from, {len(test_ids):,} held out, {len(alphabet)} different"
)
print(train_text[2000:2300])

# %% [markdown] lang="en"
# ### The lower rungs
#
# A loss by itself says little. So we build a ladder. Who knows nothing but the alphabet gives each character the same probability. Who has counted how
# often each character occurs gives each its share; one is added to every count, so that a character which never occurred is not impossible (its
# surprise would be infinite).


# %%
def unigram_loss(train, test, num_characters):
    """Mean surprise at the characters of test, each by its share of train, one added to every count."""
    counts = np.bincount(train, minlength=num_characters) + 1
    return -np.log(counts / counts.sum())[test].mean()


ladder = {
    "uniform": np.log(len(alphabet)),
    "unigram": unigram_loss(train_ids, test_ids, len(alphabet)),
}
for name, loss in ladder.items():
    print(f"{name:8s} {loss:.3f} nats a character")

# %% [markdown] lang="en"
# The next rung knows **one character back**: how often does each follow each? Count the pairs of the training text in a table, row: the character
# before, column: the character after. Add one everywhere, and divide each row by its sum.


# %% exercise="bigram_loss" minutes=12 level=2
def bigram_loss(train, test, num_characters):
    """Mean surprise at the characters of test, from the second on, each by the share with which it follows the one before it in train.

    train, test: arrays of whole numbers from 0 to num_characters - 1; one is added to the count of every pair → nats a character

    >>> round(bigram_loss(np.array([0, 1, 0, 1, 0]), np.array([0, 1]), 2), 4)  # 0 is followed by 1 twice, by 0 never: 3 in 4
    0.2877
    """
    ### BEGIN SOLUTION
    counts = np.ones((num_characters, num_characters))
    np.add.at(counts, (train[:-1], train[1:]), 1)
    shares = counts / counts.sum(axis=1, keepdims=True)
    return -np.log(shares[test[:-1], test[1:]]).mean()
    ### END SOLUTION


# %% check="bigram_loss"
check("rnn.bigram_loss", bigram_loss)

# %% [markdown] lang="en"
# <details><summary>My counts are all 1 or 2</summary>
#
# <code>counts[before, after] += 1</code> with arrays as indices adds once per pair, however often it occurs. <code>np.add.at(counts, (before,
# after), 1)</code> adds every time.
# </details>
#
# One could go on: two characters back, three. The table grows by a factor of V each time, and most of it stays empty. A recurrent network needs no
# table: its state can hold whatever of the past is worth holding.
#
# ### The model
#
# Three parts: `nn.Embedding(V, E)` holds a vector for each character (a table of parameters; looking up row $k$ is multiplying by a vector with a 1
# at place $k$). A recurrent layer reads these vectors. `nn.Linear(H, V)` turns each state into the scores of the next character.
#
# A text is too long to go back through all of it. **Truncated** backpropagation reads 64 characters, goes back through those, takes a step, and reads
# on **from the state where it stopped**. So the state is handed in and out; it is not kept in the model, which is why two runs with one model cannot
# disturb each other.


# %% exercise="CharModel" minutes=20 level=3
class CharModel(nn.Module):
    """A language model of characters.

    Parts, by these names: embedding (num_characters vectors of `width`), reader (nn.RNN, nn.GRU or nn.LSTM with `hidden`
    units, as `kind` says, "RNN", "GRU" or "LSTM"), head (a score for each character).
    forward: ids (N, T), targets (N, T) or None, state or None → (logits (N, T, V), loss, state): the loss is the mean
    cross-entropy over all N·T characters, None without targets; state is the reader's, before and after.
    """

    def __init__(self, num_characters, width, hidden, kind="LSTM"):
        super().__init__()
        ### BEGIN SOLUTION
        self.embedding = nn.Embedding(num_characters, width)
        kinds = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}
        self.reader = kinds[kind](width, hidden, batch_first=True)
        self.head = nn.Linear(hidden, num_characters)
        ### END SOLUTION

    def forward(self, ids, targets=None, state=None):
        ### BEGIN SOLUTION
        states, state = self.reader(self.embedding(ids), state)
        logits = self.head(states)
        loss = None
        if targets is not None:
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return logits, loss, state
        ### END SOLUTION


# %% check="CharModel"
check("rnn.CharModel", CharModel)

# %% [markdown] lang="en"
# <details><summary>"Expected target size …" from cross_entropy</summary>
#
# It wants the classes on axis 1. Flatten: <code>F.cross_entropy(logits.flatten(0, 1), targets.flatten())</code>.
# </details>
# <details><summary>"Trying to backward through the graph a second time" (when you train)</summary>
#
# The state still knows its history, all the way back to the first character. <code>state.detach()</code> keeps the numbers and cuts the history;
# our helper <code>detached</code> does it for a pair, too.
# </details>
#
# The batches must fit to the state that is carried: row $n$ of the next batch has to go on where row $n$ of this one ended. `streams` cuts the text
# into 32 equal pieces and reads all of them side by side.


# %%
letters = torch.arange(26)
for inputs, targets in list(streams(letters, num_streams=2, length=4))[:2]:
    print("inputs", inputs.tolist(), " targets", targets.tolist())


# %% train
def train_model(kind, epochs, width, hidden, seed=0):
    """→ a trained CharModel."""
    torch.manual_seed(seed)
    model = CharModel(len(alphabet), width, hidden, kind).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    batches = list(streams(torch.from_numpy(train_ids).to(device), num_streams=32, length=64))
    count = epochs * len(batches)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=count)
    state = None
    for number in progress(range(count), f"{kind}, batches"):
        place = number % len(batches)
        state = detached(state) if place else None  # a new epoch begins the text anew
        _logits, loss, state = model(*batches[place], state)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model


epochs, width, hidden = (3, 32, 128) if course_size() == "small" else (10, 64, 512)
ladder["bigram"] = bigram_loss(train_ids, test_ids, len(alphabet))
models = {}
for kind in ("RNN", "LSTM"):
    models[kind] = train_model(kind, epochs, width, hidden)
    ladder[kind] = held_out_loss(models[kind], test_ids)
for name, loss in ladder.items():
    print(
        f"{name:8s} {loss:.3f} nats, {loss / np.log(2):.2f} bits, wavers between {np.exp(loss):.1f}"
    )

# %% [markdown] lang="en"
# Every rung is a step down, and the two that read everything so far are far below the one that knows one character. That the LSTM is below the RNN
# is one seed's word, and with as many units it has nearly three times as many parameters. Three seeds of each, and of a wider RNN with as many parameters
# as the LSTM, trained in the same way by `benchmarks/char_models.py`:

# %%
for (kind, units, lr), losses in stored_losses().items():
    print(
        f"{kind:4s} with {units} units, rate {lr:<5}:",
        "  ".join(f"{loss:.3f}" for loss in losses),
        "nats",
    )

# %% [markdown] lang="en"
# At the rate of the run above, the LSTM is better than the RNN with as many units from every start. A wider RNN with as many *parameters* is worse at
# that rate, and at half of it better than the LSTM! Then the LSTM was given another rate too, and went far ahead again. Each at the better of its two
# rates, from every start, the LSTM wins. Had we stopped one line earlier, we should have told you the opposite. That is why a comparison gives both
# sides the same effort, and two rates each is still little.
#
# Let it write. It is given "The " and asked for one character after another, each drawn from its own distribution and handed back to it.

# %% train
for temperature in (0.4, 1.0):
    print(f"--- temperature {temperature}")
    print(sample(models["LSTM"], alphabet, "The ", 240, temperature=temperature, seed=0))

# %% [markdown] lang="en"
# It has learnt words, spaces, line breaks and the look of a manual, from letters alone, in a minute; it has nothing to say. The **temperature** divides
# the scores before the softmax: a low one makes the likely more likely, so that the text becomes safe and repeats itself; at 1 the model writes as it
# believes. Chapter 12 comes back to this with a model that reads much further back.
#
# ## 8 · Who can add?
#
# Now the question of the beginning, with all there is: fifty numbers, two marks, and four learners. RNN, LSTM (forget bias 1) and GRU have 64 units and
# answer from their last state. The fourth, **attention**, does not read step by step: it gives every step a weight, all at once, and takes the weighted
# mean (chapter 08 builds it). All have the same batches, Adam, a learning rate that falls to 0, and clipping. We train one here, before your eyes;
# three seeds of each were run before by `benchmarks/adding_problem.py`, whose results lie in the course's files. **Before you run it:** in which order
# will they learn it, and will the RNN?

# %% train
config, curves, others = stored()
live = train_adder("attention", AddingConfig(steps=400), seed=3, device=device)
print(f"attention, 400 steps, trained just now: error {live.errors[-1]:.4f}")

figure, axes = plt.subplots(1, 4, figsize=(9.6, 2.9), sharey=True, layout="constrained")
for axis, kind in zip(axes, ("RNN", "LSTM", "GRU", "attention"), strict=True):
    for curve, style in zip([c for c in curves if c.kind == kind], ("-", "--", ":"), strict=True):
        steps = curve.every * (1 + np.arange(len(curve.errors)))
        axis.plot(steps, curve.errors, style, color="#0b6aa2", linewidth=1.8)
    axis.axhline(1 / 6, color="#555555", linewidth=1)
    axis.axhline(SOLVED, color="#b34700", linewidth=1, linestyle="-.")
    axis.set(title=kind, xlabel="step", yscale="log", ylim=(1e-7, 1))
axes[3].plot(
    live.every * (1 + np.arange(len(live.errors))), live.errors, color="#b34700", linewidth=3
)
axes[0].set_ylabel("squared error")
axes[0].text(100, 0.22, "guessing", fontsize=9)
axes[0].text(100, SOLVED * 1.3, "solved", fontsize=9)
plt.close(figure)
show_static(
    figure,
    alt="Squared error against training step for RNN, LSTM, GRU and attention, three seeds each, on a logarithmic "
    "axis. RNN stays near the line of guessing at 0.167. LSTM stays there for about a thousand steps and then falls "
    "below 0.01; GRU falls after about 400 steps, attention almost at once, and so does the run trained just now.",
)
for kind in ("RNN", "LSTM", "GRU", "attention"):
    found = [curve for curve in curves if curve.kind == kind]
    print(
        f"{kind:10s} last errors {'  '.join(f'{curve.errors[-1]:.1e}' for curve in found)}   "
        f"below {SOLVED} from step {', '.join(str(curve.solved_at() or 'never') for curve in found)}"
    )
for lr in sorted({curve.lr for curve in others}):
    found = [curve.errors[-1] for curve in others if curve.lr == lr]
    print(f"RNN at learning rate {lr}: last errors", "  ".join(f"{error:.3f}" for error in found))

# %% [markdown] lang="en"
# Attention has it after 100 to 250 steps, the GRU after 400 to 450, the LSTM after 1,150 to 1,250. The plain RNN has not: not at this learning rate
# and not at two smaller ones, from none of three starts each. One of its nine runs begins to fall in its last 200 steps, from 0.164 to 0.125. It might
# have gone on; what we can say is that 2,500 steps, twice what the LSTM needed, were not enough.
#
# Look at the LSTM's curves. They lie at guessing for about a thousand steps, and then, in a few hundred, it can add. That is what it looks like when
# a few forget gates begin to open: the better the line holds, the more gradient comes back to tell the gates to hold it.
#
# Is the comparison fair? Attention has an easy time, since the sum of two marked numbers needs no order, and a weighted mean of all steps is nearly
# the answer. The LSTM has four times the RNN's parameters, and started with a helpful forget bias. And an RNN is not beyond help: with ReLU instead of tanh and $W_h$ started at the identity, it has been reported to solve even longer
# sequences (Le, Jaitly & Hinton, 2015). That is section 4 again: all eigenvalues at 1, and no squashing.

# %% [markdown] lang="en"
# ## 9 · Measured: what a step costs
#
# The other article names the **low efficiency on long sequences** as the main drawback of recurrent networks. Let us look. The same 8,192 pairs of
# numbers, cut into long or into short sequences; forward and backward through one `nn.LSTM` of 64 units. The arithmetic is the same every time.

# %% train
layer = nn.LSTM(2, 64, batch_first=True)


def milliseconds(forward, turns=5):
    """The median time of forward and backward."""
    clocks = []
    for _turn in range(turns):
        begun = time.perf_counter()
        forward().sum().backward()
        clocks.append(time.perf_counter() - begun)
    return np.median(clocks) * 1e3


for rows, steps in ((512, 16), (32, 256), (1, 8192)):
    x = torch.randn(rows, steps, 2)
    print(f"{rows:3d} × {steps:4d} steps: {milliseconds(lambda x=x: layer(x)[0]):6.1f} ms")

# %% [markdown] lang="en"
# The products are the same in every line; what differs is how many may be done **at once**. A step cannot begin before the one before it has ended, so
# 8,192 steps of a single sequence are 8,192 small products in a queue. On one processor core, which does most things one after the other anyway, that
# costs little: as long as there are many sequences side by side nothing, and for a lone one a factor of about two. On a graphics card, which lives
# on doing thousands of things at once, a queue is the worst that one can bring. So the article is right about time, on that hardware. In *operations* a
# recurrent network is cheap: their number grows with the length, where attention's grows with its square (chapter 08).
#
# **And your cells?** The same unrolled loop, over your `lstm_cell` and in `nn.LSTM`, forward and backward, 64 sequences of 50 steps, 64 inputs, 256
# units:

# %% train
layer = nn.LSTM(64, 256, batch_first=True)
own = [param.detach().clone().requires_grad_() for param in layer.parameters()]
x = torch.randn(64, 50, 64)


def unrolled():
    state = (x.new_zeros(64, 256), x.new_zeros(64, 256))
    states = []
    for t in range(50):
        state = lstm_cell(x[:, t], state, *own)
        states.append(state[0])
    return torch.stack(states, dim=1)


clocks = {"your cell, in a loop": [], "nn.LSTM": []}
for _turn in range(6):
    for name, forward in (("your cell, in a loop", unrolled), ("nn.LSTM", lambda: layer(x)[0])):
        begun = time.perf_counter()
        forward().sum().backward()
        clocks[name].append(time.perf_counter() - begun)
for name, seconds in clocks.items():
    print(f"{name:22s} {np.median(seconds[1:]) * 1e3:6.0f} ms")

# %% [markdown] lang="en"
# At this size nearly all the time goes into matrix products, which are the same ones. `course_lib.nn.recurrent.layers` holds a version that goes back by
# hand (section 3, with gates) instead of through autograd's record of every step; `benchmarks/lstm.py` compares all three on one thread.

# %% [markdown] lang="en"
# ## Common mistakes, by symptom
#
# | you see | probably | do |
# | --- | --- | --- |
# | loss stays at what guessing earns (here 0.167), however long you train | the gradient vanishes before it reaches what matters | LSTM or GRU, forget bias above 0, a shorter way (attention) |
# | loss falls, then leaps, or is `nan` | an exploding gradient | clip the length of all gradients together, to 1 |
# | answers change when other rows are in the batch | padding is read | pack, or mask; `states[arange(N), lengths - 1]` |
# | good in batches of one length, bad in mixed ones | the last step of the batch taken for the last step of the row | likewise |
# | "Input and hidden tensors are not at the same device" or "… the same dtype" | `torch.zeros(…)` for the first state | `x.new_zeros(…)`, or leave it out |
# | "Trying to backward through the graph a second time" | the carried state knows its history | `state.detach()` between batches |
# | memory grows with every batch | likewise, with `retain_graph=True` as the supposed remedy | likewise |
# | a language model is worse on the first characters of every epoch than it should be | the state of the text's end was carried to its beginning | begin with `None` |
# | its loss is near 0, its text is nonsense | it reads the character that it should guess: targets not shifted, or a bidirectional reader | targets one ahead; one direction |
# | the loss is good, a restart from another library's weights is nonsense | another order of gates, or another GRU | i, f, g, o and r, z, n in PyTorch |
# | sequences and batches exchanged, no error | `batch_first` is False by default in `nn.RNN`, `nn.LSTM`, `nn.GRU` | say it every time |
# | `states[:, -1]` of a bidirectional layer | its backward half has read one step there | take that half at step 0 |

# %% [markdown] lang="en"
# ## Questions from the source articles
#
# **Does a recurrent network capture long-range dependencies "thereby", by its loop?** The loop makes it *possible*: a state can hold a
# number for fifty steps. Whether it is *learnt* is another question. A plain RNN did not learn it in nine runs of 2,500 steps, an LSTM and a GRU of as
# many units (and four and three times the parameters) did in all of three, in half the time or less. What captures long distances is a line that the gradient survives, or a way to look back directly.
#
# **Is low efficiency its main drawback?** The same article says in one breath that it *can* handle long distances and that its efficiency on long
# sequences is its main weakness. You have measured the second, forgetting, and on one core found little of the first: it
# is on a graphics card that the queue of section 9 hurts. Forgetting was the reason for LSTM and GRU, and for the first attention, which was added to
# recurrent networks; the queue was the reason to leave the recurrence out (the Transformer, chapter 09).
#
# **Are its parts a hidden layer and an output layer?** Those are the parts of chapter 03's network, too. What makes it recurrent is the matrix from
# the state to the next state.
#
# **Is it for language only?** One article says "mainly". Recurrent networks read anything that comes in order: speech, measurements, clicks. In
# language they have mostly given way to Transformers (chapter 09); their idea, a state of fixed size that is carried along, is back in recent models
# for very long texts.
#
# **Does the article's program run?** Yes, on sequences of one length and on a processor. Its first state is made where `torch.zeros` makes things,
# not where the input is, and it reads the last step of the array, not of the sequence; you have mended both. It also has room for one layer only, since the
# first axis of its first state is a 1. Without any `h0`, `nn.RNN` makes a right one itself.

# %% [markdown] lang="en"
# ## Bonus: how long is its memory?
#
# (Not graded.) How far back does the language model of section 7 use what it has read? Give it the held-out text in pieces of $k$ characters, from an empty
# state each time, and look at the loss of the **last** character of each piece, for $k$ = 1, 2, 4, … 128. Where does it stop falling? Then compare RNN and
# LSTM.
#
# <details><summary>One way to do it</summary>
#
# <pre>
# ids = torch.from_numpy(test_ids).to(device)
# ends = torch.linspace(128, len(ids) - 1, 2000).long().tolist()  # the same last characters for every k
# for k in (1, 2, 4, 8, 16, 32, 64, 128):
#     pieces = torch.stack([ids[end - k : end + 1] for end in ends])
#     with torch.no_grad():
#         logits, _, _ = models["LSTM"](pieces[:, :-1])
#     print(k, F.cross_entropy(logits[:, -1], pieces[:, -1]).item())
# </pre>
# </details>

# %%
# Yours to try.

# %% [markdown] lang="en"
# ## What you have now
#
# Cells, layers, padding and language model live on in `course_lib.nn.recurrent` (with an LSTM from cells that is about as fast as PyTorch's), the NumPy
# network and its backpropagation through time in `course_lib.scratch.recurrent`. **Next:** chapter 08, attention: instead of carrying
# everything along, look it up.
#
# *Further reading:* Elman, "Finding structure in time", Cognitive Science 14 (1990). Werbos, "Backpropagation through time: what it does and how to do
# it", Proceedings of the IEEE 78 (1990). Bengio, Simard & Frasconi, "Learning long-term dependencies with gradient descent is difficult", IEEE
# Transactions on Neural Networks 5 (1994). Hochreiter & Schmidhuber, "Long short-term memory", Neural Computation 9 (1997). Gers, Schmidhuber &
# Cummins, "Learning to forget", Neural Computation 12 (2000). Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent neural networks",
# ICML (2013). Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP (2014). Le, Jaitly & Hinton, "A simple way to
# initialize recurrent networks of rectified linear units" (2015).
