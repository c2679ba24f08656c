# Chapter 01, the one source. `course build` makes the student notebook from it; see the README for the header keys.
# %% [markdown] lang="en"
# # 01 · What is a large model?
#
# How many adjustable numbers has BERT, a language model of 2018 that search engines put to work? This course grew out of five articles on
# large models, which we call *the source articles* (you need not have them). One of them says: **tens of billions**. Another says that
# large models have **millions to hundreds of millions** of such numbers. They can't both be right, and perhaps neither is.
#
# You need not believe anybody. The number follows from a model's *shape*, and after this chapter you can count it to the last digit, with
# pencil and paper if need be. From the same few lines follow the memory that training takes, the arithmetic, and the bill.
#
# At the end of this chapter you can
#
# - compute what a neuron, a layer and a small network answer, and say what a hidden layer is good for;
# - count the parameters of the four kinds of network that this course is about, equal to the last digit to what PyTorch counts;
# - say what fills the memory of a machine that trains a model, and whether a model fits;
# - turn "a model with N parameters that read D tokens" into operations, days and dollars;
# - read a comparison of methods, and say when a large model is the wrong tool.
#
# **The exercises take about an hour and a half, the reading one more hour**; good places to stop are after sections 3 and 5. **You need**
# Python, NumPy arrays and school mathematics. Nothing is trained by your own hand yet: chapter 03 does that.
#
# Every exercise ends with a `check(...)` cell: run the cell with your code, then the check. It shows which cases are right and, where one
# is not, what is wrong. Run it as often as you like. Where a cell asks you to **predict**, write your guess down before you run on; a wrong
# guess costs nothing, and it is the quickest way to learn.

# %%
import itertools
import time

import numpy as np

from autograder import check, predict, progress_board
from course_lib.data import digits
from course_lib.interactive import (
    digit_grid,
    fence,
    methods_over_splits,
    scale_explorer,
    show,
    show_static,
    sizes,
)
from course_lib.scale.hardware import A100, H100, matmul_flops_per_second
from course_lib.scale.models import BERT_BASE, BERT_LARGE, GPT2, GPT2_XL, GPT3, LLAMA_7B

progress_board("large_models")

# %% [markdown] lang="en"
# ## 1 · One neuron
#
# We start with a small model, and keep it by us to compare the large ones with. It reads handwritten digits: 1,797 pictures of 8 × 8 pixels
# that come with scikit-learn. Every picture is a row of 64 numbers between 0 (paper) and 1 (ink). 359 of them we hold back; a model is
# judged on those, because it could know the others by heart.

# %%
split = digits(seed=0)
x_train, y_train, x_test, y_test = split.x_train, split.y_train, split.x_test, split.y_test
print(split)

show_static(
    digit_grid(x_train[:10], titles=[str(label) for label in y_train[:10]]),
    alt="Ten handwritten digits, eight by eight grey pixels each, with their labels above.",
)

# %% [markdown] lang="en"
# A **neuron** (or *unit*) takes some numbers in and gives one number out. It multiplies each input by a **weight** of its own, adds
# everything up, adds one more number, the **bias**, and lets the result through only if it is positive:
#
# $$ h = \max\Bigl(0,\ \sum_i x_i\, w_i + b\Bigr). $$
#
# | symbol | in code | shape | what it is |
# | --- | --- | --- | --- |
# | $x$ | `x` | (D,) | the D inputs |
# | $w$ | `weight` | (D,) | how much each input counts, and for or against |
# | $b$ | `bias` | one number | how easily the neuron speaks up |
# | $h$ | the result | one number | 0, or how strongly it speaks up |
#
# Weights and biases are the **parameters**: the numbers that training adjusts. "Set everything negative to 0" is called **ReLU**. It has no
# parameter, and section 3 shows why nothing works without it (or some other bend).
#
# One of the source articles calls a neural network a model that *imitates* how the neurons of the brain are wired and work. The name comes
# from there, and the formula above is all of it. A nerve cell has a life in time, fires in pulses, and is far more complicated. (The same
# article counts nodes and the connections between them, and forgets the biases. We will not.)


# %% exercise="neuron" minutes=5 level=1
def neuron(x, weight, bias):
    """What one neuron answers.

    x (D,): inputs; weight (D,); bias: a number → one number, never below 0. The inputs are left as they were.

    >>> float(neuron(np.array([1.0, 2.0]), np.array([3.0, 0.5]), -1.0))  # 1·3 + 2·0.5 - 1
    3.0
    >>> float(neuron(np.array([1.0, 2.0]), np.array([3.0, 0.5]), -9.0))
    0.0
    """
    ### BEGIN SOLUTION
    return max(0.0, x @ weight + bias)
    ### END SOLUTION


# %% check="neuron"
check("large_models.neuron", neuron)

# %% [markdown] lang="en"
# <details><summary>How do I add up products?</summary>
#
# For two arrays of the same length, <code>x * weight</code> multiplies them number by number and <code>x @ weight</code> adds up those
# products as well. <code>max(0.0, z)</code> gives the larger of two numbers.
# </details>
#
# What can one neuron tell? Let us build one by hand that looks for zeros: ink in a ring speaks for it, ink in the middle against it. We
# take as weights *the average picture of a 0 minus the average picture of all digits*, and choose the bias by
# trying, on the training pictures.

# %%
template = x_train[y_train == 0].mean(axis=0) - x_train.mean(axis=0)
answers = np.array([neuron(picture, template, -1.5) for picture in x_test])
speaks = answers > 0
print(f"speaks up for {np.mean(speaks[y_test == 0]):.0%} of the zeros it has never seen,")
print(f"and for {np.mean(speaks[y_test != 0]):.1%} of the other digits")

show_static(
    digit_grid(
        np.stack([np.maximum(template, 0), np.maximum(-template, 0)]), ["for", "against"], 2
    ),
    alt="Two pictures of weights. For a zero speaks ink in a ring; against it speaks ink in the middle.",
)

# %% [markdown] lang="en"
# Not bad for 65 numbers that nobody trained. But this is what a neuron is: a template, held against the picture. It can weigh and add, and
# no more.

# %% [markdown] lang="en"
# ## 2 · A layer, and another one
#
# A **layer** is many neurons that look at the same inputs. Write the weights of neuron $j$ into *column* $j$ of a table $W$, and let N
# pictures be the N *rows* of a table $x$. Then one matrix product does them all,
#
# $$ h = \max(0,\ x\,W + b), \qquad h_{nj} = \max\Bigl(0,\ \sum_i x_{ni}\, W_{ij} + b_j\Bigr), $$
#
# with $x$ (N, D), $W$ (D, H), $b$ (H,) and $h$ (N, H): row $n$ of the result is what the H neurons say about picture $n$.


# %% exercise="layer" minutes=8 level=1
def layer(x, weight, bias):
    """What H neurons answer to each of N rows.

    x (N, D); weight (D, H), one column for each neuron; bias (H,) → (N, H), nothing in it below 0.
    The inputs are left as they were.

    >>> x = np.array([[1.0, 2.0], [0.0, 1.0]])
    >>> layer(x, np.array([[3.0, -1.0], [0.5, 1.0]]), np.array([-1.0, 0.0]))
    array([[3., 1.],
           [0., 1.]])
    """
    ### BEGIN SOLUTION
    return np.maximum(x @ weight + bias, 0)
    ### END SOLUTION


# %% check="layer"
check("large_models.layer", layer)

# %% [markdown] lang="en"
# <details><summary>"operands could not be broadcast together"</summary>
#
# The inner sizes of <code>@</code> must agree: (N, D) @ (D, H) gives (N, H). Then <code>+ bias</code> adds (H,) to every row.
# </details>
#
# <details><summary>max() complains that "the truth value of an array is ambiguous"</summary>
#
# Python's <code>max</code> wants one number. <code>np.maximum(z, 0)</code> compares each number of an array with 0.
# </details>
#
# A **network** is a chain of layers: what one gives out is what the next takes in. Layers between the input and the last one are called
# **hidden**; a network with several of them is called **deep**. The last layer gives one *score* for each digit, without ReLU, and the
# largest score is the answer.
#
# Where do good weights come from? For now scikit-learn finds them, from the 1,438 training pictures. *You* compute what the trained network
# answers.


# %%
def network(x, weights, biases):
    """x (N, D) through a chain of layers, ReLU after each but the last → scores (N, K)."""
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        x = layer(x, weight, bias)
    return x @ weights[-1] + biases[-1]


# %%
import warnings

from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

warnings.simplefilter("ignore", ConvergenceWarning)  # a remark on each search that ends early
trained = MLPClassifier((64,), learning_rate_init=0.003, random_state=0).fit(x_train, y_train)
weights, biases = trained.coefs_, trained.intercepts_
print("shapes:", [weight.shape for weight in weights], [bias.shape for bias in biases])

read = network(x_test, weights, biases).argmax(axis=1)
print(f"your forward pass reads {np.mean(read == y_test):.1%} of the held-out digits rightly")
print(
    "pictures that you and scikit-learn read differently:",
    int((read != trained.predict(x_test)).sum()),
)

# %% [markdown] lang="en"
# That is all that a network *does*. Everything you have heard of (chat programs, translators, picture generators) answers by running
# numbers through layers of this kind, with three or four other simple parts between them. What is hard is finding the weights, and that is
# what most of this course is about.

# %% [markdown] lang="en"
# ## 3 · What the hidden layer is for
#
# Here is a task that no template can do: tell the points of a disc from those of a ring around it. One neuron draws a straight line, and
# no straight line has the disc on one side and the ring on the other.
#
# A hidden layer of H neurons draws H lines, and gives each point H new coordinates: how far it lies beyond each line, times the length of
# that neuron's $w$ (0 if it does not lie beyond).
# The last layer draws *its* straight line in those new coordinates. **Predict:** how many hidden neurons does it take, at least, to fence
# the disc in?

# %% predict="disc_units"
# A whole number.
units_guess = ...


# %%
def disc_and_ring(count, seed):
    """count points: label 0 within half a unit of the centre, label 1 between 1.3 and 1.6 away from it."""
    rng = np.random.default_rng(seed)
    labels, angle = np.arange(count) % 2, rng.uniform(0, 2 * np.pi, size=count)
    radius = np.where(labels, rng.uniform(1.3, 1.6, count), 0.5 * np.sqrt(rng.uniform(0, 1, count)))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), labels


points, ring = disc_and_ring(400, seed=0)
fits = {}
for units in (1, 2, 3, 4, 8):
    runs = [
        MLPClassifier((units,), solver="lbfgs", max_iter=1000, random_state=start).fit(points, ring)
        for start in range(60)
    ]
    shares = [run.score(points, ring) for run in runs]
    fits[units] = runs[int(np.argmax(shares))], max(shares)
    perfect = sum(share == 1 for share in shares)
    print(
        f"{units} hidden: best of 60 starts {max(shares):6.1%}, all points right in {perfect:2d} of 60"
    )

# %%
predict.reveal(
    "large_models.disc_units",
    guess=units_guess,
    truth=min(units for units, (_, share) in fits.items() if share == 1),
    because="Three lines make a triangle; two only make a wedge, which is open on one side.",
)

# %% [markdown] lang="en"
# Look at the last column as well. Three *can* do it, but from about half of the starts the search for the weights does not find it; with
# four it finds it from most, with eight from practically all. Being able to **represent** an answer and being able to **find** it are
# different things. Part of what size buys is that finding becomes easy.
#
# Left, the three lines that the best network of three neurons has drawn. A line is where its neuron *begins* to speak up, so it may cut a
# little off the disc. The fence itself is dashed: there the last layer's score is 0, and it follows the lines some way off. Right, each point
# at its score: the two kinds, one inside the other before, now lie apart, and a single threshold tells them.

# %%
best = fits[3][0]
scores = network(points, best.coefs_, best.intercepts_)[:, 0]
show_static(
    fence(
        points,
        ring,
        best.coefs_[0],
        best.intercepts_[0],
        scores,
        names=("disc", "ring"),
        score=lambda places: network(places, best.coefs_, best.intercepts_)[:, 0],
    ),
    alt="Left: a disc of points inside a ring of points, three lines, and a dashed fence that follows them round the disc. "
    "Right: all points along one axis, those of the disc on one side of zero, those of the ring on the other.",
)

# %% [markdown] lang="en"
# The new coordinates are a **representation** of the point, and a learned one: nobody told the network which lines to draw. This is what
# sets deep learning apart from the older way, in which a person invented the features and only the last step was learned. In a deep network
# each layer represents the input anew, in a form in which the next has an easier task.
#
# One of the source articles adds that these features are *low-dimensional*. Sometimes; here it is the reverse. The point had 2 coordinates
# and got 3, and a layer of 2 such neurons could not have done it. Our digit reader turns 64 pixels into 64 numbers, and BERT turns the 768
# numbers of a word into 3,072 and back, in each of its 12 layers. What makes a representation good is that it makes the next step simple,
# not that it is small.
#
# **And without the ReLU?** Two layers without a bend, $(xW_1 + b_1)W_2 + b_2$, are $x\,(W_1 W_2) + (b_1 W_2 + b_2)$: one layer, with other
# numbers in it. A hundred layers without bends draw one straight line.

# %% [markdown] lang="en"
# ## 4 · Count
#
# A layer with D inputs and H neurons has a weight for every pair and a bias for every neuron: $D \cdot H + H$. Nothing else in a network of
# such layers (an **MLP**, multi-layer perceptron) is adjustable.


# %% exercise="mlp_params" minutes=6 level=1
def mlp_params(sizes):
    """The number of weights and biases in a chain of layers.

    sizes: (inputs, neurons of the first layer, …, neurons of the last), at least two whole numbers → a whole number, exact

    >>> mlp_params([64, 64, 10])  # our digit reader
    4810
    """
    ### BEGIN SOLUTION
    return sum(inputs * outputs + outputs for inputs, outputs in itertools.pairwise(sizes))
    ### END SOLUTION


# %% check="mlp_params"
check("large_models.mlp_params", mlp_params)

# %% [markdown] lang="en"
# <details><summary>How do I get neighbouring pairs?</summary>
#
# <code>itertools.pairwise([64, 32, 10])</code> gives (64, 32) and (32, 10). A loop over <code>range(len(sizes) - 1)</code> does as well.
# </details>
#
# 4,810 numbers read 64 pixels. A small photo, 224 × 224 pixels in three colours, has 150,528 numbers. A first layer of 1,000 neurons on it:

# %%
print(f"{mlp_params([224 * 224 * 3, 1000]):,} parameters, in one layer")

# %% [markdown] lang="en"
# And it would have to learn what an eye looks like once for every place where an eye can be. An MLP shares nothing. The other families of
# networks are three ways to **share** weights, and that is how they got large without getting hopeless:
#
# | family | what it is for | what shares weights | chapter |
# | --- | --- | --- | --- |
# | **MLP** | tables, and as a part of everything else | nothing | 03 |
# | **CNN** (convolutional) | pictures | all *places* of the picture | 06 |
# | **RNN** (recurrent), LSTM | sequences, read one after the other | all *steps* of the sequence | 07 |
# | **Transformer** | sequences, read all at once | all *positions* of the sequence | 08, 09 |
#
# ### A convolution
#
# A convolution lays one small template, the **kernel**, on every place of the picture. Its input has $C_{in}$ channels (3 for a colour
# picture), and for each of its $C_{out}$ output channels it has a kernel of $C_{in} \times K \times K$ weights and one bias. **Predict:**
# the picture becomes twice as high and twice as wide. How many times as many parameters has the convolution then?
#
# (PyTorch, in code `torch`, is the library that most large models are written in. Chapter 05 introduces it; in this chapter it only
# counts.)

# %% predict="picture_size"
# A number.
picture_guess = ...

# %%
import torch

counts = []
for side in (112, 224):
    kernel_on_picture = torch.nn.Conv2d(3, 64, kernel_size=7, padding=3)
    shape_out = tuple(kernel_on_picture(torch.zeros(1, 3, side, side)).shape)
    counts.append(sum(parameter.numel() for parameter in kernel_on_picture.parameters()))
    print(f"{side} × {side}: {counts[-1]:,} parameters; the output has shape {shape_out}")
predict.reveal(
    "large_models.picture_size",
    guess=picture_guess,
    truth=counts[1] / counts[0],
    because="The same kernels serve every place. What grows fourfold is the work: there are four times as many places.",
)

# %% [markdown] lang="en"
# So parameters and work part company here, and you should count both. (The picture's edge is padded with zeros, so that there are as many
# places as pixels.)


# %% exercise="conv_cost" minutes=10 level=2
def conv_cost(in_channels, out_channels, kernel, height, width):
    """What a convolution has, and what it does.

    kernel: side K of its kernels; height, width: of the picture, and of the output too
    → (parameters, multiplications), two whole numbers; additions are not counted

    >>> conv_cost(3, 64, 7, 224, 224)  # like ResNet's first layer, but with biases and at every place
    (9472, 472055808)
    """
    ### BEGIN SOLUTION
    weights = out_channels * in_channels * kernel * kernel
    return weights + out_channels, weights * height * width
    ### END SOLUTION


# %% check="conv_cost"
check("large_models.conv_cost", conv_cost)

# %% [markdown] lang="en"
# <details><summary>The parameters are right, the multiplications are not</summary>
#
# Count for one place: every weight is used once, so there are as many multiplications as weights. A bias is only added. Then there are
# height × width places.
# </details>
#
# ### A recurrent network: the LSTM
#
# An LSTM reads a sequence step by step and carries two rows of H numbers along: its **memory**, and its **state**, which is what it shows
# of the memory. At every step, four small layers look at the current input (D numbers) *and* at the state: three **gates** (what to forget,
# what to write, what to show) and the new content. Each of the four has weights for the input, weights for the state, and biases for its H
# outputs. PyTorch keeps *two* rows of biases, one with either table; one would do, and Keras, another library, keeps one. LSTMs can be
# stacked: the second layer reads the state of the first.


# %% exercise="lstm_params" minutes=12 level=2
def lstm_params(inputs, hidden, layers, biases):
    """The parameters of a stack of LSTM layers.

    inputs: D, numbers that come in at each step; hidden: H, size of the state of each layer
    layers: how many are stacked; biases: rows of biases in each gate, 2 (PyTorch) or 1 (Keras) → a whole number

    >>> lstm_params(1, 1, 1, 2)  # four times: a weight, a weight, two biases
    16
    >>> lstm_params(3, 2, 1, 1)  # four times: 3 · 2 and 2 · 2 weights, 2 biases
    48
    """
    ### BEGIN SOLUTION
    total, width = 0, inputs
    for _layer in range(layers):
        gate = width * hidden + hidden * hidden + biases * hidden
        total += 4 * gate
        width = hidden  # what the next layer reads
    return total
    ### END SOLUTION


# %% check="lstm_params"
check("large_models.lstm_params", lstm_params)

# %% [markdown] lang="en"
# <details><summary>One layer is right, two are not</summary>
#
# The second layer does not see the D inputs. What comes in there is the state of the first layer, H numbers, so its four
# input tables are H × H, just as its four state tables are.
# </details>
#
# The length of the sequence does not occur: the same weights serve every step. (One of the source articles praises such networks for
# handling long-range dependencies. Chapter 07 measures how long "long" is.)
#
# ### A block of a Transformer
#
# Nearly all large models of today are stacks of one kind of **block**. A text is cut into **tokens** (words or pieces of words), each
# token is represented by $d$ numbers (the model's *width*), and a block turns them into $d$ new numbers each. It has just three kinds of
# parts:
#
# - **attention**, which lets tokens look at each other: four layers from $d$ to $d$ numbers (named query, key, value and output), all with
#   biases. Chapter 08 says what they do; for counting it is enough that there are four;
# - a **feed-forward** part, an MLP that every token goes through alone: $d \to h \to d$, with biases;
# - two **layer norms**, which keep the numbers in a reasonable range: each has a scale and a shift for each of the $d$ numbers.
#
# (Attention works in several *heads* side by side, each on its own part of the $d$ numbers. They share the width among them: 12 heads of 64
# numbers, or 6 of 128, need the same four tables.)


# %% exercise="block_params" minutes=10 level=2
def block_params(width, hidden):
    """The parameters of one block.

    width: d, numbers for each token; hidden: h, neurons in the middle of the feed-forward part → a whole number

    >>> block_params(1, 1)  # 4 · (1 + 1) for attention, (1 + 1) + (1 + 1) for the MLP, 2 · 2 for the norms
    16
    """
    ### BEGIN SOLUTION
    attention = 4 * (width * width + width)
    feed_forward = mlp_params([width, hidden, width])
    norms = 2 * 2 * width
    return attention + feed_forward + norms
    ### END SOLUTION


# %% check="block_params"
check("large_models.block_params", block_params)

# %% [markdown] lang="en"
# <details><summary>My count is off by a few thousand</summary>
#
# Divide the difference by the width. A difference of 2d: one norm. Of 4d: both norms, or the biases of attention. Of 5d with h = 4d: the
# biases of the feed-forward part. Of d² and a bit: one of the four tables of attention.
# </details>
#
# Now a whole model. **GPT-2** (2019) is a table with a row of $d$ numbers for each of 50,257 tokens, another with a row for each of 1,024
# positions, 12 blocks, and a last norm. To say which token comes next, it compares its result with the rows of the token table again, so
# that takes no new parameters.

# %%
gpt2_count = (
    (GPT2.vocabulary + GPT2.positions) * GPT2.width
    + GPT2.layers * block_params(GPT2.width, GPT2.hidden)
    + 2 * GPT2.width
)
print(GPT2)
print(f"GPT-2: {gpt2_count:,} parameters")

# %% [markdown] lang="en"
# That is the number that the library `transformers` reports for it, to the last digit. (Its paper says 117 million, and was wrong about its
# own model; the authors corrected that later.)
#
# Another of the source articles says that a large model has a *complex structure*. You have just counted one of them completely in three
# lines. The structure of large models is remarkably plain, the same block again and again, which is why one can make them so large.
#
# **Are your counts PyTorch's?** Its modules can be made on the device `meta`: with all their shapes, but without the numbers.

# %%
with torch.device("meta"):
    theirs = {
        "MLP 64-64-10": torch.nn.Sequential(
            torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)
        ),
        "convolution 3 → 64, 7 × 7": torch.nn.Conv2d(3, 64, 7),
        "LSTM 300 → 512, 2 layers": torch.nn.LSTM(300, 512, num_layers=2),
        "a block of GPT-2": torch.nn.TransformerEncoderLayer(768, nhead=12, dim_feedforward=3072),
        "a block of GPT-3": torch.nn.TransformerEncoderLayer(
            12288, nhead=96, dim_feedforward=49152
        ),
    }
yours = (
    mlp_params([64, 64, 10]),
    conv_cost(3, 64, 7, 224, 224)[0],
    lstm_params(300, 512, 2, 2),
    block_params(768, 3072),
    block_params(12288, 49152),
)
for (name, module), count in zip(theirs.items(), yours, strict=True):
    reported = sum(parameter.numel() for parameter in module.parameters())
    print(
        f"{name:26s} {count:15,} (yours)  {reported:15,} (torch)  {'equal' if count == reported else 'DIFFERENT'}"
    )

# %% [markdown] lang="en"
# And what does counting cost? Three ways to learn the size of one block, each five times, and the median: with your formula, by making the
# module without its numbers, and with them.

# %%
clocks = {"your formula": [], "torch, without numbers": [], "torch, with numbers": []}


def timed(name, work):
    start = time.perf_counter()
    work()
    clocks[name].append(time.perf_counter() - start)


for _turn in range(5):
    timed("your formula", lambda: block_params(768, 3072))
    timed(
        "torch, without numbers",
        lambda: torch.nn.TransformerEncoderLayer(768, 12, 3072, device="meta"),
    )
    timed("torch, with numbers", lambda: torch.nn.TransformerEncoderLayer(768, 12, 3072))
for name, seconds in clocks.items():
    print(f"one block of GPT-2, {name:23s} {np.median(seconds) * 1e6:9,.0f} µs")

# %% [markdown] lang="en"
# Now play. The figure starts as GPT-2. Three things to find out: **Which part grows** when you make the model wider, which when you make it
# deeper? At which of these sizes does the **token table** stop mattering? And what becomes of the memory (the right-hand side, explained in
# section 6) when the texts become 8 times as long? (The caption counts days for 20 tokens a parameter; that is about the best use of a
# given amount of arithmetic, says a study of 2022, Hoffmann et al.)
#
# <details><summary>What one finds</summary>
#
# Wider: attention and the feed-forward part grow with the <i>square</i> of the width, the two tables and the norms in proportion to it.
# Deeper: attention, the feed-forward part and the norms grow in proportion to the depth, the tables not at all. So the token table, 31% of
# GPT-2, is 5% at 48 layers of width 1,600, and 0.4% at 96 layers of width 12,288. With texts 8 times as long the activations of GPT-2 take
# 47 times as much: one of their two terms grows 64-fold. The parameters hardly change.
# </details>

# %% figure="scale_explorer" alt="Bars for a GPT whose depth, width, vocabulary and context you choose: its parameters by part, and the memory that training takes by kind."
show(scale_explorer())

# %% [markdown] lang="en"
# ## 5 · Has BERT tens of billions of parameters?
#
# So says one of the source articles, with GPT-3 and BERT as its examples. Here is a program that arrives at such a figure, by a plausible
# thought: *BERT reads texts of up to 512 tokens, and each of them goes through 12 blocks.* **BERT** is built of the same blocks as GPT-2.
# Before them it adds up *three* tables (a row for each token, for each position, and for each of two segments, "first text" and "second
# text") and norms the sum; after them, a layer from $d$ to $d$ numbers, the *pooler*, makes something of the first token. **Run the
# program, find the thought that is wrong, and mend it.**


# %% exercise="mend_bert_params" minutes=8 level=2
def mend_bert_params(vocabulary, positions, segments, width, hidden, layers):
    """The parameters of BERT, without the last layer (a "head") that a particular task would add.

    vocabulary, positions, segments: rows of the three tables; width: d
    hidden: h of the feed-forward part; layers: blocks → a whole number
    """
    ### BEGIN SOLUTION
    tables = (vocabulary + positions + segments) * width
    norm = 2 * width
    attention = 4 * (width * width + width)
    feed_forward = width * hidden + hidden + hidden * width + width
    block = attention + feed_forward + 2 * norm
    pooler = width * width + width
    return tables + norm + layers * block + pooler  # the same blocks serve every position
    ### ELSE BROKEN
    # tables = (vocabulary + positions + segments) * width
    # norm = 2 * width
    # attention = 4 * (width * width + width)
    # feed_forward = width * hidden + hidden + hidden * width + width
    # block = attention + feed_forward + 2 * norm
    # pooler = width * width + width
    # return tables + norm + positions * layers * block + pooler
    ### END SOLUTION


# %%
bert_count = mend_bert_params(30_522, 512, 2, 768, 3072, 12)
print(f"BERT-base: {bert_count:,}")

# %% check="mend_bert_params"
check("large_models.mend_bert_params", mend_bert_params)

# %% [markdown] lang="en"
# The program as found says 43,572,313,344: "tens of billions" indeed. It gave every position blocks of its own, and so forgot what makes a
# Transformer a Transformer: all positions share them, just as all places of a picture share a kernel. (What does grow with the length of
# the text is the *work*, and the memory for it.) The right count is 109,482,240, four hundred times less.
#
# So who is large? Seven models, counted with the functions that you wrote. (You may skip the next two cells and go on to the result: they
# are long only because ResNet-50 and Llama each have small print of their own.)


# %%
def resnet50_count():
    """ResNet-50 (2015): convolutions without biases, each with a scale and a shift for each channel.

    One layer at the end.
    """

    def convolution(channels_in, channels_out, kernel):
        return (
            conv_cost(channels_in, channels_out, kernel, 1, 1)[0] + channels_out
        )  # the bias is the shift; one more, the scale

    total, channels = convolution(3, 64, 7), 64
    for narrow, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            total += (
                convolution(channels, narrow, 1)
                + convolution(narrow, narrow, 3)
                + convolution(narrow, 4 * narrow, 1)
            )
            total += (
                convolution(channels, 4 * narrow, 1) if block == 0 else 0
            )  # a shortcut where the width changes
            channels = 4 * narrow
    return total + mlp_params([channels, 1000])


# %%
def gpt_count(shape):
    tables = (shape.vocabulary + shape.positions) * shape.width
    return tables + shape.layers * block_params(shape.width, shape.hidden) + 2 * shape.width


def bert_count_of(shape):
    return mend_bert_params(
        shape.vocabulary, shape.positions, shape.segments, shape.width, shape.hidden, shape.layers
    )


def llama_count(shape):
    """No biases, no positions, three feed-forward tables, norms without a shift, a table of its own for the output."""
    block = 4 * shape.width**2 + 3 * shape.width * shape.hidden + 2 * shape.width
    return 2 * shape.vocabulary * shape.width + shape.layers * block + shape.width


models = {
    "our digit reader": mlp_params([64, 64, 10]),
    "ResNet-50 (2015)": resnet50_count(),
    "BERT-base (2018)": bert_count_of(BERT_BASE),
    "BERT-large (2018)": bert_count_of(BERT_LARGE),
    "GPT-2 XL (2019)": gpt_count(GPT2_XL),
    "Llama 7B (2023)": llama_count(LLAMA_7B),
    "GPT-3 (2020)": gpt_count(GPT3),
}
for name, count in models.items():
    print(f"{name:18s} {count:16,}")

# %%
show_static(
    sizes(
        models,
        bands={
            "“millions to\nhundreds of millions”": (1e6, 1e9),
            "“tens of\nbillions”": (1e10, 1e11),
        },
    ),
    alt="Bars of parameter counts on a logarithmic axis, from our digit reader with 4,810 to GPT-3 with 175 billion. "
    "Two bands mark what two source articles call large: millions to hundreds of millions, and tens of billions. "
    "No model shown here lies in the second band.",
)

# %% [markdown] lang="en"
# Take the two definitions at their word. *Tens of billions, such as GPT-3 and BERT*: BERT is nearly a hundred times too small even
# for ten billions, and GPT-3, with 175 billion, is beyond them. *Millions to hundreds of millions*: that fits BERT, and excludes GPT-2 XL,
# Llama and GPT-3. A third article names ResNet and Inception as large models for pictures; ResNet-50 has a quarter of the parameters of
# BERT-base, and runs on a telephone.
#
# "Large" is not a number. It means *large for its time*, and the time is short: a large network for pictures of 2014, VGG-16, had 138
# million parameters. From there to GPT-3 it took six years and a factor of nearly 1,300. When somebody says "large model", ask for three
# numbers: parameters, training data, and operations. The next two sections are about what they cost.

# %% [markdown] lang="en"
# ## 6 · What fits into memory
#
# A parameter stored in 16 bits takes 2 bytes, so a model with 7 billion of them takes 14 GB (we count 1 GB as 10⁹ bytes). A large computing
# card holds 80 GB. To *ask* such a model something is no problem.
#
# To *train* it, more must be there at the same time. Besides the weight itself:
#
# - its **gradient**: which way, and how strongly, this parameter should move (chapter 03);
# - what the **optimiser** remembers of each parameter. The usual one, Adam (chapter 04), keeps two running averages, one of the gradient
#   and one of its square. They are kept in 32 bits, and so is a precise copy of the weight, because a step is often so small that 16 bits
#   would round it away.
#
# Weight and gradient take 16 bits each. **Predict:** how many cards of 80 GB does it take just to *hold* all this for a model with 7
# billion parameters?

# %% predict="cards_for_7b"
# A whole number of cards.
cards_guess = ...

# %% [markdown] lang="en"
# Here is the sum:
#
# | for each parameter | bytes |
# | --- | --- |
# | weight, 16 bits | 2 |
# | gradient, 16 bits | 2 |
# | precise copy of the weight, 32 bits | 4 |
# | Adam's two averages, 32 bits each | 4 + 4 |

# %%
state = (2 + 2 + 4 + 4 + 4) * 7e9
predict.reveal(
    "large_models.cards_for_7b",
    guess=cards_guess,
    truth=int(np.ceil(state / 80e9)),
    because=f"16 bytes a parameter make {state / 1e9:.0f} GB, eight times what it takes to ask the model something.",
)

# %% [markdown] lang="en"
# And that is not all. On the way forward, every layer's results must be kept until its gradient is computed: the **activations**. They grow
# with what the model reads at once: B texts (the *batch*) of T tokens. For one block of width $d$ with $a$ attention heads, in 16 bits,
# and trained as GPT-2 was, they are
#
# $$ \underbrace{B\,T}_{\text{tokens}} \cdot \bigl(34\, d + 5\, a\, T\bigr) \ \text{bytes.} $$
#
# The first term is a list: 11 $d$ for attention (its input, queries, keys, values, …), 19 $d$ for the feed-forward part, which is four
# times as wide in its middle, 4 $d$ for the two norms. The second term is attention's **maps**: in each head, every token is compared with
# all T tokens. That makes it grow with the *square* of the context.
# (A test of this course lets PyTorch keep what it needs of such a block, and finds the formula right to 1%.)
#
# There is a way to pay with time instead: **recomputing**. Of each block, keep only its input (2 bytes × $d$ for each token). When a
# block's turn comes on the way back, compute its activations once more. Then there is only ever *one* block whose activations are there in
# full.


# %% exercise="training_memory" minutes=18 level=3
def training_memory(params, layers, width, heads, batch, context, recompute):
    """What must be in memory while a GPT learns, with mixed-precision Adam.

    params: number of parameters; layers: blocks; width: d; heads: a, in each block
    batch: B texts of context: T tokens each; recompute: True or False
    → {"weights": …, "gradients": …, "optimizer": …, "activations": …}, in bytes, the keys spelled as here

    >>> training_memory(10, 2, 4, 1, 1, 3, False)  # 2 blocks · 3 tokens · (34·4 + 5·1·3)
    {'weights': 20, 'gradients': 20, 'optimizer': 120, 'activations': 906}
    >>> training_memory(10, 2, 4, 1, 1, 3, True)["activations"]  # 2 inputs of 3 · 2·4, and one block in full
    501
    """
    ### BEGIN SOLUTION
    tokens = batch * context
    block = tokens * (34 * width + 5 * heads * context)
    kept = layers * tokens * 2 * width + block if recompute else layers * block
    return {
        "weights": 2 * params,
        "gradients": 2 * params,
        "optimizer": 12 * params,  # the precise copy of the weight and two averages
        "activations": kept,
    }
    ### END SOLUTION


# %% check="training_memory"
check("large_models.training_memory", training_memory)

# %% [markdown] lang="en"
# <details><summary>The activations are wrong, and only with recomputing</summary>
#
# Two things are there at once: the inputs of <i>all</i> blocks (2 bytes × width for each token and block), and <i>one</i> block in full,
# the one whose turn it is on the way back.
# </details>
#
# How large a batch fits into one card of 80 GB? Take GPT-2 XL with texts of 1,024 tokens:

# %%
xl = gpt_count(GPT2_XL)
for recompute in (False, True):
    for batch in (1, 4, 16, 64):
        need = training_memory(
            xl, GPT2_XL.layers, GPT2_XL.width, GPT2_XL.heads, batch, 1024, recompute
        )
        total = sum(need.values()) / 1e9
        print(
            f"{'recomputing' if recompute else 'keeping all':11s}  batch {batch:2d}: activations {need['activations'] / 1e9:6.1f} GB, "
            f"together {total:6.1f} GB  {'fits' if total <= 80 else 'does not fit'}"
        )

# %% [markdown] lang="en"
# The activations of a single text already take a third as much as weights, gradients and optimiser together; with sixteen texts they are
# most of the whole. Recomputing makes them 26 times smaller, for the price of one more pass forward. Chapter 19 shows the other ways out:
# spreading over cards, fewer bits, attention that never writes its maps down. (What is left out here: the scores over the vocabulary at the
# end, and what a program's memory manager wastes.)

# %% [markdown] lang="en"
# ## 7 · Operations, days, dollars
#
# Each weight of a layer is multiplied once with an input, and the product is added to a sum: **two operations** for each parameter and
# token, forward. On the way back there are two products of that size instead of one (chapter 03 shows them), so **four** more. For N
# parameters and D training tokens,
#
# $$ \text{operations} \approx 6\, N D . $$
#
# It is a rule of thumb. Rows looked up in a table (of tokens, of positions) are in N but cost no multiplication. And attention's
# comparisons of tokens with each other need no parameters, so they are missing from it. How much is missing? PyTorch can count the
# operations of a real program, again without numbers. Here are the 12 blocks of GPT-2, forward and back:

# %% train
from torch.utils.flop_counter import FlopCounterMode

with torch.device("meta"):
    block = torch.nn.TransformerEncoderLayer(768, nhead=12, dim_feedforward=3072, batch_first=True)
    stack = torch.nn.TransformerEncoder(block, num_layers=12, enable_nested_tensor=False)
parameters = sum(parameter.numel() for parameter in stack.parameters())
for context in (128, 1024, 4096):
    tokens = torch.empty(1, context, 768, device="meta", requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        stack(tokens).sum().backward()
    counted = counter.get_total_flops() / context
    comparing = 12 * 12 * 768 * context  # 12 × layers × width × context, for each token
    print(
        f"context {context:4d}: counted {counted / 1e9:.2f} billion a token; "
        f"6N alone is off by {6 * parameters / counted - 1:+.0%}, with 12·L·d·T added by {(6 * parameters + comparing) / counted - 1:+.1%}"
    )

# %% [markdown] lang="en"
# For short texts 6ND is all one needs. For long ones the comparisons add up (the term 12·L·d·T counts every token against every other; a
# GPT looks only backwards, and a program that skips the other half saves half of it); the larger the model, the later (they grow with the
# width, the parameters with its square).
#
# What a card can do at most in a second is in its maker's data sheet, its **peak**. No training run reaches it: a share of 30 to 50% is
# good, and is called its **utilisation**.


# %% exercise="training_cost" minutes=10 level=2
def training_cost(params, tokens, peak, utilisation, cards, price):
    """Operations, days and dollars of a training run, by 6ND.

    params: N; tokens: D; peak: operations a second of one card; utilisation: share of the peak that is reached, 0 to 1
    cards: how many work side by side; price: dollars for one card and hour
    → {"flops": …, "days": …, "dollars": …}

    >>> training_cost(1e9, 2e10, 1e15, 0.5, 100, 2.0)["flops"]
    1.2e+20
    >>> round(training_cost(1e9, 2e10, 1e15, 0.5, 100, 2.0)["dollars"], 2)  # 240,000 card-seconds
    133.33
    """
    ### BEGIN SOLUTION
    flops = 6 * params * tokens
    seconds = flops / (peak * utilisation * cards)
    return {"flops": flops, "days": seconds / 86_400, "dollars": cards * seconds / 3600 * price}
    ### END SOLUTION


# %% check="training_cost"
check("large_models.training_cost", training_cost)

# %% [markdown] lang="en"
# <details><summary>The days are right, the dollars are not</summary>
#
# The days are those of the whole room; the bill counts every card in it. Days × 24 hours × cards × price.
# </details>
#
# GPT-3 read 300 billion tokens. What did that take, what would it take on NVIDIA's computing cards of two generations, the A100 of 2020 and
# the H100 of 2022 (at 40% of their peak, and 2 dollars an hour, an assumption of ours), and how long would *this machine* need?

# %%
here = matmul_flops_per_second()
print(f"this machine multiplies matrices at {here:.1e} operations a second\n")
gpt3 = gpt_count(GPT3)
for card in (A100, H100):
    run = training_cost(gpt3, 300e9, card.peak, 0.4, 1024, 2.0)
    energy = run["days"] * 24 * 1024 * card.watts / 1e6
    print(
        f"GPT-3 on 1,024 {card.name}: {run['flops']:.3g} operations, {run['days']:.0f} days, "
        f"{run['dollars'] / 1e6:.1f} million dollars, {energy:,.0f} MWh for the cards"
    )
alone = training_cost(gpt3, 300e9, here, 1.0, 1, 0.0)
print(f"on this machine: {alone['days'] / 365:,.0f} years")

# %% [markdown] lang="en"
# The paper on GPT-3 gives $3.14 \times 10^{23}$ operations, and you have found the same. That is the cost of *one* run that goes well; the
# trials before it are not in it, nor the people, nor the answers to all who ask the finished model.
#
# The formula can be turned round, to check what others report. The 7-billion model of the first Llama paper read $10^{12}$ tokens in 82,432
# hours of A100 cards:

# %%
needed = training_cost(llama_count(LLAMA_7B), 1e12, A100.peak, 1.0, 1, 0.0)["days"] * 24
print(
    f"at full peak it would have taken {needed:,.0f} card-hours: a utilisation of {needed / 82_432:.0%}"
)

# %% [markdown] lang="en"
# Plausible. When a report about a model does not fit this arithmetic, somebody has left something out.

# %% [markdown] lang="en"
# ## 8 · Large against classical, fairly
#
# Are networks *better* than what came before them? The source articles say so more than once: more parameters and layers capture more, and
# so perform better. Let us ask the digits. Five methods:
#
# | method | in a sentence | its parameters | found by gradient descent? |
# | --- | --- | --- | --- |
# | nearest neighbours | answers as the most similar training pictures do | none: it keeps all pictures | no |
# | logistic regression | one layer of ten neurons, whose scores are turned into ten probabilities | 650 | yes, or a relative of it |
# | support vector machine | a boundary as far from all pictures as possible | up to nine for each picture that it leans on (there are ten digits) | no |
# | random forest | a vote of 100 trees of yes-no questions | thousands of questions | no |
# | network | our digit reader | 4,810, or more | yes |
#
# One article explains the difference like this: classical methods use *parametric models and gradient descent*, large models use neural
# networks. Go down the table: three of the four classical methods do without gradient descent, and nearest neighbours, support vectors and
# trees grow with the data instead of having a fixed number of parameters. It is the *networks* that are parametric and learn by gradient
# descent.
#
# **Fair** means: the same pictures for all, and the same effort. Each method has settings to choose (how many neighbours? how wide?). Each
# may try 12 of them, by five-fold cross-validation: train on four fifths of the training pictures, ask the last fifth, five times over.
# Only with its best setting does it see the held-out pictures, once. **Predict:** with all 1,438 training pictures, averaged over six
# random splits, what is the network's share of right answers minus that of the nearest neighbours, in percentage points?

# %% predict="network_or_neighbours"
# A number of percentage points: positive if the network is ahead, negative if the neighbours are.
lead_guess = ...

# %%
from course_lib.classical import stored, stored_about
from course_lib.metrics import mean_and_interval, wilson_interval

outcomes = stored()
methods = list(dict.fromkeys(outcome.method for outcome in outcomes))
scores = {
    (rows, method): np.array(
        [one.accuracy for one in outcomes if (one.rows, one.method) == (rows, method)]
    )
    for rows in (100, 400, 1438)
    for method in methods
}
print("six splits;", stored_about(), "\n")
for rows in (100, 400, 1438):
    print(f"{rows} training pictures")
    for method in sorted(methods, key=lambda method: -scores[rows, method].mean()):
        print(f"    {method:23s} {mean_and_interval(scores[rows, method]).percent()}")

# %%
lead = 100 * (scores[1438, "network"] - scores[1438, "nearest neighbours"])  # one for each split
predict.reveal(
    "large_models.network_or_neighbours",
    guess=lead_guess,
    truth=lead.mean(),
    because="Small centred pictures of the same digit lie near each other, pixel by pixel. "
    "This network, from so few, has not learnt enough beyond that.",
)

# %% [markdown] lang="en"
# How to read the table: each number is a mean over six splits, and the ± makes it a 95% interval (Student's t) for the mean over all such
# splits. It was computed beforehand, in 37 minutes; you can watch one of the eighteen comparisons now, the first split with 100 training
# pictures, tuned from scratch. It is a single split, so its intervals are of another kind: Wilson's, which ask how much 359 pictures can
# say. (The forest is left out: with so few pictures it takes longest.)

# %% train
from course_lib.classical import METHODS, compare_one

quick = [method for method in METHODS if method.name != "random forest"]
for outcome in compare_one(100, 0, quick):
    interval = wilson_interval(outcome.right, outcome.held_out)
    print(
        f"{outcome.method:23s} {interval.percent():22s} of 359 held-out pictures; "
        f"12 settings tried in {outcome.seconds:4.1f} s; chosen: {outcome.chosen}"
    )

# %%
show_static(
    methods_over_splits(scores),
    alt="Held-out accuracy of five methods after training on 100, 400 and 1,438 pictures, with intervals and the six single splits as dots. "
    "All rise with the number of pictures; the support vector machine is highest throughout.",
)

# %% [markdown] lang="en"
# Do the intervals settle it? Two methods were judged on the *same* splits, and an easy split is easy for both. So look at their difference,
# split by split:

# %%
for rows in (100, 400, 1438):
    for method in methods[:-1]:
        gap = mean_and_interval(100 * (scores[rows, "network"] - scores[rows, method]))
        verdict = (
            "network better"
            if gap.low > 0
            else f"{method} better"
            if gap.high < 0
            else "cannot tell"
        )
        print(
            f"{rows:4d} pictures, network minus {method:23s} {gap.mean:+5.1f} points ({gap.low:+.1f} to {gap.high:+.1f})  {verdict}"
        )

# %% [markdown] lang="en"
# **Read it slowly.** With 100 pictures, six splits cannot tell the network from any of the others: every interval contains 0. With 400, the
# support vector machine and the nearest neighbours beat it by about two points. With all 1,438 the gaps have shrunk: the support vector
# machine is still ahead by about one point, the nearest neighbours by more than half a point. The network cannot be told from the forest,
# which does not mean that they are equal. It is ahead of logistic regression, which is the same thing without a hidden layer.
#
# These are twelve comparisons at 95%, and an interval whose end lies as near to 0 as that last one's may owe it to chance.
#
# **Who gains most from more pictures?** Again split by split, the network's gain minus that of each other method:

# %%
for fewer, more in ((100, 400), (400, 1438)):
    gains = {method: 100 * (scores[more, method] - scores[fewer, method]) for method in methods}
    print(f"from {fewer} to {more} pictures the network gains {gains['network'].mean():.1f} points")
    for method in methods[:-1]:
        gap = mean_and_interval(gains["network"] - gains[method])
        print(
            f"    {method:23s} {gains[method].mean():.1f}; difference {gap.mean:+.1f} ({gap.low:+.1f} to {gap.high:+.1f})"
        )

# %% [markdown] lang="en"
# From 400 to 1,438 it gained more than the support vector machine and the neighbours; against the forest and logistic regression, six
# splits cannot tell. From 100 to 400 its gain was the least of all, though those differences could be chance. (Taken from the rounded table
# above, the gains can differ by 0.1.) And what did the searches cost?

# %%
for method in methods:
    seconds = sum(one.seconds for one in outcomes if one.method == method)
    print(f"{method:23s} all searches together: {seconds:6.0f} s on the machine of the stored run")

# %% [markdown] lang="en"
# The network took longest, 22 minutes, and the forest 13; the other three took less than a minute each.
#
# So do networks perform better because they have more parameters and layers? The hidden layer beat the same thing without it once there
# were 1,438 pictures; it did not beat the support vector machine or the neighbours.
#
# Nor is this *the* network. It is one that is trained by gradient steps with momentum (chapter 04), for 40 epochs (rounds through the
# pictures) and with one of three step sizes; with all the pictures the search chose the largest of these in five splits of six. A network
# of 256 hidden neurons that scikit-learn trains with its own settings, the optimiser Adam and up to 200 epochs, reads 98.5% on average over
# the same six splits, without any search: six splits cannot tell it from the neighbours any more, and the support vector machine is still
# ahead.
#
# What this does **not** show: that networks are no good. The pictures are tiny, there are few of them, and pixel $i$ of one digit lies
# where pixel $i$ of the next does, so comparing pixels makes sense. Shift a photo by a few pixels, and nearest neighbours are lost; a
# convolution is not. And the classical methods of this table start each task from nothing, while large models read *everything else* first.
# The rule is modest: **with few data of a known kind, try the classical methods first. Most are tuned in seconds, and they may win.**
#
# (The honest small print: the six splits draw from the same 1,797 pictures, so their intervals are a little too narrow; the writers of the
# test pictures also wrote training pictures; and each method got 12 settings *that we thought sensible*.)

# %% [markdown] lang="en"
# ## 9 · The map
#
# What are large models used for, and where in this course does it come?
#
# | field | typical tasks | what goes in, what comes out | typical networks | chapters |
# | --- | --- | --- | --- | --- |
# | **language** (NLP) | | text | Transformers: BERT, GPT | 08, 09, 11–14 |
# | · understanding (NLU) | sentiment, names, who did what to whom | text → label, or a label for each word | BERT | 11, 14 |
# | · generating (NLG) | continue, summarise, answer | text → text | GPT | 12–14 |
# | **vision** | what is in the picture, where, what happens in the film | pixels → label, boxes | CNN, Vision Transformer | 06, 15 |
# | **speech** | speech to text, text to speech | sound ↔ text | RNN, Transformer | 16 |
# | **recommenders** | what will this person want next | who bought what → a ranking | a learned row of numbers for each person and thing | 16 |
#
# Understanding and generating are not two halves that make up NLP, as one source article has it. *Translation*, which it files under
# generating, needs both; cutting text into tokens (chapter 11) or finding a document is neither; and a model like GPT does "understanding"
# tasks by generating the label.
#
# And a matter of words. The same article lists "BERT, GPT, Transformer" as three large models. The **Transformer** is an *architecture*, a
# way of building. **BERT** and **GPT** are families of *models* built that way. A model is the architecture, with a size, and with weights
# that came out of a training run.

# %% [markdown] lang="en"
# ## Common mistakes, by symptom
#
# | you see | probably | do |
# | --- | --- | --- |
# | a count is a little too small, by a few hundred or thousand | biases or norms forgotten | set every width to 1 and count by hand |
# | it is too large by the width of the network's input | the input got biases too | only layers have biases, and the input is data |
# | a convolution's count changes with the picture | places counted as parameters | the picture's size belongs to the work |
# | your GPT-2 has 163,037,184 parameters | the output has been given a table of its own | it shares the token table: count it once |
# | your BERT is right but for 590,592 | the pooler is missing, or is there where it should not be | ask which parts the other count includes |
# | an LSTM is off by $4H$ for each layer | one row of biases or two | ask which library counted |
# | "CUDA out of memory" at the first step, though the weights fit | gradients, optimiser and activations were forgotten | section 6; a smaller batch, recomputing |
# | it runs out of memory only with long texts | attention's maps, which grow with the square | halve the context and see |
# | your estimate is a factor 3 too low | forward operations only | 2 forward, 4 backward |
# | your run takes twice as long as computed | the peak was taken at its word, or the peak of another number format | measure the utilisation |
# | a count is negative or not whole | NumPy's int32 overflowed, or a float rounded | Python's own whole numbers |

# %% [markdown] lang="en"
# ## Questions from the source articles
#
# **Why do large models perform so well?** ("Because of their many parameters and data", says one article.) Those are necessary, and explain
# little: in section 8 the network did not win. What must come together: an architecture that shares weights sensibly
# (section 4), a task for which there are endless examples without anybody labelling them (predict the next word, chapter 10), so much data
# that parameters are worth having, and computing power to get through it. Chapters 12 and 19 measure how performance grows with each.
#
# **What is the difference between large models and deep-learning models?** One article contrasts them in its appendix, though its opening
# defines large models as deep-learning models. A large model *is* a deep-learning model, as an elephant is a mammal. (Is the difference
# size alone? The article names a second one, the breadth of use, and that is the better answer: size came first, and what came with it is
# that one model, trained once, serves many tasks.)
#
# **Is deep learning an algorithm?** ("The core algorithm of large models.") It is a kind of *model*, networks with several hidden layers,
# together with a way of training them. The algorithms have names of their own: backpropagation (chapter 03), gradient descent (chapter 04).
#
# **Do more layers generalise better?** ("Many hidden layers, and therefore stronger generalisation.") Not therefore. Depth makes it
# possible to *represent* more; whether that helps with unseen data depends on the data. Section 8 compares one hidden layer with none: with
# 100 or 400 pictures no gain can be told, with 1,438 it is about a point. Chapter 05 has more.
#
# **Where are large models used?** In the fields of section 9, and by now in many that the articles do not mention: programs, protein
# structures, weather, robots.
#
# **Where do their data come from?** ("Texts from the internet.") For language models mostly: even BERT's were Wikipedia, and books
# taken from a web site. But models for pictures and speech learn from pictures and speech. Chapters 17 and 18 ask what follows from it, for
# the people who wrote those texts, too.
#
# **Why is training slow and dear?** The article names three reasons: large models, large data, complicated algorithms. The first two are
# the N and the D of 6ND. The third is not one: the algorithm is simple, and its cost is nearly proportional to the other two.

# %% [markdown] lang="en"
# ## Bonus: count a model that you know of
#
# (Not graded.) Take any model whose configuration is public, and count it. *Mistral 7B* is like Llama, with width 4,096, a feed-forward
# part of 14,336, 32 layers and 32,000 tokens, but its 32 heads share 8 heads for keys and values, so that those two tables are $4096 \times
# 1024$. What is left of "7B"? And how many cards does it take to train it, if 16 bytes a parameter are all that you count?
#
# <details><summary>The count</summary>
#
# 7,241,732,096. It is
# <pre>
# block = 2 * 4096**2 + 2 * 4096 * 1024 + 3 * 4096 * 14336 + 2 * 4096
# 2 * 32000 * 4096 + 32 * block + 4096
# </pre>
# </details>

# %%
# Yours to try.

# %% [markdown] lang="en"
# ## What you have now
#
# A neuron, a layer and a network; a feeling for what a hidden layer does; and a pocket calculator for large models: parameters, memory,
# operations, dollars. A general version of it lives in `course_lib.scale` (`counting`, `memory`, `flops`), and chapter 19 builds on it.
# **Next:** chapter 02 is about what goes in, the data. Chapter 03 opens the box that we kept shut here: how a network finds its weights.
#
# *Further reading:* LeCun, Bengio & Hinton, "Deep learning", Nature 521 (2015). Vaswani et al., "Attention is all you need", NIPS 30
# (2017). Kaplan et al., "Scaling laws for neural language models" (2020). Rajbhandari et al., "ZeRO" (2020), on memory; Korthikanti et al.,
# "Reducing activation recomputation in large Transformer models" (2022). Halevy, Norvig & Pereira, "The unreasonable effectiveness of
# data", IEEE Intelligent Systems 24 (2009). (One of the source articles gives the first three authors the title of the last, and the second
# a volume and pages that it does not have. Check references, also those of a course.)
