# Chapter 08, the one source. `course build` makes the student notebook from it; see the README for the header keys.
# %% [markdown] lang="en"
# # 08 · Attention
#
# *The dogs chased a cat because they were bored.* Who was bored? To read "they" you looked back, past "because", "cat", "a" and "chased", at one
# word. A recurrent network has to carry that word along, in a state of fixed size, through everything that comes between. **What if it
# could look back, as you did?** Then it needs a way of looking that can be learnt by gradients. That is attention, and it is one formula
# long.
#
# At the end of this chapter you can
#
# - derive attention from looking something up, and say what queries, keys and values are;
# - say why the scores are divided by $\sqrt{D}$, having measured what happens otherwise;
# - mask what must not be seen, without a NaN anywhere, and name the traps that torch sets there;
# - write multi-head attention, equal to torch's;
# - show a task that attention learns at once, and a single vector the more slowly, the longer it is;
# - say what attention costs in time and in memory, and compute it without the table that makes it expensive.
#
# **The exercises take about an hour and a half, the reading one more.** Good places to stop are after sections 3, 5 and 7. **You need**
# chapter 05 (tensors, modules, autograd, the training loop); chapter 07 helps to see what attention does away with.

# %%
import math
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from autograder import check, predict, progress_board
from course_lib.attention_costs import stored
from course_lib.data.cards import LETTERS, cards
from course_lib.device import best_device, course_size, describe_device
from course_lib.interactive import attention_maps, draw_map, progress, show, show_static
from course_lib.measure import median_seconds, power_law, saved_bytes

torch.set_num_threads(1)  # one thread: such small tensors only lose time by dividing the work
device = best_device()
print("computing on", describe_device())

progress_board("attention")

# %% [markdown] lang="en"
# ## 1 · Looking up, softly
#
# An index box holds cards. Each has a **key**, by which it is found, and a **value**, what is written on it. You come with a **query**, and
# get the value of the card whose key is equal to it. That is a `dict` of Python, and it cannot be learnt: either a card matches or it does
# not, so a small change of the query changes nothing at all, or everything. There is no slope to follow.
#
# So let every card answer, each as loudly as it matches. Take our sentence. Every word has three numbers, set by hand here: is it an
# animal, is it more than one, is it something that is done?

# %%
words = ["The", "dogs", "chased", "a", "cat", "because", "they", "were", "bored"]
keys = torch.tensor(
    [
        [0.0, 0.0, 0.0],  # The
        [1.0, 1.0, 0.0],  # dogs
        [0.0, 0.0, 1.0],  # chased
        [0.0, 0.0, 0.0],  # a
        [1.0, 0.0, 0.0],  # cat
        [0.0, 0.0, 0.0],  # because
        [0.0, 0.5, 0.0],  # they
        [0.0, 0.5, 1.0],  # were
        [0.0, 0.0, 0.5],  # bored
    ]
)
they = torch.tensor([1.0, 1.0, 0.0])  # what "they" asks for: animals, more than one
for word, match in zip(words, keys @ they, strict=True):
    print(f"{word:8s} matches with {match:.1f}")

# %% [markdown] lang="en"
# The match of a query $q$ and a key $k_j$ is their dot product: large when they point the same way. Softmax (chapter 03) turns all matches
# into **weights** that add up to 1, and the answer is the mean of the values by these weights:
#
# $$ w_j = \frac{e^{\beta\, q \cdot k_j}}{\sum_i e^{\beta\, q \cdot k_i}}, \qquad \text{answer} = \sum_j w_j\, v_j . $$
#
# | symbol | in code | shape | what it is |
# | --- | --- | --- | --- |
# | $q$ | `query` | (D,) | what is asked for |
# | $k_j$ | `keys[j]` | (D,) | what card $j$ offers |
# | $v_j$ | `values[j]` | (Dv,) | what card $j$ says |
# | $\beta$ | `sharpness` | a number | how much better a better match must be heard |
# | $w_j$ | `weights[j]` | a number | how much of card $j$ is in the answer |
#
# Everything here has a slope: with respect to the query, the keys and the values. That is the whole trick.


# %% exercise="soft_lookup" minutes=6 level=1
def soft_lookup(query, keys, values, sharpness):
    """An answer mixed from all cards, each by how well its key matches the query.

    query (D,), keys (T, D), values (T, Dv), sharpness a number of at least 0
    → (answer (Dv,), weights (T,)). Finite also for a sharpness in the thousands.

    >>> keys, values = torch.tensor([[0.0], [1.0]]), torch.tensor([[10.0], [20.0]])
    >>> soft_lookup(torch.tensor([1.0]), keys, values, math.log(3))  # weights 1 : 3
    (tensor([17.5000]), tensor([0.2500, 0.7500]))
    """
    ### BEGIN SOLUTION
    weights = (sharpness * (keys @ query)).softmax(dim=0)
    return weights @ values, weights
    ### END SOLUTION


# %% check="soft_lookup"
check("attention.soft_lookup", soft_lookup)

# %% [markdown] lang="en"
# What does "they" find? (Its value shall be the word itself, so look at the weights.)

# %%
for sharpness in (0.0, 1.0, 3.0, 30.0):
    _, weights = soft_lookup(they, keys, keys, sharpness)
    shown = "  ".join(
        f"{word} {weight:.2f}"
        for word, weight in zip(words, weights, strict=True)
        if weight > 0.005
    )
    print(f"sharpness {sharpness:4.0f}: {shown}")

# %% [markdown] lang="en"
# With sharpness 0 the answer is the plain mean of everything; with 30 it is the ordinary look-up, "dogs" and nothing else. In between it is
# a mixture, and how sharp it should be can be learnt as well: a query twice as long is twice as sharp. From now on $\beta$ is part of the
# query.
#
# Two things attention is **not**. It is not "the importance of each word in the sentence", as one of the source articles has it: a weight
# belongs to a *pair*, and what matters to "they" need not matter to "bored". And nothing is *found out* by the softmax. All the wit is in
# how queries and keys are made, and that is what training has to learn.

# %% [markdown] lang="en"
# ## 2 · Two ways to score
#
# When attention was new (Bahdanau, Cho and Bengio, 2015, for translation), a small network judged each pair of query and key. Each side has
# a matrix of its own, the two are added, squashed, and weighed:
#
# $$ \text{score}(q, k) = v \cdot \tanh(q\,W_q + k\,W_k) . $$
#
# This is called **additive** attention. For Tq queries and Tk keys there are Tq · Tk pairs, and you want all scores at once, in a table
# with a row for each query. The way to make pairs without a loop: give one side an axis of length 1 where the other has its own, and let
# broadcasting do the rest.


# %% exercise="additive_scores" minutes=8 level=1
def additive_scores(query, key, w_query, w_key, v):
    """The score v · tanh(q w_query + k w_key) of every pair.

    query (..., Tq, Dq), key (..., Tk, Dk); w_query (Dq, U), w_key (Dk, U), v (U,)
    → (..., Tq, Tk). "..." stands for any axes before, the same for both: none, a batch, a batch and heads.

    >>> one = torch.ones(1, 1)
    >>> additive_scores(torch.tensor([[0.0]]), torch.tensor([[0.0], [50.0]]), one, one, torch.tensor([2.0]))
    tensor([[0., 2.]])
    """
    ### BEGIN SOLUTION
    asked = (query @ w_query).unsqueeze(-2)  # (..., Tq, 1, U)
    offered = (key @ w_key).unsqueeze(-3)  # (..., 1, Tk, U)
    return torch.tanh(asked + offered) @ v  # (..., Tq, Tk)
    ### END SOLUTION


# %% check="additive_scores"
check("attention.additive_scores", additive_scores)

# %% [markdown] lang="en"
# <details><summary>"The size of tensor a (3) must match the size of tensor b (5)"</summary>
#
# (3, U) and (5, U) do not broadcast; (3, 1, U) and (1, 5, U) do, and give (3, 5, U). <code>t.unsqueeze(-2)</code> puts an axis of length 1
# before the last one, however many axes there are.
# </details>
#
# The other way is what we had: the **dot product** of query and key. No parameters, and for all pairs it is a single matrix product, $Q
# K^\top$, with the queries as rows of $Q$ and the keys as rows of $K$. What does that save?

# %%
query, key = torch.randn(256, 64), torch.randn(256, 64)
w_query, w_key, v = torch.randn(64, 64) / 8, torch.randn(64, 64) / 8, torch.randn(64) / 8
clocks = median_seconds(
    {
        "additive": lambda: additive_scores(query, key, w_query, w_key, v),
        "dot product": lambda: query @ key.T,
    },
    rounds=20,
)
for name, seconds in clocks.items():
    print(f"{name:12s} {seconds * 1e3:7.3f} ms for 256 × 256 scores")
print(f"numbers under the tanh at once: {256 * 256 * 64:,}")

# %% [markdown] lang="en"
# The additive score needs a number for each pair *and* each hidden unit, and a tanh of each. The dot product is what processors do best.
# This, and not any lack of quality, is why nearly everyone uses it today. It has one weakness, though, and the remedy is the root in the
# formula.

# %% [markdown] lang="en"
# ## 3 · Why divide by √D?
#
# The formula that everybody quotes is (Vaswani et al., 2017)
#
# $$ \text{Attention}(Q, K, V) = \text{softmax}\!\left(\frac{Q K^\top}{\sqrt{D}}\right) V , $$
#
# where $D$ is the width of queries and keys (the paper writes $d_k$). One of the source articles prints it **without** the root. Does it
# matter?
#
# A dot product adds up $D$ products. Let the numbers of $q$ and $k$ be independent, with mean 0 and variance 1. Then each product has mean
# 0 and variance 1 as well, and the variances of independent numbers add up. **Predict:** for $D = 64$, what is the standard deviation of $q
# \cdot k$?

# %% predict="score_spread"
# A number. (The variance of a sum of 64 independent numbers of variance 1, and then its root.)
spread_guess = ...

# %%
torch.manual_seed(0)
raw = (torch.randn(20_000, 64) * torch.randn(20_000, 64)).sum(dim=1)
print(f"measured on 20,000 pairs: {raw.std():.2f}")
predict.reveal(
    "attention.score_spread",
    guess=spread_guess,
    truth=math.sqrt(64),
    because="64 variances of 1 add up to 64, and its root is 8.",
)

# %% [markdown] lang="en"
# So raw scores grow like $\sqrt D$, and a softmax of large numbers is nearly a look-up: one weight near 1, all others near 0. That would be
# fine if the one were the right one. Before training it is a random one, and the slopes are gone. The slope of $w_j$ with respect to its
# own score is $w_j(1 - w_j)$, which vanishes at both ends. Here are 32 random keys, for several widths:

# %%
print("             not divided                    divided by √D")
print("   D   spread  largest  slopes       spread  largest  slopes")
for width in (4, 16, 64, 256, 1024):
    torch.manual_seed(0)
    scores = (torch.randn(500, 1, width) * torch.randn(500, 32, width)).sum(dim=2)
    line = f"{width:4d}"
    for each in (scores, scores / math.sqrt(width)):
        weights = each.softmax(dim=1)
        slopes = (weights * (1 - weights)).sum(dim=1).mean()
        line += f"  {each.std():6.2f}   {weights.max(dim=1).values.mean():.2f}     {slopes:.2f}    "
    print(line)

# %% [markdown] lang="en"
# *Spread* is the standard deviation of the scores, *largest* the mean of the largest of 32 weights, *slopes* the sum of the $w_j (1 -
# w_j)$. On the right nothing depends on the width any more, and that is all the root is for: widths can be changed without changing how
# sharp a fresh network looks. It has to be the root of the width of what is **multiplied**. Section 6 meets a program that takes the width
# of something else.
#
# (An honest word: in a small network with `nn.Linear`'s small first weights the scores start small anyway, and training can make up for a
# missing factor. The root is there so that nobody has to hope for that.)

# %% [markdown] lang="en"
# ## 4 · Attention, with a mask
#
# Not every query may look at every key. Two reasons are common. Sentences of a batch have different lengths, and the shorter ones are
# filled up with **padding**, which is nobody's word. And a model that predicts the next word must not see it: that is the **causal** mask
# of section 5.
#
# A **mask** is a table of True and False, a row for each query, a column for each key. Throughout this course **True means "may attend"**.
# Say that sentence aloud whenever you use a mask, because the world is divided:
#
# | where | True means |
# | --- | --- |
# | this course, `F.scaled_dot_product_attention` | may attend |
# | `nn.MultiheadAttention`, `nn.TransformerEncoder` and their kin | may **not** attend |
# | Hugging Face's `attention_mask` (1 and 0) | may attend (1) |
# | a mask of numbers, in both rows of torch | is added to the scores: 0 may, -inf may not |
#
# The mask acts **before** the softmax: a hidden place gets a score so low that its exponential is 0, and the others share the whole.
# (Setting hidden *weights* to 0 after the softmax leaves a row that no longer adds up to 1. Setting hidden *scores* to 0 hides nothing:
# $e^0 = 1$.)
#
# What if a query may look at nothing at all? It happens: an empty document, or two masks that leave nothing together. A softmax over
# nothing is 0/0. We agree, as torch's own kernel does today, that such a query gets **zeros**.


# %% exercise="attention" minutes=12 level=2
def attention(query, key, value, mask=None):
    """Scaled dot-product attention.

    query (..., Tq, D), key (..., Tk, D), value (..., Tk, Dv)
    mask: None, or True and False, broadcasting to (..., Tq, Tk); True means "may attend"
    → (output (..., Tq, Dv), weights (..., Tq, Tk)). Where nothing may be attended to, both are 0.

    >>> query, key, value = torch.zeros(1, 4), torch.zeros(3, 4), torch.tensor([[1.0], [2.0], [9.0]])
    >>> attention(query, key, value, torch.tensor([[True, True, False]]))
    (tensor([[1.5000]]), tensor([[0.5000, 0.5000, 0.0000]]))
    """
    ### BEGIN SOLUTION
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    if mask is None:
        weights = scores.softmax(dim=-1)
    else:
        # The lowest finite number, not -inf: a row of -inf alone would be NaN.
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        weights = scores.softmax(dim=-1).masked_fill(~mask, 0.0)
    return weights @ value, weights
    ### END SOLUTION


# %% check="attention"
check("attention.attention", attention)

# %% [markdown] lang="en"
# <details><summary>How do I hide a score?</summary>
#
# <code>scores.masked_fill(~mask, low)</code> gives a copy with <code>low</code> where the mask is False (<code>~</code> turns True and
# False round). For <code>low</code> take <code>torch.finfo(scores.dtype).min</code>, the lowest finite number.
# </details>
# <details><summary>An empty row gets equal weights</summary>
#
# If all scores of a row are the same, however low, softmax shares evenly. A second <code>masked_fill(~mask, 0.0)</code>, on the weights,
# changes nothing in other rows and makes this one zeros.
# </details>
#
# ### The NaN that nobody sees
#
# The usual way to hide a score is to *add* a mask of 0 and -inf. A row of -inf alone then becomes NaN, and the usual remedy is
# `nan_to_num`, which writes 0 over it. The output is right. And after the next step of training, everything that made the queries and keys
# is NaN. Here is why, in the smallest case:

# %%
scores = torch.zeros(2, requires_grad=True)
hidden = torch.tensor([-math.inf, -math.inf])
weights = (scores + hidden).softmax(dim=0).nan_to_num(0.0)
weights.sum().backward()
print("weights:", weights.tolist(), "  slopes of the scores:", scores.grad.tolist())

# %% [markdown] lang="en"
# `nan_to_num` sends the slope 0 back through the places that it wrote over. But the softmax behind it multiplies what comes by its own
# weights, which *are* NaN, and 0 times NaN is NaN: no later step takes it out again. The safe rule is that the NaN never comes into being.
# **Mend the program.**


# %% exercise="mend_empty_rows" minutes=8 level=2
def mend_empty_rows(query, key, value, mask):
    """Attention, and the slopes of the sum of its squared outputs.

    query (Tq, D), key (Tk, D), value (Tk, Dv), mask (Tq, Tk): True means "may attend"; a row may be all False
    → (output (Tq, Dv), slopes of the queries (Tq, D), slopes of the keys (Tk, D)), all finite
    """
    ### BEGIN SOLUTION
    query, key = (each.detach().clone().requires_grad_() for each in (query, key))
    scores = query @ key.T / math.sqrt(query.shape[1])
    scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    weights = scores.softmax(dim=1).masked_fill(~mask, 0.0)
    output = weights @ value
    slopes = torch.autograd.grad(output.square().sum(), (query, key))
    return output.detach(), *slopes
    ### ELSE BROKEN
    # query, key = (each.detach().clone().requires_grad_() for each in (query, key))
    # scores = query @ key.T / math.sqrt(query.shape[1])
    # scores = scores + torch.where(mask, 0.0, -math.inf)
    # weights = scores.softmax(dim=1).nan_to_num(0.0)
    # output = weights @ value
    # slopes = torch.autograd.grad(output.square().sum(), (query, key))
    # return output.detach(), *slopes
    ### END SOLUTION


# %% check="mend_empty_rows"
check("attention.mend_empty_rows", mend_empty_rows)

# %% [markdown] lang="en"
# <details><summary>Does it have to be a finite number?</summary>
#
# No. <code>masked_fill</code> with -inf, and <code>nan_to_num</code> after the softmax, works as well: <code>masked_fill</code> sends no
# slope back to what it overwrote, so the NaN stops there. An addition lets it through. It is the narrower bridge, though: the NaN is there,
# and everything depends on what stands before it.
# </details>
#
# And the `attention` that you wrote yourself? Its check saw what it gives, not its slopes. Look:

# %%
asking = torch.zeros(1, 2, requires_grad=True)
nothing = torch.zeros(1, 2, dtype=torch.bool)  # this query may attend to neither key
attention(asking, torch.ones(2, 2), torch.ones(2, 1), nothing)[0].sum().backward()
print("slopes of a query that sees nothing, through your attention:", asking.grad.tolist())

# %% [markdown] lang="en"
# If that is not two zeros, mend it as you have just done; section 7 checks it again, with slopes.

# %% [markdown] lang="en"
# ## 5 · No looking ahead
#
# A model that writes text predicts each token from those before it. In training, all tokens of a sentence go through at once, and a
# **causal mask** hides from each what comes after it: a triangle.
#
# In use there is another case. Tokens come one after the other, and the keys and values of the old ones are kept (a *cache*; chapter 12
# builds one). The queries are then only the **newest** tokens, fewer than the keys. With 4 old tokens and 3 new ones:

# %%
newest = torch.tensor(
    [
        [1, 1, 1, 1, 1, 0, 0],  # the first new token is the 5th of 7
        [1, 1, 1, 1, 1, 1, 0],
        [1, 1, 1, 1, 1, 1, 1],  # the last one sees everything
    ],
    dtype=torch.bool,
)
places = [f"token {number}" for number in range(1, 8)]
show_static(
    draw_map(newest / newest.sum(1, keepdim=True), places[4:], places, may=newest.numpy()),
    alt="Three rows for tokens 5, 6 and 7, seven columns. Token 5 may look at tokens 1 to 5, "
    "token 6 at 1 to 6, token 7 at all seven.",
)

# %% [markdown] lang="en"
# The staircase ends in the **lower right** corner.


# %% exercise="causal_mask" minutes=8 level=2
def causal_mask(num_queries, num_keys):
    """Who may look at whom when nobody looks ahead, and the queries are the last of the positions.

    → (num_queries, num_keys) of True (may attend) and False. With more queries than keys, the first queries see nothing.

    >>> causal_mask(2, 3)
    tensor([[ True,  True, False],
            [ True,  True,  True]])
    """
    ### BEGIN SOLUTION
    table = torch.ones(num_queries, num_keys, dtype=torch.bool)
    return table.tril(diagonal=num_keys - num_queries)
    ### END SOLUTION


# %% check="causal_mask"
check("attention.causal_mask", causal_mask)

# %% [markdown] lang="en"
# torch offers to do this for you: `F.scaled_dot_product_attention(query, key, value, is_causal=True)`. Its documentation says how: the mask
# is `torch.ones(Tq, Tk).tril(diagonal=0)`. Read that line again. **Predict:** one new token comes after 4 old ones, so there
# is 1 query and there are 5 keys. How many keys does `is_causal=True` let it see?

# %% predict="is_causal"
# A whole number. (Which entries of a table with one row does tril(diagonal=0) keep?)
seen_guess = ...

# %%
one_query, five_keys = torch.zeros(1, 1, 1, 4), torch.zeros(1, 1, 5, 4)
marks = torch.eye(5)[None, None]  # value j is a 1 in place j, so the output shows the weights
shown = F.scaled_dot_product_attention(one_query, five_keys, marks, is_causal=True)
print("weights:", shown.flatten().tolist())
predict.reveal(
    "attention.is_causal",
    guess=seen_guess,
    truth=int((shown > 0).sum()),
    because="tril(diagonal=0) starts in the upper left corner: torch takes the queries for the first tokens.",
)

# %% [markdown] lang="en"
# The newest token sees only the oldest. No error, no warning; the model writes nonsense from the second token on.
# **Mend the program:**


# %% exercise="mend_next_tokens" minutes=5 level=2
def mend_next_tokens(query, key, value):
    """What the newest tokens see: everything up to themselves.

    query (B, H, Tq, D): the newest Tq tokens; key, value (B, H, Tk, D): all tokens so far, Tk at least Tq → (B, H, Tq, D)
    """
    ### BEGIN SOLUTION
    mask = causal_mask(query.shape[-2], key.shape[-2]).to(query.device)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    ### ELSE BROKEN
    # return F.scaled_dot_product_attention(query, key, value, is_causal=True)
    ### END SOLUTION


# %% check="mend_next_tokens"
check("attention.mend_next_tokens", mend_next_tokens)

# %% [markdown] lang="en"
# ## 6 · A sentence that looks at itself
#
# Where do queries, keys and values come from? From the words. Each word is a vector $x_t$, and three learnt maps make of it what it asks
# for, what it offers, and what it says:
#
# $$ Q = X W_Q, \qquad K = X W_K, \qquad V = X W_V . $$
#
# If all three come from the same sentence, that is **self-attention**. If the queries come from one sequence and keys and values from
# another, as in a translation that looks at its source, it is **cross-attention**. The formula is the same. One article describes the
# formula rightly, but calls $Q$ a vector; it is a table with a query in each row, and another gives no $W_Q, W_K, W_V$ at all. Without them
# a word would mostly attend to itself: nothing matches a vector better than the vector itself, among vectors of its length.
#
# ### A program to mend
#
# One of the source articles has a class for it. Here it is in our words (theirs also uses NumPy without importing it). It runs, and all is
# well as long as `inputs` equals `outputs`. **Two widths are the wrong ones.**


# %% exercise="SelfAttention" minutes=8 level=2
class SelfAttention(nn.Module):
    """One head of self-attention, which may change the width.

    x (..., T, inputs) → (..., T, outputs). query, key and value map inputs to outputs, output maps what comes out of the attention.
    """

    def __init__(self, inputs, outputs):
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self.query = nn.Linear(inputs, outputs)
        self.key = nn.Linear(inputs, outputs)
        self.value = nn.Linear(inputs, outputs)
        ### BEGIN SOLUTION
        self.output = nn.Linear(outputs, outputs)  # it takes mixed values, which have width outputs
        ### ELSE BROKEN
        # self.output = nn.Linear(inputs, outputs)
        ### END SOLUTION

    def forward(self, x):
        query, key, value = self.query(x), self.key(x), self.value(x)
        ### BEGIN SOLUTION
        scores = query @ key.transpose(-2, -1) / math.sqrt(self.outputs)  # what is multiplied
        ### ELSE BROKEN
        # scores = query @ key.transpose(-2, -1) / math.sqrt(self.inputs)
        ### END SOLUTION
        return self.output(scores.softmax(dim=-1) @ value)


# %% check="SelfAttention"
check("attention.SelfAttention", SelfAttention)

# %% [markdown] lang="en"
# The last map raises an error as soon as somebody uses other widths. The root never does: the scores are merely too small or too large, by
# a constant factor, and training gets a little harder. Of the two, it is the one that survives for years.
#
# ### What self-attention cannot see
#
# "Dog bites man" and "man bites dog" have the same words. Let a sentence of five vectors go through a self-attention, without a mask. Then
# shuffle the five vectors, send them through the same network, and put its five outputs back into the old order. **Predict:** how large is
# the largest difference from the first outputs?

# %% predict="shuffle"
# A number. (Does any step of the formula know at which place of the table a key stands?)
shuffle_guess = ...

# %%
torch.manual_seed(0)
sentence, order = torch.randn(5, 8), torch.tensor([3, 0, 4, 1, 2])
maps = [torch.randn(8, 8) / 3 for _ in range(3)]


def look(x):
    return F.scaled_dot_product_attention(*((x @ weight)[None, None] for weight in maps))[0, 0]


back = look(sentence[order])[order.argsort()]
difference = float((back - look(sentence)).abs().max())
predict.reveal(
    "attention.shuffle",
    guess=shuffle_guess,
    truth=round(difference, 4),
    because="A sum over keys does not know their order. Shuffled words get shuffled outputs, and nothing else changes.",
)

# %% [markdown] lang="en"
# Self-attention treats a sentence as a **bag of words**: its property is called *permutation equivariance*. So it is not enough to say, as
# the articles do, that it captures long-range dependencies. It reaches any distance in one step because distance does not exist for it. If
# order matters, somebody has to tell it where each word stands; chapter 09 does so, and a causal mask does it a little, since each row then
# sees another set.

# %% [markdown] lang="en"
# ## 7 · Several heads
#
# One row of weights is one mixture. If "they" needs to look at "dogs" (who?) and at "bored" (what about them?), a single row must average
# the two. So do several look-ups side by side, the **heads**, each in a narrow space of its own. With model width $W$ and $H$ heads, each
# has width $D = W / H$:
#
# $$ \text{head}_h = \text{Attention}(X W_Q^h,\; X W_K^h,\; X W_V^h), \qquad \text{output} = [\text{head}_1, \dots, \text{head}_H]\, W_O . $$
#
# In code the H narrow maps stand side by side in one wide map, `nn.Linear(W, W)`, whose output is then cut: numbers $hD$ to $(h+1)D$ of
# each token belong to head $h$. To do all heads at once, their axis must stand where a batch axis would:
#
# (B, T, W) → *cut* → (B, T, H, D) → *exchange two axes* → (B, H, T, D).
#
# A `view` straight from (B, T, W) to (B, H, T, D) has the right shape, raises no error, and deals numbers of one token out to others:

# %%
numbered = torch.arange(12).view(1, 3, 4)  # 3 tokens with 4 numbers each: token t has 4t … 4t + 3
print("head 0, cut and exchanged:", numbered.view(1, 3, 2, 2).transpose(1, 2)[0, 0].tolist())
print("head 0, viewed at once:   ", numbered.view(1, 2, 3, 2)[0, 0].tolist())

# %% [markdown] lang="en"
# Head 0 should hold the first two numbers of each of the three tokens. In the second line it holds all of token 0 and half of token 1.
# Write the module; your `attention` does the rest.


# %% exercise="MultiHeadAttention" minutes=20 level=3
class MultiHeadAttention(nn.Module):
    """Multi-head attention from four nn.Linear(width, width): query, key, value, output.

    x (B, Tq, W) asks; context (B, Tk, W) is what it looks at, x itself if None → (B, Tq, W)
    mask: None, or True ("may attend") and False, broadcasting to (B, H, Tq, Tk)
    Head h uses the numbers h·D to (h+1)·D of the mapped tokens, D = W / H. ValueError if that is not a whole number.

    >>> MultiHeadAttention(8, 2)(torch.zeros(3, 5, 8), context=torch.zeros(3, 7, 8)).shape
    torch.Size([3, 5, 8])
    """

    def __init__(self, width, num_heads):
        super().__init__()
        ### BEGIN SOLUTION
        if width % num_heads:
            raise ValueError(f"width {width} is not a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        ### END SOLUTION

    def forward(self, x, context=None, mask=None):
        ### BEGIN SOLUTION
        source = x if context is None else context
        query, key, value = (
            layer(tokens).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, H, T, D)
            for layer, tokens in ((self.query, x), (self.key, source), (self.value, source))
        )
        mixed, _ = attention(query, key, value, mask)
        return self.output(mixed.transpose(1, 2).flatten(2))  # exchange back, then join
        ### END SOLUTION


# %% check="MultiHeadAttention"
check("attention.MultiHeadAttention", MultiHeadAttention)

# %% [markdown] lang="en"
# <details><summary>"view size is not compatible with input tensor's size and stride"</summary>
#
# After <code>transpose</code> the numbers lie in memory in their old order, and <code>view</code> cannot join the axes.
# <code>flatten(2)</code> or <code>reshape</code> copy where they must.
# </details>
# <details><summary>Only "finite slopes" fails</summary>
#
# A NaN comes into being in an empty row and is written over afterwards. See section 4.
# </details>
#
# **Measured: is it torch's?** `nn.MultiheadAttention` keeps the weights of query, key and value in one matrix, one below the other. Copy
# them, and compare values and gradients, with a mask. Mind the polarity!

# %%
torch.manual_seed(0)
theirs = nn.MultiheadAttention(64, 4, batch_first=True)
ours = MultiHeadAttention(64, 4)
with torch.no_grad():
    theirs.in_proj_bias.normal_()  # they start at 0; other numbers test more
    parts = zip(theirs.in_proj_weight.chunk(3), theirs.in_proj_bias.chunk(3), strict=True)
    for layer, (weight, bias) in zip((ours.query, ours.key, ours.value), parts, strict=True):
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    ours.output.load_state_dict(theirs.out_proj.state_dict())

x, context = torch.randn(2, 10, 64), torch.randn(2, 12, 64)
mask = causal_mask(10, 12)
our_answer = ours(x, context, mask)
their_answer, _ = theirs(x, context, context, attn_mask=~mask)  # there, True hides
print(f"largest difference of an output:   {(our_answer - their_answer).abs().max():.1e}")
(our_slope,) = torch.autograd.grad(our_answer.square().sum(), [ours.query.weight])
(their_slope,) = torch.autograd.grad(their_answer.square().sum(), [theirs.in_proj_weight])
gap = (our_slope - their_slope[:64]).abs().max() / our_slope.abs().max()
print(f"largest difference of a slope, of the largest slope: {gap:.1e}")
wrong, _ = theirs(x, context, context, attn_mask=mask)
gap = (our_answer - wrong)[:, :-1].abs().max()
print(f"with the mask the wrong way round: {gap:.2f}, and the last token gets {wrong[0, -1, 0]}")
print(
    "parameters, theirs and ours:",
    *(sum(p.numel() for p in m.parameters()) for m in (theirs, ours)),
)

# %% [markdown] lang="en"
# The last token's NaN: turned round, its row of the mask is empty. Unlike the kernel, `nn.MultiheadAttention` gives NaN for an empty row,
# at least when it is asked for its weights, as it is by default.
#
# The number of parameters does not depend on the number of heads: four matrices of $W \times W$ and four biases, however they are cut. More
# heads are narrower heads.
#
# ### Look at some
#
# Type a sentence (and press Enter). The heads of this figure are **set by hand**, not learnt: each says in a few lines what its queries ask
# for and its keys offer (`course_lib/interactive/attention_maps.py`), and everything else is what you have written. Things to try:
#
# - "long words" is the one head whose rows are all alike. It alone could be called "the importance of each word".
# - "random weights" is about what training starts from. Multiply its scores by 8, which is what leaving out the √ does at its D of 64.
# - "the word before" needs positions. Its query says where it stands, less one.
# - Give it the causal mask, and see how the rows share what is left.

# %% figure="attention_maps" alt="A square table of a sentence that can be typed: a row for each word that looks, a column for each word that is looked at, darker for a larger weight. Lists choose the head, the mask and the size of the scores."
show(attention_maps())

# %% [markdown] lang="en"
# ## 8 · A task that is hard for one vector
#
# Attention was invented because translations got worse with length: the encoder had to squeeze a sentence of any length into *one* vector
# (chapter 07), and the decoder had nothing else to go by. Here is the smallest task of that kind. T cards lie in a row, shuffled. On each
# stand a number and a letter. Read the letters in the order of the numbers.

# %%
sample = cards(rows=1, length=8, seed=3)
print(
    "cards:  ",
    "  ".join(
        f"{n + 1}{LETTERS[c]}" for n, c in zip(sample.numbers[0], sample.letters[0], strict=True)
    ),
)
print("answer: ", "  ".join(LETTERS[c] for c in sample.answers[0]))

# %% [markdown] lang="en"
# Like a translator, the reader has to find, for each step of its answer, the place of the input that belongs to it, and the place is
# another one in each row. That is called an **alignment**. Nobody will tell it the alignment; it is shown only cards and answers.
#
# Two networks. Both make a vector of each card, from a learnt vector for its number and one for its letter. Then,
#
# - with **attention**: for each step a learnt query, and your `attention` over the cards;
# - with a **fixed vector**: a small network on each card, the mean over all cards, and another network that is told this mean and the step.


# %%
class Reader(nn.Module):
    """Numbers and letters (N, T) → a vector for each card (N, T, W)."""

    def __init__(self, length, width):
        super().__init__()
        self.number, self.letter = nn.Embedding(length, width), nn.Embedding(26, width)
        self.step = nn.Embedding(length, width)  # what the reader knows about "step t"

    def cards(self, numbers, letters):
        return self.number(numbers) + self.letter(letters)

    def steps(self, numbers):
        return self.step.weight[: numbers.shape[1]].expand(len(numbers), -1, -1)  # (N, T, W)


class AttentionReader(Reader):
    def __init__(self, length, width=64):
        super().__init__(length, width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.answer = nn.Linear(width, 26)

    def look(self, numbers, letters):
        card = self.cards(numbers, letters)
        return attention(self.query(self.steps(numbers)), self.key(card), self.value(card))

    def forward(self, numbers, letters):
        return self.answer(self.look(numbers, letters)[0])  # logits (N, T, 26)


# %%
class FixedVectorReader(Reader):
    def __init__(self, length, width=64):
        super().__init__(length, width)
        self.encode = nn.Sequential(nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, width))
        self.answer = nn.Sequential(nn.Linear(2 * width, 128), nn.ReLU(), nn.Linear(128, 26))

    def forward(self, numbers, letters):
        vector = self.encode(self.cards(numbers, letters)).mean(dim=1, keepdim=True)  # (N, 1, W)
        vector = vector.expand(-1, numbers.shape[1], -1)
        return self.answer(torch.cat([vector, self.steps(numbers)], dim=-1))


for reader in (AttentionReader(16), FixedVectorReader(16)):
    count = sum(p.numel() for p in reader.parameters())
    print(f"{type(reader).__name__:18s} {count:,} parameters")

# %% [markdown] lang="en"
# The fixed vector gets the larger network, so it is not for want of parameters. Both see the same cards. (Two cards make
# 1,352 different rows, and in training all of them come up; with four there are eleven million, and nothing is gained by remembering.)


# %% train
def as_tensors(data):
    return [
        torch.from_numpy(part).to(device) for part in (data.numbers, data.letters, data.answers)
    ]


def train_reader(build, length, seed, steps, batch=64):
    """→ (the trained reader, the share of letters that it reads rightly on 1,000 rows of another seed)"""
    torch.manual_seed(seed)
    net = build(length).to(device)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3, fused=True)  # fused: less overhead
    rows = zip(
        *(t.split(batch) for t in as_tensors(cards(steps * batch, length, seed))), strict=True
    )
    for numbers, letters, answers in rows:
        loss = F.cross_entropy(net(numbers, letters).flatten(0, 1), answers.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    numbers, letters, answers = as_tensors(cards(1000, length, seed=1_000_000 + seed))
    with torch.no_grad():
        right = (net(numbers, letters).argmax(-1) == answers).double().mean().item()
    return net, right


# %% train
lengths, seeds, steps = (2, 4, 8, 16), range(3), 300 if course_size() == "small" else 2000
scores, readers = {}, {}
for build, length, seed in progress(
    [(b, n, s) for b in (AttentionReader, FixedVectorReader) for n in lengths for s in seeds],
    "readers",
):
    reader, right = train_reader(build, length, seed, steps)
    scores.setdefault((build.__name__, length), []).append(right)
    readers[build.__name__, length, seed] = reader
for (name, length), found in scores.items():
    each = ", ".join(f"{value:.1%}" for value in found)
    print(f"{name:18s} {length:2d} cards: {np.mean(found):6.1%} of letters right ({each})")

# %% train
figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
for name, style, marker in (("AttentionReader", "-", "o"), ("FixedVectorReader", "--", "s")):
    colour = "#0b6aa2" if name == "AttentionReader" else "#b34700"
    axis.plot(lengths, [np.mean(scores[name, n]) for n in lengths], style, color=colour, label=name)
    for seed in seeds:
        axis.plot(
            lengths, [scores[name, n][seed] for n in lengths], marker, color=colour, alpha=0.5
        )
axis.axhline(1 / 26, color="0.5", linestyle=":", linewidth=1)
axis.text(2, 1 / 26 + 0.02, "guessing", fontsize=9, color="0.3")
axis.set(xlabel="cards", ylabel="letters read rightly", xticks=lengths, ylim=(0, 1.05))
axis.legend(frameon=False)
plt.close(figure)
show_static(
    figure,
    alt="Share of letters read rightly against the number of cards, three seeds each. Attention stays "
    "near 1 at all lengths; the fixed vector falls steeply with length.",
)

# %% [markdown] lang="en"
# Attention reads everything, at every length. The fixed vector reads two cards, most of four, and with eight or sixteen it is no better
# than somebody who says the row's most frequent letter at every step:

# %% train
for length in lengths:
    frequent = np.mean([np.bincount(row).max() / length for row in cards(5000, length).letters])
    print(
        f"{length:2d} cards: the most frequent letter is {frequent:.1%} of all letters of its row"
    )

# %% [markdown] lang="en"
# Nothing in principle keeps 64 numbers from holding 16 letters. But they must be packed and unpacked again, and gradient descent has to
# find out how, anew for every length. Given time it gets further: after 2,000 steps in place of 300 (`COURSE_SIZE=full`) the fixed vector
# reads about two thirds of eight cards. An LSTM (chapter 07) that reads card after card and hands over its last state reads two thirds of
# four cards and a fifth of eight, in 300 steps with one seed; other seeds, and more steps, read more. How the vector is made matters, and the
# length catches up with it. With attention nothing has to be packed.
#
# And the alignment? It was never shown. Here is what the trained reader looks at, for 8 cards it has not seen; a frame marks the card that
# it *should* look at.

# %% train
reader, row = readers["AttentionReader", 8, 0], cards(1, 8, seed=77)
numbers, letters, _ = as_tensors(row)
with torch.no_grad():
    weights = reader.look(numbers, letters)[1][0].cpu()
show_static(
    draw_map(
        weights.numpy(),
        [f"step {t + 1}" for t in range(8)],
        [f"{n + 1}{LETTERS[c]}" for n, c in zip(row.numbers[0], row.letters[0], strict=True)],
        marked=row.places[0],
        column_label="at this card",
        row_label="this step looks",
    ),
    alt="Weights of a trained reader: eight steps by eight shuffled cards. In each row nearly all "
    "weight lies on one card, which is framed: the one with the step's number.",
)

# %% train
hits, mass = [], []
for seed in seeds:
    numbers, letters, answers = as_tensors(test := cards(500, 16, seed=2_000_000 + seed))
    with torch.no_grad():
        weights = readers["AttentionReader", 16, seed].look(numbers, letters)[1].cpu()
    places = torch.from_numpy(test.places)
    hits.append((weights.argmax(-1) == places).double().mean().item())
    mass.append(weights.gather(2, places[..., None]).mean().item())
print(f"16 cards: the largest weight lies on the right card in {np.mean(hits):.1%} of steps,")
print(f"which gets {np.mean(mass):.1%} of all weight on average (guessing: {1 / 16:.1%})")

# %% [markdown] lang="en"
# Here one may say that the weights *explain* the answer, because we know the right alignment and can count. Elsewhere one should be
# careful: in a deep network a place may hold what came from anywhere, and a large weight on a small value moves nothing. Chapter 17
# measures what attention maps explain.
#
# Try a word of your own. It needs no more cards than the reader knows numbers, and it may have fewer: attention does not care how many
# there are.


# %% train
def read_word(word, seed=0):
    """Shuffle the letters of a word onto numbered cards and let the reader of 16 cards read them."""
    codes = torch.tensor([LETTERS.index(c) for c in word.lower() if c in LETTERS][:16])
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(codes)))
    with torch.no_grad():
        logits = readers["AttentionReader", 16, 0](
            order[None].to(device), codes[order][None].to(device)
        )
    laid = " ".join(f"{n + 1}{LETTERS[c]}" for n, c in zip(order, codes[order], strict=True))
    print(f"{laid}  →  {''.join(LETTERS[c] for c in logits[0].argmax(-1))}")


read_word("attention")

# %% [markdown] lang="en"
# ## 9 · What it costs
#
# Every query meets every key: $T^2$ scores for a sentence of T tokens, each a sum of D products. Twice the length, four times the work. And
# the table of weights has to be kept for the way back. **Predict:** 4,096 tokens, 8 heads, one sentence, float32 (4 bytes a number). How
# large is the table, in MiB ($2^{20}$ bytes)?

# %% predict="table_size"
# A number of MiB. (4096 = 2**12.)
table_guess = ...

# %%
predict.reveal(
    "attention.table_size",
    guess=table_guess,
    truth=8 * 4096 * 4096 * 4 // 2**20,
    because="2**3 heads, 2**24 pairs, 2**2 bytes: 2**29 bytes. And that for each layer, and each sentence of the batch.",
)

# %% [markdown] lang="en"
# ### Without the table
#
# Must the table exist? The answer to a query is a mean, and a mean can be computed while the numbers come in. The difficulty is the
# softmax, which wants the largest score before it starts. Here is the idea that made long texts affordable: keep the largest score **so
# far**, and when a larger one turns up, shrink what has been added up. For each query keep three things:
#
# | name | shape | after some of the keys |
# | --- | --- | --- |
# | `maximum` | (..., Tq) | $m$, the largest score so far |
# | `total` | (..., Tq) | $\sum_j e^{s_j - m}$ over the keys so far |
# | `mixed` | (..., Tq, Dv) | $\sum_j e^{s_j - m}\, v_j$ over the keys so far |
#
# When a new block of keys brings the maximum to $m'$, everything that was taken relative to $m$ is multiplied by $e^{m - m'}$, and the
# block's own share is added. At the end, `mixed / total` is the attention. Before the first block, $m = -\infty$ and both sums are 0.


# %% exercise="absorb" minutes=20 level=3
def absorb(state, query, key, value):
    """Take a block of keys and values into account.

    state: (maximum (..., Tq), total (..., Tq), mixed (..., Tq, Dv)), in the beginning (-inf, 0, 0)
    query (..., Tq, D), key (..., Tk, D), value (..., Tk, Dv): scores are q·k/√D, as ever
    → the new state, a tuple of three. The old one is left as it was.

    >>> start = (torch.tensor([-math.inf]), torch.zeros(1), torch.zeros(1, 1))
    >>> one = absorb(start, torch.ones(1, 1), torch.tensor([[0.0], [0.0]]), torch.tensor([[2.0], [4.0]]))
    >>> one
    (tensor([0.]), tensor([2.]), tensor([[6.]]))
    >>> absorb(one, torch.ones(1, 1), torch.tensor([[math.log(2)]]), torch.tensor([[9.0]]))  # 2/2 + 1, 6/2 + 9
    (tensor([0.6931]), tensor([2.]), tensor([[12.]]))
    """
    ### BEGIN SOLUTION
    maximum, total, mixed = state
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])  # of this block alone
    higher = torch.maximum(maximum, scores.amax(dim=-1))
    shrink = torch.exp(maximum - higher)  # 1 where the maximum stands; 0 for the first block
    shares = torch.exp(scores - higher.unsqueeze(-1))
    total = shrink * total + shares.sum(dim=-1)
    mixed = shrink.unsqueeze(-1) * mixed + shares @ value
    return higher, total, mixed
    ### END SOLUTION


# %% check="absorb"
check("attention.absorb", absorb)

# %% [markdown] lang="en"
# Three ways to the same numbers: the formula, yours in blocks of 100, and torch's kernel.

# %%
torch.manual_seed(0)
query, key, value = (torch.randn(1, 4, 1000, 64) for _ in range(3))
by_formula, _ = attention(query, key, value)

state = (torch.full((1, 4, 1000), -math.inf), torch.zeros(1, 4, 1000), torch.zeros(1, 4, 1000, 64))
for keys_block, values_block in zip(key.split(100, dim=2), value.split(100, dim=2), strict=True):
    state = absorb(state, query, keys_block, values_block)
in_blocks = state[2] / state[1].unsqueeze(-1)

by_kernel = F.scaled_dot_product_attention(query, key, value)
print(f"formula and blocks: largest difference {(by_formula - in_blocks).abs().max():.1e}")
print(f"formula and kernel: largest difference {(by_formula - by_kernel).abs().max():.1e}")

inputs = [each.clone().requires_grad_() for each in (query, key, value)]
slopes = [
    torch.autograd.grad(work(*inputs).square().sum(), inputs)
    for work in (lambda q, k, v: attention(q, k, v)[0], F.scaled_dot_product_attention)
]
worst = max((a - b).abs().max() / a.abs().max() for a, b in zip(*slopes, strict=True))
print(f"their slopes: largest difference {worst:.1e} of the largest slope")

# %% [markdown] lang="en"
# On a GPU this is called **FlashAttention** (Dao et al., 2022): the blocks are small enough for the fast memory next to the arithmetic, and
# the table never travels. torch's `scaled_dot_product_attention` does the like, on the processor too. On the way back it computes the
# scores once more, from the maximum and the sum that it kept: more arithmetic, less memory.
#
# ### Measured: 64 to 4,096 tokens
#
# Forward and backward, one head of width 64: the time, and the bytes that autograd keeps for the way back (inputs included). On a log-log
# plot a power law is a straight line whose slope is the exponent, so we fit one through the lengths from 512 on, where the fixed costs no
# longer count.

# %% train
tokens = (64, 128, 256, 512, 1024, 2048, 4096)
ways = {"formula": lambda q, k, v: attention(q, k, v)[0], "kernel": F.scaled_dot_product_attention}
seconds, kept = {name: [] for name in ways}, {name: [] for name in ways}


def differentiate(way, inputs):
    return torch.autograd.grad(way(*inputs).sum(), inputs)


for count in progress(tokens, "lengths"):
    inputs = [torch.randn(1, 1, count, 64, device=device, requires_grad=True) for _ in range(3)]
    there = {name: partial(way, *inputs) for name, way in ways.items()}
    there_and_back = {name: partial(differentiate, way, inputs) for name, way in ways.items()}
    short = count <= 512
    clocks = median_seconds(there_and_back, rounds=20 if short else 3, warm_up=int(short))
    for name in ways:
        seconds[name].append(clocks[name])
        kept[name].append(saved_bytes(there[name]))
print("tokens   formula: ms      MiB     kernel: ms      MiB")
for i, count in enumerate(tokens):
    pairs = [(seconds[name][i] * 1e3, kept[name][i] / 2**20) for name in ways]
    print(
        f"{count:6d}   {pairs[0][0]:11.2f} {pairs[0][1]:8.2f}   {pairs[1][0]:11.2f} {pairs[1][1]:8.2f}"
    )
for name in ways:
    time_law, memory_law = (power_law(tokens[3:], costs[name][3:]) for costs in (seconds, kept))
    print(
        f"{name}: time grows like T^{time_law.exponent:.2f}, memory like T^{memory_law.exponent:.2f}"
    )

# %% train
figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
for axis, costs, label in zip(axes, (seconds, kept), ("seconds", "bytes kept"), strict=True):
    for name, style, colour in (("formula", "o-", "#b34700"), ("kernel", "s--", "#0b6aa2")):
        axis.loglog(tokens, costs[name], style, color=colour, label=name)
    axis.set(xlabel="tokens", ylabel=label, xticks=(64, 256, 1024, 4096))
    axis.set_xticklabels(("64", "256", "1,024", "4,096"))
    axis.minorticks_off()
axes[0].legend(frameon=False)
plt.close(figure)
show_static(
    figure,
    alt="Two logarithmic plots against the number of tokens. Time grows about quadratically for both. "
    "Bytes kept grow quadratically for the formula and linearly for the kernel.",
)

# %% [markdown] lang="en"
# What is kept is not yet all that is in use. A benchmark of the course (`benchmarks/attention.py`) has watched the process itself; here are
# its stored figures:

# %%
costs = stored("cpu")
print(f"{costs.machine}, {costs.date}; {costs.shape}")
for way in ("formula", "kernel"):
    most = costs.peak_bytes[way][-1] / 2**20
    exponent = costs.law("peak_bytes", way).exponent
    print(
        f"{way}: at most {most:.0f} MiB in use at {costs.tokens[-1]:,} tokens, growing like T^{exponent:.2f}"
    )

# %% [markdown] lang="en"
# The **memory** of the kernel grows with the length alone, that of the formula with its square. The **multiplications** of both grow with
# the square. The clock says so only roughly, and the kernel is not the faster one at every length. No trick of bookkeeping avoids looking at $T^2$ pairs; who wants to must
# leave some out, or compute something else.
#
# Is attention "more efficient" than a recurrent network, as one of the articles says? Count the multiplications for T tokens of width W. A
# plain recurrent cell takes $2TW^2$, an LSTM $8TW^2$; self-attention takes $4TW^2$ for its four maps and $2T^2W$ for scores and mixtures.
# So it is cheaper than an LSTM as long as the text is shorter than twice the width, and dearer after that: in the end the square has the
# last word. What it has in any case: all tokens at once, where recurrence must go step by step, and one step between any two words.

# %% [markdown] lang="en"
# ## Common mistakes, by symptom
#
# | you see | probably | do |
# | --- | --- | --- |
# | NaN in the weights | a row of the mask is empty, and -inf was used | a finite lowest number, and zeros afterwards |
# | a right output, and NaN in all gradients | the same, written over afterwards | keep the NaN from coming into being |
# | training loss falls to nearly 0, generated text is nonsense | the model sees the next token: no causal mask, or the wrong way round | change a later token; nothing earlier may change |
# | generation differs from a pass over the whole text | `is_causal=True` with fewer queries than keys | a mask that ends in the lower right corner |
# | a model attends only to padding | True means "may not" there | say the sentence aloud; look at the table above |
# | right shapes, and nothing is learnt | heads cut by a `view` without exchanging axes | try it on `torch.arange` |
# | weights add up to 1 over a column | softmax over the wrong axis | `dim=-1`, the keys |
# | answers change with the padding of the *others* in the batch | the padding mask is missing | compare a sentence alone and in a batch |
# | weights near 1 and 0 from the start, slow learning | no root, or the root of the wrong width | the width of what is multiplied |
# | all rows of a map alike | the queries do not differ: their bias outweighs them, or all scores are near 0 | look at the queries' spread over the words |
# | word order has no effect | no positions | chapter 09 |
# | out of memory at twice the length | the table, times heads, layers and batch | `scaled_dot_product_attention` |

# %% [markdown] lang="en"
# ## Questions from the source articles
#
# **Is the input turned into "a vector of fixed length"?** One article begins its Transformer so. No: each token becomes a vector, so a
# sentence of T tokens becomes T vectors, and longer sentences become more of them. A vector of fixed length for the whole sentence is what
# attention *did away with*; section 8 shows the difference.
#
# **Does self-attention compute "the importance of each word"?** The same article. It computes, for each word, how much it takes from every
# other: a table, not a list. Only a head whose queries are all the same gives a list.
#
# **Are the weights multiplied with the input?** In its text, yes; in its formula, with $V$. The formula is right: values are a learnt map
# of the input. Keys say how a word wants to be found, values what it has to say, and those may differ.
#
# **Is softmax($QK^\top$) enough?** You measured it: at width 64 the raw scores have a spread of 8. The root keeps the start of training
# independent of the width.
#
# **What does the softmax normalise?** One article says: the inner products of query and key, so that the weights are divided up. Right, and
# to be added: along the keys, for each query on its own.
#
# **Is multi-head attention "several self-attentions combined"?** Nearly. Each has its own maps to a narrower space, which the article
# leaves out of its formula, and their results are joined and mapped once more. Without maps of their own all heads would be the same.
#
# **Does attention capture long-range dependencies?** It gives every pair of words a path of one step. Whether the model learns to use it is
# another matter, and without positions it does not know what is long-range.

# %% [markdown] lang="en"
# ## Bonus: with a mask, in blocks
#
# (Not graded.) Give `absorb` a causal mask. A block that lies wholly in the future can be skipped, one wholly in the past needs no mask;
# only those on the diagonal do. About how much of the work does that save for a long text? And what happens to the maximum of a row that
# has seen nothing yet?
#
# <details><summary>An answer</summary>
#
# Nearly half: of the table only the lower triangle remains, and the blocks on the diagonal. A row that has seen nothing has maximum -inf;
# if the block's maximum is -inf as well, the shrinking factor is exp(-inf + inf), which is NaN. Skip the block, or put a finite lowest
# number in place of -inf.
# </details>

# %%
# Yours to try.

# %% [markdown] lang="en"
# ## What you have now
#
# Every piece lives on in `course_lib.nn.attention` (`scores`, `masks`, `scaled`, `multihead`, `streaming`), where the layer calls torch's
# kernel. **Next:** chapter 09 puts attention, positions, normalisation and a small network together, many layers deep: the Transformer.
#
# *Further reading:* Bahdanau, Cho & Bengio, "Neural machine translation by jointly learning to align and translate", ICLR (2015). Luong,
# Pham & Manning, "Effective approaches to attention-based neural machine translation", EMNLP (2015). Vaswani et al., "Attention is all you
# need", NeurIPS (2017). Milakov & Gimelshein, "Online normalizer calculation for softmax" (2018). Dao et al., "FlashAttention", NeurIPS
# (2022). Jain & Wallace, "Attention is not explanation", NAACL (2019), and Wiegreffe & Pinter, "Attention is not not explanation", EMNLP
# (2019).
