"""What the exercises of chapter 08 demand. Trusted side: student code is reached only through `student`.

Masks are of True and False throughout, and True means "may attend".
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from autograder.checking import case, close, exercise, finite, holds, inputs_unchanged, raises, same
from course_lib.nn.attention import masks, scaled, scores, streaming
from course_lib.probe import masked_slopes

REFERENCE = (
    "course_lib.nn.attention.scores",
    "course_lib.nn.attention.masks",
    "course_lib.nn.attention.scaled",
    "course_lib.nn.attention.multihead",
    "course_lib.nn.attention.streaming",
)


def tensor(rng, *shape, scale=1.0):
    """Normal numbers as a float32 tensor."""
    return torch.from_numpy(scale * rng.normal(size=shape)).float()


def alike(found, wanted):
    """Within what float32 leaves after a few sums."""
    close(found, wanted, rtol=1e-4, atol=1e-5)


def some_mask(rng, *shape):
    """True and False at random, each row with at least one True and one False."""
    order = torch.from_numpy(rng.random(size=shape)).argsort(-1)
    return order < torch.from_numpy(rng.integers(1, shape[-1], size=(*shape[:-1], 1)))


SOFTMAX = "the weights are the softmax of the matches"
MEAN = "the answer is the mean of the values, by these weights"
BLUNT = "with sharpness 0 every card counts alike"
SHARP = "very sharp, it is the ordinary look-up: the best match alone"


@exercise("attention.soft_lookup", points=3, reference=REFERENCE)
def soft_lookup(student, rng):
    """A look-up that answers with a mixture."""
    query, keys, values = tensor(rng, 4), tensor(rng, 7, 4), tensor(rng, 7, 3)
    with case(SOFTMAX, hint="A match is the dot product of query and key, times the sharpness; softmax over the cards."):
        for sharpness in (1.0, 0.3):
            alike(student.soft_lookup(query, keys, values, sharpness)[1], (sharpness * (keys @ query)).softmax(0))
    with case(MEAN, hint="Each value times its weight, added up: `weights @ values`."):
        alike(student.soft_lookup(query, keys, values, 0.7)[0], (0.7 * (keys @ query)).softmax(0) @ values)
    with case(BLUNT, hint="The sharpness multiplies the matches before the softmax; then all exponents are 0."):
        answer, weights = student.soft_lookup(query, keys, values, 0.0)
        alike(weights, torch.full((7,), 1 / 7))
        alike(answer, values.mean(0))
    with case(SHARP, hint="exp(3000) is infinite. torch's softmax subtracts the largest match first."):
        exact = torch.tensor([[3.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
        answer, weights = student.soft_lookup(torch.tensor([0.0, 1.0]), exact, values[:3], 3000.0)
        alike(weights, torch.tensor([0.0, 1.0, 0.0]))
        alike(answer, values[1])
        answer, weights = student.soft_lookup(torch.tensor([-2.0, -1.0]), exact, values[:3], 3000.0)  # matches of -6, -2 and -3
        alike(weights, torch.tensor([0.0, 1.0, 0.0]))
        alike(answer, values[1])


@soft_lookup.right("dot products, softmax, mean")
def _(query, keys, values, sharpness):
    matches = keys @ query
    weights = (sharpness * matches).softmax(dim=0)
    return weights @ values, weights


PLAIN = "dot products, softmax, mean"
soft_lookup.slip(
    "the largest match taken for at least 0",
    (
        "weights = (sharpness * matches).softmax(dim=0)",
        "exp = (sharpness * matches - (sharpness * matches).max().clamp(min=0)).exp()\n    weights = exp / exp.sum()",
    ),
    of=PLAIN,
    fails=SHARP,
)
soft_lookup.slip(
    "the ordinary look-up",
    ("weights = (sharpness * matches).softmax(dim=0)", "weights = (torch.arange(len(keys)) == matches.argmax()).float()"),
    of=PLAIN,
    fails=(SOFTMAX, MEAN, BLUNT),
)
soft_lookup.slip(
    "sharpness after the softmax",
    ("(sharpness * matches).softmax(dim=0)", "sharpness * matches.softmax(dim=0)"),
    of=PLAIN,
    fails=(SOFTMAX, MEAN, BLUNT, SHARP),
)
soft_lookup.slip(
    "exp without the maximum taken off",
    ("weights = (sharpness * matches).softmax(dim=0)", "exp = torch.exp(sharpness * matches)\n    weights = exp / exp.sum()"),
    of=PLAIN,
    fails=SHARP,
)
soft_lookup.slip(
    "weights that do not add up to 1",
    ("weights = (sharpness * matches).softmax(dim=0)", "weights = torch.exp(sharpness * (matches - matches.max()))"),
    of=PLAIN,
    fails=(SOFTMAX, MEAN, BLUNT),
)
soft_lookup.slip("the angle alone", ("keys @ query", "F.cosine_similarity(keys, query[None], dim=1)"), of=PLAIN, fails=(SOFTMAX, MEAN))
soft_lookup.slip("sharpness forgotten", ("sharpness * matches", "matches"), of=PLAIN, fails=(SOFTMAX, MEAN, BLUNT, SHARP))
soft_lookup.slip("the keys mixed", ("weights @ values", "weights @ keys"), of=PLAIN, fails=(MEAN, BLUNT, SHARP))
soft_lookup.slip(
    "mixture and weights exchanged",
    ("return weights @ values, weights", "return weights, weights @ values"),
    of=PLAIN,
    fails=(SOFTMAX, MEAN, BLUNT, SHARP),
)


@soft_lookup.right("card by card")
def _(query, keys, values, sharpness):
    matches = [float(sharpness) * sum(float(q) * float(k) for q, k in zip(query, key, strict=True)) for key in keys]
    largest = max(matches)
    shares = [math.exp(match - largest) for match in matches]
    weights = torch.tensor([share / sum(shares) for share in shares])
    return sum(weight * value for weight, value in zip(weights, values, strict=True)), weights


PAIRS = "one score for each pair: a row for each query, a column for each key"
FORMULA = "score(q, k) = v · tanh(q w_query + k w_key)"
WIDTHS = "queries and keys may have different widths"
BATCH = "any axes may stand before: a batch, heads"


@exercise("attention.additive_scores", points=3, reference=REFERENCE)
def additive_scores(student, rng):
    """A small network looks at every pair of query and key."""

    def draw(lead=(), num_queries=3, num_keys=5, query_dim=4, key_dim=4, hidden=6):
        shapes = ((*lead, num_queries, query_dim), (*lead, num_keys, key_dim), (query_dim, hidden), (key_dim, hidden), (hidden,))
        return [tensor(rng, *shape) for shape in shapes]

    with case(PAIRS, hint="Give the queries an axis of length 1 for the keys, and the keys one for the queries; broadcasting makes the pairs."):
        drawn = draw()
        found = student.additive_scores(*drawn)
        same(list(found.shape), [3, 5], "the shape")
        alone = torch.stack([torch.stack([scores.additive_scores(q[None], k[None], *drawn[2:])[0, 0] for k in drawn[1]]) for q in drawn[0]])
        alike(found, alone)
    with case(FORMULA, hint="tanh of the sum, for each hidden unit; then the dot product with v takes the units away."):
        drawn = draw(num_queries=1, num_keys=1)
        alike(student.additive_scores(*drawn), scores.additive_scores(*drawn))
        one = torch.ones(1, 1)
        alike(student.additive_scores(one, 2 * one, one, one, torch.tensor([10.0])), torch.tensor([[10 * math.tanh(3)]]))
        alike(student.additive_scores(one, 50 * one, one, one, torch.tensor([10.0])), torch.tensor([[10.0]]))
    with case(WIDTHS, hint="Each has its own matrix; only the hidden units must be as many."):
        drawn = draw(query_dim=2, key_dim=7)
        alike(student.additive_scores(*drawn), scores.additive_scores(*drawn))
    with case(BATCH, hint="Count axes from the end: unsqueeze(-2) and unsqueeze(-3) work for any number of axes before."):
        for lead in ((2,), (2, 3)):
            drawn = draw(lead)
            alike(student.additive_scores(*drawn), scores.additive_scores(*drawn))


@additive_scores.right("two axes of length 1")
def _(query, key, w_query, w_key, v):
    asked = (query @ w_query).unsqueeze(-2)
    offered = (key @ w_key).unsqueeze(-3)
    return torch.tanh(asked + offered) @ v


AXES = "two axes of length 1"
EVERY = (PAIRS, FORMULA, WIDTHS, BATCH)
additive_scores.slip("no tanh", ("torch.tanh(asked + offered)", "(asked + offered)"), of=AXES, fails=EVERY)
additive_scores.slip("tanh at the very end", ("torch.tanh(asked + offered) @ v", "torch.tanh((asked + offered) @ v)"), of=AXES, fails=EVERY)
additive_scores.slip("a product in place of the sum", ("asked + offered", "asked * offered"), of=AXES, fails=EVERY)
additive_scores.slip("v forgotten", ("torch.tanh(asked + offered) @ v", "torch.tanh(asked + offered).sum(-1)"), of=AXES, fails=EVERY)
additive_scores.slip("axes counted from the front", ("unsqueeze(-2)", "unsqueeze(1)"), ("unsqueeze(-3)", "unsqueeze(0)"), of=AXES, fails=BATCH)
additive_scores.slip(
    "a row for each key",
    ("unsqueeze(-2)", "unsqueeze(-3)"),
    ("(key @ w_key).unsqueeze(-3)", "(key @ w_key).unsqueeze(-2)"),
    of=AXES,
    fails=(PAIRS, WIDTHS, BATCH),
)
additive_scores.slip("one matrix for both", ("key @ w_key", "key @ w_query"), of=AXES, fails=EVERY)


@additive_scores.right("concatenated, as the paper may be read")
def _(query, key, w_query, w_key, v):
    num_queries, num_keys = query.shape[-2], key.shape[-2]
    rows = []
    for i in range(num_queries):
        pairs = torch.cat([query[..., i : i + 1, :].expand(*query.shape[:-2], num_keys, query.shape[-1]), key], dim=-1)
        rows.append((torch.tanh(pairs @ torch.cat([w_query, w_key])) * v).sum(-1))
    return torch.stack(rows, dim=-2)


ROOT = "the scores are divided by the root of the queries' width"
MIXED = "each output is the mean of the values by its row of weights"
HIDDEN = "where the mask is False the weight is 0, and the others still add up to 1"
SPREAD = "a mask of fewer axes holds for all rows of the batch, all heads, all queries"
EMPTY = "a query that may attend to nothing gets zeros"
LARGE = "large scores, hidden or not, do no harm"


@exercise("attention.attention", points=4, reference=REFERENCE)
def attention(student, rng):
    """Scaled dot-product attention with a mask."""
    query, key, value = tensor(rng, 2, 3, 5, 16), tensor(rng, 2, 3, 6, 16), tensor(rng, 2, 3, 6, 4)
    with case(ROOT, hint="√D, where D is query.shape[-1]; the softmax runs along the keys, the last axis."):
        alike(student.attention(query, key, value)[1], scaled.attention_weights(query, key))
        alike(
            student.attention(query[0, 0, :, :2], key[0, 0, :, :2], value[0, 0])[1],
            scaled.attention_weights(query[0, 0, :, :2], key[0, 0, :, :2]),
        )
    with case(MIXED, hint="weights @ value: (…, Tq, Tk) times (…, Tk, Dv). The first result is the output, the second the weights."):
        alike(student.attention(query, key, value)[0], scaled.attention(query, key, value))
        mask = some_mask(rng, 2, 3, 5, 6)
        alike(student.attention(query, key, value, mask)[0], scaled.attention(query, key, value, mask))
    with case(HIDDEN, hint="Before the softmax, give hidden places a score so low that exp() of it is 0. True means: may attend."):
        mask = some_mask(rng, 2, 3, 5, 6)
        weights = student.attention(query, key, value, mask)[1]
        alike(weights, scaled.attention_weights(query, key, mask))
        holds(not bool(weights[~mask].any()), "A place that the mask hides has a weight other than 0.")
    with case(SPREAD, hint="(2, 1, 1, 6) and (5, 6) broadcast to (2, 3, 5, 6) by themselves, if you do not reshape."):
        for mask in (some_mask(rng, 2, 1, 1, 6), some_mask(rng, 5, 6)):
            alike(student.attention(query, key, value, mask)[1], scaled.attention_weights(query, key, mask))
    with case(EMPTY, hint="A softmax over nothing but -inf is 0/0. Which finite number does the same, and how do you get the zeros afterwards?"):
        mask = some_mask(rng, 2, 3, 5, 6)
        mask[:, 1, 2] = False
        output, weights = student.attention(query, key, value, mask)
        finite(output)
        holds(not bool(weights[:, 1, 2].any() | output[:, 1, 2].any()), "A query that may attend to nothing has weights or an output other than 0.")
        alike(output, scaled.attention(query, key, value, mask))
    with case(LARGE, hint="-100 is not low, nor is -10,000: a score may be lower. torch.finfo(scores.dtype).min is the lowest finite number."):
        asked, offered = torch.tensor([[2.0, 0.0, 0.0, 0.0]]), torch.zeros(5, 4)  # the scores are the first numbers of the keys
        offered[:, 0] = torch.tensor([-30_000.0, -30_001.0, 300.0, -29_999.5, 2000.0])
        mask = torch.tensor([[True, True, False, True, False]])
        for hidden in (mask, None):
            alike(student.attention(asked, offered, value[0, 0, :5, :3], hidden)[1], scaled.attention_weights(asked, offered, hidden))


@attention.right("the lowest number, and zeros afterwards")
def _(query, key, value, mask=None):
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    weights = scores.softmax(dim=-1)
    if mask is not None:
        weights = weights.masked_fill(~mask, 0.0)
    return weights @ value, weights


LOWEST = "the lowest number, and zeros afterwards"
MASKED = (HIDDEN, SPREAD, EMPTY, LARGE)
FILL = "scores.masked_fill(~mask, torch.finfo(scores.dtype).min)"
AFTER = "    if mask is not None:\n        weights = weights.masked_fill(~mask, 0.0)\n"
attention.slip("not divided by anything", (" / math.sqrt(query.shape[-1])", ""), of=LOWEST, fails=(ROOT, MIXED, *MASKED))
attention.slip("divided by the width, not its root", ("math.sqrt(query.shape[-1])", "query.shape[-1]"), of=LOWEST, fails=(ROOT, MIXED, *MASKED))
attention.slip(
    "divided by the root of the values' width", ("math.sqrt(query.shape[-1])", "math.sqrt(value.shape[-1])"), of=LOWEST, fails=(ROOT, MIXED, *MASKED)
)
attention.slip(
    "divided by the root of the number of keys", ("math.sqrt(query.shape[-1])", "math.sqrt(key.shape[-2])"), of=LOWEST, fails=(ROOT, MIXED, *MASKED)
)
attention.slip("softmax over the queries", ("scores.softmax(dim=-1)", "scores.softmax(dim=-2)"), of=LOWEST, fails=(ROOT, MIXED, *MASKED))
attention.slip(
    "the mask the other way round",
    (FILL, "scores.masked_fill(mask, torch.finfo(scores.dtype).min)"),
    (AFTER, "    if mask is not None:\n        weights = weights.masked_fill(mask, 0.0)\n"),
    of=LOWEST,
    fails=(MIXED, *MASKED),
)
attention.slip("hidden scores set to 0", (FILL, "scores * mask"), (AFTER, ""), of=LOWEST, fails=(MIXED, *MASKED))
attention.slip("hidden weights set to 0, the others left as they were", (FILL, "scores"), of=LOWEST, fails=(MIXED, *MASKED))
attention.slip("the mask never used", (FILL, "scores"), (AFTER, ""), of=LOWEST, fails=(MIXED, *MASKED))
attention.slip("-inf, and what comes of it", (FILL, 'scores.masked_fill(~mask, float("-inf"))'), (AFTER, ""), of=LOWEST, fails=EMPTY)
attention.slip("-1e9, and equal weights for an empty row", (FILL, "scores.masked_fill(~mask, -1e9)"), (AFTER, ""), of=LOWEST, fails=EMPTY)
attention.slip("-100 for low enough", (FILL, "scores.masked_fill(~mask, -100.0)"), of=LOWEST, fails=LARGE)
attention.slip("-10,000 for low enough", (FILL, "scores.masked_fill(~mask, -1e4)"), of=LOWEST, fails=LARGE)
attention.slip(
    "output and weights exchanged", ("return weights @ value, weights", "return weights, weights @ value"), of=LOWEST, fails=(ROOT, MIXED, *MASKED)
)


@attention.right("exponents by hand, a sum that is never 0")
def _(query, key, value, mask=None):
    scores = torch.einsum("...qd,...kd->...qk", query, key) * query.shape[-1] ** -0.5
    mask = torch.ones((), dtype=torch.bool) if mask is None else mask
    low = torch.where(mask, scores, torch.tensor(float("-inf")))
    largest = low.amax(-1, keepdim=True)
    exp = torch.where(mask, torch.exp(scores - torch.where(largest.isinf(), 0.0, largest)), 0.0)
    weights = exp / exp.sum(-1, keepdim=True).clamp(min=1e-30)
    return torch.einsum("...qk,...kv->...qv", weights, value), weights


@attention.right("-inf, and NaN turned into 0")
def _(query, key, value, mask=None):
    scores = (query / math.sqrt(query.shape[-1])) @ key.mT
    if mask is not None:
        scores = scores + torch.zeros(mask.shape).masked_fill(~mask, float("-inf"))
    weights = scores.softmax(-1).nan_to_num(0.0)
    return weights @ value, weights


FORWARD = "the output: means over what may be attended to, zeros where that is nothing"
WITHOUT = "where no row is empty, the slopes are those of the formula"
ZERO_SLOPE = "a query that may attend to nothing has slope 0, and the other queries have their own"
OTHERS = "it does not spoil the slopes of the keys"


def slopes_of(query, key, value, mask):
    query, key = query.clone().requires_grad_(), key.clone().requires_grad_()
    output = scaled.attention(query, key, value, mask)
    return (output.detach(), *torch.autograd.grad(output.square().sum(), (query, key)))


@exercise("attention.mend_empty_rows", points=3, mends=(ZERO_SLOPE, OTHERS), reference=REFERENCE)
def mend_empty_rows(student, rng):
    """A right output with wrong slopes."""
    query, key, value = tensor(rng, 5, 8), tensor(rng, 6, 8), tensor(rng, 6, 3)
    full = some_mask(rng, 5, 6)
    empty = full.clone()
    row = int(rng.integers(5))
    empty[[row, (row + 2) % 5]] = False
    with case(FORWARD, hint="What did the program give before you changed it? The output was right."):
        for mask in (full, empty):
            alike(student.mend_empty_rows(query, key, value, mask)[0], slopes_of(query, key, value, mask)[0])
    with case(WITHOUT, hint="Nothing but the masked places may change: hidden scores count for nothing, the others for what they are."):
        alike(student.mend_empty_rows(query, key, value, full), slopes_of(query, key, value, full))
        low = 10 * query.abs(), -10 * key.abs(), value, full  # scores far below 0, all of them
        alike(student.mend_empty_rows(*low)[0], slopes_of(*low)[0])
    wanted = slopes_of(query, key, value, empty)
    with case(ZERO_SLOPE, hint="0 times NaN is NaN, so no later step takes it out of a gradient. Best, the NaN never comes into being."):
        alike(student.mend_empty_rows(query, key, value, empty)[1], wanted[1])
    with case(OTHERS, hint="A key is matched with every query, the empty one too: one NaN among the contributions is enough."):
        alike(student.mend_empty_rows(query, key, value, empty)[2], wanted[2])


@mend_empty_rows.right("a finite number, and zeros afterwards")
def _(query, key, value, mask):
    query, key = query.detach().clone().requires_grad_(), key.detach().clone().requires_grad_()
    scores = query @ key.T / math.sqrt(query.shape[1])
    scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    weights = scores.softmax(dim=1).masked_fill(~mask, 0.0)
    output = weights @ value
    slopes = torch.autograd.grad(output.square().sum(), (query, key))
    return output.detach(), *slopes


FINITE = "a finite number, and zeros afterwards"
LOW = "scores.masked_fill(~mask, torch.finfo(scores.dtype).min)"
ADDED = 'scores + torch.where(mask, 0.0, float("-inf"))'
mend_empty_rows.slip(
    "-inf added, NaN turned into 0 afterwards, as it was found",
    (LOW, ADDED),
    ("masked_fill(~mask, 0.0)", "nan_to_num(0.0)"),
    of=FINITE,
    fails=(ZERO_SLOPE, OTHERS),
)
mend_empty_rows.slip("-inf added, zeros afterwards", (LOW, ADDED), of=FINITE, fails=(ZERO_SLOPE, OTHERS))
mend_empty_rows.slip("equal weights for the empty row", (".masked_fill(~mask, 0.0)", ""), of=FINITE, fails=FORWARD)
mend_empty_rows.slip(
    "all slopes turned into numbers",
    (LOW, ADDED),
    ("masked_fill(~mask, 0.0)", "nan_to_num(0.0)"),
    ("*slopes", "*(each.nan_to_num(0.0) for each in slopes)"),
    of=FINITE,
    fails=OTHERS,
)
mend_empty_rows.slip("-100 for low enough", (LOW, "scores.masked_fill(~mask, -100.0)"), of=FINITE, fails=WITHOUT)
mend_empty_rows.slip("hidden scores set to 0", (LOW, "scores * mask"), of=FINITE, fails=(FORWARD, WITHOUT, ZERO_SLOPE, OTHERS))
mend_empty_rows.slip(
    "the mask the other way round",
    (LOW, "scores.masked_fill(mask, torch.finfo(scores.dtype).min)"),
    of=FINITE,
    fails=(FORWARD, WITHOUT, ZERO_SLOPE, OTHERS),
)


@mend_empty_rows.right("-inf filled in, not added: its slope ends there")
def _(query, key, value, mask):
    query, key = query.detach().clone().requires_grad_(), key.detach().clone().requires_grad_()
    scores = (query @ key.T / math.sqrt(query.shape[1])).masked_fill(~mask, float("-inf"))
    output = scores.softmax(dim=1).nan_to_num(0.0) @ value
    return output.detach(), *torch.autograd.grad(output.square().sum(), (query, key))


@mend_empty_rows.right("the empty rows left out, and put back")
def _(query, key, value, mask):
    query, key = query.detach().clone().requires_grad_(), key.detach().clone().requires_grad_()
    some = mask.any(dim=1)
    bias = torch.where(mask[some], 0.0, float("-inf"))
    weights = (query[some] @ key.T / math.sqrt(query.shape[1]) + bias).softmax(dim=1)
    output = torch.zeros(len(query), value.shape[1]).index_put((some.nonzero()[:, 0],), weights @ value)
    return output.detach(), *torch.autograd.grad(output.square().sum(), (query, key))


SQUARE_MASK = "as many queries as keys: each sees itself and what came before"
NEWEST = "a single new query is the newest token and sees every key"
PIECE = "three new queries after four old keys: the queries are the last three positions"
TOO_MANY = "more queries than keys: the first ones have nothing to see"


@exercise("attention.causal_mask", points=3, reference=REFERENCE)
def causal_mask(student, rng):
    """Nobody looks ahead, also when the queries are fewer than the keys."""

    def agrees(num_queries, num_keys):
        found = student.causal_mask(num_queries, num_keys)
        same(found, masks.causal_mask(num_queries, num_keys), "the mask")
        holds(found.dtype == torch.bool, "The mask should hold True and False (torch.bool).")

    with case(SQUARE_MASK, hint="torch.ones(…, dtype=torch.bool).tril() keeps what lies on and below the diagonal. True means: may attend."):
        for count in (1, 4, int(rng.integers(5, 9))):
            agrees(count, count)
    with case(NEWEST, hint="The last query stands at the last position. Which diagonal of the table ends in the lower right corner?"):
        for count in (2, 5, int(rng.integers(6, 12))):
            agrees(1, count)
    with case(PIECE, hint="Query i stands at position i + (num_keys - num_queries). tril(n) moves the diagonal n to the right."):
        agrees(3, 7)
        old, new = (int(number) for number in rng.integers(2, 6, size=2))
        agrees(new, old + new)
    with case(TOO_MANY, hint="The rule is the same; the diagonal then moves to the left."):
        agrees(4, 2)
        agrees(int(rng.integers(4, 8)), 3)


@causal_mask.right("the diagonal that ends in the corner")
def _(num_queries, num_keys):
    table = torch.ones(num_queries, num_keys, dtype=torch.bool)
    return table.tril(diagonal=num_keys - num_queries)


CORNER = "the diagonal that ends in the corner"
ALL_MASKS = (SQUARE_MASK, NEWEST, PIECE, TOO_MANY)
causal_mask.slip("the queries taken for the first positions", ("num_keys - num_queries", "0"), of=CORNER, fails=(NEWEST, PIECE, TOO_MANY))
causal_mask.slip("nobody sees itself", ("num_keys - num_queries", "num_keys - num_queries - 1"), of=CORNER, fails=ALL_MASKS)
causal_mask.slip(
    "True for what is hidden",
    ("return table.tril(diagonal=num_keys - num_queries)", "return ~table.tril(diagonal=num_keys - num_queries)"),
    of=CORNER,
    fails=ALL_MASKS,
)
causal_mask.slip("only what comes after", ("tril", "triu"), of=CORNER, fails=ALL_MASKS)
causal_mask.slip("ones and zeros", ("dtype=torch.bool", "dtype=torch.float32"), of=CORNER, fails=ALL_MASKS)
causal_mask.slip("moved the wrong way", ("num_keys - num_queries", "num_queries - num_keys"), of=CORNER, fails=(NEWEST, PIECE, TOO_MANY))


@causal_mask.right("positions compared")
def _(num_queries, num_keys):
    at = torch.arange(num_queries)[:, None] + num_keys - num_queries
    return torch.arange(num_keys)[None, :] <= at


@causal_mask.right("the last rows of the square")
def _(num_queries, num_keys):
    size = max(num_queries, num_keys)
    return torch.ones(size, size, dtype=torch.bool).tril()[size - num_queries :, size - num_keys :]


AT_ONCE = "the whole sentence at once"
ONE_NEW = "one new token, after the others"
SEVERAL_NEW = "several new tokens, after the others"
ALIKE = "read at once or in pieces: the same answers"


def causal(query, key, value):
    return scaled.attention(query, key, value, masks.causal_mask(query.shape[-2], key.shape[-2]))


@exercise("attention.mend_next_tokens", points=2, mends=(ONE_NEW, SEVERAL_NEW, ALIKE), reference=REFERENCE)
def mend_next_tokens(student, rng):
    """New tokens look at the old ones."""
    query, key, value = tensor(rng, 2, 3, 7, 9), tensor(rng, 2, 3, 7, 9), tensor(rng, 2, 3, 7, 4)
    with case(AT_ONCE, hint="With as many queries as keys the program was right. Is it still?"):
        alike(student.mend_next_tokens(query, key, value), causal(query, key, value))
    with case(
        ONE_NEW, hint="With is_causal=True and one query, how many keys does torch let it see? Hand it a mask of your own, and leave is_causal out."
    ):
        alike(student.mend_next_tokens(query[:, :, -1:], key, value), causal(query, key, value)[:, :, -1:])
    with case(SEVERAL_NEW, hint="No mask at all would let the first new token see the ones after it."):
        alike(student.mend_next_tokens(query[:, :, -3:], key, value), causal(query, key, value)[:, :, -3:])
    with case(ALIKE, hint="Your causal_mask knows where the queries stand."):
        pieces = [student.mend_next_tokens(query[:, :, start:end], key[:, :, :end], value[:, :, :end]) for start, end in ((0, 3), (3, 4), (4, 7))]
        alike(torch.cat(pieces, dim=2), causal(query, key, value))


@mend_next_tokens.right("a mask that ends in the corner")
def _(query, key, value):
    new, total = query.shape[-2], key.shape[-2]
    mask = torch.ones(new, total, dtype=torch.bool).tril(total - new)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


OWN_MASK = "a mask that ends in the corner"
mend_next_tokens.slip("is_causal, as it was found", ("attn_mask=mask", "is_causal=True"), of=OWN_MASK, fails=(ONE_NEW, SEVERAL_NEW, ALIKE))
mend_next_tokens.slip("everybody sees everything", (", attn_mask=mask", ""), of=OWN_MASK, fails=(AT_ONCE, SEVERAL_NEW, ALIKE))
mend_next_tokens.slip("causal only when there is one query", ("attn_mask=mask", "is_causal=new > 1"), of=OWN_MASK, fails=(SEVERAL_NEW, ALIKE))
mend_next_tokens.slip(
    "the mask the other way round", ("attn_mask=mask", "attn_mask=~mask"), of=OWN_MASK, fails=(AT_ONCE, ONE_NEW, SEVERAL_NEW, ALIKE)
)


@mend_next_tokens.right("empty queries in front, cut off afterwards")
def _(query, key, value):
    missing = key.shape[-2] - query.shape[-2]
    padded = F.pad(query, (0, 0, missing, 0))
    return F.scaled_dot_product_attention(padded, key, value, is_causal=True)[..., missing:, :]


FOUR = "four maps: three from inputs to outputs, the last from outputs to outputs"
SQUARE = "as many outputs as inputs"
NARROW = "fewer outputs than inputs"
WIDE = "more outputs than inputs"
ALONE = "a sentence without a batch axis; a sentence of one word"


def given_weights(net, rng):
    """Load weights of the check's own. → the state dict"""
    state = {name: tensor(rng, *value.shape) for name, value in net.state_dict().items()}
    net.load_state_dict(state)
    return state


def through(state, name, x):
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def one_head(state, x):
    return through(state, "output", scaled.attention(*(through(state, name, x) for name in ("query", "key", "value"))))


@exercise("attention.SelfAttention", points=3, seconds=4, mends=FOUR, reference=REFERENCE)
def SelfAttention(student, rng):
    """A sentence looks at itself."""

    def agrees(inputs, outputs, *lead):
        net = student.SelfAttention(inputs, outputs)
        state = given_weights(net, rng)
        x = tensor(rng, *lead, inputs, scale=0.5)
        found = net(x)
        same(list(found.shape), [*lead, outputs], "the shape of the output")
        close(found, one_head(state, x), rtol=1e-3, atol=1e-4)

    with case(FOUR, hint="What comes out of the weighted mean is as wide as the values. That is what the last map takes."):
        shapes = {name: list(value.shape) for name, value in student.SelfAttention(6, 3).state_dict().items()}
        maps = {f"{name}.weight": [3, 6] for name in ("query", "key", "value")} | {"output.weight": [3, 3]}
        maps |= {f"{name}.bias": [3] for name in ("query", "key", "value", "output")}
        same({name: shapes.get(name) for name in maps}, maps, "the shapes of weights and biases")
    with case(SQUARE, hint="This was right before. Each map has its bias."):
        agrees(4, 4, 2, 5)
    with case(NARROW, hint="Divide by the root of the width of what is multiplied, the queries and keys, whatever the input's width."):
        agrees(16, 4, 2, 5)
    with case(WIDE, hint="Divide by the root of the width of what is multiplied, the queries and keys, whatever the input's width."):
        agrees(3, 12, 2, 5)
    with case(ALONE, hint="Exchange the last two axes of the keys: transpose(-2, -1)."):
        agrees(5, 5, 4)
        agrees(5, 5, 2, 1)


@SelfAttention.right("the root of the queries' width")
class _(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.query = nn.Linear(inputs, outputs)
        self.key = nn.Linear(inputs, outputs)
        self.value = nn.Linear(inputs, outputs)
        self.output = nn.Linear(outputs, outputs)
        self.scale = math.sqrt(outputs)

    def forward(self, x):
        query, key, value = self.query(x), self.key(x), self.value(x)
        weights = (query @ key.transpose(-2, -1) / self.scale).softmax(dim=-1)
        return self.output(weights @ value)


OWN_ROOT = "the root of the queries' width"
SelfAttention.slip(
    "the input's width in two places, as it was found",
    ("self.output = nn.Linear(outputs, outputs)", "self.output = nn.Linear(inputs, outputs)"),
    ("math.sqrt(outputs)", "math.sqrt(inputs)"),
    of=OWN_ROOT,
    fails=(FOUR, NARROW, WIDE),
)
SelfAttention.slip("the last map mended, the root not", ("math.sqrt(outputs)", "math.sqrt(inputs)"), of=OWN_ROOT, fails=(NARROW, WIDE))
SelfAttention.slip(
    "the root mended, the last map not",
    ("self.output = nn.Linear(outputs, outputs)", "self.output = nn.Linear(inputs, outputs)"),
    of=OWN_ROOT,
    fails=(FOUR, NARROW, WIDE),
)
SelfAttention.slip(
    "the last map back to the input's width",
    ("self.output = nn.Linear(outputs, outputs)", "self.output = nn.Linear(outputs, inputs)"),
    of=OWN_ROOT,
    fails=(FOUR, NARROW, WIDE),
)
SelfAttention.slip("no root at all", (" / self.scale", ""), of=OWN_ROOT, fails=(SQUARE, NARROW, WIDE, ALONE))
SelfAttention.slip("softmax over the words that look", ("dim=-1", "dim=-2"), of=OWN_ROOT, fails=(SQUARE, NARROW, WIDE, ALONE))
SelfAttention.slip(
    "the last map forgotten", ("return self.output(weights @ value)", "return weights @ value"), of=OWN_ROOT, fails=(SQUARE, NARROW, WIDE, ALONE)
)
SelfAttention.slip("axes counted from the front", ("transpose(-2, -1)", "transpose(1, 2)"), of=OWN_ROOT, fails=ALONE)


@SelfAttention.right("torch's kernel, which takes the root itself")
class _(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(inputs, outputs) for _ in range(3))
        self.output = nn.Linear(outputs, outputs)

    def forward(self, x):
        mixed = F.scaled_dot_product_attention(*(layer(x).unsqueeze(-3) for layer in (self.query, self.key, self.value)))
        return self.output(mixed.squeeze(-3))


MAPS = "four maps of width to width, each with a bias: query, key, value, output"
SINGLE = "with one head it is attention between these maps"
HEADS = "several heads: each has its own slice of the width, and its own root"
CONTEXT = "with a context, x asks and the context answers"
MASKS = "a mask holds for every head: (Tq, Tk), or (B, 1, 1, Tk) for padding"
EMPTY_SLOPES = "an empty row of the mask: the output's bias, and finite slopes"
REFUSED = "a width that the heads cannot share is a ValueError"


def many_heads(state, num_heads, x, context=None, mask=None):
    source = x if context is None else context
    query, key, value = (
        through(state, name, rows).unflatten(-1, (num_heads, -1)).transpose(1, 2) for name, rows in (("query", x), ("key", source), ("value", source))
    )
    return through(state, "output", scaled.attention(query, key, value, mask).transpose(1, 2).flatten(2))


class _Twin(nn.Module):
    """The check's own, with the student's weights."""

    def __init__(self, state, num_heads):
        super().__init__()
        self.num_heads = num_heads
        for name in ("query", "key", "value", "output"):
            layer = nn.Linear(*state[f"{name}.weight"].shape[::-1])
            layer.load_state_dict({part: state[f"{name}.{part}"] for part in ("weight", "bias")})
            self.add_module(name, layer)

    def forward(self, x, mask):
        return many_heads(dict(self.named_parameters()), self.num_heads, x, mask=mask)


@exercise("attention.MultiHeadAttention", points=5, seconds=4, reference=REFERENCE)
def MultiHeadAttention(student, rng):
    """Several look-ups side by side."""

    def agrees(width, num_heads, context=None, mask=None):
        net = student.MultiHeadAttention(width, num_heads)
        state = {name: 0.5 * value for name, value in given_weights(net, rng).items()}
        net.load_state_dict(state)
        x = tensor(rng, 2, 5, width)
        more = {} if context is None else {"context": context}
        more |= {} if mask is None else {"mask": mask}
        close(net(x, **more), many_heads(state, num_heads, x, context, mask), rtol=1e-3, atol=1e-4)

    with case(MAPS, hint="self.query = nn.Linear(width, width), and so on: one map serves all heads, and is cut afterwards."):
        shapes = {name: list(value.shape) for name, value in student.MultiHeadAttention(6, 2).state_dict().items()}
        same(
            shapes,
            {f"{name}.{part}": shape for name in ("query", "key", "value", "output") for part, shape in (("weight", [6, 6]), ("bias", [6]))},
            "the state dict's shapes",
        )
    with case(SINGLE, hint="query, key and value from x; attention; the output map."):
        agrees(6, 1)
    with case(HEADS, hint="(B, T, W) → (B, T, H, D), then exchange the axes of T and H. On the way back exchange first. The root is that of D."):
        agrees(8, 2)
        agrees(12, 4)
        agrees(5, 5)
    with case(CONTEXT, hint="The queries come from x, keys and values from the context, which may have another length."):
        agrees(8, 2, context=tensor(rng, 2, 7, 8))
        agrees(6, 3, context=tensor(rng, 2, 3, 6))
    with case(MASKS, hint="Hand the mask to your attention as it is: it broadcasts over the heads."):
        agrees(8, 2, mask=some_mask(rng, 5, 5))
        agrees(8, 4, mask=some_mask(rng, 2, 1, 1, 5))
        agrees(6, 2, context=tensor(rng, 2, 7, 6), mask=some_mask(rng, 2, 1, 5, 7))
        agrees(8, 4, mask=some_mask(rng, 2, 4, 5, 5))  # another for each head
    with case(EMPTY_SLOPES, hint="0 times NaN is NaN: a NaN in the weights stays in the slopes, even where the output hides it."):
        net = student.MultiHeadAttention(6, 2)
        state = given_weights(net, rng)
        mask = torch.ones(5, 5, dtype=torch.bool)
        mask[3] = False
        close(net(tensor(rng, 2, 5, 6), mask=mask)[:, 3], state["output.bias"].expand(2, 6), rtol=1e-4, atol=1e-5)
        net.apply(masked_slopes)
        twin = _Twin(state, 2)
        twin.apply(masked_slopes)
        slopes = net.slopes
        for name, value in twin.slopes.items():  # type: ignore[union-attr]
            finite(slopes[name], f"the slope of {name}")
            size = float(value.abs().max())
            close(slopes[name], value, rtol=1e-3, atol=1e-4 * max(size, 1.0))
    with case(REFUSED, hint="width % num_heads must be 0; raise ValueError(…) with a sentence in __init__ when it is not."):
        for width, num_heads in ((6, 4), (10, 3)):
            raises(
                "ValueError",
                lambda width=width, num_heads=num_heads: student.MultiHeadAttention(width, num_heads),
                f"{num_heads} heads share a width of {width}",
            )


@MultiHeadAttention.right("cut, exchange, attend, exchange, join")
class _(nn.Module):
    def __init__(self, width, num_heads):
        super().__init__()
        if width % num_heads != 0:
            raise ValueError(f"width {width} is not a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, x, context=None, mask=None):
        source = x if context is None else context
        query, key, value = self.split(self.query(x)), self.split(self.key(source)), self.split(self.value(source))
        scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
        if mask is not None:
            scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        weights = scores.softmax(dim=-1)
        if mask is not None:
            weights = weights.masked_fill(~mask, 0.0)
        mixed = weights @ value
        return self.output(mixed.transpose(1, 2).flatten(2))

    def split(self, x):
        rows, tokens, width = x.shape
        return x.view(rows, tokens, self.num_heads, width // self.num_heads).transpose(1, 2)


CUT = "cut, exchange, attend, exchange, join"
VALUES = (SINGLE, HEADS, CONTEXT, MASKS, EMPTY_SLOPES)
MultiHeadAttention.slip(
    "cut without exchanging, joined alike",
    (
        "x.view(rows, tokens, self.num_heads, width // self.num_heads).transpose(1, 2)",
        "x.reshape(rows, self.num_heads, tokens, width // self.num_heads)",
    ),
    ("mixed.transpose(1, 2).flatten(2)", "mixed.reshape(x.shape)"),
    of=CUT,
    fails=(HEADS, CONTEXT, MASKS, EMPTY_SLOPES),
)
MultiHeadAttention.slip(
    "joined without exchanging back",
    ("mixed.transpose(1, 2).flatten(2)", "mixed.reshape(x.shape)"),
    of=CUT,
    fails=(HEADS, CONTEXT, MASKS, EMPTY_SLOPES),
)
MultiHeadAttention.slip(
    "the root of the whole width", ("math.sqrt(query.shape[-1])", "math.sqrt(x.shape[-1])"), of=CUT, fails=(HEADS, CONTEXT, MASKS, EMPTY_SLOPES)
)
MultiHeadAttention.slip("the context asks as well", ("self.split(self.query(x))", "self.split(self.query(source))"), of=CUT, fails=(CONTEXT, MASKS))
MultiHeadAttention.slip("values of x, keys of the context", ("self.value(source)", "self.value(x)"), of=CUT, fails=(CONTEXT, MASKS))
MultiHeadAttention.slip("the context ignored", ("source = x if context is None else context", "source = x"), of=CUT, fails=(CONTEXT, MASKS))
MultiHeadAttention.slip(
    "the mask ignored",
    ("scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)", "pass"),
    ("weights = weights.masked_fill(~mask, 0.0)", "pass"),
    of=CUT,
    fails=(MASKS, EMPTY_SLOPES),
)
MultiHeadAttention.slip(
    "torch's other polarity: True hides",
    ("scores.masked_fill(~mask, torch", "scores.masked_fill(mask, torch"),
    ("weights.masked_fill(~mask, 0.0)", "weights.masked_fill(mask, 0.0)"),
    of=CUT,
    fails=(MASKS, EMPTY_SLOPES),
)
MultiHeadAttention.slip(
    "-inf added, NaN turned into 0",
    ("scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)", 'scores = scores + torch.where(mask, 0.0, float("-inf"))'),
    ("weights = weights.masked_fill(~mask, 0.0)", "weights = weights.nan_to_num(0.0)"),
    of=CUT,
    fails=EMPTY_SLOPES,
)
MultiHeadAttention.slip("equal weights for an empty row", ("weights = weights.masked_fill(~mask, 0.0)", "pass"), of=CUT, fails=EMPTY_SLOPES)
MultiHeadAttention.slip(
    "the output map forgotten",
    ("return self.output(mixed.transpose(1, 2).flatten(2))", "return mixed.transpose(1, 2).flatten(2)"),
    of=CUT,
    fails=VALUES,
)
MultiHeadAttention.slip(
    "any width taken, what is left over dropped",
    ("width % num_heads != 0", "False"),
    ("x.view(", "x[..., : width - width % self.num_heads].reshape("),
    of=CUT,
    fails=REFUSED,
)
MultiHeadAttention.slip(
    "the first head's mask for all",
    ("        scores = query @ key", "        mask = mask[:, :1] if mask is not None and mask.ndim == 4 else mask\n        scores = query @ key"),
    of=CUT,
    fails=MASKS,
)
MultiHeadAttention.slip("one map for keys and values", ("self.value(source)", "self.key(source)"), of=CUT, fails=VALUES)


@MultiHeadAttention.right("head by head, with torch's kernel")
class _(nn.Module):
    def __init__(self, width, num_heads):
        if width / num_heads != width // num_heads:
            raise ValueError("the heads cannot share this width")
        super().__init__()
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.head_dim = width // num_heads

    def forward(self, x, context=None, mask=None):
        source = context if context is not None else x
        asked, offered, held = self.query(x), self.key(source), self.value(source)
        if mask is not None:
            mask = mask.expand(len(x), x.shape[-1] // self.head_dim, x.shape[1], source.shape[1])
        heads = []
        for start in range(0, x.shape[-1], self.head_dim):
            part = slice(start, start + self.head_dim)
            scores = torch.einsum("bqd,bkd->bqk", asked[..., part], offered[..., part]) / self.head_dim**0.5
            open_ = None if mask is None else mask[:, start // self.head_dim]
            if open_ is not None:
                scores = torch.where(open_, scores, torch.tensor(-1e30))
            weights = torch.softmax(scores, dim=-1)
            heads.append((weights if open_ is None else weights * open_) @ held[..., part])
        return self.output(torch.cat(heads, dim=-1))


FIRST = "the first block: its maximum, its sum, its mixture"
LOWER = "a block with lower scores: what was there stays as it is"
HIGHER = "a block with a higher score: what was there shrinks"
WHOLE = "however the keys are cut, mixture by sum is attention over all of them"
BEFORE = "axes before: a batch, heads"
HUGE = "scores in the thousands stay finite"


@exercise("attention.absorb", points=5, reference=REFERENCE)
def absorb(student, rng):
    """Attention without the table."""

    def start(query, width):
        return tuple(streaming.nothing_yet(query, width))

    def wanted(query, blocks):
        """The state after the blocks, from all scores at once."""
        key, value = (torch.cat(parts, dim=-2) for parts in zip(*blocks, strict=True))
        table = scores.dot_scores(query, key)
        maximum = table.amax(-1)
        exp = torch.exp(table - maximum[..., None])
        return maximum, exp.sum(-1), exp @ value

    def after(query, blocks):
        state = start(query, blocks[0][1].shape[-1])
        for key, value in blocks:
            state = tuple(student.absorb(state, query, key, value))
            same(len(state), 3, "the number of parts of the state")
        return state

    query = tensor(rng, 4, 9)
    block, other = (tensor(rng, 5, 9), tensor(rng, 5, 2)), (tensor(rng, 3, 9), tensor(rng, 3, 2))
    level = torch.cat([query, 10 * torch.ones(4, 1)], dim=1)  # a tenth number, by which a key can raise its scores for all queries alike

    def raised(pair, by):
        return torch.cat([pair[0], torch.full((len(pair[0]), 1), by)], dim=1), pair[1]

    with case(FIRST, hint="exp(-inf) is 0, so the state before the first block needs no case of its own. Scores are divided by √D, as ever."):
        alike(after(query, [block]), wanted(query, [block]))
        alike(after(query, [other]), wanted(query, [other]))
    with case(LOWER, hint="The maximum is the larger of the old one and the block's own."):
        blocks = [raised(block, 2.0), raised(other, 0.0)]
        alike(after(level, blocks), wanted(level, blocks))
    with case(HIGHER, hint="Sum and mixture were taken relative to the old maximum; times exp(old - new) they are relative to the new one."):
        blocks = [raised(block, 0.0), raised(other, 2.0)]
        alike(after(level, blocks), wanted(level, blocks))
    with case(WHOLE, hint="Sum and mixture both shrink, and both get the block's share."):
        key, value = tensor(rng, 11, 9, scale=2.0), tensor(rng, 11, 2)
        for sizes in ([1] * 11, [4, 4, 3], [11]):
            state = after(query, list(zip(key.split(sizes), value.split(sizes), strict=True)))
            close(state[2] / state[1][:, None], scaled.attention(query, key, value), rtol=1e-3, atol=1e-4)
    with case(BEFORE, hint="Count axes from the end; unsqueeze(-1) lines a row's number up with its values."):
        many = tensor(rng, 2, 3, 4, 6)
        blocks = [(tensor(rng, 2, 3, size, 6), tensor(rng, 2, 3, size, 5)) for size in (3, 2)]
        alike(after(many, blocks), wanted(many, blocks))
    with case(HUGE, hint="Subtract the new maximum before exp, from the block's scores too."):
        both = torch.tensor([[2.0, 0.0, 0.0, 0.0], [-2.0, 0.0, 0.0, 0.0]])  # the scores are the first numbers of the keys, and their opposites
        keys = torch.zeros(5, 4)
        keys[:, 0] = torch.tensor([1000.0, 1000.0, 3000.0, 5000.0, 4000.0])
        values = tensor(rng, 5, 2)
        blocks = [(keys[:3], values[:3]), (keys[3:], values[3:])]
        alike(after(both, blocks), wanted(both, blocks))
    with case("the state that it was given is left as it was", side=True):
        state = start(query, 2)
        student.absorb(state, query, *block)
        inputs_unchanged(student)


@absorb.right("shrink and add")
def _(state, query, key, value):
    maximum, total, mixed = state
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    new = torch.maximum(maximum, scores.amax(dim=-1))
    shrink = torch.exp(maximum - new)
    exp = torch.exp(scores - new.unsqueeze(-1))
    total = shrink * total + exp.sum(dim=-1)
    mixed = shrink.unsqueeze(-1) * mixed + exp @ value
    return new, total, mixed


SHRINK = "shrink and add"
absorb.slip("the sum never shrinks", ("total = shrink * total", "total = total"), of=SHRINK, fails=(HIGHER, WHOLE, BEFORE, HUGE))
absorb.slip("the mixture never shrinks", ("mixed = shrink.unsqueeze(-1) * mixed", "mixed = mixed"), of=SHRINK, fails=(HIGHER, WHOLE, BEFORE, HUGE))
absorb.slip(
    "grows where it should shrink",
    ("torch.exp(maximum - new)", "torch.exp((new - maximum).nan_to_num(posinf=0.0))"),
    of=SHRINK,
    fails=(HIGHER, WHOLE, BEFORE, HUGE),
)
absorb.slip(
    "the block's maximum alone", ("torch.maximum(maximum, scores.amax(dim=-1))", "scores.amax(dim=-1)"), of=SHRINK, fails=(LOWER, BEFORE, HUGE)
)
absorb.slip(
    "exp without the maximum taken off",
    ("torch.exp(scores - new.unsqueeze(-1))", "torch.exp(scores)"),
    of=SHRINK,
    fails=(FIRST, LOWER, HIGHER, WHOLE, BEFORE, HUGE),
)
absorb.slip("not divided by the root", (" / math.sqrt(query.shape[-1])", ""), of=SHRINK, fails=(FIRST, LOWER, HIGHER, WHOLE, BEFORE, HUGE))
absorb.slip(
    "the mixture divided in every block",
    ("return new, total, mixed", "return new, total, mixed / total.unsqueeze(-1)"),
    of=SHRINK,
    fails=(FIRST, LOWER, HIGHER, WHOLE, BEFORE, HUGE),
)
absorb.slip(
    "only the last block remembered",
    ("shrink * total + exp", "exp"),
    ("shrink.unsqueeze(-1) * mixed + exp", "exp"),
    of=SHRINK,
    fails=(LOWER, HIGHER, WHOLE, BEFORE, HUGE),
)
absorb.slip("axes counted from the front", ("scores - new.unsqueeze(-1)", "scores - new.unsqueeze(1)"), of=SHRINK, fails=BEFORE)
absorb.slip(
    "written into the old state",
    ("    total = shrink * total + exp.sum(dim=-1)\n", "    total *= shrink\n    total += exp.sum(dim=-1)\n"),
    of=SHRINK,
    fails="the state that it was given is left as it was",
)


@absorb.right("key by key")
def _(state, query, key, value):
    maximum, total, mixed = (part.clone() for part in state)
    for j in range(key.shape[-2]):
        score = (query * key[..., j : j + 1, :]).sum(-1) / query.shape[-1] ** 0.5
        higher = torch.where(score > maximum, score, maximum)
        old, new = torch.exp(maximum - higher), torch.exp(score - higher)
        total = old * total + new
        mixed = old[..., None] * mixed + new[..., None] * value[..., j : j + 1, :]
        maximum = higher
    return [maximum, total, mixed]
