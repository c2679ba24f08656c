# Chapter 05, the one source. `course build` makes the student notebook from it; see the README for the header keys.
# %% [markdown] lang="en"
# # 05 · The training loop in PyTorch
#
# Two of the source articles train a network in a line: `model.fit(...)`. One asks a yes-or-no question and ends in a sigmoid, the other
# tells ten classes apart and ends in a softmax. **What happens inside that line, and how would you notice if it went wrong?** In this
# chapter you write it yourself, and you will see that the expensive mistakes of training raise no error. They only cost accuracy, or
# promise more of it than there is.
#
# At the end of this chapter you can
#
# - say what a tensor, a gradient, a module and an optimiser of PyTorch do for you, having done each by hand before;
# - write `predict`, `evaluate` and `fit`, and train both of the articles' networks with them;
# - choose the size of random weights so that a signal survives 50 layers, and say what normalisation mends and what it does not;
# - recognise the classic training mistakes by their symptoms;
# - cut a run off in the middle and go on as if nothing had happened, bit for bit;
# - search for good settings and report a figure that you can stand by.
#
# **The exercises take about two hours, the reading one more.** Good places to stop are after sections 4, 6 and 8. **You need** chapter 03
# (layers, softmax, cross-entropy, backpropagation) and from chapter 04 what SGD and Adam do. You do not need to have seen PyTorch before.

# %%
import copy
import time
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from autograder import check, predict, progress_board
from course_lib.data import breast_cancer, digits, stratified_split
from course_lib.device import best_device, describe_device
from course_lib.interactive import depth_profile, progress, show, show_static
from course_lib.metrics import mean_and_interval, wilson_interval
from course_lib.nets import deep_net, digit_net, dropout_net, norm_net, tumour_net
from course_lib.search import best, choice, log_uniform, random_search, uniform

torch.set_num_threads(1)  # such small networks only lose time by dividing the work

progress_board("training")

# %% [markdown] lang="en"
# ## 1 · Tensors: arrays that can live elsewhere
#
# A **tensor** is an array: shape, dtype, `@`, broadcasting, slices, all as in NumPy. Two things are new. It lives on a **device**, the
# processor (`cpu`) or a graphics card (`cuda`), and it can remember how it was computed, which is section 2.

# %%
device = best_device()
print("computing on", describe_device())

split = digits(seed=0, dtype="float32")
inner = stratified_split(split.x_train, split.y_train, test_fraction=0.2, seed=0)


def to_tensors(*arrays):
    """NumPy arrays → tensors on the device of this notebook."""
    return tuple(torch.from_numpy(array).to(device) for array in arrays)


x_train, y_train = to_tensors(inner.x_train, inner.y_train)  # to learn from
x_val, y_val = to_tensors(inner.x_test, inner.y_test)  # to choose by
x_test, y_test = to_tensors(split.x_test, split.y_test)  # to report, once
for name, rows in (("train", x_train), ("validation", x_val), ("test", x_test)):
    print(f"{name:10s} {tuple(rows.shape)} {rows.dtype} on {rows.device}")

# %% [markdown] lang="en"
# These are the digits of chapter 03, now in **three** parts. We learn from 1,151 pictures, make every choice (how long, how fast, how
# large) by the 287 of the validation set, and look at the 359 test pictures only when all choices are made. Section 10 measures what
# happens to those who do otherwise.
#
# Three habits of tensors that surprise people who come from NumPy:

# %%
numbers = np.zeros(3)
shared = torch.from_numpy(numbers)
shared += 1  # an in-place operation
print("1. from_numpy shares memory with the array:", numbers)
print("2. the standard type is float32, with about 7 digits:", torch.tensor([1.0]).dtype)
print("   so 1 + 1e-8 is", float(torch.tensor(1.0) + 1e-8))
layer = nn.Linear(64, 10)
print("3. a layer keeps its weight as (outputs, inputs):", tuple(layer.weight.shape))

# %% [markdown] lang="en"
# The third is only bookkeeping: `nn.Linear` computes $x\,W^\top + b$, so that each row of $W$ belongs to one output.
#
# ## 2 · Autograd: chapter 03, without the pencil
#
# Your `Value` of chapter 03 remembered how each number was computed and walked back through that graph. A tensor does the same, for whole
# arrays. You say which tensors you want slopes for (`requires_grad_()`), compute a loss, and call `backward()` on it. Afterwards each of
# those tensors has its slopes in `.grad`.

# %%
w = torch.tensor(3.0).requires_grad_()
loss = w * w
loss.backward()
print("dL/dw at w = 3:", w.grad)

# %% [markdown] lang="en"
# **Predict:** now we compute the same loss once more, and call `backward()` once more. The slope of $w^2$ at 3 is still 6. What does
# `w.grad` show? (In your `Value`, what did `backward` do to a `grad` that was there already?)

# %% predict="accumulate"
# A number.
grad_guess = ...

# %%
(w * w).backward()
predict.reveal(
    "training.accumulate",
    guess=grad_guess,
    truth=w.grad.item(),
    because="backward() adds to what is there, because paths add up. It never starts from zero by itself.",
)

# %% [markdown] lang="en"
# Remember that number; a bug hunt of section 4 lives on it. Three more words, and you can read most PyTorch programs:
#
# | you write | it does |
# | --- | --- |
# | `with torch.no_grad():` | computes without recording, for answers that nobody will differentiate |
# | `t.detach()` | the same numbers, cut off from the graph |
# | `t.item()` | the one number of a tensor, as a plain Python number |
#
# Now redo the heart of chapter 03, `loss_and_gradients`, in a few lines. `F.cross_entropy(logits, labels)` is the mean cross-entropy that
# you wrote there; like yours, it takes **logits**, and does the softmax inside.


# %% exercise="torch_gradients" minutes=10 level=1
def torch_gradients(params, x, labels):
    """The mean cross-entropy of chapter 03's network and its gradients, by autograd.

    params: dict of tensors weight1 (D, H), bias1 (H,), weight2 (H, K), bias2 (K,); x (N, D); labels (N,)
    logits = ReLU(x @ weight1 + bias1) @ weight2 + bias2
    → (loss as a plain number, dict of gradients with the keys and shapes of params)
    The caller's tensors are left unmarked, so that a second call gives the same gradients.

    >>> params = {"weight1": torch.ones(1, 1), "bias1": torch.zeros(1),
    ...           "weight2": torch.zeros(1, 2), "bias2": torch.zeros(2)}
    >>> loss, grads = torch_gradients(params, torch.ones(1, 1), torch.tensor([0]))
    >>> round(loss, 4), grads["bias2"]
    (0.6931, tensor([-0.5000,  0.5000]))
    """
    ### BEGIN SOLUTION
    # Copies of our own, so that the caller's tensors are not marked.
    leaves = {name: value.detach().clone().requires_grad_() for name, value in params.items()}
    hidden = torch.relu(x @ leaves["weight1"] + leaves["bias1"])
    logits = hidden @ leaves["weight2"] + leaves["bias2"]
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    return loss.item(), {name: leaf.grad for name, leaf in leaves.items()}
    ### END SOLUTION


# %% check="torch_gradients"
check("training.torch_gradients", torch_gradients)

# %% [markdown] lang="en"
# <details><summary>"element 0 of tensors does not require grad"</summary>
#
# Nothing in the computation had asked for a gradient when it ran. <code>value.clone().requires_grad_()</code> comes before the first use.
# </details>
# <details><summary>My gradients are None</summary>
#
# Only <i>leaves</i> keep their gradient: tensors that you made, not results. <code>(value * 1).requires_grad_()</code> is a leaf,
# <code>value.requires_grad_() * 1</code> is a result. And <code>backward()</code> must have run.
# </details>
#
# ## 3 · Modules: parameters with an address
#
# Handing a dict of parameters around is tedious. A **module** (`nn.Module`) is a function together with its parameters. You write
# `__init__`, which makes the parts, and `forward`, which uses them. Whatever is assigned to `self` and is a module or an `nn.Parameter` is
# **registered**: `net.parameters()` finds it, `net.to(device)` moves it, and `net.state_dict()` lists it by name.

# %%
net = tumour_net()
print(net)
print()
for name, value in net.state_dict().items():
    print(f"{name:10s} {tuple(value.shape)}")
print("adjustable numbers:", sum(p.numel() for p in net.parameters()))

# %% [markdown] lang="en"
# That is the network of the article with the sigmoid, 64 → 32 → 1, here for tables of 30 measurements. Only the sigmoid is not there; we
# come to that. The other article's network has 64 → 64 → 10; it gives it 10 inputs and never says what they are. Ours gets 64 pixels.
#
# Write a network of any depth. `nn.Linear(inputs, outputs)` is the affine layer; a plain Python list of layers would be **invisible** to
# `parameters()`, so that they would never learn and nothing would say so. `nn.ModuleList([...])` is a list that registers its items.


# %% exercise="MLP" minutes=10 level=1
class MLP(nn.Module):
    """nn.Linear layers, registered in the order of use, with a ReLU between any two of them and none after the last.

    sizes: [inputs, hidden, …, outputs], two or more numbers; x (N, inputs) → logits (N, outputs)

    >>> sum(p.numel() for p in MLP([64, 32, 10]).parameters())  # chapter 03's network
    2410
    """

    def __init__(self, sizes):
        super().__init__()  # always first: it makes the register
        ### BEGIN SOLUTION
        self.layers = nn.ModuleList(
            nn.Linear(inputs, outputs) for inputs, outputs in pairwise(sizes)
        )
        ### END SOLUTION

    def forward(self, x):
        ### BEGIN SOLUTION
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return self.layers[-1](x)  # logits: any numbers, so no ReLU and no softmax
        ### END SOLUTION


# %% check="MLP"
check("training.MLP", MLP)

# %% [markdown] lang="en"
# <details><summary>The check says that nothing is registered</summary>
#
# <code>self.layers = [nn.Linear(…), …]</code> keeps the layers where <code>nn.Module</code> does not look. Wrap the list in
# <code>nn.ModuleList</code>, or put everything into one <code>nn.Sequential</code>.
# </details>
#
# ### A network is a program and a dict of numbers
#
# The program is the Python that builds the network; the numbers are its `state_dict()`. Whoever has both has the trained network, on any
# machine. We make that the convention of this chapter: our functions take `build`, a function that makes the network, and `weights`, a
# state dict. Four builders lie ready in `course_lib.nets`: `tumour_net` and `digit_net` are the two articles' networks, `dropout_net` and
# `norm_net` have the parts that section 5 and 7 are about.

# %%
net = digit_net()  # fresh random weights
weights = net.state_dict()
twin = digit_net()  # other random weights …
twin.load_state_dict(weights)  # … replaced by these
print("the same answers:", torch.equal(net(x_val.cpu()), twin(x_val.cpu())))

# %% [markdown] lang="en"
# ### Where does the sigmoid go?
#
# Both articles end their network in probabilities (a sigmoid, a softmax) and take the logarithm afterwards, in the loss. You know from
# chapter 03 why we do not: a probability rounded to 0 has no logarithm. PyTorch's losses take logits. `F.cross_entropy` has the softmax
# inside, `F.binary_cross_entropy_with_logits` the sigmoid. (`F.binary_cross_entropy`, without the last two words, takes probabilities.)
#
# This sets a trap for everyone who comes from programs like the articles': the network ends in softmax, *and* the loss applies it again.
# Nothing breaks. The first softmax gives numbers between 0 and 1, and the second takes those for logits. **Predict:** ten classes, and the
# network is certain and right about every picture. What loss does such a program show?

# %% predict="softmax_twice"
# A number. (The first softmax gives 1 for the right class and 0 for the nine others. Treat those as logits.)
twice_guess = ...

# %%
perfect = 100.0 * torch.eye(10)  # picture n is of digit n, and the network is sure of it
truth = F.cross_entropy(perfect.softmax(dim=1), torch.arange(10)).item()
predict.reveal(
    "training.softmax_twice",
    guess=twice_guess,
    truth=truth,
    because="-log(e / (e + 9)) is about 1.46. A loss that never gets below 1.46 is this bug's signature.",
)

# %% [markdown] lang="en"
# It does not only look bad. On its way back the gradient now has to pass through the network's own softmax, whose slopes are small where it is
# sure, so the network learns more slowly: after three epochs of digits it reads 70% instead of 83% (the mean of three seeds). Later it catches
# up, and becomes as sure as any other network. Only the loss never shows it: it stays near 1.5. With a sigmoid in place of the softmax it
# is the same. **Find the mistake, and mend it.**


# %% exercise="mend_loss" minutes=6 level=1
def mend_loss(logits, labels):
    """The mean loss of a network with one output.

    logits (N, 1): the network's output, any numbers; above 0 it says "class 1"
    labels (N,): whole numbers, 0 or 1 → the mean binary cross-entropy, a tensor with one number
    """
    ### BEGIN SOLUTION
    # The loss does the sigmoid itself, without rounding. Both get the shape (N,).
    return F.binary_cross_entropy_with_logits(logits.squeeze(1), labels.float())
    ### ELSE BROKEN
    # probabilities = torch.sigmoid(logits).squeeze(1)
    # return F.binary_cross_entropy_with_logits(probabilities, labels.float())
    ### END SOLUTION


# %% check="mend_loss"
check("training.mend_loss", mend_loss)

# %% [markdown] lang="en"
# <details><summary>"Target size must be the same as input size"</summary>
#
# A good error to get: (N, 1) beside (N,) would broadcast to an N × N table that compares every row with every label. With
# <code>F.mse_loss</code> you get just that, and only a warning. <code>squeeze(1)</code> drops the axis of length 1.
# </details>
#
# ## 4 · A step, and the oldest bug of PyTorch
#
# An **optimiser** of `torch.optim` holds the parameters and moves them by their `.grad`. `torch.optim.SGD` is chapter 04's plain descent,
# `torch.optim.Adam` its Adam. (torch loads a good part of itself with the first optimiser, so the next cell may take some seconds, once.)

# %%
w = torch.tensor(3.0).requires_grad_()
optimizer = torch.optim.SGD([w], lr=0.1)
(w * w).backward()
optimizer.step()
print(f"3 minus 0.1 times a slope of 6: {w.item():.1f}")

# %% [markdown] lang="en"
# A step of training is then always the same few lines. Here they are for a network, as somebody wrote them, with something missing. First the symptom: 300 steps, every one on all training pictures, at three learning rates.


# %% train
def steps_as_found(build, weights, x, y, *, lr, steps):
    net = build().to(x.device)
    net.load_state_dict(weights)
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    losses = []
    for _step in range(steps):
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


torch.manual_seed(0)
start = digit_net().state_dict()
found_losses = {
    lr: steps_as_found(digit_net, start, x_train, y_train, lr=lr, steps=300)
    for lr in (0.03, 0.1, 0.3)
}
for lr, losses in found_losses.items():
    print(
        f"lr {lr:<4}: loss at step 10: {losses[10]:.2f}, at step 60: {losses[60]:.2f}, "
        f"highest after that: {max(losses[60:]):.2f}, last: {losses[-1]:.2f}"
    )

# %% [markdown] lang="en"
# It learns, and then its loss leaps up, by factors that no learning rate explains: chapter 03 trained a network like this one at 0.5. Yet at the
# smallest rate all seems well, and faster than it should be. So whoever meets this bug lowers the rate, and keeps the bug. Something grows from
# step to step. **Find it, and mend the program.**


# %% exercise="mend_steps" minutes=6 level=2
def mend_steps(build, weights, x, y, *, lr, steps):
    """A few steps of gradient descent on the same rows.

    build: makes the network; weights: the state dict to start from; x (N, D), y (N,)
    → (state dict after the last step, list of the losses before each step)
    """
    ### BEGIN SOLUTION
    net = build().to(x.device)
    net.load_state_dict(weights)
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    losses = []
    for _step in range(steps):
        loss = F.cross_entropy(net(x), y)
        optimizer.zero_grad()  # backward() adds; what it adds to must be nothing
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return net.state_dict(), losses
    ### ELSE BROKEN
    # net = build().to(x.device)
    # net.load_state_dict(weights)
    # optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    # losses = []
    # for _step in range(steps):
    #     loss = F.cross_entropy(net(x), y)
    #     loss.backward()
    #     optimizer.step()
    #     losses.append(loss.item())
    # return net.state_dict(), losses
    ### END SOLUTION


# %% check="mend_steps"
check("training.mend_steps", mend_steps)

# %% [markdown] lang="en"
# <details><summary>Now nothing moves at all</summary>
#
# Between <code>backward()</code> and <code>step()</code> the gradients are in use. Emptying them there leaves nothing to step by.
# </details>
#
# And the mended program beside the one that you found:

# %% train
figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
for lr, style in ((0.03, "-"), (0.3, "--")):
    mended = mend_steps(digit_net, start, x_train, y_train, lr=lr, steps=300)[1]
    axis.plot(mended, style, color="#0b6aa2", linewidth=2.6, label=f"mended, lr {lr}")
    axis.plot(found_losses[lr], style, color="#b34700", linewidth=1.1, label=f"as found, lr {lr}")
    print(f"lr {lr}: mended, last loss {mended[-1]:.2f}; as found, {found_losses[lr][-1]:.2f}")
axis.set(xlabel="step", ylabel="loss (logarithmic)", yscale="log", ylim=(1e-3, 2e4))
axis.legend(frameon=False, ncols=2, fontsize=9)
plt.close(figure)
show_static(
    figure,
    alt="Loss against step. The mended program falls slowly at the small learning rate and fast, with a "
    "small bump, at the large one. The program as found falls faster at the small rate, with swings, "
    "and at the large rate leaps far above its start.",
)

# %% [markdown] lang="en"
# Why does the found program fall *faster* at the small rate? It steps by the sum of **all** gradients so far. That is momentum (chapter 04) with a
# decay of 1: a ball without friction, which picks up speed, rolls through the valley and up the other side. A little memory helps, endless memory
# does not. The mended program is slow at 0.03, and that is the truth about 0.03; now one can raise the rate.
#
# Why then does `backward()` add at all? Because paths add up, and because it is useful: two half batches with one step after both give the
# gradient of the whole batch, when the whole does not fit into memory.

# %% [markdown] lang="en"
# ## 5 · Asking a network, and judging it
#
# ### Two modes
#
# Some layers behave differently in training than in use, and every module has a switch for that: `net.train()` and `net.eval()`. A new
# network is in training mode. Two kinds of layer care.
#
# **Dropout** (Srivastava et al., 2014) sets each number to 0 with probability $p$ and multiplies the others by $1/(1-p)$, so that the mean
# stays what it was. No unit can rely on a particular other one being there. It is a means against learning by heart, and in use it is off.
#
# **Batch normalisation** (section 7) makes every row depend on the other rows of its batch, in training. In use it answers by averages that
# it has remembered.

# %%
torch.manual_seed(0)
drop = nn.Dropout(0.5)
print("training:", drop(torch.ones(8)))
print("in use:  ", drop.eval()(torch.ones(8)))

# %% [markdown] lang="en"
# What happens to those who forget the switch? Two networks that have learnt a little, `dropout_net` and `norm_net` of `course_lib.nets`, are asked
# in training mode:

# %% train
torch.manual_seed(0)
for build in (dropout_net, norm_net):
    learnt, _ = mend_steps(build, build().state_dict(), x_train, y_train, lr=0.5, steps=100)
    net = build().to(device)
    net.load_state_dict(learnt)  # and nobody calls net.eval()
    with torch.no_grad():
        shares = [(net(x_val).argmax(dim=1) == y_val).double().mean().item() for _ in range(4)]
        by_class = y_val.argsort()  # as rows often come in use: many of one kind together
        sorted_right = [
            net(x_val[part]).argmax(dim=1) == y_val[part] for part in by_class.split(16)
        ]
    print(f"{build.__name__}: four times the same pictures:", ", ".join(f"{s:.1%}" for s in shares))
    print(f"   sorted by digit, in batches of 16: {torch.cat(sorted_right).double().mean():.1%}")
    right = (net.eval()(x_val).argmax(dim=1) == y_val).double().mean().item()
    print(f"   in evaluation mode: {right:.1%}")

# %% [markdown] lang="en"
# Dropout makes the answers waver and costs a few points. Batch normalisation is more treacherous. On a mixed batch nothing is to be seen (the two
# modes differ there by two points at most, and over five seeds now the one is better, now the other), and on pictures that come sorted, as they often do in use, it fails nearly always: a batch of sixteen 3s, shifted to mean 0, does not look like 3s any more.
#
# Below is a program that asks a trained network for its probabilities. It has even thought of `no_grad`, which stops the recording, and
# which many believe to stop dropout as well. It does not. **Mend it.**


# %% exercise="mend_predict" minutes=5 level=2
def mend_predict(build, weights, x):
    """What a trained network says.

    build: makes the network; weights: its state dict; x (N, D) → probabilities (N, K), every row adds up to 1.
    The answer to a row depends on nothing but that row, and is the same every time.
    """
    ### BEGIN SOLUTION
    net = build().to(x.device)
    net.load_state_dict(weights)
    net.eval()  # dropout off, normalisation by what it remembers
    with torch.no_grad():
        return net(x).softmax(dim=1)
    ### ELSE BROKEN
    # net = build().to(x.device)
    # net.load_state_dict(weights)
    # with torch.no_grad():
    #     return net(x).softmax(dim=1)
    ### END SOLUTION


# %% check="mend_predict"
check("training.mend_predict", mend_predict)

# %% [markdown] lang="en"
# ### evaluate
#
# Loss and accuracy over all rows of a set. Data may be too many for one pass, so they come in batches, and here is a small trap: the mean of
# the batches' means is **not** the mean over the rows when the last batch is smaller. Weigh each batch by its rows.
#
# What counts as right? With K outputs, the largest logit names the class. With a single output there is no largest: the probability of class
# 1 is above one half exactly when the **logit** is above **0**. (In that case `y` has shape (N, 1) and holds 0.0 and 1.0, as
# `F.binary_cross_entropy_with_logits` wants it.)


# %% exercise="evaluate" minutes=12 level=2
def evaluate(build, weights, x, y, *, loss, batch_size=256):
    """Mean loss and accuracy of a trained network over all rows.

    build, weights as before; x (N, D); loss(logits, y) → the mean loss of a batch, as a tensor
    y: (N,) classes for K outputs; (N, 1) zeros and ones for a single output
    → {"loss": a number, "accuracy": the share of rows answered rightly}, as if all rows were one batch.
    """
    ### BEGIN SOLUTION
    net = build().to(x.device)
    net.load_state_dict(weights)
    net.eval()
    total, right = 0.0, 0
    with torch.no_grad():
        for rows, wanted in zip(x.split(batch_size), y.split(batch_size), strict=True):
            logits = net(rows)
            total += loss(logits, wanted).item() * len(rows)
            answers = logits > 0 if logits.shape[1] == 1 else logits.argmax(dim=1)
            right += (answers == wanted).sum().item()
    return {"loss": total / len(x), "accuracy": right / len(x)}
    ### END SOLUTION


# %% check="evaluate"
check("training.evaluate", evaluate)

# %% [markdown] lang="en"
# <details><summary>My accuracy is that of one class only</summary>
#
# <code>argmax</code> over a single column is always 0. Look at <code>logits.shape[1]</code> first.
# </details>
# <details><summary>How do I cut tensors into batches?</summary>
#
# <code>x.split(batch_size)</code> gives pieces along the first axis; the last may be shorter. <code>zip(x.split(n), y.split(n))</code> pairs
# them.
# </details>
#
# ## 6 · fit
#
# Now the line itself. Everything is there; put it together:
#
# 1. `torch.manual_seed(seed)`, **then** `build()`: the weights come from the seed, and so does everything drawn later;
# 2. an optimiser on `net.parameters()`;
# 3. in every epoch: training mode; a new random order (`torch.randperm(N)`); a step after every batch; the mean loss over the rows;
# 4. if there is a validation set: judge it in evaluation mode, and keep the result.
#
# You may call your `evaluate`, with `net.state_dict()` for the weights.


# %% exercise="fit" minutes=20 level=3
def fit(
    build,
    x,
    y,
    *,
    loss,
    epochs,
    batch_size,
    lr,
    weight_decay=0.0,
    seed=0,
    optimizer=torch.optim.Adam,
    validation=None,
):
    """Train a fresh network. All chance comes from the seed.

    build: makes the network; x (N, D), y as the loss wants it; loss(logits, y) → the mean loss of a batch
    optimizer: called as optimizer(parameters, lr=lr, weight_decay=weight_decay)
    validation: None, or (x, y) to be judged after every epoch and never learnt from
    → (state dict, history): history["loss"], one number for each epoch, is the mean over its rows, each taken just
    before the step that used it; with a validation set also history["val_loss"] and history["val_accuracy"].
    """
    ### BEGIN SOLUTION
    torch.manual_seed(seed)
    net = build().to(x.device)
    mover = optimizer(net.parameters(), lr=lr, weight_decay=weight_decay)
    history = {"loss": [], "val_loss": [], "val_accuracy": []}
    for _epoch in range(epochs):
        net.train()
        total = 0.0
        for batch in torch.randperm(len(x)).to(x.device).split(batch_size):
            batch_loss = loss(net(x[batch]), y[batch])
            mover.zero_grad()
            batch_loss.backward()
            mover.step()
            total += batch_loss.item() * len(batch)
        history["loss"].append(total / len(x))
        if validation is not None:
            scores = evaluate(build, net.state_dict(), *validation, loss=loss)
            history["val_loss"].append(scores["loss"])
            history["val_accuracy"].append(scores["accuracy"])
    return net.state_dict(), history
    ### END SOLUTION


# %% check="fit"
check("training.fit", fit)

# %% [markdown] lang="en"
# <details><summary>"a batch larger than the data" fails, and nothing else</summary>
#
# Is <code>weight_decay</code> handed on to the optimiser, and is it the optimiser that was handed in?
# </details>
# <details><summary>The same seed gives two different networks</summary>
#
# Something is drawn before the seed is set, or building an evaluation network in between draws from the same generator as the orders. The
# second is fine, as long as it happens in every run alike.
# </details>
#
# ### The two programs of the articles
#
# Each with its own settings: 10 epochs, batches of 32, Adam at its usual 0.001. Five seeds each, since one run proves little. The second
# article gives no data, and neither a validation nor a test set. We give it digits.

# %% train
tumours = breast_cancer(seed=0)
tumour_x, tumour_y, tumour_x_test, tumour_y_test = to_tensors(
    tumours.x_train.astype("float32"),
    tumours.y_train[:, None].astype("float32"),
    tumours.x_test.astype("float32"),
    tumours.y_test[:, None].astype("float32"),
)
programs = {
    "tumours, 64-32-1": (
        tumour_net,
        (tumour_x, tumour_y),
        (tumour_x_test, tumour_y_test),
        F.binary_cross_entropy_with_logits,
    ),
    "digits, 64-64-10": (digit_net, (x_train, y_train), (x_val, y_val), F.cross_entropy),
}
for name, (build, data, held_out, loss) in programs.items():
    scores, last_losses = [], []
    for seed in range(5):
        weights, history = fit(
            build, *data, loss=loss, epochs=10, batch_size=32, lr=1e-3, seed=seed
        )
        last_losses.append(history["loss"][-1])
        scores.append(evaluate(build, weights, *held_out, loss=loss)["accuracy"])
    print(
        f"{name}: held-out accuracy {mean_and_interval(scores).percent()}, "
        f"mean of the last training losses {np.mean(last_losses):.3f}"
    )

# %% [markdown] lang="en"
# Both work. An interval of "± 0.0" for the tumours does not mean certainty: every one of the five seeds answers 112 of 113 rows rightly, and the interval
# knows the luck of the seed alone. That of the 113 rows is much larger: Wilson's interval for 112 of 113 reaches from 95.2% to 99.8%.
#
# For these two programs, the line `model.fit` does what you have just written, and nothing more. (Keras starts elsewhere: its `Dense` draws
# Glorot's uniform weights, of which section 7 tells, and begins with biases of 0; its Adam has an `epsilon` of 1e-7, torch's 1e-8.)

# %% [markdown] lang="en"
# ## 7 · Depth: the size of the first weights
#
# One article lists three ways to start: "random", "uniform" and "normal" weights. Uniform and normal *are* random, and which of the two is
# taken hardly matters. What matters is **how large** the weights are, and that it does not say.
#
# Take one unit. It adds up $n$ products, $z = \sum_{i=1}^{n} w_i x_i$, where $n$ is its number of inputs, the **fan-in**. If the weights are
# independent with mean 0 and variance $\sigma^2$, the mean square of $z$ is
#
# $$ \mathbb{E}[z^2] = n \, \sigma^2 \, \mathbb{E}[x^2] . $$
#
# With $\sigma^2 = 1/n$ a layer neither amplifies nor dampens. A ReLU then throws away the negative half, and with it half of the mean
# square, so it needs $\sigma^2 = 2/n$ (He et al., 2015). For $\tanh$, which is nearly $x$ near 0, $1/n$ is about right. On the way back the
# same argument holds for the gradient, but there a unit adds up what comes from its *outputs*, so $n$ is their number, the **fan-out**. Glorot
# and Bengio (2010) therefore take the mean of both, $\sigma^2 = 2/(n_\text{in} + n_\text{out})$; where all layers are equally wide, that is $1/n$.
#
# **Predict:** a ReLU network of 50 equally wide layers, whose weights are all **half** the right size. By what factor are the numbers
# smaller after the last layer?

# %% predict="half_size"
# A number, such as 1e-3. (Each layer multiplies by the same factor.)
half_guess = ...

# %%
predict.reveal(
    "training.half_size",
    guess=half_guess,
    truth=0.5**50,
    because="Half, fifty times over. A modest mistake in one layer is hopeless in fifty.",
)

# %% [markdown] lang="en"
# Write the right start. Any distribution will do, as long as mean and variance are right. (A uniform draw between $-a$ and $a$ has variance
# $a^2/3$.)


# %% exercise="initial_weights" minutes=10 level=2
def initial_weights(widths, activation, seed):
    """Random weights for a chain of layers, of a size that keeps the signal's size.

    widths: [D, W1, …, K]; activation: "relu" or "tanh", which follows every layer; seed: whole number
    → list of tensors (fan_out, fan_in), one a layer, mean 0; variance 2 / fan_in for relu and 1 / fan_in for tanh

    >>> [tuple(weight.shape) for weight in initial_weights([64, 32, 10], "relu", seed=0)]
    [(32, 64), (10, 32)]
    """
    ### BEGIN SOLUTION
    generator = torch.Generator().manual_seed(seed)  # one for all layers
    gain = {"relu": 2.0, "tanh": 1.0}[activation]
    return [
        torch.randn(fan_out, fan_in, generator=generator) * (gain / fan_in) ** 0.5
        for fan_in, fan_out in pairwise(widths)
    ]
    ### END SOLUTION


# %% check="initial_weights"
check("training.initial_weights", initial_weights)

# %% [markdown] lang="en"
# Send the real digits through 50 layers, with your weights and with those that `nn.Linear` draws when nobody says otherwise:

# %%
widths = [64] * 51
starts = {
    "yours": initial_weights(widths, "relu", seed=0),
    "nn.Linear's": [nn.Linear(64, 64).weight.detach() for _ in widths[1:]],
}
for name, layers in starts.items():
    signal, sizes = x_train.cpu(), []
    for weight in layers:
        signal = torch.relu(signal @ weight.T)
        sizes.append(signal.square().mean().sqrt().item())
    shown = ", ".join(f"{sizes[depth - 1]:.1e}" for depth in (1, 10, 25, 50))
    print(f"{name:12s} size after 1, 10, 25, 50 layers: {shown}")

signal = x_train.cpu()
for depth in range(1, 51):
    signal = torch.relu(nn.Linear(64, 64)(signal)).detach()  # now with its biases
    if depth in (1, 50):
        size, spread = signal.square().mean().sqrt(), signal.std(dim=0).mean()
        print(
            f"with biases, layer {depth}: size {size:.1e}, spread from picture to picture {spread:.1e}"
        )

# %% [markdown] lang="en"
# PyTorch's own start has variance $1/(3n)$. A network of three layers does not care. In one of fifty the signal is dead before training begins.
# Its biases, which the first two lines leave out, do not revive it: with them the numbers keep a size, but they are the same for every picture.
#
# In the figure, choose the size of the weights, the activation and (see below) a normalisation, and watch both the signal on its way forward and the
# gradient on its way back. Begin with "PyTorch's default", then try a tenth more and a tenth less than the right size.

# %% figure="depth_profile" alt="Two logarithmic curves over 50 layers: the size of the signal on its way forward and the size of the gradient on its way back. Lists choose the size of the weights, the activation and the normalisation."
show(depth_profile())

# %% [markdown] lang="en"
# ### Normalisation: let the layer correct itself
#
# Instead of hoping that the sizes stay right, one can put them right in every layer: subtract a mean, divide by a standard deviation, and
# let the network choose scale and shift anew with two learnt vectors $\gamma$ and $\beta$:
#
# $$ \hat{x} = \frac{x - \mu}{\sqrt{v + \epsilon}}, \qquad \text{out} = \gamma\,\hat{x} + \beta . $$
#
# | symbol | in code | shape | what it is |
# | --- | --- | --- | --- |
# | $x$ | `x` | (N, W) | a batch of N rows with W features |
# | $\mu, v$ | `mean`, `var` | (W,) | **batch** normalisation: each feature's mean and variance over the N rows (divisor N) |
# | | | (N, 1) | **layer** normalisation: each row's mean and variance over its W features |
# | $\gamma, \beta$ | `weight`, `bias` | (W,) | learnt; they start at 1 and 0 |
# | $\epsilon$ | `eps` | one number | 0.00001, so that a constant feature is not divided by 0 |
#
# Layer normalisation is the same in training and in use; it is what Transformers have (chapter 09). Batch normalisation needs two modes,
# since in use there may be a single row. So it **remembers** averages while it trains, `running_mean` and `running_var`: after every batch
# they move a tenth of the way towards that batch's mean and its variance (here with divisor N - 1). In evaluation mode it uses them.


# %% exercise="BatchNorm" minutes=15 level=3
class BatchNorm(nn.Module):
    """Batch normalisation of rows, equal to nn.BatchNorm1d(features).

    Learnt (nn.Parameter): weight (W,) of ones, bias (W,) of zeros. Remembered (self.register_buffer("name", tensor),
    and then self.name): running_mean (W,) of zeros, running_var (W,) of ones. eps is 1e-5; x (N, W) → (N, W).
    """

    def __init__(self, features):
        super().__init__()
        ### BEGIN SOLUTION
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))
        ### END SOLUTION

    def forward(self, x):
        ### BEGIN SOLUTION
        if self.training:
            mean, var = x.mean(dim=0), x.var(dim=0, correction=0)
            with torch.no_grad():  # remembering is no part of the formula that is differentiated
                self.running_mean += 0.1 * (mean - self.running_mean)
                self.running_var += 0.1 * (x.var(dim=0, correction=1) - self.running_var)
        else:
            mean, var = self.running_mean, self.running_var
        return self.weight * (x - mean) / torch.sqrt(var + 1e-5) + self.bias
        ### END SOLUTION


# %% check="BatchNorm"
check("training.BatchNorm", BatchNorm)

# %% [markdown] lang="en"
# <details><summary>"Only Tensors created explicitly by the user support the deepcopy protocol", or memory that grows with every batch</summary>
#
# The running averages have been made part of the graph (<code>running_mean.requires_grad</code> is True), and so every batch hangs its graph on
# that of the batch before. Nothing else warns you. Update them under <code>with torch.no_grad():</code>.
# </details>
# <details><summary>Its state lacks the running averages</summary>
#
# A tensor assigned to <code>self</code> is an attribute like any other: it is not saved, and <code>net.to(device)</code> leaves it behind.
# <code>self.register_buffer("running_mean", …)</code> puts it on the register.
# </details>
#
# Does any of this matter for training? Three layers will not tell. Ten hidden layers of 64 units, five epochs of digits, two learning rates, three seeds:


# %% train
def with_right_size():
    """deep_net of 10 hidden layers with weights of the right size and biases 0."""
    net = deep_net("none", depth=10)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Linear):
                module.weight.normal_(0, (2 / module.in_features) ** 0.5)
                module.bias.zero_()
    return net


deep = {
    "nn.Linear's start": lambda: deep_net("none", depth=10),
    "the right size": with_right_size,
    "batch normalisation": lambda: deep_net("batch", depth=10),
    "layer normalisation": lambda: deep_net("layer", depth=10),
}
deep_scores = {}
runs = [(name, lr) for name in deep for lr in (0.001, 0.01)]
for name, lr in progress(runs, "training deep networks"):
    deep_scores[name, lr] = []
    for seed in range(3):
        weights, _ = fit(
            deep[name],
            x_train,
            y_train,
            loss=F.cross_entropy,
            epochs=5,
            batch_size=32,
            lr=lr,
            seed=seed,
        )
        scored = evaluate(deep[name], weights, x_val, y_val, loss=F.cross_entropy)
        deep_scores[name, lr].append(scored["accuracy"])
for name in deep:
    shown = "   ".join(
        f"lr {lr}: " + ", ".join(f"{score:.0%}" for score in deep_scores[name, lr])
        for lr in (0.001, 0.01)
    )
    print(f"{name:20s} validation accuracy by seed   {shown}")

# %% [markdown] lang="en"
# Read it row by row. With `nn.Linear`'s start, ten layers barely learn in five epochs. The right size costs nothing and mends that. Both
# normalisations learn at the small rate, also from `nn.Linear`'s start. At ten times the rate they part: batch normalisation loses little, while layer
# normalisation stays at 10%, which is guessing, with all three seeds. Three seeds are few; what differs by 80 points does not need more.
#
# Nor does normalisation forgive every start. With first weights a hundred times smaller, layer normalisation stays at guessing even at the small
# rate ($\epsilon$ is then larger than the variance), and with ten times larger ones batch normalisation comes to less than 60%.
#
# It is not a cure for depth, though. Look at the figure again, with batch normalisation and ReLU: the signal keeps its size through 50
# layers, and the *gradient* grows by four orders of magnitude on its way back. A stack of 50 such layers does not train (try
# `deep_net("batch", depth=50)`). What made real depth possible is the residual connection, of which chapter 06 tells.

# %% [markdown] lang="en"
# ## 8 · Learning by heart
#
# A network can learn its training pictures by heart, mistakes included. To see it happen, make it easy: only 200 pictures, and every fifth
# of them with a label drawn at random. Perfect training accuracy would now be a bad sign. Two means against it:
#
# - **Weight decay** pulls every weight a little towards 0 in every step, so that a weight stays large only if the data keep asking for it.
#   `torch.optim.AdamW` does it beside the gradient step; `Adam(weight_decay=…)` does it through the gradient, which is not the same
#   (chapter 04).
# - **Dropout**, which you have met.


# %% train
def noisy_few(seed):
    """200 training pictures, about every fifth with a label drawn at random."""
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(x_train), size=200, replace=False)
    labels = y_train.cpu().numpy()[rows].copy()
    spoilt = rng.random(200) < 0.2
    labels[spoilt] = rng.integers(10, size=spoilt.sum())
    return x_train[torch.from_numpy(rows).to(device)], torch.from_numpy(labels).to(device)


means = {
    "nothing": (lambda: dropout_net(0.0), 0.0),
    "weight decay 1": (lambda: dropout_net(0.0), 1.0),
    "dropout 0.8": (lambda: dropout_net(0.8), 0.0),
}
curves, heart_scores, heart_losses = {}, {}, {}
for name in progress(list(means), "learning by heart"):
    build, decay = means[name]
    heart_scores[name], heart_losses[name] = [], []
    for seed in range(5):
        few_x, few_y = noisy_few(seed)
        weights, curves[name] = fit(
            build,
            few_x,
            few_y,
            loss=F.cross_entropy,
            epochs=80,
            batch_size=32,
            lr=3e-3,
            weight_decay=decay,
            seed=seed,
            optimizer=torch.optim.AdamW,
            validation=(x_val, y_val),
        )
        heart_scores[name].append(curves[name]["val_accuracy"][-1])
        heart_losses[name].append(curves[name]["loss"][-1])
for name, scores in heart_scores.items():
    print(
        f"{name:15s} validation accuracy after 80 epochs {mean_and_interval(scores).percent()}, "
        f"mean of the last training losses {np.mean(heart_losses[name]):.2f}"
    )

# %% [markdown] lang="en"
# Left alone, the network fits its spoilt labels best and reads new pictures worst. Either means keeps the training loss higher, and the
# validation accuracy too. The curves of the last seed, epoch by epoch:

# %% train
figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
for name, colour, style in (("nothing", "#b34700", "-"), ("dropout 0.8", "#0b6aa2", "--")):
    axis.plot(curves[name]["loss"], style, color=colour, linewidth=1.2)
    axis.plot(curves[name]["val_loss"], style, color=colour, linewidth=2.8, label=name)
axis.set(xlabel="epoch", ylabel="loss", ylim=(0, 2.5))
axis.legend(frameon=False, title="thick: validation, thin: training")
plt.close(figure)
show_static(
    figure,
    alt="Loss against epoch. Without any means the training loss keeps falling while the validation loss "
    "reaches its lowest point at about epoch 20 and then rises. With dropout neither turns.",
)

# %% [markdown] lang="en"
# The thick line of "nothing" is the picture to remember: the training loss goes on falling, the validation loss turns. From there on the
# network learns what is true of these 200 pictures only. (The training loss of the dropout network is measured with units missing, which is
# why it can lie above its validation loss.)
#
# The simplest means of all is to **stop at the turn**. But validation losses jitter, so one waits: stop when `patience` epochs in a row have
# brought no new best, and go back to the weights of the best.


# %% exercise="EarlyStopping" minutes=8 level=2
class EarlyStopping:
    """Says when to stop. After every epoch, `step` is told the validation loss.

    best: the lowest loss so far; best_epoch: its epoch, counted from 0.
    epoch: how many epochs it has been told of.

    >>> stopper = EarlyStopping(patience=2)
    >>> [stopper.step(loss) for loss in (1.0, 0.8, 0.9, 0.85)]
    [False, False, False, True]
    >>> stopper.best_epoch, stopper.best
    (1, 0.8)
    """

    def __init__(self, patience):
        self.patience = patience
        self.best, self.best_epoch, self.epoch = float("inf"), None, 0
        ### BEGIN SOLUTION
        self.waited = 0
        ### END SOLUTION

    def step(self, loss):
        """True when `patience` epochs in a row have brought no loss below the best. NaN is no new best."""
        ### BEGIN SOLUTION
        if loss < self.best:  # False for NaN
            self.best, self.best_epoch, self.waited = loss, self.epoch, 0
        else:
            self.waited += 1
        self.epoch += 1
        return self.waited >= self.patience
        ### END SOLUTION


# %% check="EarlyStopping"
check("training.EarlyStopping", EarlyStopping)

# %% [markdown] lang="en"
# ## 9 · Cut off, and gone on
#
# Long runs are cut off: a machine restarts, a quota ends. A **checkpoint** is what must be kept so that a run can go on. Saving the weights
# is not enough. Ask of every part of the loop what it *remembers* from one step to the next:
#
# | part | remembers | kept by |
# | --- | --- | --- |
# | network | weights, running averages | `net.state_dict()` |
# | Adam | two averages for every weight, the number of steps | `optimizer.state_dict()` |
# | dropout | where the random generator is | `torch.get_rng_state()`, put back by `torch.set_rng_state(...)` |
# | the order of rows | how far it has come | the number of steps, if the order follows from the seed and the epoch alone |
#
# For the last one, give every epoch a generator of its own: `torch.Generator().manual_seed(1000 * seed + epoch)`, handed to `torch.randperm`
# as `generator=`. Then step 100 can look up its batch without having lived through the 99 before it.
#
# And a trap: a network's `load_state_dict` copies numbers into the network, an optimiser's **keeps the very tensors** that it is given, and its
# next step writes into them. Hand it `copy.deepcopy(...)`, or whoever goes on twice from the same checkpoint gets two different runs.
#
# If all four are kept, the interrupted run is not *similar* to the uninterrupted one. It is the same, **bit for bit**. (On a processor, with the
# same torch and the same number of threads, since sums in another order round otherwise. A graphics card has a generator of its own, `torch.cuda.get_rng_state()`, and some of its kernels add in an order that varies.)


# %% exercise="train_steps" minutes=20 level=3
def train_steps(build, x, y, checkpoint=None, *, steps, batch_size, lr, seed):
    """Train for `steps` more steps with Adam and cross-entropy; a step is one batch in training mode, an epoch
    goes once through all rows, in a random order of its own.

    checkpoint: None to begin, from the seed; or what an earlier call returned, to go on from there, also in mid-epoch.
    It is left as it was, so that one can go on from it twice.
    → {"step": steps done in all, "weights": state dict, "optimizer": the optimiser's, "random": torch's generator}
    Cut a run anywhere: train_steps(…, steps=7) and steps=3, then steps=4 from its checkpoint, give equal weights.
    """
    ### BEGIN SOLUTION
    torch.manual_seed(seed)
    net = build().to(x.device)
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    done = 0
    if checkpoint is not None:  # after building, which has drawn random weights
        done = checkpoint["step"]
        net.load_state_dict(checkpoint["weights"])
        optimizer.load_state_dict(copy.deepcopy(checkpoint["optimizer"]))
        torch.set_rng_state(checkpoint["random"])

    steps_per_epoch = -(-len(x) // batch_size)  # rounded up: the last batch may be smaller
    for step in range(done, done + steps):
        epoch, place = divmod(step, steps_per_epoch)
        generator = torch.Generator().manual_seed(1000 * seed + epoch)
        batch = torch.randperm(len(x), generator=generator).split(batch_size)[place]
        loss = F.cross_entropy(net(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {
        "step": done + steps,
        "weights": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": torch.get_rng_state(),
    }
    ### END SOLUTION


# %% check="train_steps"
check("training.train_steps", train_steps)

# %% [markdown] lang="en"
# <details><summary>Equal without dropout, different with it</summary>
#
# Building a network draws its random weights, also when a checkpoint replaces them afterwards. Put the generator back <i>after</i>
# <code>build()</code>.
# </details>
# <details><summary>Equal after whole epochs, different in between</summary>
#
# A resumed run must not begin a new epoch. <code>divmod(step, steps_per_epoch)</code> tells which epoch a step belongs to, and which batch
# of it comes next.
# </details>
#
# Through a file, as in life, and beside what happens to those who keep the weights alone:

# %% train
import tempfile
from pathlib import Path

quick = {"batch_size": 32, "lr": 3e-3, "seed": 0}
cpu_x, cpu_y = x_train.cpu(), y_train.cpu()  # bit for bit is a promise of the processor
whole = train_steps(dropout_net, cpu_x, cpu_y, steps=200, **quick)
part = train_steps(dropout_net, cpu_x, cpu_y, steps=77, **quick)
with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "run.pt"
    torch.save(part, file)
    print(f"the checkpoint takes {file.stat().st_size / 1024:.0f} KiB")
    restored = torch.load(file, weights_only=True)  # tensors and numbers, no programs
resumed = train_steps(dropout_net, cpu_x, cpu_y, steps=123, checkpoint=restored, **quick)
fresh = train_steps(dropout_net, cpu_x, cpu_y, steps=0, **quick)
careless = train_steps(
    dropout_net,
    cpu_x,
    cpu_y,
    steps=123,
    checkpoint={**fresh, "step": 77, "weights": part["weights"]},
    **quick,
)
for name, run in (("everything kept", resumed), ("the weights alone", careless)):
    gap = max(
        (run["weights"][key] - whole["weights"][key]).abs().max().item() for key in run["weights"]
    )
    print(f"{name:18s} largest difference from the uninterrupted run: {gap:.1e}")

# %% [markdown] lang="en"
# <details><summary>Why weights_only=True?</summary>
#
# A file written by <code>torch.save</code> can contain a program that runs when it is opened. <code>weights_only=True</code> (today's
# default) refuses everything but tensors, numbers, texts and containers of them. Keep it when a file comes from somebody else.
# </details>
#
# Two pieces now fit together: train an epoch, keep the checkpoint, judge, and let `EarlyStopping` decide. The same 200 spoilt pictures:

# %% train
stopped_scores, stopped_at = [], []
for seed in progress(range(5), "stopping early"):
    few_x, few_y = noisy_few(seed)
    stopper, checkpoint, done = EarlyStopping(patience=8), None, False
    plain = means["nothing"][0]
    while not done and stopper.epoch < 80:
        checkpoint = train_steps(
            plain,
            few_x,
            few_y,
            steps=7,
            batch_size=32,
            lr=3e-3,
            seed=seed,
            checkpoint=checkpoint,
        )
        scores = evaluate(plain, checkpoint["weights"], x_val, y_val, loss=F.cross_entropy)
        done = stopper.step(scores["loss"])
        if stopper.best_epoch == stopper.epoch - 1:
            kept = {"epoch": stopper.epoch, "accuracy": scores["accuracy"]}
    stopped_scores.append(kept["accuracy"])
    stopped_at.append(kept["epoch"])
print("best epoch by seed:", stopped_at)
print(f"validation accuracy at that epoch: {mean_and_interval(stopped_scores).percent()}")
print(f"after 80 epochs, without stopping: {mean_and_interval(heart_scores['nothing']).percent()}")

# %% [markdown] lang="en"
# Stopping early is also the cheapest: it trains less. One caution: the epoch was chosen *by* the validation set, so its figure there flatters
# a little. How much can such a choice flatter?

# %% [markdown] lang="en"
# ## 10 · Searching, and what may be said of it
#
# Learning rate, dropout, weight decay, batch size: nobody can derive them, so one **searches**. **Random search** (Bergstra and Bengio, 2012)
# draws every setting anew in each trial. When only one or two of them matter, which is the rule, 30 random trials try 30 values of the one
# that matters, where a grid of 6 × 5 would try six. What acts by its size (rates, decays) is drawn evenly on a **logarithmic** scale.
#
# Before we search, think about what the best of many means. **Predict:** 30 networks, all exactly equally good: each answers 90% of all
# pictures rightly, and each errs in its own places, independently of the others. You measure each on 100 validation pictures and report the best of the 30 figures. What accuracy do you report, on
# average?

# %% predict="best_of_30"
# An accuracy between 0.9 and 1. (The luck of 100 pictures has a standard deviation of 0.03; the luckiest of 30 lies about two of those up.)
best_guess = ...

# %%
lucky = np.random.default_rng(0).binomial(100, 0.9, size=(20_000, 30)).max(axis=1).mean() / 100
predict.reveal(
    "training.best_of_30",
    guess=best_guess,
    truth=lucky,
    because="Nobody cheated and nobody improved anything: the choice alone is worth almost six points. (Real networks "
    "stumble over the same pictures, which makes it less.)",
)

# %% [markdown] lang="en"
# Now a real search: 30 trials of 8 epochs each. We keep what every trial answers, for validation and test pictures.

# %% train
space = {
    "lr": log_uniform(1e-4, 1e-1),
    "dropout": uniform(0.0, 0.8),
    "weight_decay": log_uniform(1e-4, 1.0),
    "batch_size": choice(16, 32, 64),
}
val_answers, test_answers = [], []
trial_seeds = iter(progress(range(30), "30 trials"))


def one_trial(lr, dropout, weight_decay, batch_size):
    """Train with these settings and give the validation accuracy."""
    build, seed = (lambda: dropout_net(dropout)), next(trial_seeds)
    weights, _ = fit(
        build,
        x_train,
        y_train,
        loss=F.cross_entropy,
        epochs=8,
        batch_size=batch_size,
        lr=lr,
        weight_decay=weight_decay,
        seed=seed,
        optimizer=torch.optim.AdamW,
    )
    for answers, rows in ((val_answers, x_val), (test_answers, x_test)):
        answers.append(mend_predict(build, weights, rows).argmax(dim=1).cpu().numpy())
    return np.mean(val_answers[-1] == y_val.cpu().numpy())


trials = random_search(space, one_trial, trials=30, seed=0)
next(trial_seeds, None)  # lets the bar reach its end
winner = best(trials)
print(f"trial {winner.number} is best on the validation set, {winner.score:.1%}, with")
for name, value in winner.settings.items():
    print(f"   {name}: {value:.3g}")

# %% train
from scipy.stats import spearmanr

scored = [trial.score for trial in trials]
for name in space:
    values = [trial.settings[name] for trial in trials]
    print(f"{name:12s} rank correlation with the score {spearmanr(values, scored)[0]:+.2f}")

figure, axes = plt.subplots(1, 3, figsize=(9.4, 3), sharey=True, layout="constrained")
for axis, name in zip(axes, ("lr", "dropout", "weight_decay"), strict=True):
    values = [trial.settings[name] for trial in trials]
    axis.plot(values, scored, "o", color="#0b6aa2", alpha=0.8)
    axis.plot([winner.settings[name]], [winner.score], "*", color="#b34700", markersize=15)
    axis.set(xlabel=name, xscale="linear" if name == "dropout" else "log")
axes[0].set_ylabel("validation accuracy")
plt.close(figure)
show_static(
    figure,
    alt="Validation accuracy of 30 trials against learning rate, dropout and weight decay. It rises steeply "
    "with the learning rate and falls at its upper end, in one trial down to guessing. The scores are a "
    "little lower at high dropout; against weight decay no pattern is to be seen. A star marks the best trial.",
)

# %% [markdown] lang="en"
# The learning rate makes the large differences, at both of its ends. In between, dropout counts: more of it, lower scores (eight epochs are short
# for a network that trains with half of its units). Weight decay does not show, and a grid would have spent most of its trials on what does not
# show. The **rank correlations** say how far the order of one column is that of another, from -1 to 1; with 30 trials, less than about 0.36 either
# way is what chance does in 19 of 20 cases. They see no shape that rises and falls again, which is why one looks at the picture too.
#
# ### The last bug hunt
#
# What may be reported? One of the source articles hands its *test* set to `fit` as validation data, and then evaluates on the same test set.
# In another place it advises to tune by the test result. Here is a program of that kind. It raises no error, and no reader of its report
# could tell. **Mend it: the validation rows choose, the test rows measure.**


# %% exercise="mend_report" minutes=6 level=2
def mend_report(val_answers, val_labels, test_answers, test_labels):
    """Choose the best of T trials, and report how good it is.

    val_answers (T, N), val_labels (N,); test_answers (T, M), test_labels (M,): NumPy arrays of whole numbers
    → (number of the chosen trial, the first of equally good ones; the accuracy to report for it)
    """
    ### BEGIN SOLUTION
    chosen = int((val_answers == val_labels).mean(axis=1).argmax())
    return chosen, float((test_answers[chosen] == test_labels).mean())
    ### ELSE BROKEN
    # scores = (val_answers == val_labels).mean(axis=1)
    # chosen = int(scores.argmax())
    # return chosen, float(scores[chosen])
    ### END SOLUTION


# %% check="mend_report"
check("training.mend_report", mend_report)

# %% [markdown] lang="en"
# How large is the flattery in *our* search? Suppose that we had only 40 validation pictures. Draw 40 of the 287, let them choose among the
# 30 trials, note what they promise, what the other 247 validation pictures say, and what the test set says; do that 500 times.

# %% train
val_table, test_table = np.stack(val_answers), np.stack(test_answers)
val_truth, test_truth = y_val.cpu().numpy(), y_test.cpu().numpy()
rng = np.random.default_rng(0)
promised, others_say, kept_promise = [], [], []
for _draw in range(500):
    few = rng.choice(len(val_truth), size=40, replace=False)
    chosen, final = mend_report(val_table[:, few], val_truth[few], test_table, test_truth)
    others = np.setdiff1d(np.arange(len(val_truth)), few)
    promised.append((val_table[chosen, few] == val_truth[few]).mean())
    others_say.append((val_table[chosen, others] == val_truth[others]).mean())
    kept_promise.append(final)
print(
    f"40 validation pictures promise {np.mean(promised):.1%}, the 247 others say {np.mean(others_say):.1%}, "
    f"the test set says {np.mean(kept_promise):.1%}"
)
chosen, final = mend_report(val_table, val_truth, test_table, test_truth)
right = round(final * len(test_truth))
print(
    f"all 287: trial {chosen}, validation {winner.score:.1%}, test {wilson_interval(right, len(test_truth)).percent()}"
)

# %% [markdown] lang="en"
# The 247 others are the fair comparison, since they come from the same pot; the test set may be a little easier or harder than the validation set.
# The promise is more than four points too high, on average. A single draw can go either way, and so can a larger set: chosen by all 287, the
# winner does even better on the test set than on the set that chose it. That is no proof that choosing does not flatter, only that luck is larger
# than what is left of the flattery.
#
# The last number is the one to report, with its interval, and it may be reported **once**. If you now go back, change something and look
# again, the test set has begun to choose as well, and you need a new one.

# %% [markdown] lang="en"
# ## 11 · Measured: against the libraries
#
# **Is it right?** Chapter 03's network in NumPy and your program in PyTorch, from the same weights, twenty steps of plain descent on the same
# rows:

# %%
from course_lib.scratch.mlp import MLP as NumpyMLP
from course_lib.scratch.mlp import MLPConfig, train

torch.manual_seed(0)
start = digit_net().state_dict()
numpy_net = NumpyMLP(MLPConfig(sizes=(64, 64, 64, 10)), seed=0)
for number, place in ((1, 0), (2, 2), (3, 4)):
    numpy_net.params[f"weight{number}"][:] = start[f"{place}.weight"].T.numpy()
    numpy_net.params[f"bias{number}"][:] = start[f"{place}.bias"].numpy()
rows, labels = inner.x_train[:200], inner.y_train[:200]
train(numpy_net, rows, labels, epochs=20, batch_size=200, lr=0.3)
ours, _ = mend_steps(
    digit_net, start, torch.from_numpy(rows), torch.from_numpy(labels), lr=0.3, steps=20
)
gaps = [
    np.abs(numpy_net.params[f"weight{number}"] - ours[f"{place}.weight"].T.numpy()).max()
    for number, place in ((1, 0), (2, 2), (3, 4))
]
print(f"largest difference of any weight after 20 steps: {max(gaps):.1e} (float32 has 7 digits)")

# %% [markdown] lang="en"
# **Is it any good?** scikit-learn's `MLPClassifier` has the same layers, Adam, batches of 32 and ten epochs. Six seeds each, and the time
# of a run.

# %% train
import warnings

from sklearn.neural_network import MLPClassifier
from torch.utils.data import DataLoader, TensorDataset


def right_size_digit_net():
    """digit_net with your weights, biases 0."""
    net = digit_net()
    with torch.no_grad():
        seed = int(torch.randint(2**31, ()))  # from the generator that fit has seeded
        sizes = initial_weights([64, 64, 64, 10], "relu", seed)
        for module, weight in zip((net[0], net[2], net[4]), sizes, strict=True):
            module.weight.copy_(weight)
            module.bias.zero_()
    return net


def glorot_digit_net():
    """digit_net with Glorot's uniform weights, of variance 2 / (fan_in + fan_out), biases 0."""
    net = digit_net()
    for module in (net[0], net[2], net[4]):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
    return net


builders = {
    "yours, nn.Linear's start": digit_net,
    "yours, your start": right_size_digit_net,
    "yours, Glorot's start": glorot_digit_net,
}
compared = {name: ([], []) for name in (*builders, "scikit-learn")}
for seed in progress(range(6), "against scikit-learn"):
    for name, build in builders.items():
        begun = time.perf_counter()
        weights, _ = fit(
            build,
            x_train,
            y_train,
            loss=F.cross_entropy,
            epochs=10,
            batch_size=32,
            lr=1e-3,
            seed=seed,
        )
        compared[name][1].append(time.perf_counter() - begun)
        scored = evaluate(build, weights, x_val, y_val, loss=F.cross_entropy)
        compared[name][0].append(scored["accuracy"])

    model = MLPClassifier((64, 64), alpha=0.0, batch_size=32, max_iter=10, random_state=seed)
    begun = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "not converged yet": ten epochs are what was asked for
        model.fit(inner.x_train, inner.y_train)
    compared["scikit-learn"][1].append(time.perf_counter() - begun)
    compared["scikit-learn"][0].append(model.score(inner.x_test, inner.y_test))
for name, (scores, seconds) in compared.items():
    shown = mean_and_interval(scores).percent()
    print(f"{name:25s} {shown}, {np.median(seconds):.2f} s a run")

# %% [markdown] lang="en"
# scikit-learn's small hand-written network is **faster** than PyTorch here: with layers this small, PyTorch spends its time on bookkeeping, not on
# multiplying. It wins when layers are large, on a graphics card, and when you want a layer that scikit-learn does not have. And with
# `nn.Linear`'s start yours is a little *worse* after ten epochs. The programs differ in their start: scikit-learn draws Glorot's weights, which
# are larger, and random biases beside them. With weights of the right size, He's or Glorot's, most of the gap closes, even in a network of three
# layers. What is left is less than the intervals.
#
# What would PyTorch's own `DataLoader` cost in place of your slices?

# %% train
loader = DataLoader(TensorDataset(cpu_x, cpu_y), batch_size=32, shuffle=True)
clocks = {"DataLoader": [], "slices": []}
for _turn in range(20):
    begun = time.perf_counter()
    for _rows, _labels in loader:
        pass
    clocks["DataLoader"].append(time.perf_counter() - begun)
    begun = time.perf_counter()
    for batch in torch.randperm(len(cpu_x)).split(32):
        _rows, _labels = cpu_x[batch], cpu_y[batch]
    clocks["slices"].append(time.perf_counter() - begun)
for name, seconds in clocks.items():
    print(
        f"{name:10s} {np.median(seconds) * 1e3:6.2f} ms for an epoch of batches, without any training"
    )

# %% [markdown] lang="en"
# A `DataLoader` fetches row by row and stacks them, which is many times slower when everything lies in memory anyway. It earns its place when
# rows must be read from files and changed on the way (chapter 06), which its `num_workers` processes can do ahead of time.

# %% [markdown] lang="en"
# ## Common mistakes, by symptom
#
# | you see | probably | do |
# | --- | --- | --- |
# | loss falls, then swings ever wider (SGD), or stays far above where it should be (Adam) | `zero_grad()` is missing | empty the gradients once in every step |
# | loss never gets below 1.46 (ten classes) | softmax before a loss that takes logits | hand over the logits |
# | loss never gets below 0.31 for class 1, 0.69 for class 0 | sigmoid before a loss that takes logits | likewise |
# | the same picture, two answers | the network is in training mode | `net.eval()` before asking |
# | one row alone raises an error, or is answered badly | batch normalisation in training mode | `net.eval()` |
# | training loss falls faster from epoch 2 on, and dropout seems to do nothing | the network stayed in evaluation mode | `net.train()` at the start of every epoch |
# | some layers never change | they are in a Python list, or the optimiser was made before they were | `nn.ModuleList`; count `net.parameters()` |
# | loss stays at 2.303 from the start | the signal has died on its way through too many layers | the size of the first weights; normalisation |
# | loss is `nan` | learning rate, or the logarithm of a probability that was 0 | a tenth of the rate; losses that take logits |
# | training loss falls, validation loss rises | learning by heart | stop early, dropout, weight decay, more data |
# | memory grows with every step | a list of losses keeps every graph alive | `.item()` |
# | "Expected all tensors to be on the same device" | data or a plain attribute stayed on the processor | `.to(x.device)`; `register_buffer` |
# | a resumed run jumps | the optimiser's memory was not kept | keep all four parts of section 9 |
# | two runs from one checkpoint differ | the first one wrote its steps into it | `copy.deepcopy` before the optimiser's `load_state_dict` |
# | the final figure is better than anybody can repeat | the set that chose is the set that measured | a test set, used once |

# %% [markdown] lang="en"
# ## Questions from the source articles
#
# **Does `compile` initialise the parameters?** One article shows that line as its example of initialisation. It does not; it only notes the
# optimiser, the loss and what to measure. The weights are drawn when the layers are made (in Keras, when their input size is known).
#
# **Does choosing the layers choose the algorithm?** The same article shows its list of layers as the example of "choosing an algorithm such as
# gradient descent". The layers say *what* can be computed; loss and optimiser say how it is learnt. You have trained one network with SGD, with
# Adam and with AdamW, and not touched its layers.
#
# **Can a network be trained from a table alone?** The article hands `fit` one table, without saying which column is the answer. A loss compares
# answers with labels; without labels there is nothing to compare. (Chapter 10 makes labels out of the data themselves.)
#
# **Which are the layers of the second article's network?** It calls its three `Dense` lines "input, hidden and output layer". They are two
# hidden layers and an output layer, 64, 64 and 10 units wide. The input is the data: it has no parameters and is nobody's line of code.
#
# **Does more depth capture more complex relations?** It *can* represent them. You have seen that ten plain layers barely learn in five
# epochs from one start, and learn well in as many from another; and fifty with batch normalisation, which you may try, are still guessing
# after five.
#
# **What is validation for, and what is the test?** One article answers this rightly in its text (tune by validation, judge by test), tells
# the reader a few lines on to improve by the test result, and in its program uses one set for both. The text was right the first time.

# %% [markdown] lang="en"
# ## Bonus: a batch that does not fit
#
# (Not graded.) `backward()` adds. Use it: write a step that gets the gradient of a batch of 256 from eight calls with 32 rows each and steps
# once. Compare with one call of 256 rows: the weights should agree to six digits. Then put a batch normalisation into the network. Why do
# they not agree any more?
#
# <details><summary>One way to do it</summary>
#
# <pre>
# optimizer.zero_grad()
# for rows, labels in zip(x.split(32), y.split(32)):
#     (F.cross_entropy(net(rows), labels) * len(rows) / len(x)).backward()   # each part of the mean
# optimizer.step()
# </pre>
#
# Batch normalisation averages over the rows that are there: eight times over 32 rows is not once over 256.
# </details>

# %%
# Yours to try.

# %% [markdown] lang="en"
# ## What you have now
#
# The loop of this chapter lives on in `course_lib.train` (fit, evaluate, predict, early stopping, resume through a file), with
# `checkpoint`, `initialise`, `normalise` and `search` beside it. The next chapters import it and change only what is between `x` and the
# logits. **Next:** chapter 06, networks that look at pictures as pictures.
#
# *Further reading:* Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS (2010). He, Zhang,
# Ren & Sun, "Delving deep into rectifiers", ICCV (2015). Ioffe & Szegedy, "Batch normalization", ICML (2015). Ba, Kiros & Hinton, "Layer
# normalization" (2016). Srivastava et al., "Dropout", JMLR 15 (2014). Bergstra & Bengio, "Random search for hyper-parameter optimization",
# JMLR 13 (2012). Yang et al., "A mean field theory of batch normalization", ICLR (2019), on why its gradients explode.
