# Chapter 09, the one source. `course build` makes the student notebook from it; see the README for the header keys.
# %% [markdown] lang="en"
# # 09 · The Transformer
#
# *One hundred twenty thousand three hundred forty-five* is 十二万零三百四十五 in Chinese. Try to translate that word by word and you fail at
# once: English counts in thousands, Chinese in ten-thousands (万), so "one hundred twenty thousand" must become 十二万, *twelve* ten-thousands,
# and a 零 must be written where English says nothing at all. **Which words decide what is written next, and how can a network find that out
# by itself?**
#
# In this chapter you build the network that was invented for translation, the Transformer, train it in about half a minute on a processor, and
# watch where it looks. It will translate numbers that it has never seen, and get practically all of them right in every sign.
#
# At the end of this chapter you can
#
# - say what each part is for (positions, masks, sums, normalisation, encoder, decoder), having seen for some of them what goes wrong without;
# - build encoder and decoder layers that equal PyTorch's, number for number;
# - train with label smoothing and a warm-up, and say which of the two mattered here;
# - write out an answer word by word, greedily and by beam search;
# - find the mistakes in Transformer programs that raise no error.
#
# **The exercises take about two and a half hours, the reading one more.** Good places to stop are after sections 4, 6 and 8. **You need**
# chapter 05 (modules, the training loop) and chapter 08 (attention, heads, masks).

# %%
import math
import time
import warnings

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from autograder import check, predict, progress_board
from course_lib.data.dates import date_pairs
from course_lib.data.number_words import chinese_numeral, english_words, number_pairs
from course_lib.data.pairs import (
    BOS,
    EOS,
    PAD,
    Vocabulary,
    teacher_pairs,
    tokens_of,
)
from course_lib.device import best_device, course_size, describe_device
from course_lib.interactive import progress, show, show_static
from course_lib.interactive.cross_attention import Reading, cross_attention_maps
from course_lib.metrics import wilson_interval
from course_lib.nn.transformer.attention import MultiHeadAttention, recorded
from course_lib.nn.transformer.chains import chain_step
from course_lib.translation_results import stored

torch.set_num_threads(1)  # matrices this small only lose time by being divided
device = best_device()
print("computing on", describe_device())

progress_board("transformer")

# %% [markdown] lang="en"
# ## 1 · The task, and why a dictionary does not do
#
# We know all right answers, since two small grammars make them: `english_words` and `chinese_numeral` in `course_lib.data.number_words`. No
# network gets to see the grammars. It sees pairs.

# %%
for number in (7, 120, 12_000, 120_000, 120_345, 100_001, 999_999):
    print(f"{number:>9,}  {english_words(number):70s} {chinese_numeral(number)}")

# %% [markdown] lang="en"
# Nine signs for the digits, 零 for a gap between digits, and four units: 十 ten, 百 hundred, 千 thousand, 万 ten thousand. Look at 12,000 and
# 120,000: the word *thousand* is once 千 and once 万, and the *twenty* of "one hundred twenty thousand" becomes a 二 *before* the 万. What to
# write depends on words that stand far apart. That is what attention (chapter 08) is good at.
#
# We draw 12,000 numbers, 1,000 of them below 1,000 and the others equally often with four, five and six digits, and hold a fifth of them out. So the
# network learns from about one in a hundred of all numbers below a million, and is examined on others.

# %%
numbers = number_pairs(seed=0)
print(numbers)
for pair in numbers.test[:4]:
    print("   ", pair.source, "→", pair.target)

source_words = Vocabulary.of(pair.source for pair in numbers.train)
target_signs = Vocabulary.of(pair.target for pair in numbers.train)
print(len(source_words), "source tokens:", " ".join(source_words.tokens))
print(len(target_signs), "target tokens:", " ".join(target_signs.tokens))

# %% [markdown] lang="en"
# A **vocabulary** numbers the tokens. Three are not words: number 0 fills up short sentences (**padding**, shown as ·), 1 begins an answer (`<`) and
# 2 ends it (`>`). `PAD`, `BOS` and `EOS` are these numbers.
#
# ### What the network is asked
#
# A translation is written token by token. At every place the question is the same: *given the source and everything written so far, what comes
# next?* In training we know the whole answer, so we can ask about all places at once. The decoder reads the answer moved one place to the
# right, with a `<` in front, and should say at every place what comes next, `>` at the end. That is called **teacher forcing**.

# %%
reads, says = teacher_pairs(target_signs, [chinese_numeral(120_345)])
print("source:  ", source_words.encode([english_words(120_345)])[0])
print("it reads:", " ".join(target_signs.tokens[token] for token in reads[0]))
print("it says: ", " ".join(target_signs.tokens[token] for token in says[0]))

# %% [markdown] lang="en"
# One of the source articles builds a Transformer that skips this move: reader and answer are the same, so a network could do its job by repeating what
# it reads. Another says that the answer comes "from the context vectors" alone, without what has been written so far. Section 8 shows what that
# costs.
#
# ## 2 · Where a word stands
#
# Attention takes a weighted mean over all tokens, and a mean has no order. To attention alone, *two hundred three* and *three hundred two* are the
# same bag of words. **Predict:** an encoder layer without positions reads *two*, *hundred*, *three* in each of the six possible orders, and each
# time we look at the vector that it makes of *two*. How many different vectors do we see (up to rounding)?

# %% predict="no_places"
# A number from 1 to 6.
orders_guess = ...

# %%
from itertools import permutations

torch.manual_seed(0)
plain = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True)
three = torch.randn(3, 16)  # vectors for "two", "hundred", "three"
with torch.no_grad():
    seen = [
        plain(three[list(order)][None])[0, order.index(0)].numpy().round(4)
        for order in permutations(range(3))
    ]
predict.reveal(
    "transformer.no_places",
    guess=orders_guess,
    truth=len({vector.tobytes() for vector in (np.array(seen) + 0.0)}),
    because="Every token sees the same others with the same weights. Without positions the order does not exist.",
)

# %% [markdown] lang="en"
# So the place must be put into the vectors. The paper (Vaswani et al., 2017) adds **waves**: to the vector of the token at place $t$ it adds
#
# $$ p_{t,\,2i} = \sin\!\left(t \cdot 10000^{-2i/W}\right), \qquad p_{t,\,2i+1} = \cos\!\left(t \cdot 10000^{-2i/W}\right), \qquad i = 0, 1, \dots, \tfrac W2 - 1 . $$
#
# | symbol | in code | what it is |
# | --- | --- | --- |
# | $t$ | row of the table | the place, counted from 0 |
# | $W$ | `width` | how many numbers a token's vector has; even |
# | $i$ | pair of columns | each pair is a hand of a clock: its angle grows with $t$, the first by 1 radian a place, the last very slowly |
#
# Sine and cosine of one angle stand **next to each other**, in columns $2i$ and $2i+1$.


# %% exercise="sinusoidal_positions" minutes=10 level=1
def sinusoidal_positions(length, width):
    """The table of waves: (length, width), a torch tensor of floats; width is even.

    >>> sinusoidal_positions(2, 4)
    tensor([[0.0000, 1.0000, 0.0000, 1.0000],
            [0.8415, 0.5403, 0.0100, 0.9999]])
    """
    ### BEGIN SOLUTION
    places = torch.arange(length, dtype=torch.float64)[:, None]  # (T, 1)
    rates = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)  # (W/2,)
    angles = places * rates  # (T, W/2)
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1).float()
    ### END SOLUTION


# %% check="sinusoidal_positions"
check("transformer.sinusoidal_positions", sinusoidal_positions)

# %% [markdown] lang="en"
# <details><summary>How do I get sines and cosines into alternating columns?</summary>
#
# Make an empty table and fill <code>table[:, 0::2]</code> and <code>table[:, 1::2]</code>, or stack the two along a new last axis and flatten.
# </details>
# <details><summary>My exponents are half of what they should be</summary>
#
# <code>torch.arange(0, width, 2)</code> is already 2i: 0, 2, 4, …
# </details>
#
# Why waves and not simply the number $t$? Because the way from one place to another is then the same everywhere: going $k$ places on *turns* each
# pair by an angle that depends on $k$ alone. So "three places back" is one and the same linear map from anywhere. Measure it: the product of two
# rows of the table depends on their distance only.

# %%
waves = sinusoidal_positions(40, 64)
near = waves @ waves.T
for distance in (0, 1, 5):
    along = near.diagonal(distance)
    print(f"rows {distance} apart: product from {along.min():.3f} to {along.max():.3f}")

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
left.imshow(waves, aspect="auto", cmap="gray")
left.set(xlabel="column", ylabel="place t", title="the table, sine and cosine in turn")
for place, style in ((5, "-"), (20, "--")):
    right.plot(near[place], style, color="#222222", label=f"with place {place}")
right.set(xlabel="place", ylabel="product", title="how alike two places are")
right.legend(frameon=False)
plt.close(figure)
show_static(
    figure,
    alt="Left: a table of 40 places and 64 columns in grey; the first columns alternate quickly from place to "
    "place, the last hardly at all. Right: the product of place 5 and of place 20 with every other place; "
    "both curves have their peak at their own place and the same shape around it.",
)

# %% [markdown] lang="en"
# The other way is a table of parameters, one row for each place, learnt like the words (**learnt positions**). Both source articles choose it, and
# there is nothing wrong with it, except for what they do with it. It ends where the table ends, and a place that never occurred in training has a row
# that never learnt anything. One article fixes the table at 100 places and adds *all of it* to every sentence:

# %%
try:
    torch.zeros(2, 7, 16) + torch.zeros(1, 100, 16)  # sentences of 7 tokens, a table of 100 places
except RuntimeError as error:
    print(error)

# %% [markdown] lang="en"
# It works for sentences of exactly 100 tokens. (And of exactly one token, which is worse: broadcasting then makes a hundred tokens of it without
# a word.) The first $T$ rows are what is wanted.
#
# ## 3 · Who may look where
#
# From chapter 08 you know masks. Ours say **True for "may attend"**, throughout this course; torch's `key_padding_mask` and `attn_mask` of booleans say
# True for "leave out", so that mixing them up trains a network that looks only at padding. Two things must not be looked at:
#
# - **padding**, which is there only because the sentences of a batch must be equally long;
# - in the target, **the future**: at the place where 万 is to be said, the decoder must not read the 万 that comes next. In use it does not exist yet.
#
# A mask has the shape (B, Tq, Tk): for every sentence, which of the Tk keys may each of the Tq queries see? An axis of length 1 stands for "all the
# same".


# %% exercise="make_masks" minutes=10 level=1
def make_masks(source, target, pad):
    """Masks for a batch; booleans, True = may attend.

    source (B, Ts), target (B, Tt): token numbers; pad: the number that is padding
    → source_mask (B, 1, Ts): every query may see every source token that is not padding
      target_mask (B, Tt, Tt): query t may see the target tokens 0 … t that are not padding

    >>> source_mask, target_mask = make_masks(torch.tensor([[5, 6, 0]]), torch.tensor([[1, 7]]), pad=0)
    >>> source_mask
    tensor([[[ True,  True, False]]])
    >>> target_mask
    tensor([[[ True, False],
             [ True,  True]]])
    """
    ### BEGIN SOLUTION
    length = target.size(1)
    causal = torch.ones(length, length, dtype=torch.bool, device=target.device).tril()
    source_mask = (source != pad)[:, None, :]  # (B, 1, Ts)
    target_mask = (target != pad)[:, None, :] & causal  # (B, Tt, Tt)
    return source_mask, target_mask
    ### END SOLUTION


# %% check="make_masks"
check("transformer.make_masks", make_masks)

# %% [markdown] lang="en"
# <details><summary>My target mask is the wrong way round</summary>
#
# Rows are queries, columns are keys. <code>tril()</code> keeps what is on and below the diagonal: row t, columns 0 to t.
# </details>
#
# ## 4 · The encoder
#
# A layer of the encoder does two things, in turn. **Attention** lets every token collect from the others. A **feed-forward network**, the same for
# every token, makes something of it: one Linear from width to a larger hidden width, a ReLU, one Linear back. Neither replaces the token's vector.
# Each result is **added** to it (a residual connection: what a layer has nothing to say about, passes unchanged), and a **layer normalisation** keeps
# the numbers in size (chapter 05). There are two orders:
#
# $$ \text{post-norm (the paper):}\quad x \leftarrow \mathrm{norm}_1\bigl(x + \mathrm{attend}(x)\bigr), \qquad x \leftarrow \mathrm{norm}_2\bigl(x + \mathrm{feed}(x)\bigr) $$
#
# $$ \text{pre-norm (most models since):}\quad x \leftarrow x + \mathrm{attend}\bigl(\mathrm{norm}_1(x)\bigr), \qquad x \leftarrow x + \mathrm{feed}\bigl(\mathrm{norm}_2(x)\bigr) $$
#
# In pre-norm there is a clear way from the output back to the input, sums and nothing else, which deep networks need (chapter 05); what it is worth in a
# shallow one, section 9 measures. In both, attention gets the same numbers for queries, keys and values: it is *self*-attention.
#
# `MultiHeadAttention(width, num_heads)` is given, the attention of chapter 08: call it with queries, memory and mask. One of the source articles
# describes multi-head attention as several self-attentions side by side, and leaves out the point: each head has its **own** projections of query, key
# and value, of width / heads numbers, so that each can look for something else.


# %% exercise="EncoderLayer" minutes=18 level=2
class EncoderLayer(nn.Module):
    """One layer of the encoder, without dropout.

    width, num_heads; hidden: width of the feed-forward network's middle; norm: "pre" or "post"
    Parts, under these names, which are torch's: self_attn (MultiHeadAttention), linear1 and linear2 (nn.Linear), norm1 and norm2 (nn.LayerNorm)
    forward: x (B, T, width), mask (B, T, T) or broadcasting to it, or None → (B, T, width)
    """

    def __init__(self, width, num_heads, hidden, norm="pre"):
        super().__init__()
        self.self_attn = MultiHeadAttention(width, num_heads)  # self_attn(queries, memory, mask)
        ### BEGIN SOLUTION
        self.linear1, self.linear2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.pre = norm == "pre"

    def feed_forward(self, x):
        return self.linear2(torch.relu(self.linear1(x)))
        ### END SOLUTION

    def forward(self, x, mask=None):
        ### BEGIN SOLUTION
        if self.pre:
            normed = self.norm1(x)
            x = x + self.self_attn(normed, normed, mask)
            return x + self.feed_forward(self.norm2(x))
        x = self.norm1(x + self.self_attn(x, x, mask))
        return self.norm2(x + self.feed_forward(x))
        ### END SOLUTION


# %% check="EncoderLayer"
check("transformer.EncoderLayer", EncoderLayer)

# %% [markdown] lang="en"
# <details><summary>How am I compared with torch's layer?</summary>
#
# Your layer's <code>state_dict()</code> has the same names and shapes as <code>nn.TransformerEncoderLayer</code>'s, so the check loads one set of weights
# into both and compares the answers.
# </details>
# <details><summary>Post-norm is right, pre-norm is a little off</summary>
#
# In pre-norm, normalised numbers go into the part, but the sum takes x itself: <code>x + part(norm(x))</code>.
# </details>
#
# A stack of such layers is an **encoder**: a vector for *every* token in, a vector for every token out, now knowing its neighbours. One source
# article says that the input is coded into a representation "of fixed length". That was true of the translators *before* attention, which had to
# press a sentence of any length into one vector; not having to is what the Transformer is about. Section 9 measures the difference.
#
# ### Bug hunt: a Transformer out of an article
#
# One article's program is called `Transformer`: it has an embedding, a table of 100 places, layers, and a Linear at the end. There is
# no decoder in it, though the article's text promises one. So what it can do is put a label on every token. Here it is in our words.
# It has **four** mistakes. The first stops it at once; the others come out one after the other. Two of them raise no error: every sentence gets
# an answer, of the right shape, that depends on which *other* sentences are in the batch. **Mend it.**


# %% exercise="Tagger" minutes=18 level=2
class Tagger(nn.Module):
    """A label for every token of a sentence.

    tokens (B, T) → logits (B, T, num_labels), for any T from 1 to max_len. Token 0 is padding, at the end of short sentences.
    """

    def __init__(self, vocab_size, num_labels, width, num_layers, num_heads, max_len):
        super().__init__()
        ### BEGIN SOLUTION
        self.embedding = nn.Embedding(vocab_size, width)
        self.positions = nn.Parameter(0.02 * torch.randn(1, max_len, width))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, num_heads, 4 * width, batch_first=True)
            for _ in range(num_layers)
        )
        self.output = nn.Linear(width, num_labels)
        ### ELSE BROKEN
        # self.embedding = nn.Embedding(vocab_size, width)
        # self.positions = nn.Parameter(0.02 * torch.randn(1, max_len, width))
        # self.layers = nn.ModuleList(
        #     nn.TransformerLayer(width, num_heads, 4 * width) for _ in range(num_layers)
        # )
        # self.output = nn.Linear(width, num_labels)
        ### END SOLUTION

    def forward(self, tokens):
        ### BEGIN SOLUTION
        x = self.embedding(tokens) + self.positions[:, : tokens.size(1)]
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=tokens == PAD)  # torch's: True = leave out
        return self.output(x)
        ### ELSE BROKEN
        # x = self.embedding(tokens) + self.positions
        # for layer in self.layers:
        #     x = layer(x)
        # return self.output(x)
        ### END SOLUTION


# %% check="Tagger"
check("transformer.Tagger", Tagger)

# %% [markdown] lang="en"
# <details><summary>Which layer do I take?</summary>
#
# <code>[name for name in dir(nn) if "Transformer" in name]</code> lists what torch has. The hunt is about torch's layers; your own would do as well.
# </details>
# <details><summary>Other sentences of the batch change the answer</summary>
#
# Read the documentation of the layer's argument <code>batch_first</code>. Its default is False: the layer takes (B, T, width) for (T, B, width), and lets
# the third word of every sentence attend to the third words of the others.
# </details>
#
# ## 5 · The decoder
#
# The decoder's layers have **three** parts. First the target tokens attend to each other, under the causal mask. Then each of them looks at the
# source: **cross-attention**, queries from the target, keys and values from the **memory**, which is what the encoder made of the source. Then the
# feed-forward network. Each is added, each has its normalisation: `norm1`, `norm2`, `norm3`. The memory is taken as it comes.


# %% exercise="DecoderLayer" minutes=15 level=2
class DecoderLayer(nn.Module):
    """One layer of the decoder, without dropout.

    Arguments as for EncoderLayer; parts: self_attn, multihead_attn (to the memory), linear1, linear2, norm1, norm2, norm3
    forward: y (B, Tt, width), memory (B, Ts, width), target_mask (B, Tt, Tt), source_mask (B, 1, Ts) → (B, Tt, width)
    """

    def __init__(self, width, num_heads, hidden, norm="pre"):
        super().__init__()
        self.self_attn = MultiHeadAttention(width, num_heads)
        self.multihead_attn = MultiHeadAttention(width, num_heads)
        ### BEGIN SOLUTION
        self.linear1, self.linear2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.pre = norm == "pre"

    def feed_forward(self, y):
        return self.linear2(torch.relu(self.linear1(y)))
        ### END SOLUTION

    def forward(self, y, memory, target_mask=None, source_mask=None):
        ### BEGIN SOLUTION
        if self.pre:
            normed = self.norm1(y)
            y = y + self.self_attn(normed, normed, target_mask)
            y = y + self.multihead_attn(self.norm2(y), memory, source_mask)
            return y + self.feed_forward(self.norm3(y))
        y = self.norm1(y + self.self_attn(y, y, target_mask))
        y = self.norm2(y + self.multihead_attn(y, memory, source_mask))
        return self.norm3(y + self.feed_forward(y))
        ### END SOLUTION


# %% check="DecoderLayer"
check("transformer.DecoderLayer", DecoderLayer)

# %% [markdown] lang="en"
# ## 6 · The whole
#
# Put together: embed the source and add places, run the encoder; embed the target so far and add places, run the decoder with the encoder's memory;
# a Linear gives a score for every target token. This class is made of **your** parts.


# %%
class Translator(nn.Module):
    """source (B, Ts), target so far (B, Tt) → logits (B, Tt, target_vocab): at every place, what comes next."""

    def __init__(self, source_vocab, target_vocab, width=64, num_heads=4, hidden=128, num_layers=2):
        super().__init__()
        self.source_embedding = nn.Embedding(source_vocab, width)
        self.target_embedding = nn.Embedding(target_vocab, width)
        for embedding in (self.source_embedding, self.target_embedding):
            nn.init.normal_(embedding.weight, std=width**-0.5)  # of size 1 after embed()
        self.register_buffer("waves", sinusoidal_positions(64, width))
        self.encoder_layers = nn.ModuleList(
            EncoderLayer(width, num_heads, hidden) for _ in range(num_layers)
        )
        self.decoder_layers = nn.ModuleList(
            DecoderLayer(width, num_heads, hidden) for _ in range(num_layers)
        )
        self.encoder_norm, self.decoder_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.output = nn.Linear(width, target_vocab)

    def embed(self, embedding, tokens):
        return embedding(tokens) * self.waves.size(1) ** 0.5 + self.waves[: tokens.size(1)]

    def encode(self, source):
        x, mask = self.embed(self.source_embedding, source), make_masks(source, source, PAD)[0]
        for layer in self.encoder_layers:
            x = layer(x, mask)
        return self.encoder_norm(x)  # pre-norm leaves the sum itself unnormalised

    def decode(self, source, target, memory):
        y = self.embed(self.target_embedding, target)
        source_mask, target_mask = make_masks(source, target, PAD)
        for layer in self.decoder_layers:
            y = layer(y, memory, target_mask, source_mask)
        return self.output(self.decoder_norm(y))

    def forward(self, source, target):
        return self.decode(source, target, self.encode(source))


torch.manual_seed(0)
model = Translator(len(source_words), len(target_signs)).to(device)
print("adjustable numbers:", f"{sum(p.numel() for p in model.parameters()):,}")

# %% [markdown] lang="en"
# ### Bug hunt: the custom Transformer
#
# Another source article shows "a simple custom Transformer", with encoder and decoder. Four of its mistakes stop it, one after the other: it uses `math`
# without importing it; its table of places is as long as its vocabulary, and is added whole; it calls a *list* of layers as if that were a function; and
# its layers expect the batch on the other axis, which stops it whenever source and target differ in length. See the third one happen:

# %%
layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
try:
    layers(torch.zeros(1, 4))
except NotImplementedError as error:
    print(error)

# %% [markdown] lang="en"
# A `ModuleList` registers its layers and knows nothing of their order of use: a loop has to call them. Whoever mends what stops the program, then has
# one that *runs*, trains, and has **six more** mistakes that raise nothing. One number stands for vocabulary, places and layers at once. The
# target has no places. It may read its own future. The encoder's result is computed, and thrown away. The answer is a vector, not a score for
# every word. Padding is looked at. Here is the program in our words, `math` imported. **Mend it so that it deserves its name.**


# %% exercise="TinyTransformer" minutes=25 level=3
class TinyTransformer(nn.Module):
    """Encoder and decoder over one common vocabulary.

    source (B, Ts), target (B, Tt), both at most max_len long → logits (B, Tt, vocab_size). Token 0 is padding, at the end of a source.
    num_layers: of the encoder, and of the decoder. Built of torch's layers, or of yours; no dropout.
    """

    def __init__(self, vocab_size, max_len, width, num_heads, hidden, num_layers):
        super().__init__()
        self.width = width
        self.embedding = nn.Embedding(vocab_size, width)
        ### BEGIN SOLUTION
        self.positions = nn.Parameter(0.02 * torch.randn(max_len, width))
        sizes = (width, num_heads, hidden, 0.0)
        self.encoder = nn.ModuleList(
            nn.TransformerEncoderLayer(*sizes, batch_first=True) for _ in range(num_layers)
        )
        self.decoder = nn.ModuleList(
            nn.TransformerDecoderLayer(*sizes, batch_first=True) for _ in range(num_layers)
        )
        self.output = nn.Linear(width, vocab_size)
        ### ELSE BROKEN
        # self.positions = nn.Parameter(0.02 * torch.randn(1, vocab_size, width))
        # sizes = (width, num_heads, hidden, 0.0)
        # self.encoder = nn.ModuleList(
        #     nn.TransformerEncoderLayer(*sizes) for _ in range(vocab_size)
        # )
        # self.decoder = nn.ModuleList(
        #     nn.TransformerDecoderLayer(*sizes) for _ in range(vocab_size)
        # )
        ### END SOLUTION

    def forward(self, source, target):
        ### BEGIN SOLUTION
        x = self.embedding(source) * math.sqrt(self.width) + self.positions[: source.size(1)]
        y = self.embedding(target) * math.sqrt(self.width) + self.positions[: target.size(1)]
        padding = source == 0  # torch's masks: True = leave out
        length = target.size(1)
        future = torch.ones(length, length, dtype=torch.bool, device=target.device).triu(1)
        for layer in self.encoder:
            x = layer(x, src_key_padding_mask=padding)
        for layer in self.decoder:
            y = layer(y, x, tgt_mask=future, memory_key_padding_mask=padding)
        return self.output(y)
        ### ELSE BROKEN
        # x = self.embedding(source) * math.sqrt(self.width) + self.positions
        # y = self.embedding(target) * math.sqrt(self.width)
        # output = self.encoder(x)
        # output = self.decoder(y, x)
        # return output
        ### END SOLUTION


# %% check="TinyTransformer"
check("transformer.TinyTransformer", TinyTransformer)

# %% [markdown] lang="en"
# <details><summary>Where do I begin?</summary>
#
# With what the check says of the first case, then with what raises. Run the check after every change; each case names one mistake.
# </details>
# <details><summary>"every matrix has a say" fails</summary>
#
# The check changes one parameter after the other and looks whether any score moves. If none does, the parameter is not used for anything. Which variable
# holds what the encoder found, and what does the decoder get?
# </details>
#
# **Predict:** what does one of these mistakes cost? Without the causal mask, the decoder can read at every place the very token that it should say
# next. We trained such a network on our numbers, with three seeds. Its training loss falls as low as the honest network's. What share of
# held-out numbers does it translate rightly when it has to write them by itself?

# %% predict="peeking"
# A share, from 0 to 1.
peeking_guess = ...

# %%
peeking = [run for run in stored() if run.variant == "no causal mask"]
honest = [run for run in stored() if run.variant == "as in this chapter"]
print("last training loss, honest: ", ", ".join(f"{run.loss:.3f}" for run in honest))
print("last training loss, peeking:", ", ".join(f"{run.loss:.3f}" for run in peeking))
predict.reveal(
    "transformer.peeking",
    guess=peeking_guess,
    truth=float(np.mean([run.exact for run in peeking])),
    because="It has learnt to copy the next token. When it writes by itself, there is no next token yet.",
)

# %% [markdown] lang="en"
# Nothing in the loss gave it away, on held-out pairs as little as on the others: a teacher who shows the answer shows it there too. Only the network's own
# writing tells. So judge a translator by what it writes.
#
# ## 7 · Loss and learning rate
#
# ### Label smoothing
#
# Cross-entropy is content only with certainty: to get the last bit of loss, a network must push the right token's logit ever further up. **Label
# smoothing** (Szegedy et al., 2016) asks for less. The wanted distribution gives the right token $1 - s$, and spreads $s$ evenly over **all** $V$
# tokens, the right one among them:
#
# $$ L = (1 - s)\,\bigl(-\log p_y\bigr) + s \cdot \frac1V \sum_{v=1}^{V} \bigl(-\log p_v\bigr) . $$
#
# | symbol | in code | what it is |
# | --- | --- | --- |
# | $p_v$ | `logits.softmax(-1)` | the network's probability of token $v$ |
# | $y$ | `labels` | the right token |
# | $s$ | `smoothing` | 0.1 in the paper |
# | $V$ | `logits.size(-1)` | size of the vocabulary |
#
# The loss is the mean of this over all places whose label is not padding.


# %% exercise="smoothed_loss" minutes=12 level=2
def smoothed_loss(logits, labels, smoothing, pad):
    """Cross-entropy with label smoothing: logits (B, T, V), labels (B, T) → a tensor with one number.

    The mean over all labels that are not `pad`. Write it with log_softmax; F.cross_entropy(..., label_smoothing=...) is what it is compared with.

    >>> smoothed_loss(torch.zeros(1, 1, 4), torch.tensor([[2]]), 0.1, 0)  # log 4
    tensor(1.3863)
    """
    ### BEGIN SOLUTION
    log_probs = logits.log_softmax(dim=-1)
    right = log_probs.gather(-1, labels[:, :, None]).squeeze(-1)  # (B, T)
    losses = -(1 - smoothing) * right - smoothing * log_probs.mean(dim=-1)  # (B, T)
    return losses[labels != pad].mean()
    ### END SOLUTION


# %% check="smoothed_loss"
check("transformer.smoothed_loss", smoothed_loss)

# %% [markdown] lang="en"
# **Predict:** with $V = 10$ tokens and $s = 0.1$, a network gives exactly the wanted distribution: 0.91 to the right token and 0.01 to each of the nine
# others. What does the loss show, in nats? (`-0.91 * log 0.91` is about 0.086, and `-log 0.01` about 4.605.)

# %% predict="smoothed_floor"
# A number.
floor_guess = ...

# %%
wanted = torch.full((10,), 0.01)
wanted[3] = 0.91
predict.reveal(
    "transformer.smoothed_floor",
    guess=floor_guess,
    truth=F.cross_entropy(wanted.log()[None], torch.tensor([3]), label_smoothing=0.1).item(),
    because="The wanted distribution's own entropy: 0.086 and nine times 0.046. A smoothed loss never reaches 0.",
)

# %% [markdown] lang="en"
# ### Warm-up
#
# At the start, Adam's averages are made of very few steps, and the gradients of a Transformer are rough. The paper raises the learning rate along a
# straight line for some steps, then lowers it like one over the root of the step:
#
# $$ \alpha(n) = W^{-1/2} \cdot \min\bigl(n^{-1/2},\; n \cdot w^{-3/2}\bigr), \qquad n = \text{step} + 1 . $$
#
# $W$ is the width, $w$ the number of warm-up steps (`warmup`). The paper counts steps from 1; we count from 0, as Python does.


# %% exercise="transformer_rate" minutes=6 level=1
def transformer_rate(step, width, warmup):
    """The learning rate of a step; the first step has number 0.

    >>> round(transformer_rate(0, 64, 100), 6), round(transformer_rate(99, 64, 100), 6)
    (0.000125, 0.0125)
    """
    ### BEGIN SOLUTION
    number = step + 1
    return width**-0.5 * min(number**-0.5, number * warmup**-1.5)
    ### END SOLUTION


# %% check="transformer_rate"
check("transformer.transformer_rate", transformer_rate)

# %% [markdown] lang="en"
# ### Training
#
# The loop of chapter 05, with your loss and your rate. (The paper's rate was made for its own width and batches; for our small network we take half of
# it. Gradients are clipped at length 1, as in chapter 04.) `COURSE_SIZE=full` trains a wider network for longer, which is meant for a GPU.


# %%
def train_translator(pairs, *, steps=800, batch_size=64, warmup=150, factor=0.5, seed=0, **sizes):
    """→ (trained Translator, source vocabulary, target vocabulary, losses)."""
    source = Vocabulary.of(pair.source for pair in pairs.train)
    target = Vocabulary.of(pair.target for pair in pairs.train)
    tables = [source.encode([pair.source for pair in pairs.train])]
    tables += teacher_pairs(target, [pair.target for pair in pairs.train])
    data = [torch.from_numpy(table).to(device) for table in tables]  # source, read, said

    torch.manual_seed(seed)
    net = Translator(len(source), len(target), **sizes).to(device)
    width = net.output.in_features
    optimizer = torch.optim.Adam(net.parameters(), betas=(0.9, 0.98), eps=1e-9)
    batches, losses = [], []
    for step in progress(range(steps), "training"):
        if not batches:  # a new epoch, in a new order
            batches = list(torch.randperm(len(pairs.train)).to(device).split(batch_size))
        rows = batches.pop()
        words, read, said = (table[rows] for table in data)
        for group in optimizer.param_groups:
            group["lr"] = factor * transformer_rate(step, width, warmup)
        optimizer.zero_grad()
        loss = smoothed_loss(net(words, read), said, 0.1, PAD)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return net.eval(), source, target, losses


# %% train
sizes = {"width": 128, "hidden": 512, "num_layers": 3} if course_size() == "full" else {}
begun = time.process_time()
model, source_words, target_signs, losses = train_translator(numbers, **sizes)
seconds = time.process_time() - begun
print(
    f"{seconds:.0f} s of processor time; loss at the start {losses[0]:.2f}, at the end {np.mean(losses[-50:]):.3f}"
)

share = 0.9 + 0.1 / len(target_signs)
rest = 0.1 / len(target_signs)
floor = -share * math.log(share) - (len(target_signs) - 1) * rest * math.log(rest)
print(f"the least possible loss with s = 0.1 and {len(target_signs)} tokens: {floor:.3f}")

# %% [markdown] lang="en"
# The loss has come down to the floor that smoothing allows. Read it as: at every place, *given a right beginning*, the network knows what comes next. Whether
# it can write a whole numeral by itself is another question.
#
# ## 8 · Writing the answer
#
# In use there is no teacher. The network writes a token, reads what it has written, and writes the next. **Greedy** decoding always takes the likeliest.
#
# Decoding needs only one thing of a network: a function `step(memory, tokens)` that says, for N sentences, what comes next. `memory` is whatever
# the network knows of the N sources, its first axis of length N, and `tokens` (N, T) is what has been written so far, `bos` first; the answer is logits (N, V).
# So you can try your decoder on models that you know by heart. `chain_step` is one: its memory is a table (N, V, V), row $v$ of which holds the logits of
# what follows token $v$.

# %%
table = torch.full((1, 5, 5), -9.0)
table[0, BOS, 3] = table[0, 3, 4] = table[0, 4, EOS] = 0.0  # 1 → 3 → 4 → 2, the end
for tokens in ([BOS], [BOS, 3], [BOS, 3, 4]):
    follows = chain_step(table, torch.tensor([tokens])).argmax(dim=1).item()
    print(f"after {tokens} the likeliest token is {follows}")

# %% [markdown] lang="en"
# ### Bug hunt: the decoder that does not read what it writes
#
# One article writes the decoder as $y = \mathrm{Decoder}(C)$: the output comes from the context $C$. Taken at its word, that is the program below. It knows
# the source, but not what it has written itself, and asks at each place as if nothing stood there yet. **Mend it.**


# %% exercise="greedy" minutes=12 level=2
def greedy(step, memory, bos, eos, max_len):
    """The likeliest next token, again and again, for N sentences.

    step(memory, tokens): memory (N, ...), tokens (N, T) so far, bos first → logits (N, V) of the next token
    → a list of N lists of token numbers, without bos; each ends before its first eos, or after max_len tokens

    >>> table = torch.zeros(1, 5, 5)
    >>> table[0, 1, 3] = table[0, 3, 4] = table[0, 4, 2] = 1.0  # 1 → 3 → 4 → 2
    >>> greedy(chain_step, table, bos=1, eos=2, max_len=9)
    [[3, 4]]
    """
    ### BEGIN SOLUTION
    tokens = torch.full((len(memory), 1), bos, device=memory.device)
    ended = torch.zeros(len(memory), dtype=torch.bool, device=memory.device)
    for _ in range(max_len):
        best = step(memory, tokens).argmax(dim=1)
        tokens = torch.cat([tokens, best[:, None]], dim=1)
        ended |= best == eos
        if ended.all():
            break
    rows = tokens[:, 1:].tolist()
    return [row[: row.index(eos)] if eos in row else row for row in rows]
    ### ELSE BROKEN
    # written = []
    # for place in range(max_len):
    #     nothing_yet = torch.full((len(memory), place + 1), bos, device=memory.device)
    #     written.append(step(memory, nothing_yet).argmax(dim=1))
    # rows = torch.stack(written, dim=1).tolist()
    # return [row[: row.index(eos)] if eos in row else row for row in rows]
    ### END SOLUTION


# %% check="greedy"
check("transformer.greedy", greedy)

# %% [markdown] lang="en"
# <details><summary>My sentences have the wrong length</summary>
#
# Rows end at different steps. It does no harm to go on with a row that has ended; cut it at its first <code>eos</code> when all is done.
# </details>
#
# Now the examination: 2,396 numbers that it has never seen, right only if every sign is right.


# %%
def translate(net, source, target, sentences, max_len=20):
    """Greedy translations of a list of sentences."""

    def step(words, tokens):  # the source's words serve as memory
        return net(words, tokens)[:, -1]

    words = torch.from_numpy(source.encode(sentences)).to(device)
    with torch.no_grad():
        return [target.text(row) for row in greedy(step, words, BOS, EOS, max_len)]


# %% train
answers = translate(model, source_words, target_signs, [pair.source for pair in numbers.test])
right = sum(answer == pair.target for answer, pair in zip(answers, numbers.test, strict=True))
print(
    f"exactly right: {wilson_interval(right, len(numbers.test)).percent()} of {len(numbers.test):,}"
)
for answer, pair in zip(answers, numbers.test, strict=True):
    if answer != pair.target:
        print(f"    {pair.source}: wrote {answer}, right is {pair.target}")
print(
    english_words(120_345),
    "→",
    translate(model, source_words, target_signs, [english_words(120_345)])[0],
)

# %% [markdown] lang="en"
# ### Why the beginning matters
#
# Could the article's decoder do this too, from context alone? Where there is **one** right answer, yes, in principle: each place can work out its own sign from
# the source. But language has many right answers. Say that half of the training answers write plain numerals (二百三十) and half the forms that banks use
# against forgery (贰佰叁拾). Both are right; a mixture is not. **Predict:** a decoder that chooses each of four signs without knowing the other three, and
# has learnt the shares perfectly, *draws* its answers. What share of them is all of one kind?

# %% predict="two_styles"
# A share, from 0 to 1.
mixed_guess = ...

# %%
from itertools import product

drawn = list(
    product("pb", repeat=4)
)  # plain or bank, for each of four signs: all are equally likely
predict.reveal(
    "transformer.two_styles",
    guess=mixed_guess,
    truth=sum(len(set(signs)) == 1 for signs in drawn) / len(drawn),
    because="Two of 16: four coins that know nothing of each other. One that reads its first sign gets all of them right.",
)

# %% [markdown] lang="en"
# ### Beam search
#
# Greedy decoding can be trapped: the likeliest first token may lead to sentences that are all unlikely. **Beam search** keeps `width` trials side by side. In each
# round, every trial is continued by every token; of all these continuations together, the `width` best stay, by the sum of log-probabilities. Those that end in
# `eos` are put aside as finished; the others go on, for `max_len` rounds at most.
#
# Sums of log-probabilities fall with every token, so a plain sum prefers short answers. The winner is the one with the highest
#
# $$ \text{score} = \frac{\log p_1 + \dots + \log p_n}{n^{\alpha}} , $$
#
# where $n$ counts the answer's tokens, the end token included. $\alpha = 0$ is the plain sum, $\alpha = 1$ the mean per token.


# %% exercise="beam_search" minutes=25 level=3
def beam_search(step, memory, width, bos, eos, max_len, alpha=0.0):
    """The best answer that `width` trials find, for one source: memory (1, ...).

    step as for greedy; it takes any number N of sentences, with memory (N, ...): memory.expand(N, *memory.shape[1:])
    In round n = 1, 2, …, max_len: continue, keep the `width` best by their sums; those that end in eos are finished, with n tokens.
    After round max_len what is unfinished counts as it stands, with max_len tokens. → (tokens without bos and eos, score)

    >>> table = torch.full((1, 5, 5), 1e-9)
    >>> table[0, 1, 3], table[0, 1, 4] = 0.6, 0.4            # 3 looks better than 4 …
    >>> table[0, 3, 2], table[0, 3, 3], table[0, 4, 2] = 0.5, 0.5, 1.0  # … but 4 ends well
    >>> tokens, score = beam_search(chain_step, table.log(), 2, bos=1, eos=2, max_len=5)
    >>> tokens, round(score, 3)                               # log 0.4
    ([4], -0.916)
    """
    ### BEGIN SOLUTION
    live, sums = torch.full((1, 1), bos, device=memory.device), torch.zeros(1, device=memory.device)
    finished = []
    for length in range(1, max_len + 1):
        logits = step(memory.expand(len(live), *memory.shape[1:]), live)
        totals = sums[:, None] + logits.log_softmax(dim=1)  # (L, V): every continuation
        sums, places = totals.flatten().topk(min(width, totals.numel()))
        rows, tokens = places // totals.size(1), places % totals.size(1)
        live = torch.cat([live[rows], tokens[:, None]], dim=1)
        over = (tokens == eos) | (length == max_len)
        for total, trial in zip(sums[over].tolist(), live[over].tolist(), strict=True):
            finished.append((total / length**alpha, [token for token in trial[1:] if token != eos]))
        live, sums = live[~over], sums[~over]
        if len(live) == 0:
            break
    score, best = max(finished)
    return best, score
    ### END SOLUTION


# %% check="beam_search"
check("transformer.beam_search", beam_search)

# %% [markdown] lang="en"
# <details><summary>How do I find which trial and which token the best continuations belong to?</summary>
#
# Flatten the (L, V) table of sums; place number p of it is row <code>p // V</code>, token <code>p % V</code>.
# </details>
# <details><summary>Only the length penalty is wrong</summary>
#
# It plays no part while searching. Apply it once, when a trial is finished, with n counting the end token.
# </details>
#
# Does it help our translator? Where the network is sure, there is nothing to search for. Take a **half-trained** one instead:

# %% train
young, *_ = train_translator(numbers, steps=80)
sample = numbers.test[:200]
found = {"greedy": translate(young, source_words, target_signs, [pair.source for pair in sample])}


def half_trained(words, tokens):
    """The half-trained network as a step function."""
    with torch.no_grad():
        return young(words, tokens)[:, -1]


found["beam of 4"] = []
for pair in progress(sample, "a beam of 4"):
    words = torch.from_numpy(source_words.encode([pair.source])).to(device)
    tokens, _ = beam_search(half_trained, words, 4, BOS, EOS, 20, 1.0)
    found["beam of 4"].append(target_signs.text(tokens))
for name, written in found.items():
    right = sum(answer == pair.target for answer, pair in zip(written, sample, strict=True))
    print(f"{name:10s} {wilson_interval(right, len(sample)).percent()} of {len(sample)}")

# %% [markdown] lang="en"
# Hardly: the difference is smaller than the intervals. This network's mistakes are not those of a bad first step; where it is wrong, it has learnt too little.
# Beam search looks for a *likelier* answer than greedy decoding finds, and a likelier answer is a better one only where the network's probabilities are good. It
# earns more in the translation of real text, where many sentences are about equally likely; here one answer is right.
#
# ### Where it looks
#
# At every written sign, each head of the cross-attention spreads its weight over the source words. Choose a sentence, a head, and step through the signs.


# %%
def reading(net, source, target, sentence):
    """What the network writes, and where each head of each layer looks while it writes."""
    answer = translate(net, source, target, [sentence])[0]
    words = torch.from_numpy(source.encode([sentence])).to(device)
    read, _ = teacher_pairs(target, [answer])
    looks = [layer.multihead_attn for layer in net.decoder_layers]
    with torch.no_grad(), recorded(looks) as weights:
        net(words, torch.from_numpy(read).to(device))
    stacked = torch.cat(weights).cpu().numpy()  # (layers, heads, Tt, Ts)
    return Reading(tuple(tokens_of(sentence)), (*tokens_of(answer), ">"), stacked)


# %% train
chosen = (999_999, 120_345, 120_000, 12_000, 500_020)
readings = [reading(model, source_words, target_signs, english_words(number)) for number in chosen]

# %% figure="cross_attention_maps" alt="A table of grey cells: one row for each written sign, one column for each source word; the darker a cell, the more of its weight the chosen head gives to that word. A frame marks the row that is being written."
show(cross_attention_maps(readings))

# %% [markdown] lang="en"
# Go through 120,345. The map has learnt both grammars: the English words are read in the order in which the Chinese signs need them, and where
# several words decide about one sign, several are looked at. Be careful with such pictures all the same: a weight says where a head *looks*, not what it
# *does* with what it sees there, and with two layers of encoder below, the vector at "twenty" may hold news of its neighbours (chapter 17 takes this up).
#
# ## 9 · What was it good for?
#
# Every part of this network has been introduced with a reason. Reasons can be wrong. So we took some of the parts away, one at a time, and trained each variant with
# three seeds, on the same numbers and for the same 600 steps (`benchmarks/translation.py`; the stored results carry date and command):

# %%
variants = list(dict.fromkeys(run.variant for run in stored()))
shares = {name: [run.exact for run in stored() if run.variant == name] for name in variants}
for name, found in shares.items():
    losses_of = [run.loss for run in stored() if run.variant == name]
    shown = ", ".join(f"{share:6.1%}" for share in found)
    print(f"{name:32s} exact {shown}   last loss {np.mean(losses_of):.3f}")

figure, axis = plt.subplots(figsize=(8, 4), layout="constrained")
for row, name in enumerate(reversed(variants)):
    axis.plot([0, 1], [row, row], ":", color="#BBBBBB", linewidth=1, zorder=0)
    axis.plot(
        shares[name], [row] * len(shares[name]), "o", color="#005A8E", markersize=7, alpha=0.7
    )
axis.set_yticks(range(len(variants)), list(reversed(variants)))
axis.set(xlabel="share of held-out numbers that are right in every sign", xlim=(-0.02, 1.02))
axis.spines[["top", "right"]].set_visible(False)
plt.close(figure)
show_static(
    figure,
    alt="A row of dots for each variant, one dot a seed. As in this chapter, without label smoothing, without warm-up, post-norm, target without places, encoder "
    "thrown away and decoder from context alone all lie between 95 and 100 percent; source pressed into one vector "
    "near 80, source without places near 20, no causal mask at 0.",
)

# %% [markdown] lang="en"
# Three mistakes are ruinous. **Without the causal mask** nothing is right. **Without places in the source** a fifth is: few numbers' words
# fit one order only, so most of that fifth is good guessing among the orders that make a number. **Pressed into one vector**, the source loses enough that about one number in five goes wrong, and this is a sentence of nine words at most; a network
# twice as wide would lose less, a longer sentence more.
#
# And now the honest part: **the others hardly show**. Warm-up makes no difference here, pre-norm and post-norm differ by less than half a point, and label smoothing
# is worth about half a point, which three seeds can hardly prove. Even with the encoder's result *thrown away*, nearly all numbers are right: the decoder looks at the bare words, and its own two layers suffice for this
# little grammar. A target without places does as well as one with: the causal mask alone can let a token count how many stand before it.
#
# Two lessons. A network forgives mistakes: whoever wrote the article's custom Transformer might have mended what crashed, trained it, seen 99%, and never found out that
# half of the network does nothing. Results do not prove a program; that every parameter has a say, you have to *test*. And what a part is for shows only where it is
# needed: two layers and thirty words do not need what six layers and a whole language do. (Xiong et al., 2020, measure that on translation of real text: deep post-norm
# networks do not train without warm-up, pre-norm ones do.)
#
# The decoder from context alone gets most numbers right, as section 8 said it could where there is one right answer, and errs more often than any variant but
# the three ruinous ones.
#
# ## 10 · Another language: dates
#
# Nothing in the program knows what a number is. Give it other pairs: dates as people write them, and as ISO 8601 has them. The weekday, where there is one,
# must be ignored; the order must be changed; months must become figures. Only the learning rate is set lower, at 0.3 of the paper's. With 0.5, as for numbers, the
# network confuses the places of two figures now and then (1990 becomes 1999), and stays just below 99%: copying figures exactly asks for a finer aim.

# %% train
dates = date_pairs(20_000, test_fraction=0.1, seed=0)
for pair in dates.test[:4]:
    print("   ", pair.source, "→", pair.target)
date_model, date_words, date_signs, _ = train_translator(dates, steps=700, factor=0.3)
date_answers = translate(date_model, date_words, date_signs, [pair.source for pair in dates.test])
right = sum(answer == pair.target for answer, pair in zip(date_answers, dates.test, strict=True))
print(f"exactly right: {wilson_interval(right, len(dates.test)).percent()} of {len(dates.test):,}")
wrong = [
    (pair.source, answer)
    for answer, pair in zip(date_answers, dates.test, strict=True)
    if answer != pair.target
]
print("wrong:", wrong[:5] if wrong else "none")

# %% [markdown] lang="en"
# The dates held out are days that it has never seen, in six ways of writing. What would happen to a seventh, "the fifth of March"? *fifth* is not in the
# vocabulary, and `Vocabulary` says so. A translator knows its training data's world, and no other. It answers as readily where there is nothing to
# answer: give it known words that make no number.

# %% train
strange = "two hundred thousand three hundred thousand four"  # known words, but not a number
print(strange, "→", translate(model, source_words, target_signs, [strange])[0])

# %% [markdown] lang="en"
# It answers, of course. It has never learnt to say "this is not a number".
#
# ## 11 · Measured: against PyTorch's Transformer
#
# **Is it right?** `nn.Transformer` with the weights of your trained translator, on the same sentences: the same answers, and the same gradients?

# %% train
small = model if course_size() == "small" else train_translator(numbers, steps=5)[0]
ours = small.cpu()
with warnings.catch_warnings():
    warnings.simplefilter(
        "ignore"
    )  # it tells that a faster way for padded batches is not open to pre-norm
    theirs = nn.Transformer(64, 4, 2, 2, 128, 0.0, batch_first=True, norm_first=True)
renamed = {
    name.replace("encoder_layers", "encoder.layers")
    .replace("decoder_layers", "decoder.layers")
    .replace("encoder_norm", "encoder.norm")
    .replace("decoder_norm", "decoder.norm"): value
    for name, value in ours.state_dict().items()
    if name.startswith(("encoder", "decoder"))
}
theirs.load_state_dict(renamed)

sentences = [pair.source for pair in numbers.test[:32]]
words = torch.from_numpy(source_words.encode(sentences))
read, said = map(
    torch.from_numpy, teacher_pairs(target_signs, [p.target for p in numbers.test[:32]])
)
padding = words == PAD  # torch: True = leave out


def through_torch(words, read):
    future = nn.Transformer.generate_square_subsequent_mask(read.size(1))
    x = ours.embed(ours.source_embedding, words)
    y = ours.embed(ours.target_embedding, read)
    y = theirs(
        x,
        y,
        tgt_mask=future,
        src_key_padding_mask=padding,
        memory_key_padding_mask=padding,
        tgt_is_causal=True,
    )
    return ours.output(y)


mine, torchs = ours(words, read), through_torch(words, read)
real = said != PAD
print(f"largest difference of a logit: {(mine - torchs)[real].abs().max():.1e}")
gradients = []
for logits in (mine, torchs):
    ours.zero_grad()
    smoothed_loss(logits, said, 0.1, PAD).backward()
    gradients.append(ours.source_embedding.weight.grad.clone())
print(f"largest difference of a gradient: {(gradients[0] - gradients[1]).abs().max():.1e}")

# %% [markdown] lang="en"
# **Is it fast?** A training step of the encoder alone, forward and backward, yours and `nn.TransformerEncoder`, turn by turn:

# %% train
pair_of = (
    nn.ModuleList(EncoderLayer(128, 4, 512) for _ in range(2)),
    nn.TransformerEncoder(
        nn.TransformerEncoderLayer(128, 4, 512, 0.0, batch_first=True, norm_first=True),
        2,
        enable_nested_tensor=False,
    ),
)
x = torch.randn(16, 32, 128)
clocks = ([], [])
for _turn in range(25):
    for number, encoder in enumerate(pair_of):
        begun = time.perf_counter()
        y = x
        for layer in encoder if number == 0 else (encoder,):
            y = layer(y)
        y.square().mean().backward()
        clocks[number].append(time.perf_counter() - begun)
mine_ms, torch_ms = (1e3 * float(np.median(clock[5:])) for clock in clocks)
print(f"yours {mine_ms:.1f} ms, torch {torch_ms:.1f} ms: {mine_ms / torch_ms:.2f} times its time")

# %% [markdown] lang="en"
# There is no magic in torch's layer to lose by writing your own: the work is in the matrix products and in the attention kernel, and both programs call the
# same ones. (`benchmarks/transformer.py` measures it with more care.) What torch's has beside yours is an option for everything.
#
# ## Common mistakes, by symptom
#
# | you see | probably | do |
# | --- | --- | --- |
# | training loss is as good as can be, and the network cannot write a sentence | no causal mask, or the target not moved by one place | `make_masks`; `teacher_pairs` |
# | training loss never gets near 0 | label smoothing: it has a floor | compare with the floor of section 7 |
# | loss stays high, or answers do not depend on the source | a mask the wrong way round | True is "may attend" here, "leave out" in torch's `key_padding_mask` |
# | an answer depends on which other sentences are in the batch | `batch_first=True` forgotten, or padding not masked | section 4's hunt |
# | "The size of tensor a (7) must match the size of tensor b (100)" | the whole table of places added | its first T rows |
# | word order makes no difference | no positions | section 2 |
# | `Module [ModuleList] is missing the required "forward" function` | a list of layers called | a loop over the layers |
# | training takes forever and memory grows with the vocabulary | one number used for vocabulary and layers | a name for each size |
# | decoding repeats the same token | the decoder is given only the last token, or only `bos` | all tokens so far |
# | beam search prefers very short answers | plain sums of logarithms | a length penalty |
# | post-norm does not start to learn | learning rate too high at the start | warm-up, or pre-norm |
# | good in training mode, other answers each time | `net.eval()` forgotten (chapter 05) | `net.eval()` |
#
# ## Questions from the source articles
#
# **Is the Transformer a mechanism for capturing long-range dependencies?** It makes them *cheap to reach*: from any word to any other is one step, where a
# recurrent network needs as many as lie between (chapter 07). Nothing makes it use them; that is learnt.
#
# **Is it more efficient than a recurrent network?** One article says so without saying by what measure. It does more work on long sequences, not less: every token looks at
# every other (chapter 08 measures the square). What it gains is that all places of a training sentence are computed at once. When *writing*, it goes token by token
# like any other.
#
# **Does the encoder give a representation of fixed length?** No. A vector of fixed *width* for every token, and as many vectors as there are tokens. See section 9
# for what one vector costs.
#
# **Does self-attention compute "the importance of each word in the sequence"?** Not one importance for each word: one for each *pair*. The same word counts much for
# one reader and nothing for another; each row of the weights adds up to 1, the columns need not.
#
# **Is a Linear an embedding?** Both articles' programs have a `Linear` where the words come in, and no word for what comes in. On one-hot rows it gives what an
# `nn.Embedding` gives, plus a bias, and multiplies by all those zeros. On token numbers it fails.
#
# **Are multi-head attention and positions all that a Transformer is made of?** One article's list ends there. Without the feed-forward networks, the sums and the
# normalisation it would be a different network. (How much they matter shows in deep networks; two layers on our numbers do well without.) And it uses one letter, $h$, both for the number of heads and for the output of a head.
#
# **Where was it published?** One article's reference gives volume 32, pages 5998-6018, and not the authors that it has. It is volume 30 of the NIPS
# proceedings (2017), pages 5998-6008, by eight authors, of "equal contribution", as its first footnote says.
#
# ## Bonus: reuse what has been computed
#
# (Not graded.) `translate` encodes the source anew for every sign that it writes. Write a `step` whose memory is the encoder's result, together with the words
# (a decoder needs their mask), so that the source is read once. How much faster does the examination of section 8 get? There is more to save: at every step the
# decoder computes keys and values of all earlier tokens again, though the causal mask guarantees that they have not changed. Chapter 12 keeps them in a cache.
#
# <details><summary>One way to do the first</summary>
#
# <pre>
# memory = net.encode(words)                       # (N, Ts, W)
# both = torch.cat([memory, words[:, :, None]], dim=2)   # the words as one more column
# step = lambda both, tokens: net.decode(both[:, :, -1].long(), tokens, both[:, :, :-1])[:, -1]
# </pre>
# </details>

# %%
# Yours to try.

# %% [markdown] lang="en"
# ## What you have now
#
# `course_lib.nn.transformer` holds what you have written, one concept a file: positions, masks, encoder, decoder, smoothing, schedule, decoding, and the whole
# in `model`; `course_lib.translation` trains it. Half of it goes on alone: the encoder, pretrained on text with holes, is BERT (chapter 11); the decoder, without the
# look at a source, is GPT (chapter 12). **Next:** chapter 10, how a network can learn from data that nobody has labelled.
#
# *Further reading:* Vaswani et al., "Attention is all you need", NIPS 30 (2017). Ba, Kiros & Hinton, "Layer normalization" (2016). Xiong et al., "On layer
# normalization in the Transformer architecture", ICML (2020), on pre-norm and warm-up. Szegedy et al., "Rethinking the Inception architecture", CVPR (2016), for label
# smoothing. Wu et al., "Google's neural machine translation system" (2016), for the length penalty in another form. Jain & Wallace, "Attention is not explanation",
# NAACL (2019), and Wiegreffe & Pinter, "Attention is not not explanation", EMNLP (2019).
