"""What the exercises of chapter 09 demand. Trusted side: student code is reached only through `student`.

A layer or a whole network stays with the student: the check loads weights of its own, asks, and loads others. What a layer should answer is what
torch's layer of the same weights answers. A decoder is tried on tables of `course_lib.nn.transformer.chains`, which both sides can import.
"""

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from autograder.checking import Mismatch, case, close, exercise, finite, holds, same
from autograder.checking.cases import StudentError
from course_lib.nn.transformer.chains import chain_step, history_step

ROOM = "course_lib.nn.transformer"
WIDTH, HEADS, HIDDEN = 8, 2, 12
PAD, BOS, EOS = 0, 1, 2


def tensor(rng, *shape, scale=1.0):
    """Normal numbers as a float32 tensor."""
    return torch.from_numpy(scale * rng.normal(size=shape)).float()


def tokens(rng, rows, length, vocab, first=3):
    """Token numbers from `first` on, so that none is padding, begin or end."""
    return torch.from_numpy(rng.integers(first, vocab, size=(rows, length)))


@exercise("transformer.sinusoidal_positions", points=3, reference=f"{ROOM}.positions")
def sinusoidal_positions(student, rng):
    """Places as waves."""

    def wanted(length, width):
        table = np.zeros((length, width))
        for t in range(length):
            for i in range(width // 2):
                angle = t / 10000 ** (2 * i / width)
                table[t, 2 * i], table[t, 2 * i + 1] = math.sin(angle), math.cos(angle)
        return torch.from_numpy(table)

    def near(found, right):
        close(found, right.to(getattr(found, "dtype", torch.float32)), atol=2e-4)

    length, width = int(rng.integers(9, 14)), 2 * int(rng.integers(5, 9))
    with case("places are counted from 0: the first row is 0, 1, 0, 1, …", hint="torch.arange(length) starts at 0; sin 0 = 0 and cos 0 = 1."):
        same(tuple(student.sinusoidal_positions(length, width).shape), (length, width), "the shape")
        near(student.sinusoidal_positions(length, width)[0], torch.tensor([0.0, 1.0] * (width // 2)))
    with case("a single pair turns by one radian from place to place", hint="For i = 0 the exponent is 0, and 10000⁰ = 1."):
        near(student.sinusoidal_positions(length, 2), wanted(length, 2))
    with case(
        "every pair has a slower wave than the one before", hint="Pair i has the rate 10000^(-2i/width): twice the pair's number, over the width."
    ):
        near(student.sinusoidal_positions(length, width), wanted(length, width))
    with case("far places keep their waves", hint="Compute the angle from the place itself; adding up small steps in float32 drifts."):
        near(student.sinusoidal_positions(900, 6)[-5:], wanted(900, 6)[-5:])


@sinusoidal_positions.right("an empty table, filled in every other column")
def _(length, width):
    place = torch.arange(length, dtype=torch.float64).unsqueeze(1)
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(10000.0) / width))
    table = torch.zeros(length, width, dtype=torch.float64)
    table[:, 0::2] = torch.sin(place * rate)
    table[:, 1::2] = torch.cos(place * rate)
    return table.float()


FILLED = "an empty table, filled in every other column"
FIRST_ROW = "places are counted from 0: the first row is 0, 1, 0, 1, …"
ONE_PAIR = "a single pair turns by one radian from place to place"
SLOWER = "every pair has a slower wave than the one before"
FAR = "far places keep their waves"
sinusoidal_positions.slip(
    "places counted from 1",
    ("torch.arange(length, dtype", "1 + torch.arange(length, dtype"),
    of=FILLED,
    fails=(FIRST_ROW, ONE_PAIR, SLOWER, FAR),
)
sinusoidal_positions.slip(
    "all sines first, then all cosines",
    ("table[:, 0::2]", "table[:, : width // 2]"),
    ("table[:, 1::2]", "table[:, width // 2 :]"),
    of=FILLED,
    fails=(FIRST_ROW, SLOWER, FAR),
)
sinusoidal_positions.slip(
    "sine and cosine exchanged",
    ("torch.sin(", "torch.cosine("),
    ("torch.cos(", "torch.sin("),
    ("torch.cosine(", "torch.cos("),
    of=FILLED,
    fails=(FIRST_ROW, ONE_PAIR, SLOWER, FAR),
)
sinusoidal_positions.slip(
    "the pair's number not doubled", ("torch.arange(0, width, 2, ", "torch.arange(width // 2, "), of=FILLED, fails=(SLOWER, FAR)
)
sinusoidal_positions.slip("divided by the number of pairs", ("/ width)", "/ (width // 2))"), of=FILLED, fails=(SLOWER, FAR))
sinusoidal_positions.slip("rates that grow", ("(-math.log", "(math.log"), of=FILLED, fails=(SLOWER, FAR))
sinusoidal_positions.slip("one rate for all pairs", ("(-math.log(10000.0) / width)", "0"), of=FILLED, fails=(SLOWER, FAR))


@sinusoidal_positions.right("number by number")
def _(length, width):
    rows = []
    for t in range(length):
        angles = [t / 10000 ** (2 * (j // 2) / width) for j in range(width)]
        rows.append([math.cos(a) if j % 2 else math.sin(a) for j, a in enumerate(angles)])
    return torch.tensor(rows).reshape(length, width)


SOURCE_SEEN = "every query may attend to every real source token, and to no padding"
CAUSAL = "a target token sees itself and what came before"
TARGET_PADDING = "padding of the target is seen by nobody"
BOOLEANS = "booleans, True for what may be seen, that fit (B, Tq, Tk)"
ANY_PAD = "padding is the number that it is told"


@exercise("transformer.make_masks", points=3, reference=f"{ROOM}.masks")
def make_masks(student, rng):
    """Who may attend to whom."""
    source, target = tokens(rng, 3, 6, 20), tokens(rng, 3, 5, 20)
    source[0, 4:], source[2, 2:] = PAD, PAD
    full = torch.ones(5, 5, dtype=torch.bool).tril()

    def asked(source, target, pad=PAD):
        """Both masks spread out to (B, Tt, Ts) and (B, Tt, Tt)."""
        found = student.make_masks(source, target, pad)
        same(len(found), 2, "the number of masks")
        sizes = ((len(source), target.size(1), source.size(1)), (len(target), target.size(1), target.size(1)))
        for mask in found:
            holds(getattr(mask, "dtype", None) == torch.bool, "A mask here is a tensor of booleans.")
        return [torch.broadcast_to(mask, size) for mask, size in zip(found, sizes, strict=True)]

    with case(SOURCE_SEEN, hint="source != pad, with an axis of length 1 in between for the queries: (B, 1, Ts)."):
        same(asked(source, target)[0], (source != PAD)[:, None, :].expand(3, 5, 6), "the source mask")
    with case(CAUSAL, hint="torch.ones(T, T).tril() has row t True up to and including column t. Rows are queries."):
        same(asked(source, target)[1], full.expand(3, 5, 5), "the target mask")
    with case(TARGET_PADDING, hint="Both conditions hold at once: & of the two masks."):
        padded = target.clone()
        padded[1, 3:], padded[2, 4:] = PAD, PAD
        same(asked(source, padded)[1], full & (padded != PAD)[:, None, :], "the target mask")
    with case(BOOLEANS, hint='True means "may attend". torch\'s key_padding_mask has it the other way round.'):
        one = asked(tokens(rng, 1, 2, 20), tokens(rng, 1, 2, 20))
        same(one[1][0].tolist(), [[True, False], [True, True]], "the target mask of two tokens")
        same(one[0][0].tolist(), [[True, True], [True, True]], "the source mask of two tokens")
    with case(ANY_PAD, hint="Compare with `pad`, not with 0."):
        other = tokens(rng, 2, 5, 20)
        other[0, 0], other[1, 4] = PAD, 7
        clean = torch.full((2, 4), 5)
        found = asked(other, clean, pad=7)
        same(found[0], (other != 7)[:, None, :].expand(2, 4, 5), "the source mask")


@make_masks.right("comparisons, and a lower triangle")
def _(source, target, pad):
    steps = torch.arange(target.size(1))
    causal = steps[:, None] >= steps
    source_mask = (source != pad).unsqueeze(1)
    target_mask = (target != pad).unsqueeze(1) & causal
    return source_mask, target_mask


LOWER = "comparisons, and a lower triangle"
make_masks.slip(
    "True for what is left out",
    ("source_mask = (source != pad)", "source_mask = (source == pad)"),
    ("(target != pad).unsqueeze(1) & causal", "~((target != pad).unsqueeze(1) & causal)"),
    of=LOWER,
    fails=(SOURCE_SEEN, CAUSAL, TARGET_PADDING, BOOLEANS, ANY_PAD),
)
make_masks.slip(
    "the future instead of the past", ("steps[:, None] >= steps", "steps[:, None] <= steps"), of=LOWER, fails=(CAUSAL, TARGET_PADDING, BOOLEANS)
)
make_masks.slip(
    "a token does not see itself", ("steps[:, None] >= steps", "steps[:, None] > steps"), of=LOWER, fails=(CAUSAL, TARGET_PADDING, BOOLEANS)
)
make_masks.slip(
    "padding of the target forgotten", ("(target != pad).unsqueeze(1) & causal", "causal.expand(len(target), -1, -1)"), of=LOWER, fails=TARGET_PADDING
)
make_masks.slip(
    "no causal mask", ("(target != pad).unsqueeze(1) & causal", "(target != pad).unsqueeze(1)"), of=LOWER, fails=(CAUSAL, TARGET_PADDING, BOOLEANS)
)
make_masks.slip(
    "padded queries instead of padded keys", ("(target != pad).unsqueeze(1)", "(target != pad).unsqueeze(2)"), of=LOWER, fails=TARGET_PADDING
)
make_masks.slip(
    "either condition is enough", (".unsqueeze(1) & causal", ".unsqueeze(1) | causal"), of=LOWER, fails=(CAUSAL, TARGET_PADDING, BOOLEANS)
)
make_masks.slip(
    "0 for padding, whatever it is told",
    ("(source != pad)", "(source != 0)"),
    ("(target != pad)", "(target != 0)"),
    of=LOWER,
    fails=ANY_PAD,
)
make_masks.slip(
    "numbers for adding to the scores",
    ("return source_mask, target_mask", "return tuple((~mask).float() * -1e9 for mask in (source_mask, target_mask))"),
    of=LOWER,
    fails=(SOURCE_SEEN, CAUSAL, TARGET_PADDING, BOOLEANS, ANY_PAD),
)


@make_masks.right("loops")
def _(source, target, pad):
    rows, length = target.shape
    target_mask = torch.zeros(rows, length, length, dtype=torch.bool)
    for b in range(rows):
        for q in range(length):
            for k in range(q + 1):
                target_mask[b, q, k] = target[b, k] != pad
    return (source != pad).reshape(rows, 1, -1), target_mask


def filled(state, rng, scale=0.4):
    """Weights of the check's own for every tensor of a state dict; scales of normalisations around 1."""
    return {
        name: tensor(rng, *value.shape, scale=scale) + (1.0 if "norm" in name and name.endswith("weight") else 0.0) for name, value in state.items()
    }


def loaded(layer, state):
    """The student's layer with these weights; a Mismatch that names the difference where its own have other names or shapes."""
    own = {name: tuple(value.shape) for name, value in layer.state_dict().items()}
    wanted = {name: tuple(value.shape) for name, value in state.items()}
    if own != wanted:
        odd = sorted(set(own.items()) ^ set(wanted.items()))
        raise Mismatch(f"The names and shapes in state_dict() should be those of torch's layer; {odd[0][0]} is not.")
    layer.load_state_dict(dict(state))
    return layer


def torch_encoder(norm, rng):
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, HIDDEN, dropout=0.0, batch_first=True, norm_first=norm == "pre")
    layer.load_state_dict(filled(layer.state_dict(), rng))
    return layer


def torch_decoder(norm, rng):
    layer = nn.TransformerDecoderLayer(WIDTH, HEADS, HIDDEN, dropout=0.0, batch_first=True, norm_first=norm == "pre")
    layer.load_state_dict(filled(layer.state_dict(), rng))
    return layer


ENCODER_PRE = "pre-norm: the answer of torch's layer with the same weights"
ENCODER_POST = "post-norm: the answer of torch's layer with the same weights"
ENCODER_NAMES = "its parameters are those of torch's layer, by name and shape"
ENCODER_MASK = "what the mask leaves out changes nothing"
STEPS_ADDED = "with the last weights of both parts at 0, pre-norm hands its input through"


@exercise("transformer.EncoderLayer", points=4, seconds=4, reference=(f"{ROOM}.encoder", f"{ROOM}.decoder", f"{ROOM}.model"))
def EncoderLayer(student, rng):
    """Attention, then a small network, each added to what came in."""
    x = tensor(rng, 3, 5, WIDTH, scale=2.0)
    mask = torch.ones(3, 1, 5, dtype=torch.bool)
    mask[0, 0, 3:], mask[2, 0, 1:] = False, False

    with case(
        ENCODER_NAMES, hint="self_attn, linear1, linear2, norm1, norm2, each assigned to self; the feed-forward network is width → hidden → width."
    ):
        loaded(student.EncoderLayer(WIDTH, HEADS, HIDDEN, "pre"), torch_encoder("pre", rng).state_dict())
    for norm, name, hint in (
        (
            "pre",
            ENCODER_PRE,
            "x + attention(norm1(x)), then x + feed_forward(norm2(x)). The normalised numbers go into all three of query, key and value.",
        ),
        ("post", ENCODER_POST, "norm1(x + attention(x)), then norm2(x + feed_forward(x))."),
    ):
        with case(name, hint=hint):
            theirs = torch_encoder(norm, rng)
            ours = loaded(student.EncoderLayer(WIDTH, HEADS, HIDDEN, norm), theirs.state_dict())
            close(ours(x), theirs(x).detach(), atol=2e-5, rtol=1e-4)
            close(ours(x, mask), theirs(x, src_key_padding_mask=~mask[:, 0]).detach(), atol=2e-5, rtol=1e-4)
    with case(ENCODER_MASK, hint="Hand the mask on to the attention."):
        theirs = torch_encoder("pre", rng)
        ours = loaded(student.EncoderLayer(WIDTH, HEADS, HIDDEN, "pre"), theirs.state_dict())
        other = x.clone()
        other[0, 3:], other[2, 1:] = 9.0 * tensor(rng, 2, WIDTH), 9.0 * tensor(rng, 4, WIDTH)
        first, second = ours(x, mask), ours(other, mask)
        for row, kept in ((0, 3), (1, 5), (2, 1)):
            close(second[row, :kept], first[row, :kept], atol=1e-5)
        holds(not torch.allclose(first[1], x[1], atol=1e-3), "The layer hands its input through.")
    with case(STEPS_ADDED, hint="Both parts are added to x itself, not to the normalised x."):
        state = torch_encoder("pre", rng).state_dict()
        for name in ("self_attn.out_proj.weight", "self_attn.out_proj.bias", "linear2.weight", "linear2.bias"):
            state[name] = torch.zeros_like(state[name])
        close(loaded(student.EncoderLayer(WIDTH, HEADS, HIDDEN, "pre"), state)(x), x, atol=1e-6)


@EncoderLayer.right("around torch's own attention")
class _(nn.Module):
    def __init__(self, width, num_heads, hidden, norm="pre"):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, num_heads, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.norm = norm

    def attend(self, x, mask):
        if mask is not None:
            mask = mask.expand(len(x), x.size(1), x.size(1)).repeat_interleave(self.self_attn.num_heads, 0)
        return self.self_attn(x, x, x, attn_mask=None if mask is None else ~mask, need_weights=False)[0]

    def feed_forward(self, x):
        return self.linear2(torch.relu(self.linear1(x)))

    def forward(self, x, mask=None):
        if self.norm == "pre":
            x = x + self.attend(self.norm1(x), mask)
            x = x + self.feed_forward(self.norm2(x))
        else:
            x = self.norm1(x + self.attend(x, mask))
            x = self.norm2(x + self.feed_forward(x))
        return x


AROUND = "around torch's own attention"
EncoderLayer.slip("always pre-norm", ('self.norm == "pre"', "True"), of=AROUND, fails=ENCODER_POST)
EncoderLayer.slip("always post-norm", ('self.norm == "pre"', "False"), of=AROUND, fails=(ENCODER_PRE, STEPS_ADDED))
EncoderLayer.slip(
    "nothing added in pre-norm",
    ("x = x + self.attend(self.norm1(x), mask)", "x = self.attend(self.norm1(x), mask)"),
    ("x = x + self.feed_forward(self.norm2(x))", "x = self.feed_forward(self.norm2(x))"),
    of=AROUND,
    fails=(ENCODER_PRE, STEPS_ADDED),
)
EncoderLayer.slip(
    "added to the normalised input",
    ("x = x + self.attend(self.norm1(x), mask)", "x = self.norm1(x)\n            x = x + self.attend(x, mask)"),
    of=AROUND,
    fails=(ENCODER_PRE, STEPS_ADDED),
)
EncoderLayer.slip("no ReLU", ("torch.relu(self.linear1(x))", "self.linear1(x)"), of=AROUND, fails=(ENCODER_PRE, ENCODER_POST))
EncoderLayer.slip("GELU", ("torch.relu(self.linear1(x))", "torch.nn.functional.gelu(self.linear1(x))"), of=AROUND, fails=(ENCODER_PRE, ENCODER_POST))
EncoderLayer.slip(
    "the mask not handed on",
    ("attn_mask=None if mask is None else ~mask", "attn_mask=None"),
    of=AROUND,
    fails=(ENCODER_PRE, ENCODER_POST, ENCODER_MASK),
)
EncoderLayer.slip(
    "one normalisation for both",
    ("self.feed_forward(self.norm2(x))", "self.feed_forward(self.norm1(x))"),
    ("x = self.norm2(x + self.feed_forward(x))", "x = self.norm1(x + self.feed_forward(x))"),
    of=AROUND,
    fails=(ENCODER_PRE, ENCODER_POST),
)
EncoderLayer.slip(
    "one linear layer too narrow",
    ("nn.Linear(width, hidden), nn.Linear(hidden, width)", "nn.Linear(width, width), nn.Linear(width, width)"),
    of=AROUND,
    fails=(ENCODER_NAMES, ENCODER_PRE, ENCODER_POST, ENCODER_MASK, STEPS_ADDED),
)


@EncoderLayer.right("attention written out")
class _(nn.Module):
    def __init__(self, width, num_heads, hidden, norm="pre"):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, num_heads)
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.first = norm == "pre"
        self.heads = num_heads

    def forward(self, x, mask=None):
        part = self.self_attn
        given = self.norm1(x) if self.first else x
        q, k, v = (given @ part.in_proj_weight.T + part.in_proj_bias).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scores = q @ k.mT / q.size(-1) ** 0.5
        if mask is not None:
            scores = scores.masked_fill(~mask.unsqueeze(-3), -torch.inf)
        mixed = (scores.softmax(-1) @ v).permute(0, 2, 1, 3).flatten(2)
        x = x + part.out_proj(mixed)
        if not self.first:
            x = self.norm1(x)
        y = x + self.linear2(self.linear1(self.norm2(x) if self.first else x).clamp(min=0))
        return y if self.first else self.norm2(y)


BUILT = "it can be built"
ANY_LENGTH = "sentences of any length up to max_len have an answer for every token"
NEIGHBOURS = "a sentence's answer does not depend on its neighbours in the batch"
ORDER = "equal words at different places have different answers"
PADDING = "padding at the end changes nothing"


def set_up(network, rng, scale=0.3):
    """A student's network in evaluation mode, with weights drawn by the check."""
    network.load_state_dict(filled(network.state_dict(), rng, scale))
    network.eval()
    return network


@exercise("transformer.Tagger", points=4, seconds=4, mends=BUILT)
def Tagger(student, rng):
    """The Transformer of a source article: a label for every word."""

    def built(vocab=15, labels=4, layers=2, max_len=12):
        return student.Tagger(vocab, labels, WIDTH, layers, HEADS, max_len)

    def asked():
        return set_up(built(), rng)

    with case(BUILT, hint="torch.nn has nn.TransformerEncoderLayer and nn.TransformerDecoderLayer. dir(nn) lists what there is."):
        try:
            built()
            sizes = [sum(value.numel() for value in built(layers=layers).state_dict().values()) for layers in (1, 2, 4)]
        except StudentError as error:
            raise Mismatch(f"It cannot be built: {error}") from None
        holds(
            sizes[1] > sizes[0] and sizes[2] - sizes[1] == 2 * (sizes[1] - sizes[0]),
            "Its number of parameters should grow by the same amount with every layer.",
        )
    with case(ANY_LENGTH, hint="A sentence of T words takes the first T rows of the table of places."):
        network = asked()
        for length in (12, 5, 1):
            same(tuple(network(tokens(rng, 2, length, 15)).shape), (2, length, 4), "the shape")
    with case(
        NEIGHBOURS, hint="By default torch's layers take (T, B, width). Ask for batch_first=True, or every word attends to the other sentences."
    ):
        network = asked()
        first, second = tokens(rng, 3, 6, 15), tokens(rng, 3, 6, 15)
        second[1] = first[1]
        finite(network(first))
        close(network(second)[1], network(first)[1], atol=1e-5)
        holds(not torch.allclose(network(second)[0], network(first)[0], atol=1e-3), "Other words, the same answer.")
    with case(ORDER, hint="The table of places has to be added to the embeddings."):
        found = asked()(torch.full((1, 6), 5))[0]
        holds(all(not torch.allclose(found[0], row, atol=1e-4) for row in found[1:]), "A word repeated gets the same answer at every place.")
        network = asked()
        words = torch.tensor([[3, 4, 5, 6]])
        changed = network(torch.tensor([[3, 4, 5, 7]]))
        holds(not torch.allclose(network(words)[0, 0], changed[0, 0], atol=1e-4), "The first word's answer does not depend on the others.")
    with case(PADDING, hint='src_key_padding_mask=(tokens == 0) tells torch\'s layers which words to leave out. True means "leave out" there.'):
        network = asked()
        words = tokens(rng, 2, 5, 15)
        longer = torch.cat([words, torch.zeros(2, 4, dtype=torch.long)], 1)
        close(network(longer)[:, :5], network(words), atol=1e-5)


@Tagger.right("torch's layers, batch first")
class _(nn.Module):
    def __init__(self, vocab_size, num_labels, width, num_layers, num_heads, max_len):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.positions = nn.Parameter(0.02 * torch.randn(max_len, width))
        self.layers = nn.ModuleList([nn.TransformerEncoderLayer(width, num_heads, 4 * width, batch_first=True) for _ in range(num_layers)])
        self.output = nn.Linear(width, num_labels)

    def forward(self, tokens):
        x = self.embedding(tokens) + self.positions[: tokens.size(1)]
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=tokens == 0)
        return self.output(x)


BATCH_FIRST = "torch's layers, batch first"
Tagger.slip(
    "a layer that does not exist, as it was found",
    ("nn.TransformerEncoderLayer(", "nn.TransformerLayer("),
    of=BATCH_FIRST,
    fails=(BUILT, ANY_LENGTH, NEIGHBOURS, ORDER, PADDING),
)
Tagger.slip(
    "all places added, whatever the length",
    ("self.positions[: tokens.size(1)]", "self.positions"),
    of=BATCH_FIRST,
    fails=(ANY_LENGTH, NEIGHBOURS, ORDER, PADDING),
)
Tagger.slip(
    "the batch taken for the time",
    (", batch_first=True", ""),
    ("src_key_padding_mask=tokens == 0", "src_key_padding_mask=(tokens == 0).T"),
    of=BATCH_FIRST,
    fails=(NEIGHBOURS, ORDER),
)
Tagger.slip("no places", (" + self.positions[: tokens.size(1)]", ""), of=BATCH_FIRST, fails=ORDER)
Tagger.slip("padding looked at", (", src_key_padding_mask=tokens == 0", ""), of=BATCH_FIRST, fails=PADDING)
Tagger.slip("only padding looked at", ("tokens == 0", "tokens != 0"), of=BATCH_FIRST, fails=(ORDER, PADDING))
Tagger.slip(
    "the same layer again and again",
    (
        "nn.ModuleList([nn.TransformerEncoderLayer(width, num_heads, 4 * width, batch_first=True) for _ in range(num_layers)])",
        "nn.ModuleList([nn.TransformerEncoderLayer(width, num_heads, 4 * width, batch_first=True)])",
    ),
    of=BATCH_FIRST,
    fails=BUILT,
)


@Tagger.right("nn.TransformerEncoder, and a table of waves")
class _(nn.Module):
    def __init__(self, vocab_size, num_labels, width, num_layers, num_heads, max_len):
        super().__init__()
        self.words = nn.Embedding(vocab_size, width, padding_idx=0)
        self.places = nn.Embedding(max_len, width)
        layer = nn.TransformerEncoderLayer(width, num_heads, 2 * width, dropout=0.0, norm_first=True, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, num_layers, enable_nested_tensor=False)
        self.output = nn.Linear(width, num_labels)

    def forward(self, tokens):
        where = torch.arange(tokens.shape[1], device=tokens.device)
        return self.output(self.encoder(self.words(tokens) + self.places(where), src_key_padding_mask=tokens.eq(0)))


DECODER_NAMES = "its parameters are those of torch's layer, by name and shape"
DECODER_PRE = "pre-norm: the answer of torch's layer with the same weights"
DECODER_POST = "post-norm: the answer of torch's layer with the same weights"
FUTURE = "what comes later in the target changes nothing"
SOURCE_PADDING = "padding of the source changes nothing, and the rest of it does"


@exercise("transformer.DecoderLayer", points=4, seconds=4, reference=(f"{ROOM}.encoder", f"{ROOM}.decoder", f"{ROOM}.model"))
def DecoderLayer(student, rng):
    """Among themselves, at the source, then alone."""
    y, memory = tensor(rng, 3, 4, WIDTH, scale=2.0), tensor(rng, 3, 6, WIDTH, scale=2.0)
    causal = torch.ones(4, 4, dtype=torch.bool).tril().expand(3, 4, 4).clone()
    seen = torch.ones(3, 1, 6, dtype=torch.bool)
    seen[0, 0, 4:], seen[1, 0, 2:] = False, False

    with case(DECODER_NAMES, hint="self_attn, multihead_attn, linear1, linear2, norm1, norm2, norm3, each assigned to self."):
        loaded(student.DecoderLayer(WIDTH, HEADS, HIDDEN, "pre"), torch_decoder("pre", rng).state_dict())
    for norm, name, hint in (
        ("pre", DECODER_PRE, "Three sums: self_attn of norm1(y), multihead_attn from norm2(y) to the memory as it is, feed_forward of norm3(y)."),
        ("post", DECODER_POST, "norm1, norm2 and norm3 each take the sum after one of the three parts."),
    ):
        with case(name, hint=hint):
            theirs = torch_decoder(norm, rng)
            ours = loaded(student.DecoderLayer(WIDTH, HEADS, HIDDEN, norm), theirs.state_dict())
            wanted = theirs(y, memory, tgt_mask=~causal[0], memory_key_padding_mask=~seen[:, 0]).detach()
            close(ours(y, memory, causal, seen), wanted, atol=2e-5, rtol=1e-4)
    with case(FUTURE, hint="target_mask belongs to self_attn, source_mask to multihead_attn."):
        ours = loaded(student.DecoderLayer(WIDTH, HEADS, HIDDEN, "pre"), torch_decoder("pre", rng).state_dict())
        later = torch.cat([y[:, :2], 5.0 * tensor(rng, 3, 2, WIDTH)], 1)
        first = ours(y, memory, causal, seen)
        close(ours(later, memory, causal, seen)[:, :2], first[:, :2], atol=1e-5)
        earlier = torch.cat([5.0 * tensor(rng, 3, 1, WIDTH), y[:, 1:]], 1)
        holds(not torch.allclose(ours(earlier, memory, causal, seen)[:, 3], first[:, 3], atol=1e-3), "What came before changes nothing either.")
    with case(SOURCE_PADDING, hint="The keys and values of the second attention are the memory, its mask the source's."):
        ours = loaded(student.DecoderLayer(WIDTH, HEADS, HIDDEN, "pre"), torch_decoder("pre", rng).state_dict())
        other = memory.clone()
        other[0, 4:], other[1, 2:] = 9.0, -9.0
        first = ours(y, memory, causal, seen)
        close(ours(y, other, causal, seen), first, atol=1e-5)
        other[:, 0] += 3.0 * tensor(rng, 3, WIDTH)
        holds(not torch.allclose(ours(y, other, causal, seen), first, atol=1e-3), "The source changes nothing at all.")


@DecoderLayer.right("around torch's own attention")
class _(nn.Module):
    def __init__(self, width, num_heads, hidden, norm="pre"):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, num_heads, batch_first=True)
        self.multihead_attn = nn.MultiheadAttention(width, num_heads, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.pre = norm == "pre"

    def look(self, part, y, memory, mask):
        if mask is not None:
            mask = ~mask.expand(len(y), y.size(1), memory.size(1)).repeat_interleave(part.num_heads, 0)
        return part(y, memory, memory, attn_mask=mask, need_weights=False)[0]

    def feed_forward(self, y):
        return self.linear2(torch.relu(self.linear1(y)))

    def forward(self, y, memory, target_mask=None, source_mask=None):
        if self.pre:
            h = self.norm1(y)
            y = y + self.look(self.self_attn, h, h, target_mask)
            y = y + self.look(self.multihead_attn, self.norm2(y), memory, source_mask)
            return y + self.feed_forward(self.norm3(y))
        y = self.norm1(y + self.look(self.self_attn, y, y, target_mask))
        y = self.norm2(y + self.look(self.multihead_attn, y, memory, source_mask))
        return self.norm3(y + self.feed_forward(y))


TORCHS = "around torch's own attention"
DecoderLayer.slip(
    "the memory normalised once more",
    (
        "self.look(self.multihead_attn, self.norm2(y), memory, source_mask)",
        "self.look(self.multihead_attn, self.norm2(y), self.norm2(memory), source_mask)",
    ),
    of=TORCHS,
    fails=DECODER_PRE,
)
DecoderLayer.slip(
    "no look at the source",
    ("            y = y + self.look(self.multihead_attn, self.norm2(y), memory, source_mask)\n", ""),
    ("y = self.norm2(y + self.look(self.multihead_attn, y, memory, source_mask))", "y = self.norm2(y)"),
    of=TORCHS,
    fails=(DECODER_PRE, DECODER_POST, SOURCE_PADDING),
)
DecoderLayer.slip(
    "no causal mask",
    ("self.look(self.self_attn, h, h, target_mask)", "self.look(self.self_attn, h, h, None)"),
    ("self.look(self.self_attn, y, y, target_mask)", "self.look(self.self_attn, y, y, None)"),
    of=TORCHS,
    fails=(DECODER_PRE, DECODER_POST, FUTURE),
)
DecoderLayer.slip(
    "the source mask not handed on",
    ("self.look(self.multihead_attn, self.norm2(y), memory, source_mask)", "self.look(self.multihead_attn, self.norm2(y), memory, None)"),
    ("self.look(self.multihead_attn, y, memory, source_mask)", "self.look(self.multihead_attn, y, memory, None)"),
    of=TORCHS,
    fails=(DECODER_PRE, DECODER_POST, SOURCE_PADDING),
)
DecoderLayer.slip(
    "one attention for both",
    ("self.look(self.multihead_attn, self.norm2(y)", "self.look(self.self_attn, self.norm2(y)"),
    ("self.look(self.multihead_attn, y, memory", "self.look(self.self_attn, y, memory"),
    of=TORCHS,
    fails=(DECODER_PRE, DECODER_POST),
)
DecoderLayer.slip(
    "the source first",
    ("            h = self.norm1(y)\n            y = y + self.look(self.self_attn, h, h, target_mask)\n", ""),
    (
        "            return y + self.feed_forward(self.norm3(y))",
        "            h = self.norm1(y)\n            y = y + self.look(self.self_attn, h, h, target_mask)\n"
        "            return y + self.feed_forward(self.norm3(y))",
    ),
    of=TORCHS,
    fails=DECODER_PRE,
)
DecoderLayer.slip("always pre-norm", ("if self.pre:", "if True:"), of=TORCHS, fails=DECODER_POST)
DecoderLayer.slip(
    "no third normalisation",
    (", self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)", " = nn.LayerNorm(width), nn.LayerNorm(width)"),
    ("self.feed_forward(self.norm3(y))", "self.feed_forward(self.norm2(y))"),
    ("return self.norm3(", "return self.norm2("),
    of=TORCHS,
    fails=(DECODER_NAMES, DECODER_PRE, DECODER_POST, FUTURE, SOURCE_PADDING),
)


LAYERS = "as many layers as it is told, whatever the vocabulary"
LOGITS = "a score for every word of the target vocabulary at every place"
SHORT = "source and target may have different lengths, up to max_len"
SOURCE_ORDER = "the order of the source matters"
TARGET_PLACES = "a word repeated in the target is told apart by its place"
NO_FUTURE = "a later target word changes nothing at an earlier place"
THROUGH = "every matrix has a say: what the encoder finds reaches the decoder"
OWN_ROW = "a sentence does not depend on its neighbours in the batch"
NO_PADDING = "padding at the end of the source changes nothing"


@exercise("transformer.TinyTransformer", points=6, seconds=4, mends=LAYERS)
def TinyTransformer(student, rng):
    """The custom Transformer of a source article, mended."""
    vocab, max_len = 7, 9

    def built(vocab=vocab, layers=1):
        return student.TinyTransformer(vocab, max_len, WIDTH, HEADS, HIDDEN, layers)

    def asked(scale=0.3):
        return set_up(built(), rng, scale)

    source, target = tokens(rng, 2, 6, vocab), tokens(rng, 2, 5, vocab)
    with case(LAYERS, hint="What may range(…) be told by? The number of layers has nothing to do with the number of words."):
        sizes = [sum(value.numel() for value in built(*told).state_dict().values()) for told in ((5, 1), (5, 2), (9, 1), (9, 3))]
        holds(sizes[1] > sizes[0] and sizes[3] - sizes[2] == 2 * (sizes[1] - sizes[0]), "One layer more should always cost the same.")
        holds(sizes[2] - sizes[0] <= 4 * (3 * WIDTH + 2), "Four words more cost more parameters than their vectors and scores need.")
    with case(LOGITS, hint="After the last layer comes a Linear from width to vocab_size."):
        same(tuple(asked()(source, target).shape), (2, 5, vocab), "the shape")
    with case(SHORT, hint="Of the table of places take the first rows, as many as there are words."):
        network = asked()
        same(tuple(network(tokens(rng, 2, 3, vocab), tokens(rng, 2, 7, vocab)).shape), (2, 7, vocab), "the shape")
        same(tuple(network(tokens(rng, 1, 1, vocab), tokens(rng, 1, 1, vocab)).shape), (1, 1, vocab), "the shape")
        same(tuple(network(tokens(rng, 1, max_len, vocab), tokens(rng, 1, 2, vocab)).shape), (1, 2, vocab), "the shape")
    with case(SOURCE_ORDER, hint="Places are added to the source's embeddings."):
        network = asked()
        words = torch.tensor([[3, 4, 5, 6]])
        holds(
            not torch.allclose(network(words, target[:1]), network(words.flip(1), target[:1]), atol=1e-4), "The reversed source gets the same answer."
        )
    with case(TARGET_PLACES, hint="Places are added to the target's embeddings too."):
        found = asked()(source[:1], torch.full((1, 5), 4))[0]
        holds(all(not torch.allclose(found[0], row, atol=1e-4) for row in found[1:]), "The same word gets the same scores at every place.")
    with case(NO_FUTURE, hint="torch's decoder needs tgt_mask. torch.ones(T, T, dtype=torch.bool).triu(1) is True for what is left out."):
        network = asked()
        later = torch.cat([target[:, :2], 3 + (target[:, 2:] - 2) % (vocab - 3)], 1)
        first, second = network(source, target), network(source, later)
        close(second[:, :2], first[:, :2], atol=1e-5)
        holds(not torch.allclose(second[:, 2:], first[:, 2:], atol=1e-4), "Other target words, the same answer.")
    with case(THROUGH, hint="Follow the encoder's result: where is it used? And a decoder layer takes the result of the layer before."):
        network = student.TinyTransformer(vocab, max_len, WIDTH, HEADS, HIDDEN, 2)
        state = filled(network.state_dict(), rng, 0.3)
        network.load_state_dict(state)
        network.eval()
        before = network(source[:, :4], target[:, :3])
        for name, value in state.items():
            if value.ndim >= 2:
                network.load_state_dict({name: value + tensor(rng, *value.shape)}, False)  # this one alone
                after = network(source[:, :4], target[:, :3])
                holds(not torch.allclose(after, before, atol=1e-5), f"{name} can be changed at will, and no score moves.")
                before = after
    with case(OWN_ROW, hint="By default torch's layers take (T, B, width). Ask for batch_first=True."):
        network = asked()
        sources, targets = tokens(rng, 2, 6, vocab), tokens(rng, 2, 5, vocab)
        sources[1], targets[1] = source[1], target[1]
        close(network(sources, targets)[1], network(source, target)[1], atol=1e-5)
        close(network(source[1:], target[1:])[0], network(source, target)[1], atol=1e-5)
        holds(not torch.allclose(network(sources, target)[0], network(source, target)[0], atol=1e-4), "Another source, the same answer.")
    with case(NO_PADDING, hint='src_key_padding_mask for the encoder, memory_key_padding_mask for the decoder; True means "leave out" there.'):
        network = asked()
        longer = torch.cat([source, torch.zeros(2, 3, dtype=torch.long)], 1)
        close(network(longer, target), network(source, target), atol=1e-5)


@TinyTransformer.right("loops over torch's layers")
class _(nn.Module):
    def __init__(self, vocab_size, max_len, width, num_heads, hidden, num_layers):
        super().__init__()
        self.width = width
        self.embedding = nn.Embedding(vocab_size, width)
        self.positions = nn.Parameter(0.02 * torch.randn(max_len, width))
        sizes = {"d_model": width, "nhead": num_heads, "dim_feedforward": hidden, "dropout": 0.0, "batch_first": True}
        self.encoder = nn.ModuleList([nn.TransformerEncoderLayer(**sizes) for _ in range(num_layers)])
        self.decoder = nn.ModuleList([nn.TransformerDecoderLayer(**sizes) for _ in range(num_layers)])
        self.output = nn.Linear(width, vocab_size)

    def embed(self, tokens):
        return self.embedding(tokens) * math.sqrt(self.width) + self.positions[: tokens.size(1)]

    def forward(self, source, target):
        memory, y = self.embed(source), self.embed(target)
        padding = source == 0
        future = torch.ones(target.size(1), target.size(1), dtype=torch.bool, device=target.device).triu(1)
        for layer in self.encoder:
            memory = layer(memory, src_key_padding_mask=padding)
        for layer in self.decoder:
            y = layer(y, memory, tgt_mask=future, memory_key_padding_mask=padding)
        return self.output(y)


LOOPS = "loops over torch's layers"
ALL_BUT_LAYERS = (LOGITS, SHORT, SOURCE_ORDER, TARGET_PLACES, NO_FUTURE, THROUGH, OWN_ROW, NO_PADDING)
TinyTransformer.slip(
    "as many encoder layers as words, as it was found",
    ("nn.TransformerEncoderLayer(**sizes) for _ in range(num_layers)", "nn.TransformerEncoderLayer(**sizes) for _ in range(vocab_size)"),
    of=LOOPS,
    fails=LAYERS,
)
TinyTransformer.slip(
    "a list of layers called like a function",
    (
        "        for layer in self.encoder:\n            memory = layer(memory, src_key_padding_mask=padding)\n",
        "        memory = self.encoder(memory)\n",
    ),
    of=LOOPS,
    fails=ALL_BUT_LAYERS,
)
TinyTransformer.slip("all places added, whatever the length", ("self.positions[: tokens.size(1)]", "self.positions"), of=LOOPS, fails=ALL_BUT_LAYERS)
TinyTransformer.slip(
    "target without places",
    ("memory, y = self.embed(source), self.embed(target)", "memory, y = self.embed(source), self.embedding(target) * math.sqrt(self.width)"),
    of=LOOPS,
    fails=TARGET_PLACES,
)
TinyTransformer.slip("no causal mask", ("tgt_mask=future, ", ""), of=LOOPS, fails=NO_FUTURE)
TinyTransformer.slip("the past left out instead of the future", (".triu(1)", ".tril(-1)"), of=LOOPS, fails=NO_FUTURE)
TinyTransformer.slip(
    "the encoder's result thrown away",
    ("            memory = layer(memory, src_key_padding_mask=padding)\n", "            _ = layer(memory, src_key_padding_mask=padding)\n"),
    of=LOOPS,
    fails=THROUGH,
)
TinyTransformer.slip("no output layer", ("return self.output(y)", "return y"), of=LOOPS, fails=(LOGITS, SHORT, THROUGH))
TinyTransformer.slip(
    "the batch taken for the time",
    (', "batch_first": True', ""),
    ("src_key_padding_mask=padding", "src_key_padding_mask=padding.T"),
    ("memory_key_padding_mask=padding)", "memory_key_padding_mask=padding.T)"),
    of=LOOPS,
    fails=ALL_BUT_LAYERS,
)
TinyTransformer.slip("padding looked at by the encoder", ("layer(memory, src_key_padding_mask=padding)", "layer(memory)"), of=LOOPS, fails=NO_PADDING)
TinyTransformer.slip("padding looked at by the decoder", (", memory_key_padding_mask=padding", ""), of=LOOPS, fails=NO_PADDING)


@TinyTransformer.right("nn.Transformer, two embeddings")
class _(nn.Module):
    def __init__(self, vocab_size, max_len, width, num_heads, hidden, num_layers):
        super().__init__()
        self.source, self.target = nn.Embedding(vocab_size, width), nn.Embedding(vocab_size, width)
        self.places = nn.Embedding(max_len, width)
        self.core = nn.Transformer(width, num_heads, num_layers, num_layers, hidden, 0.0, batch_first=True, norm_first=True)
        self.head = nn.Linear(width, vocab_size)

    def forward(self, source, target):
        x = self.source(source) + self.places(torch.arange(source.size(1)))
        y = self.target(target) + self.places(torch.arange(target.size(1)))
        future = torch.full((target.size(1), target.size(1)), -torch.inf).triu(1)
        padding = torch.zeros(source.shape).masked_fill(source == 0, -torch.inf)
        return self.head(self.core(x, y, tgt_mask=future, src_key_padding_mask=padding, memory_key_padding_mask=padding))


PLAIN = "without smoothing it is the cross-entropy of every label"
SPREAD = "with smoothing, every other token gets its share"
NOT_COUNTED = "padding is not counted, neither above nor below the line"
EXTREME = "large logits stay finite"
LEAST = "the least possible loss is the entropy of the smoothed distribution"


@exercise("transformer.smoothed_loss", points=4, reference=f"{ROOM}.smoothing")
def smoothed_loss(student, rng):
    """Cross-entropy that asks for less than certainty."""
    logits, labels = tensor(rng, 3, 5, 7, scale=2.0), tokens(rng, 3, 5, 7, first=1)

    def wanted(logits, labels, smoothing, pad=PAD):
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), label_smoothing=smoothing, ignore_index=pad)

    with case(PLAIN, hint="log_softmax over the last axis, then gather each label's own number; the mean over all labels, with a minus sign."):
        close(student.smoothed_loss(logits, labels, 0.0, PAD), wanted(logits, labels, 0.0), atol=1e-5)
    with case(SPREAD, hint="(1 - s) times the label's -log p, and s times the mean of -log p over the whole vocabulary, the label included."):
        for smoothing in (0.1, 0.4):
            close(student.smoothed_loss(logits, labels, smoothing, PAD), wanted(logits, labels, smoothing), atol=1e-5)
    with case(NOT_COUNTED, hint="Choose the losses where labels != pad, then take their mean. Divide by the number of real labels."):
        padded = labels.clone()
        padded[0, 2:], padded[1, 4:] = PAD, PAD
        close(student.smoothed_loss(logits, padded, 0.1, PAD), wanted(logits, padded, 0.1), atol=1e-5)
        other = labels.clone()
        other[:, 3:] = 6
        close(student.smoothed_loss(logits, other, 0.2, 6), wanted(logits, other, 0.2, pad=6), atol=1e-5)
    with case(EXTREME, hint="log_softmax, not the logarithm of a softmax, which is -inf where a probability is rounded to 0."):
        found = student.smoothed_loss(400.0 * logits, labels, 0.1, PAD)
        finite(found)
        close(found, wanted(400.0 * logits, labels, 0.1), rtol=1e-4)
    with case(LEAST, hint="Of 10 tokens and s = 0.1, the label's share is 0.9 + 0.01, and that of each other 0.01."):
        best = torch.full((10,), 0.01).log()
        best[4] = math.log(0.91)
        close(
            student.smoothed_loss(best.expand(2, 3, 10), torch.full((2, 3), 4), 0.1, PAD),
            torch.tensor(-(0.91 * math.log(0.91) + 0.09 * math.log(0.01))),
            atol=1e-5,
        )


@smoothed_loss.right("the wanted distribution written out")
def _(logits, labels, smoothing, pad):
    vocab = logits.size(-1)
    log_probs = torch.log_softmax(logits, dim=-1)
    wanted = torch.full_like(log_probs, smoothing / vocab)
    wanted = wanted.scatter_add(-1, labels.unsqueeze(-1), torch.full_like(labels.unsqueeze(-1), 1 - smoothing, dtype=wanted.dtype))
    losses = -(wanted * log_probs).sum(-1)
    real = labels != pad
    return losses[real].mean()


WRITTEN = "the wanted distribution written out"
smoothed_loss.slip(
    "spread over the others alone", ("smoothing / vocab", "smoothing / (vocab - 1)"), of=WRITTEN, fails=(SPREAD, NOT_COUNTED, EXTREME, LEAST)
)
smoothed_loss.slip(
    "smoothing ignored",
    ("    wanted = torch.full_like(log_probs, smoothing / vocab)\n", "    smoothing = 0.0\n    wanted = torch.zeros_like(log_probs)\n"),
    of=WRITTEN,
    fails=(SPREAD, NOT_COUNTED, EXTREME, LEAST),
)
smoothed_loss.slip("padding counted", ("losses[real].mean()", "losses.mean()"), of=WRITTEN, fails=NOT_COUNTED)
smoothed_loss.slip("padding set to 0, and counted below the line", ("losses[real].mean()", "(losses * real).mean()"), of=WRITTEN, fails=NOT_COUNTED)
smoothed_loss.slip("0 for padding, whatever it is told", ("labels != pad", "labels != 0"), of=WRITTEN, fails=NOT_COUNTED)
smoothed_loss.slip(
    "the logarithm of a softmax", ("torch.log_softmax(logits, dim=-1)", "torch.softmax(logits, dim=-1).log()"), of=WRITTEN, fails=EXTREME
)
smoothed_loss.slip("the sum", ("losses[real].mean()", "losses[real].sum()"), of=WRITTEN, fails=(PLAIN, SPREAD, NOT_COUNTED, EXTREME, LEAST))
smoothed_loss.slip(
    "the mean of the sentences' means", ("losses[real].mean()", "((losses * real).sum(1) / real.sum(1)).mean()"), of=WRITTEN, fails=NOT_COUNTED
)
smoothed_loss.slip("softmax over the places", ("dim=-1)", "dim=1)"), of=WRITTEN, fails=(PLAIN, SPREAD, NOT_COUNTED, EXTREME, LEAST))


@smoothed_loss.right("torch's own")
def _(logits, labels, smoothing, pad):
    return F.cross_entropy(logits.transpose(1, 2), labels, ignore_index=pad, label_smoothing=smoothing)


FIRST_STEP = "the first step, number 0, has a rate already"
RISING = "it rises along a straight line to the end of the warm-up"
PEAK = "its highest value comes at step warmup - 1 and is (width · warmup) to the power -½"
FALLING = "after that it falls like one over the root of the step"


@exercise("transformer.transformer_rate", points=2, reference=(f"{ROOM}.schedule", "course_lib.scratch.schedules"))
def transformer_rate(student, rng):
    """The paper's learning rate."""
    width, warmup = int(rng.integers(30, 600)), int(rng.integers(50, 400))

    def wanted(step):
        return width**-0.5 * min((step + 1) ** -0.5, (step + 1) * warmup**-1.5)

    with case(FIRST_STEP, hint="The paper counts steps from 1; ours from 0, so n = step + 1. With n = 0 the first step would be wasted."):
        close(student.transformer_rate(0, width, warmup), wanted(0), rtol=1e-6)
    with case(RISING, hint="n times warmup to the power -1.5."):
        for step in (4, warmup // 2, warmup - 2):
            close(student.transformer_rate(step, width, warmup), wanted(step), rtol=1e-6)
    with case(PEAK, hint="There both expressions are equal: the smaller of the two is taken."):
        close(student.transformer_rate(warmup - 1, width, warmup), (width * warmup) ** -0.5, rtol=1e-6)
        around = [float(student.transformer_rate(warmup - 1 + shift, width, warmup)) for shift in (-1, 0, 1)]
        holds(around[1] > max(around[0], around[2]), "A neighbouring step has a rate as high.")
    with case(FALLING, hint="n to the power -½, times width to the power -½."):
        for step in (2 * warmup, 30 * warmup):
            close(student.transformer_rate(step, width, warmup), wanted(step), rtol=1e-6)


@transformer_rate.right("by cases")
def _(step, width, warmup):
    n = step + 1
    if n < warmup:
        return n / (warmup * math.sqrt(warmup) * math.sqrt(width))
    return 1 / math.sqrt(n * width)


transformer_rate.slip("steps counted from 1", ("n = step + 1", "n = max(step, 1e-9)"), of="by cases", fails=(FIRST_STEP, RISING, PEAK, FALLING))
transformer_rate.slip(
    "the width left out",
    ("math.sqrt(warmup) * math.sqrt(width)", "math.sqrt(warmup)"),
    ("math.sqrt(n * width)", "math.sqrt(n)"),
    of="by cases",
    fails=(FIRST_STEP, RISING, PEAK, FALLING),
)
transformer_rate.slip("never falling", ("1 / math.sqrt(n * width)", "1 / math.sqrt(warmup * width)"), of="by cases", fails=(PEAK, FALLING))
transformer_rate.slip("no warm-up", ("if n < warmup:", "if False:"), of="by cases", fails=(FIRST_STEP, RISING, PEAK))
transformer_rate.slip("the larger of the two", ("if n < warmup:", "if n > warmup:"), of="by cases", fails=(FIRST_STEP, RISING, PEAK, FALLING))


@transformer_rate.right("the smaller of two")
def _(step, width, warmup):
    return (width ** (-1 / 2)) * min((step + 1) ** (-1 / 2), (step + 1) * warmup ** (-3 / 2))


def best_first(memory, step, max_len):
    """Greedy decoding of every row of a table: what a right answer is."""
    found = []
    for row in memory:
        sentence = [BOS]
        for _ in range(max_len):
            following = int(step(row[None], torch.tensor([sentence])).argmax())
            if following == EOS:
                break
            sentence.append(following)
        found.append(sentence[1:])
    return found


def chain(rng, successors, vocab=7, noise=0.3):
    """A table (V, V) for `chain_step` in which each token's likeliest successor is the one named."""
    table = tensor(rng, vocab, vocab, scale=noise)
    for token, following in successors.items():
        table[token, following] = table[token].max() + 1.0
    return table


SO_FAR = "every token is chosen in view of the one before"
ENDS = "a sentence ends before its end token, and every sentence at its own"
AT_MOST = "one that never ends is cut off after max_len tokens"
WHOLE_PREFIX = "all tokens so far have a say, at their places"


@exercise("transformer.greedy", points=3, reference=f"{ROOM}.decoding", mends=(SO_FAR, ENDS, AT_MOST, WHOLE_PREFIX))
def greedy(student, rng):
    """The likeliest next token, again and again."""

    def asked(step, memory, max_len):
        return student.greedy(step, memory, BOS, EOS, max_len)

    with case(SO_FAR, hint="Ask `step` for the next token, append it, ask again with the longer beginning."):
        memory = chain(rng, {BOS: 4, 4: 6, 6: 3, 3: 5, 5: EOS})[None]
        same(asked(chain_step, memory, 8), [[4, 6, 3, 5]])
    with case(ENDS, hint="Rows end at different steps. Go on until all have ended, then cut each row at its first end token."):
        rows = [{BOS: 3, 3: EOS, EOS: 4, 4: 4}, {BOS: 5, 5: 6, 6: 4, 4: EOS, EOS: 3, 3: 3}, {BOS: EOS, EOS: 5, 5: 5}]
        memory = torch.stack([chain(rng, row) for row in rows])
        same(asked(chain_step, memory, 7), [[3], [5, 6, 4], []])
    with case(AT_MOST, hint="for _ in range(max_len)"):
        memory = torch.stack([chain(rng, {BOS: 3, 3: 4, 4: 5, 5: 3}), chain(rng, {BOS: 6, 6: 5, 5: 6})])
        same(asked(chain_step, memory, 5), [[3, 4, 5, 3, 4], [6, 5, 6, 5, 6]])
    with case(WHOLE_PREFIX, hint="Hand over all tokens so far, (N, T), the begin token first, and not the last one alone."):
        for _ in range(100):
            memory = tensor(rng, 3, 6, 6, 6)
            memory[:, :, :, EOS] -= 4.0
            wanted = best_first(memory, history_step, 6)
            blank = [[int(history_step(row[None], torch.full((1, t + 1), BOS)).argmax()) for t in range(6)] for row in memory]
            last = best_first(memory, lambda row, prefix: history_step(row, prefix[:, -1:]), 6)
            if all(one != two and one != three for one, two, three in zip(wanted, blank, last, strict=True)):
                break
        same(asked(history_step, memory, 6), wanted)


@greedy.right("one row after the other")
def _(step, memory, bos, eos, max_len):
    sentences = []
    for n in range(len(memory)):
        prefix = [bos]
        while len(prefix) <= max_len:
            logits = step(memory[n : n + 1], torch.tensor([prefix]))
            best = int(logits[0].argmax())
            if best == eos:
                break
            prefix.append(best)
        sentences.append(prefix[1:])
    return sentences


ROWS = "one row after the other"
greedy.slip(
    "from the context alone, as it was found",
    ("torch.tensor([prefix])", "torch.tensor([[bos] * len(prefix)])"),
    of=ROWS,
    fails=(SO_FAR, ENDS, AT_MOST, WHOLE_PREFIX),
)
greedy.slip("the last token alone", ("torch.tensor([prefix])", "torch.tensor([prefix[-1:]])"), of=ROWS, fails=WHOLE_PREFIX)
greedy.slip(
    "the begin token in the answer",
    ("sentences.append(prefix[1:])", "sentences.append(prefix)"),
    of=ROWS,
    fails=(SO_FAR, ENDS, AT_MOST, WHOLE_PREFIX),
)
greedy.slip(
    "the end token in the answer",
    (
        "            if best == eos:\n                break\n            prefix.append(best)\n",
        "            prefix.append(best)\n            if best == eos:\n                break\n",
    ),
    of=ROWS,
    fails=(SO_FAR, ENDS),
)
greedy.slip("never ends", ("if best == eos:", "if False:"), of=ROWS, fails=(SO_FAR, ENDS))
greedy.slip("one token short", ("while len(prefix) <= max_len", "while len(prefix) < max_len"), of=ROWS, fails=(AT_MOST, WHOLE_PREFIX))
greedy.slip("the first sentence's memory for all", ("memory[n : n + 1]", "memory[:1]"), of=ROWS, fails=(ENDS, AT_MOST, WHOLE_PREFIX))


@greedy.right("all rows at once")
def _(step, memory, bos, eos, max_len):
    tokens = torch.full((len(memory), 1), bos)
    for _ in range(max_len):
        tokens = torch.cat([tokens, step(memory, tokens).argmax(1, keepdim=True)], dim=1)
    answers = []
    for row in tokens[:, 1:].tolist():
        answers.append(row[: row.index(eos)] if eos in row else row)
    return answers


MISTAKES = ("logits", "probabilities", "greedy", "no penalty", "end not counted", "unfinished lost", "first end", "last token", "apart", "end kept")


def log_probs_of(table, prefix, mistake=""):
    """What `history_step` says after a prefix, in plain lists: table[place][token] holds logits."""
    if mistake == "last token":
        prefix = prefix[-1:]
    logits = [sum(column) for column in zip(*(table[place][token] for place, token in enumerate(prefix)), strict=True)]
    if mistake == "logits":
        return logits
    norm = math.log(sum(map(math.exp, logits)))
    return [math.exp(logit - norm) if mistake == "probabilities" else logit - norm for logit in logits]


def searched(table, width, max_len, alpha, mistake=""):
    """The search of the exercise, in plain lists, right or with one mistake. → (tokens, score)"""
    if mistake == "greedy":
        width = 1
    live, done = [([BOS], 0.0)], []
    for length in range(1, max_len + 1):
        longer = []
        for prefix, total in live:
            longer += [([*prefix, token], total + value) for token, value in enumerate(log_probs_of(table, prefix, mistake))]
        if mistake == "apart" and length > 1:  # each trial goes on by itself
            groups = [[item for item in longer if item[0][:-1] == prefix] for prefix, _ in live]
            longer = [max(group, key=lambda item: item[1]) for group in groups]
        longer = sorted(longer, key=lambda item: -item[1])[:width]
        for prefix, total in longer:
            ended = prefix[-1] == EOS
            if ended or length == max_len:
                number = max(length - 1, 1) if mistake == "end not counted" and ended else length
                score = total / number ** (0.0 if mistake == "no penalty" else alpha)
                score = -1e9 if mistake == "unfinished lost" and not ended else score
                done.append((score, prefix[1:] if mistake == "end kept" else [token for token in prefix[1:] if token != EOS]))
        live = [item for item in longer if item[0][-1] != EOS]
        if not live or (mistake == "first end" and done):
            break
    score, best = max(done)
    return best, score


def all_sentences(table, max_len):
    """Every sentence that can be said: [(sum of log-probabilities, tokens)]."""
    found, live = [], [([BOS], 0.0)]
    for length in range(1, max_len + 1):
        longer = []
        for prefix, total in live:
            for token, value in enumerate(log_probs_of(table, prefix)):
                over = token == EOS or length == max_len
                (found if over else longer).append(((total + value), [*prefix[1:], token]) if over else ([*prefix, token], total + value))
        live = longer
    return [(total, [token for token in sentence if token != EOS]) for total, sentence in found]


AS_GREEDY = "with a width of 1 it is greedy"
LOOKS_ROUND = "a modest first token may lead to the better sentence"
EXHAUSTIVE = "wide enough, it finds the best sentence of all"
PENALTY = "alpha weighs a sentence by its length, end token included"
CUT_OFF = "a sentence that is cut off after max_len tokens can win too"
PRUNED = "in every round the best continuations of all trials together stay"


@exercise("transformer.beam_search", points=5, seconds=5, reference=f"{ROOM}.decoding")
def beam_search(student, rng):
    """Several trials side by side."""

    def expect(memory, step, wanted, width, max_len, alpha):
        found = student.beam_search(step, memory, width, BOS, EOS, max_len, alpha)
        same(len(found), 2, "the number of things returned, tokens and score")
        same(list(found[0]), wanted[0], "the sentence")
        close(float(found[1]), wanted[1], rtol=1e-4, atol=1e-4)

    def tried(width, max_len, alphas, caught, ending=0.0, vocab=5):
        """A table that tells exactly the mistakes in `caught` from the right search, given to the student for each alpha."""
        for _ in range(3000):
            drawn = rng.normal(size=(max_len, vocab, vocab))
            drawn[..., EOS] += ending
            table = drawn.tolist()
            right = [searched(table, width, max_len, alpha) for alpha in alphas]
            if all((wrong_somewhere(table, width, max_len, alphas, right, mistake)) == (mistake in caught) for mistake in MISTAKES):
                break
        else:
            raise RuntimeError("no such table was found")
        memory = torch.tensor(table)[None]
        for alpha, wanted in zip(alphas, right, strict=True):
            expect(memory, history_step, wanted, width, max_len, alpha)
        return table, right

    with case(AS_GREEDY, hint="One trial, and its best continuation in every round. Scores are sums of log_softmax, not of logits."):
        tried(1, 4, (0.0,), {"logits", "probabilities", "last token", "end kept"}, ending=0.5)
    with case(LOOKS_ROUND, hint="Keep several trials with their sums; the best first step need not begin the best sentence."):
        probabilities = torch.full((6, 6), 1e-6)
        probabilities[BOS, 3], probabilities[BOS, 4] = 0.6, 0.4
        probabilities[3, 3:] = torch.tensor([0.34, 0.33, 0.33])
        probabilities[4, 5] = probabilities[5, EOS] = 0.9
        best = (probabilities / probabilities.sum(1, keepdim=True)).log()
        score = float(best[BOS, 4] + best[4, 5] + best[5, EOS])
        expect(probabilities.log()[None], chain_step, ([4, 5], score), 2, 4, 0.0)
    with case(EXHAUSTIVE, hint="Each trial is continued by every token, ending included; those that end are put aside and not continued."):
        caught = set(MISTAKES) - {"no penalty", "end not counted", "unfinished lost"}
        table, right = tried(200, 3, (0.0,), caught, ending=0.5)
        total, sentence = max(all_sentences(table, 3))
        same(right[0][0], sentence, "the sentence")
        close(right[0][1], total)
    with case(PENALTY, hint="score = sum / n ** alpha with n the number of tokens, the end token among them. It decides between finished sentences."):
        tried(4, 4, (0.0, 1.0, 0.6), set(MISTAKES) - {"unfinished lost"}, ending=0.7)
    with case(CUT_OFF, hint="After max_len rounds, what has not ended counts as it stands."):
        tried(3, 4, (1.0,), set(MISTAKES) - {"end not counted", "first end", "end kept"}, ending=-2.0)
    with case(
        PRUNED, hint="Not the best continuation of each trial: the best of all continuations, by the plain sum. The whole beginning goes to `step`."
    ):
        tried(3, 4, (0.0,), {"logits", "probabilities", "greedy", "last token", "apart", "end kept"}, ending=0.3)


def wrong_somewhere(table, width, max_len, alphas, right, mistake):
    """Does the mistake show in any of the answers?"""
    pairs = ((searched(table, width, max_len, alpha, mistake), wanted) for alpha, wanted in zip(alphas, right, strict=True))
    return any(found[0] != wanted[0] or abs(found[1] - wanted[1]) > 0.01 for found, wanted in pairs)


@beam_search.right("plain lists")
def _(step, memory, width, bos, eos, max_len, alpha=0.0):
    trials, finished = [([bos], 0.0)], []
    for length in range(1, max_len + 1):
        candidates = []
        for prefix, total in trials:
            log_probs = torch.log_softmax(step(memory, torch.tensor([prefix]))[0], dim=0)
            for token in range(len(log_probs)):
                candidates.append(([*prefix, token], total + float(log_probs[token])))
        candidates.sort(key=lambda pair: pair[1], reverse=True)
        trials = []
        for prefix, total in candidates[:width]:
            if prefix[-1] == eos:
                finished.append((total / length**alpha, prefix[1:-1]))
            elif length == max_len:
                finished.append((total / length**alpha, prefix[1:]))
            else:
                trials.append((prefix, total))
        if not trials:
            break
    score, tokens = max(finished)
    return tokens, score


LISTS = "plain lists"
beam_search.slip(
    "logits added up instead of log-probabilities",
    ("torch.log_softmax(step(memory, torch.tensor([prefix]))[0], dim=0)", "step(memory, torch.tensor([prefix]))[0]"),
    of=LISTS,
    fails=(AS_GREEDY, LOOKS_ROUND, EXHAUSTIVE, PENALTY, CUT_OFF, PRUNED),
)
beam_search.slip(
    "probabilities added up",
    ("torch.log_softmax(", "torch.softmax("),
    of=LISTS,
    fails=(AS_GREEDY, LOOKS_ROUND, EXHAUSTIVE, PENALTY, CUT_OFF, PRUNED),
)
beam_search.slip(
    "greedy, whatever the width",
    ("candidates[:width]", "candidates[:1]"),
    of=LISTS,
    fails=(LOOKS_ROUND, EXHAUSTIVE, PENALTY, CUT_OFF, PRUNED),
)
beam_search.slip(
    "the length left out",
    ("finished.append((total / length**alpha, prefix[1:-1]))", "finished.append((total, prefix[1:-1]))"),
    ("finished.append((total / length**alpha, prefix[1:]))", "finished.append((total, prefix[1:]))"),
    of=LISTS,
    fails=(PENALTY, CUT_OFF),
)
beam_search.slip(
    "the end token not counted",
    ("finished.append((total / length**alpha, prefix[1:-1]))", "finished.append((total / max(length - 1, 1) ** alpha, prefix[1:-1]))"),
    of=LISTS,
    fails=PENALTY,
)
beam_search.slip(
    "unfinished sentences thrown away",
    ("finished.append((total / length**alpha, prefix[1:]))", "finished.append((-1e9, prefix[1:]))"),
    of=LISTS,
    fails=CUT_OFF,
)
beam_search.slip(
    "over as soon as one sentence has ended",
    ("        if not trials:", "        if finished or not trials:"),
    of=LISTS,
    fails=(EXHAUSTIVE, PENALTY),
)
beam_search.slip(
    "the last token alone",
    ("torch.tensor([prefix])", "torch.tensor([prefix[-1:]])"),
    of=LISTS,
    fails=(AS_GREEDY, EXHAUSTIVE, PENALTY, CUT_OFF, PRUNED),
)
beam_search.slip(
    "the end token in the answer",
    ("prefix[1:-1]))", "prefix[1:]))"),
    of=LISTS,
    fails=(AS_GREEDY, LOOKS_ROUND, EXHAUSTIVE, PENALTY, PRUNED),
)


@beam_search.wrong("the best first tokens, each continued on its own", fails=(EXHAUSTIVE, PENALTY, CUT_OFF, PRUNED))
def _(step, memory, width, bos, eos, max_len, alpha=0.0):
    log_probs = step(memory, torch.tensor([[bos]])).log_softmax(-1)[0]
    found = []
    for token in log_probs.topk(min(width, len(log_probs))).indices.tolist():
        sentence, total = [token], float(log_probs[token])
        while sentence[-1] != eos and len(sentence) < max_len:
            following = step(memory, torch.tensor([[bos, *sentence]])).log_softmax(-1)[0]
            sentence.append(int(following.argmax()))
            total += float(following.max())
        found.append((total / len(sentence) ** alpha, sentence))
    total, best = max(found)
    return [token for token in best if token != eos], total


@beam_search.right("all trials in one batch")
def _(step, memory, width, bos, eos, max_len, alpha=0.0):
    tokens, sums, finished = torch.full((1, 1), bos), torch.zeros(1), []
    for length in range(1, max_len + 1):
        shape = (len(tokens), *memory.shape[1:])
        totals = sums.unsqueeze(1) + F.log_softmax(step(memory.expand(shape), tokens), dim=-1)
        values, places = totals.reshape(-1).sort(descending=True)
        values, places = values[:width], places[:width]
        tokens = torch.cat([tokens[places // totals.size(1)], (places % totals.size(1)).unsqueeze(1)], dim=1)
        ended = tokens[:, -1] == eos
        stop = ended if length < max_len else torch.ones_like(ended)
        for trial, value in zip(tokens[stop, 1:].tolist(), values[stop].tolist(), strict=True):
            finished.append((value / length**alpha, [token for token in trial if token != eos]))
        tokens, sums = tokens[~stop], values[~stop]
        if len(tokens) == 0:
            break
    score, best = max(finished)
    return best, score
