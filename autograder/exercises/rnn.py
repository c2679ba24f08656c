"""What the exercises of chapter 07 demand. Trusted side: student code is reached only through `student`.

Gradients do not cross the wire, so the torch cells are held to torch's values here; the notebook and the library's tests hold their gradients.
"""

import itertools
import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from autograder.checking import case, close, exercise, holds, inputs_unchanged, same
from autograder.checking.cases import Mismatch, StudentError
from course_lib.nn.recurrent import language
from course_lib.scratch import recurrent

SCRATCH = "course_lib.scratch.recurrent"
CELLS = ("course_lib.nn.recurrent.cells", "course_lib.nn.recurrent.layers")
PADDING = (*CELLS, "course_lib.nn.recurrent.padding")


def network(rng, inputs, hidden, *, size=0.6):
    """Parameters of a recurrent network, none of them zero."""
    return {
        "weight_x": size * rng.normal(size=(inputs, hidden)),
        "weight_h": size * rng.normal(size=(hidden, hidden)),
        "bias": size * rng.normal(size=hidden),
    }


def tensor(rng, *shape, scale=1.0):
    """Normal numbers as a float64 tensor."""
    return torch.from_numpy(scale * rng.normal(size=shape))


def gates(rng, count, inputs, hidden):
    """weight_ih (G·H, D), weight_hh (G·H, H), bias_ih, bias_hh (G·H,), float64."""
    rows = count * hidden
    return [tensor(rng, rows, inputs), tensor(rng, rows, hidden), tensor(rng, rows), tensor(rng, rows)]


ONE_STEP = "one step: tanh of what the input and the bias say"
RECURRENT = "every step starts from the state that the step before has left"
GIVEN_STATE = "the first step starts from h0"
ONE_SEQUENCE = "each sequence of the batch has a state of its own"


@exercise("rnn.rnn_forward", points=3, reference=SCRATCH)
def rnn_forward(student, rng):
    """The states of a recurrent network, step by step."""
    params, xs, zeros = network(rng, 4, 5), rng.normal(size=(6, 3, 4)), np.zeros((3, 5))
    with case(ONE_STEP, hint="h_1 = tanh(x_1 @ weight_x + h_0 @ weight_h + bias), and here h_0 is 0. The result is (T, N, H), also for T = 1."):
        close(student.rnn_forward(params, xs[:1], zeros), np.tanh(xs[:1] @ params["weight_x"] + params["bias"]))
    with case(RECURRENT, hint="Keep h in a variable that each round of the loop reads and then sets."):
        close(student.rnn_forward(params, xs, zeros), recurrent.rnn_forward(params, xs, zeros))
    with case(GIVEN_STATE, hint="h0 may be anything, such as the end of another sequence."):
        h0 = rng.normal(size=(3, 5))
        close(student.rnn_forward(params, xs, h0), recurrent.rnn_forward(params, xs, h0))
    with case(ONE_SEQUENCE, hint="Loop over the first axis, time; the batch goes through the matrix product as a whole."):
        whole, h0 = rng.normal(size=(3, 3, 4)), rng.normal(size=(3, 5))
        found = student.rnn_forward(params, whole, h0)
        alone = [recurrent.rnn_forward(params, whole[:, n : n + 1], h0[n : n + 1]) for n in range(3)]
        close(found, np.concatenate(alone, axis=1))
    with case("leaves its inputs as they were", hint="`h0 += …` and `xs[t] = …` write into the caller's arrays.", side=True):
        student.rnn_forward(params, xs, rng.normal(size=(3, 5)))
        inputs_unchanged(student)


@rnn_forward.right("a list of states")
def _(params, xs, h0):
    h, states = h0, []
    for x in xs:
        h = np.tanh(x @ params["weight_x"] + h @ params["weight_h"] + params["bias"])
        states.append(h)
    return np.stack(states)


ALL_FORWARD = (ONE_STEP, RECURRENT, GIVEN_STATE, ONE_SEQUENCE)
LIST = "a list of states"
rnn_forward.slip(
    "every step from h0",
    ("        h = np.tanh(", "        new = np.tanh("),
    ("states.append(h)", "states.append(new)"),
    of=LIST,
    fails=(RECURRENT, GIVEN_STATE, ONE_SEQUENCE),
)
rnn_forward.slip("from 0, whatever is given", ("h, states = h0, []", "h, states = 0 * h0, []"), of=LIST, fails=(GIVEN_STATE, ONE_SEQUENCE))
rnn_forward.slip("the bias forgotten", (' + params["bias"])', ")"), of=LIST, fails=ALL_FORWARD)
rnn_forward.slip("no tanh", ("np.tanh(", "("), of=LIST, fails=ALL_FORWARD)
rnn_forward.slip(
    "the recurrent matrix transposed",
    ('h @ params["weight_h"]', 'h @ params["weight_h"].T'),
    of=LIST,
    fails=(RECURRENT, GIVEN_STATE, ONE_SEQUENCE),
)
rnn_forward.slip("the last state alone", ("np.stack(states)", "h"), of=LIST, fails=ALL_FORWARD)
rnn_forward.slip("h0 among the states", ("h, states = h0, []", "h, states = h0, [h0]"), of=LIST, fails=ALL_FORWARD)
rnn_forward.slip("the last state first", ("np.stack(states)", "np.stack(states[::-1])"), of=LIST, fails=(RECURRENT, GIVEN_STATE, ONE_SEQUENCE))
rnn_forward.slip(
    "along the batch instead of along time",
    ("for x in xs:", "for x in xs.swapaxes(0, 1):"),
    of=LIST,
    fails=(*ALL_FORWARD, "leaves its inputs as they were"),
)


@rnn_forward.wrong("the state written into h0", fails="leaves its inputs as they were")
def _(params, xs, h0):
    states = []
    for x in xs:
        h0[:] = np.tanh(x @ params["weight_x"] + h0 @ params["weight_h"] + params["bias"])
        states.append(h0.copy())
    return np.stack(states)


@rnn_forward.right("the inputs' products first, for all steps at once")
def _(params, xs, h0):
    hs = xs @ params["weight_x"] + params["bias"]
    for t in range(len(hs)):
        before = hs[t - 1] if t else h0
        hs[t] = np.tanh(hs[t] + before @ params["weight_h"])
    return hs


BACK_ONE = "with one step it is chapter 03's layer"
LATER = "a loss on the last state alone reaches every step"
EVERY = "a loss on every state: what it asks of each adds to what comes back from later ones"
FROM_BEFORE = "weight_h meets the state that each step started from"
FIRST_STATE = "the gradient of h0"


@exercise("rnn.rnn_backward", points=5, reference=SCRATCH)
def rnn_backward(student, rng):
    """Backpropagation through time."""
    params, xs, h0 = network(rng, 4, 5), rng.normal(size=(5, 3, 4)), rng.normal(size=(3, 5))
    hs, grad_hs = recurrent.rnn_forward(params, xs, h0), rng.normal(size=(5, 3, 5))
    last_alone = np.where(np.arange(5)[:, None, None] == 4, grad_hs, 0)

    def both(steps, grads):
        """The student's answer and the right one."""
        arguments = (params, xs[:steps], h0, hs[:steps], grads[:steps])
        return student.rnn_backward(*arguments), recurrent.rnn_backward(*arguments)

    def alike(found, wanted, *names):
        close({name: found[name] for name in names}, {name: wanted[name] for name in names})

    with case(
        BACK_ONE, hint="Back through tanh: multiply by 1 - h². Then an affine layer: inputs.T @ grad, and the sum over the batch for the bias."
    ):
        alike(*both(1, grad_hs), "weight_x", "weight_h", "bias")
    with case(
        LATER, hint="What arrives at h_t goes through its tanh and then through weight_h.T to h_{t-1}. Keep it for the next round of the loop."
    ):
        alike(*both(5, last_alone), "weight_x", "bias")
    with case(EVERY, hint="h_t is used twice: by the loss, and by the next step. Paths add up: grad_hs[t] + what came back."):
        alike(*both(5, grad_hs), "weight_x", "bias")
    with case(
        FROM_BEFORE, hint="In step t, weight_h was multiplied by h_{t-1}; in the first step by h0. The same matrix is used in all steps: add up."
    ):
        alike(*both(5, grad_hs), "weight_h")
    with case(FIRST_STATE, hint="It is what is left when the loop has gone through the first step, weight_h.T included."):
        alike(*both(5, grad_hs), "h0")
    with case("leaves its inputs as they were", hint="`grad_hs[t] += later` writes into the caller's array.", side=True):
        student.rnn_backward(params, xs, h0, hs, grad_hs)
        inputs_unchanged(student)


@rnn_backward.right("sums in the loop")
def _(params, xs, h0, hs, grad_hs):
    grads = {name: np.zeros_like(value) for name, value in params.items()}
    later = np.zeros_like(h0)
    for t in range(len(xs) - 1, -1, -1):
        before = hs[t - 1] if t > 0 else h0
        grad_z = (grad_hs[t] + later) * (1 - hs[t] ** 2)
        grads["weight_x"] += xs[t].T @ grad_z
        grads["weight_h"] += before.T @ grad_z
        grads["bias"] += grad_z.sum(axis=0)
        later = grad_z @ params["weight_h"].T
    return {**grads, "h0": later}


IN_LOOP = "sums in the loop"
rnn_backward.slip(
    "nothing carried from step to step", ("(grad_hs[t] + later)", "grad_hs[t]"), of=IN_LOOP, fails=(LATER, EVERY, FROM_BEFORE, FIRST_STATE)
)
rnn_backward.slip(
    "the last state's gradient alone is used",
    ("(grad_hs[t] + later)", "(later if t < len(xs) - 1 else grad_hs[t])"),
    of=IN_LOOP,
    fails=(EVERY, FROM_BEFORE, FIRST_STATE),
)
rnn_backward.slip(
    "back through weight_h, not its transpose",
    ('later = grad_z @ params["weight_h"].T', 'later = grad_z @ params["weight_h"]'),
    of=IN_LOOP,
    fails=(LATER, EVERY, FROM_BEFORE, FIRST_STATE),
)
rnn_backward.slip("the state after the step", ("before.T @ grad_z", "hs[t].T @ grad_z"), of=IN_LOOP, fails=(BACK_ONE, FROM_BEFORE))
rnn_backward.slip("the first step began at 0", ("if t > 0 else h0", "if t > 0 else 0 * h0"), of=IN_LOOP, fails=(BACK_ONE, FROM_BEFORE))
rnn_backward.slip(
    "set, not added",
    ('grads["weight_x"] +=', 'grads["weight_x"] ='),
    ('grads["weight_h"] +=', 'grads["weight_h"] ='),
    ('grads["bias"] +=', 'grads["bias"] ='),
    of=IN_LOOP,
    fails=(LATER, EVERY, FROM_BEFORE),
)
rnn_backward.slip("the slope forgotten", (" * (1 - hs[t] ** 2)", ""), of=IN_LOOP, fails=(BACK_ONE, LATER, EVERY, FROM_BEFORE, FIRST_STATE))
rnn_backward.slip(
    "the slope on the way in alone, not on the way back",
    ('later = grad_z @ params["weight_h"].T', 'later = (grad_hs[t] + later) @ params["weight_h"].T'),
    of=IN_LOOP,
    fails=(LATER, EVERY, FROM_BEFORE, FIRST_STATE),
)
rnn_backward.slip("the mean over the batch for the bias", ("grad_z.sum(axis=0)", "grad_z.mean(axis=0)"), of=IN_LOOP, fails=(BACK_ONE, LATER, EVERY))
rnn_backward.slip("h0's gradient before the matrix", ('"h0": later', '"h0": grad_z'), of=IN_LOOP, fails=FIRST_STATE)
rnn_backward.slip(
    "from the first step to the last",
    ("range(len(xs) - 1, -1, -1)", "range(len(xs))"),
    of=IN_LOOP,
    fails=(LATER, EVERY, FROM_BEFORE, FIRST_STATE),
)
rnn_backward.slip(
    "written into grad_hs",
    ("        grad_z = (grad_hs[t] + later)", "        grad_hs[t] += later\n        grad_z = grad_hs[t]"),
    of=IN_LOOP,
    fails="leaves its inputs as they were",
)


@rnn_backward.right("by autograd")
def _(params, xs, h0, hs, grad_hs):
    leaves = {name: torch.from_numpy(np.array(value)).requires_grad_() for name, value in {**params, "h0": h0}.items()}
    h, total = leaves["h0"], torch.zeros((), dtype=torch.float64)
    for x, grad in zip(torch.from_numpy(xs), torch.from_numpy(grad_hs), strict=True):
        h = torch.tanh(x @ leaves["weight_x"] + h @ leaves["weight_h"] + leaves["bias"])
        total = total + (h * grad).sum()
    total.backward()
    return {name: np.asarray(leaf.grad) for name, leaf in leaves.items()}


ARRIVES = "entry 0 is the length of what arrives"
MATRIX = "where tanh is flat out straight, every step multiplies by the matrix alone"
SLOPES = "every step multiplies by the slope of its tanh first"
COUNT = "one entry for each state, the nearest first"


@exercise("rnn.gradient_by_distance", points=3, reference=SCRATCH)
def gradient_by_distance(student, rng):
    """What is left of a gradient, k steps back."""
    weight, grad = 0.5 * rng.normal(size=(6, 6)), rng.normal(size=(4, 6))
    hs = rng.uniform(-0.95, 0.95, size=(7, 4, 6))
    with case(ARRIVES, hint="The Euclidean length of the whole gradient: the root of the sum of all its squares."):
        close(np.asarray(student.gradient_by_distance(weight, hs, grad))[0], np.linalg.norm(grad))
    with case(MATRIX, hint="With all states 0 the slopes are 1. A row times weight_h went forward; back, it is the transpose."):
        flat, turn = np.zeros((7, 4, 6)), np.linalg.qr(rng.normal(size=(6, 6)))[0]
        close(student.gradient_by_distance(0.9 * turn, flat, grad), np.linalg.norm(grad) * 0.9 ** np.arange(7))
        close(student.gradient_by_distance(weight, flat, grad), recurrent.gradient_by_distance(weight, flat, grad))
    with case(
        SLOPES, hint="From h_t back to h_{t-1}: times 1 - h_t², then through weight_h. The slope is that of the state which the gradient leaves."
    ):
        close(student.gradient_by_distance(weight, hs, grad), recurrent.gradient_by_distance(weight, hs, grad))
    with case(COUNT, hint="T states, T entries: distances 0 to T - 1."):
        found = np.asarray(student.gradient_by_distance(weight, hs[:3], grad))
        same(list(found.shape), [3], "its shape")
        close(found, recurrent.gradient_by_distance(weight, hs[:3], grad))


@gradient_by_distance.right("a list of lengths")
def _(weight_h, hs, grad_last):
    lengths, grad = [], grad_last
    for h in reversed(hs):
        lengths.append(np.linalg.norm(grad))
        grad = (grad * (1 - h**2)) @ weight_h.T
    return np.array(lengths)


LENGTHS = "a list of lengths"
ALL_DISTANCES = (ARRIVES, MATRIX, SLOPES, COUNT)
gradient_by_distance.slip("the slopes forgotten", (" * (1 - h**2)", ""), of=LENGTHS, fails=(SLOPES, COUNT))
gradient_by_distance.slip("the matrix not transposed", ("weight_h.T", "weight_h"), of=LENGTHS, fails=(MATRIX, SLOPES, COUNT))
gradient_by_distance.slip("the slopes of the wrong end", ("in reversed(hs)", "in hs"), of=LENGTHS, fails=(SLOPES, COUNT))
gradient_by_distance.slip(
    "the slope after the matrix", ("(grad * (1 - h**2)) @ weight_h.T", "grad @ weight_h.T * (1 - h**2)"), of=LENGTHS, fails=(SLOPES, COUNT)
)
gradient_by_distance.slip("the largest distance first", ("np.array(lengths)", "np.array(lengths[::-1])"), of=LENGTHS, fails=ALL_DISTANCES)
gradient_by_distance.slip("the square of the length", ("np.linalg.norm(grad)", "(grad**2).sum()"), of=LENGTHS, fails=ALL_DISTANCES)
gradient_by_distance.slip(
    "the mean length of a row", ("np.linalg.norm(grad)", "np.linalg.norm(grad, axis=1).mean()"), of=LENGTHS, fails=ALL_DISTANCES
)
gradient_by_distance.slip(
    "begun one step too late",
    ("        lengths.append(np.linalg.norm(grad))\n", ""),
    ("@ weight_h.T\n", "@ weight_h.T\n        lengths.append(np.linalg.norm(grad))\n"),
    of=LENGTHS,
    fails=ALL_DISTANCES,
)


@gradient_by_distance.right("by the Jacobian of each sequence")
def _(weight_h, hs, grad_last):
    squares = np.zeros(len(hs))
    for n, grad in enumerate(grad_last):
        for k in range(len(hs)):
            squares[k] += grad @ grad
            grad = weight_h @ np.diag(1 - hs[len(hs) - 1 - k, n] ** 2) @ grad
    return np.sqrt(squares)


KEEPS = "forget gate open, input gate shut: the cell keeps what it has"
WRITES = "forget gate shut, input gate open: the cell takes the candidate"
HIDES = "output gate shut: the cell goes on, and nothing of it is to be seen"
NEXT_C = "the next c is torch's"
NEXT_H = "the next h is torch's"


@exercise("rnn.lstm_cell", points=4, reference=CELLS)
def lstm_cell(student, rng):
    """One step of an LSTM, equal to torch's."""
    x, h, c, params = tensor(rng, 3, 4), tensor(rng, 3, 5), tensor(rng, 3, 5), gates(rng, 4, 4, 5)

    def set_to(input_gate, forget_gate, output_gate):
        """The parameters, with a huge bias for each gate: +1 open, -1 shut, 0 as drawn."""
        bias = params[3].clone()
        for part, way in ((0, input_gate), (1, forget_gate), (3, output_gate)):
            bias[5 * part : 5 * part + 5] += 50.0 * way
        return [*params[:3], bias]

    with case(KEEPS, hint="c' = f · c + i · g. The parts stand in the order input, forget, candidate, output; chunk(4, dim=1) takes them apart."):
        close(student.lstm_cell(x, (h, c), *set_to(-1, 1, 0))[1], c)
    with case(WRITES, hint="The candidate is squashed by tanh, since it may be negative; the gates by a sigmoid."):
        z = x @ params[0].T + h @ params[1].T + params[2] + params[3]
        close(student.lstm_cell(x, (h, c), *set_to(1, -1, 0))[1], torch.tanh(z[:, 10:15]))
    with case(HIDES, hint="h' = o · tanh(c'); c' itself does not meet the output gate. Return h first, then c."):
        found = student.lstm_cell(x, (h, c), *set_to(0, 0, -1))
        close(found[0], torch.zeros(3, 5, dtype=torch.float64))
        holds(bool((found[1].abs() > 1e-3).any()), "The cell is empty too.")
    with case(NEXT_C, hint="Both biases count, and h goes through weight_hh."):
        close(student.lstm_cell(x, (h, c), *params)[1], torch.lstm_cell(x, (h, c), *params)[1])
    with case(NEXT_H, hint="h' = o · tanh(c'), with the new cell."):
        close(student.lstm_cell(x, (h, c), *params)[0], torch.lstm_cell(x, (h, c), *params)[0])


@lstm_cell.right("four gates from one product")
def _(x, state, weight_ih, weight_hh, bias_ih, bias_hh):
    h, c = state
    z = x @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh
    i, f, g, o = z.chunk(4, dim=1)
    new = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(new), new


ONE_PRODUCT = "four gates from one product"
ALL_LSTM = (KEEPS, WRITES, HIDES, NEXT_C, NEXT_H)
lstm_cell.slip("input and forget gate exchanged", ("i, f, g, o =", "f, i, g, o ="), of=ONE_PRODUCT, fails=(KEEPS, WRITES, NEXT_C, NEXT_H))
lstm_cell.slip("the candidate last", ("i, f, g, o =", "i, f, o, g ="), of=ONE_PRODUCT, fails=(WRITES, HIDES, NEXT_C, NEXT_H))
lstm_cell.slip("a sigmoid for the candidate", ("torch.tanh(g)", "torch.sigmoid(g)"), of=ONE_PRODUCT, fails=(WRITES, NEXT_C, NEXT_H))
lstm_cell.slip("the cell shown without tanh", ("torch.tanh(new)", "new"), of=ONE_PRODUCT, fails=NEXT_H)
lstm_cell.slip("the old cell shown", ("torch.tanh(new)", "torch.tanh(c)"), of=ONE_PRODUCT, fails=NEXT_H)
lstm_cell.slip("c before h", ("torch.sigmoid(o) * torch.tanh(new), new", "new, torch.sigmoid(o) * torch.tanh(new)"), of=ONE_PRODUCT, fails=ALL_LSTM)
lstm_cell.slip("no input gate", ("torch.sigmoid(i) * torch.tanh(g)", "torch.tanh(g)"), of=ONE_PRODUCT, fails=(KEEPS, NEXT_C, NEXT_H))
lstm_cell.slip("one bias forgotten", (" + bias_hh\n", "\n"), of=ONE_PRODUCT, fails=ALL_LSTM)
lstm_cell.slip(
    "the output gate on the cell", ("tanh(new), new", "tanh(new), torch.sigmoid(o) * new"), of=ONE_PRODUCT, fails=(KEEPS, WRITES, HIDES, NEXT_C)
)
lstm_cell.slip("h kept instead of c", ("torch.sigmoid(f) * c +", "torch.sigmoid(f) * h +"), of=ONE_PRODUCT, fails=(KEEPS, NEXT_C, NEXT_H))


@lstm_cell.right("each part with its own rows of the matrices")
def _(x, state, weight_ih, weight_hh, bias_ih, bias_hh):
    h, c = state
    size = h.shape[1]

    def part(number):
        rows = slice(number * size, (number + 1) * size)
        return nn.functional.linear(x, weight_ih[rows], bias_ih[rows]) + nn.functional.linear(h, weight_hh[rows], bias_hh[rows])

    new_c = part(1).sigmoid() * c + part(0).sigmoid() * part(2).tanh()
    return (part(3).sigmoid() * new_c.tanh(), new_c)


STAYS = "update gate open: the state stays"
FRESH = "reset and update gate shut: the state is made from the input alone"
BIAS_INSIDE = "the reset gate multiplies the state's product, with its bias"
NEXT_GRU = "the next h is torch's"
MANY = "for any number of rows, inputs and units"


@exercise("rnn.gru_cell", points=4, reference=CELLS)
def gru_cell(student, rng):
    """One step of a GRU, equal to torch's."""
    x, h, params = tensor(rng, 3, 4), tensor(rng, 3, 5), gates(rng, 3, 4, 5)

    def set_to(reset, update):
        """The parameters, with a huge bias for each gate: +1 open, -1 shut, 0 as drawn."""
        bias = params[2].clone()
        bias[:5] += 50.0 * reset
        bias[5:10] += 50.0 * update
        return [*params[:2], bias, params[3]]

    with case(STAYS, hint="h' = (1 - z) · n + z · h: here z near 1 keeps. The parts stand in the order reset, update, candidate."):
        close(student.gru_cell(x, h, *set_to(0, 1)), h)
    with case(FRESH, hint="n = tanh(from_x + r · from_h): with r = 0 nothing of the state is left, not even its bias."):
        close(student.gru_cell(x, h, *set_to(-1, -1)), torch.tanh((x @ params[0].T + params[2])[:, 10:]))
    with case(
        BIAS_INSIDE, hint="torch multiplies the whole of weight_hh h + bias_hh by r, after the product; not h before it, and not without the bias."
    ):
        small = [params[0], 0.0 * params[1], set_to(0, -1)[2], params[3]]
        close(student.gru_cell(x, h, *small), torch.gru_cell(x, h, *small))
    with case(NEXT_GRU, hint="r · (weight_hh h), not weight_hh (r · h)."):
        close(student.gru_cell(x, h, *params), torch.gru_cell(x, h, *params))
    with case(MANY):
        x, h, params = tensor(rng, 1, 2), tensor(rng, 1, 3), gates(rng, 3, 2, 3)
        close(student.gru_cell(x, h, *params), torch.gru_cell(x, h, *params))


@gru_cell.right("three parts of two products")
def _(x, h, weight_ih, weight_hh, bias_ih, bias_hh):
    xr, xz, xn = (x @ weight_ih.T + bias_ih).chunk(3, dim=1)
    hr, hz, hn = (h @ weight_hh.T + bias_hh).chunk(3, dim=1)
    r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
    n = torch.tanh(xn + r * hn)
    return (1 - z) * n + z * h


TWO_PRODUCTS = "three parts of two products"
gru_cell.slip(
    "update gate the other way round",
    ("(1 - z) * n + z * h", "z * n + (1 - z) * h"),
    of=TWO_PRODUCTS,
    fails=(STAYS, FRESH, BIAS_INSIDE, NEXT_GRU, MANY),
)
gru_cell.slip(
    "update before reset",
    ("xr, xz, xn =", "xz, xr, xn ="),
    ("hr, hz, hn =", "hz, hr, hn ="),
    of=TWO_PRODUCTS,
    fails=(STAYS, BIAS_INSIDE, NEXT_GRU, MANY),
)
gru_cell.slip("no reset", ("xn + r * hn", "xn + hn"), of=TWO_PRODUCTS, fails=(FRESH, BIAS_INSIDE, NEXT_GRU, MANY))
gru_cell.slip("everything reset, the input too", ("xn + r * hn", "r * (xn + hn)"), of=TWO_PRODUCTS, fails=(FRESH, BIAS_INSIDE, NEXT_GRU, MANY))
gru_cell.slip("a sigmoid for the candidate", ("torch.tanh(xn", "torch.sigmoid(xn"), of=TWO_PRODUCTS, fails=(FRESH, BIAS_INSIDE, NEXT_GRU, MANY))


@gru_cell.wrong("the paper's form: reset before the product", fails=(FRESH, BIAS_INSIDE, NEXT_GRU, MANY))
def _(x, h, weight_ih, weight_hh, bias_ih, bias_hh):
    size = h.shape[1]
    gates = torch.sigmoid((x @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh)[:, : 2 * size])
    r, z = gates.chunk(2, dim=1)
    n = torch.tanh((x @ weight_ih.T + bias_ih)[:, 2 * size :] + (r * h) @ weight_hh[2 * size :].T + bias_hh[2 * size :])
    return (1 - z) * n + z * h


@gru_cell.wrong("the state's bias outside the reset", fails=(FRESH, BIAS_INSIDE, NEXT_GRU, MANY))
def _(x, h, weight_ih, weight_hh, bias_ih, bias_hh):
    xr, xz, xn = (x @ weight_ih.T + bias_ih + bias_hh).chunk(3, dim=1)
    hr, hz, hn = (h @ weight_hh.T).chunk(3, dim=1)
    z = torch.sigmoid(xz + hz)
    return (1 - z) * torch.tanh(xn + torch.sigmoid(xr + hr) * hn) + z * h


@gru_cell.right("from the old state towards the candidate")
def _(x, h, weight_ih, weight_hh, bias_ih, bias_hh):
    from_x, from_h = nn.functional.linear(x, weight_ih, bias_ih), nn.functional.linear(h, weight_hh, bias_hh)
    size = h.shape[1]
    r, z = (from_x[:, : 2 * size] + from_h[:, : 2 * size]).sigmoid().split(size, dim=1)
    return torch.lerp((from_x[:, 2 * size :] + r * from_h[:, 2 * size :]).tanh(), h, z)


FULL = "rows that are all of full length: as if there were no lengths"
ZEROS = "states where a row is real, zeros where it has ended"
LAST_STATES = "the last state of each row is that of its last real step"
NO_MATTER = "what stands in the padding is of no consequence"
AS_MANY = "as many steps as x has, though every row ends before"
BEGINS = "begins from the h that it is given"


@exercise("rnn.padded_gru", points=4, reference=PADDING)
def padded_gru(student, rng):
    """A GRU over a padded batch, equal to torch's over a packed one."""
    layer = nn.GRU(3, 4, batch_first=True).double()
    params = [tensor(rng, *param.shape, scale=0.7) for param in layer.parameters()]
    with torch.no_grad():
        for param, value in zip(layer.parameters(), params, strict=True):
            param.copy_(value)
    x, lengths, zeros = tensor(rng, 5, 6, 3), torch.tensor([2, 6, 1, 5, 3]), torch.zeros(5, 4, dtype=torch.float64)
    lengths = lengths[torch.from_numpy(rng.permutation(5))]

    def right(x, lengths, h):
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        with torch.no_grad():
            out, last = layer(packed, h[None])
        return nn.utils.rnn.pad_packed_sequence(out, batch_first=True, total_length=x.size(1))[0], last[0]

    with case(FULL, hint="Take one step of time for all rows at once: x[:, t]. Stack the states along axis 1."):
        full = torch.full((5,), 6)
        close(student.padded_gru(x, full, zeros, *params), right(x, full, zeros))
    with case(ZEROS, hint="A step t is real for a row while t < its length. torch.where(real, states, 0) puts zeros elsewhere."):
        close(student.padded_gru(x, lengths, zeros, *params)[0], right(x, lengths, zeros)[0])
    with case(LAST_STATES, hint="Where a row has ended, keep its h as it was; the loop goes on for the others."):
        close(student.padded_gru(x, lengths, zeros, *params)[1], right(x, lengths, zeros)[1])
    with case(NO_MATTER, hint="The cell may compute on padding, but its result must go nowhere."):
        real = (torch.arange(6) < lengths[:, None])[..., None]
        other = torch.where(real, x, 100.0 * tensor(rng, 5, 6, 3))
        close(student.padded_gru(other, lengths, zeros, *params), right(x, lengths, zeros))
    with case(AS_MANY, hint="T is x.shape[1]; lengths.max() may be less, and pad_packed_sequence then wants total_length."):
        short = lengths.clamp(max=4)
        close(student.padded_gru(x, short, zeros, *params), right(x, short, zeros))
    with case(BEGINS, hint="The h that is handed over is the state before the first step."):
        h = tensor(rng, 5, 4)
        close(student.padded_gru(x, lengths, h, *params)[1], right(x, lengths, h)[1])


@padded_gru.right("a mask")
def _(x, lengths, h, weight_ih, weight_hh, bias_ih, bias_hh):
    states = []
    for t in range(x.shape[1]):
        xr, xz, xn = (x[:, t] @ weight_ih.T + bias_ih).chunk(3, dim=1)
        hr, hz, hn = (h @ weight_hh.T + bias_hh).chunk(3, dim=1)
        z = torch.sigmoid(xz + hz)
        new = (1 - z) * torch.tanh(xn + torch.sigmoid(xr + hr) * hn) + z * h
        real = (t < lengths)[:, None]
        h = torch.where(real, new, h)
        states.append(torch.where(real, new, torch.zeros_like(new)))
    return torch.stack(states, dim=1), h


MASKED = "a mask"
padded_gru.slip("as many steps as the longest row has", ("range(x.shape[1])", "range(int(lengths.max()))"), of=MASKED, fails=AS_MANY)
padded_gru.slip(
    "no mask at all",
    ("h = torch.where(real, new, h)", "h = new"),
    ("torch.where(real, new, torch.zeros_like(new))", "new"),
    of=MASKED,
    fails=(ZEROS, LAST_STATES, NO_MATTER, BEGINS, AS_MANY),
)
padded_gru.slip(
    "the output masked, the state not", ("h = torch.where(real, new, h)", "h = new"), of=MASKED, fails=(LAST_STATES, NO_MATTER, BEGINS, AS_MANY)
)
padded_gru.slip(
    "the state kept, the output not masked", ("torch.where(real, new, torch.zeros_like(new))", "h"), of=MASKED, fails=(ZEROS, NO_MATTER, AS_MANY)
)
padded_gru.slip("one step too many", ("t < lengths", "t <= lengths"), of=MASKED, fails=(ZEROS, LAST_STATES, NO_MATTER, BEGINS, AS_MANY))
padded_gru.slip("one step too few", ("t < lengths", "t + 1 < lengths"), of=MASKED, fails=(FULL, ZEROS, LAST_STATES, NO_MATTER, BEGINS, AS_MANY))
padded_gru.slip(
    "the state set to 0 at the end",
    ("h = torch.where(real, new, h)", "h = torch.where(real, new, torch.zeros_like(new))"),
    of=MASKED,
    fails=(LAST_STATES, NO_MATTER, BEGINS, AS_MANY),
)
padded_gru.slip("begun at 0", ("    states = []\n", "    states = []\n    h = 0 * h\n"), of=MASKED, fails=BEGINS)
padded_gru.slip("time in front", ("torch.stack(states, dim=1)", "torch.stack(states)"), of=MASKED, fails=(FULL, ZEROS, NO_MATTER, AS_MANY))
padded_gru.slip(
    "the last step of the batch",
    ("return torch.stack(states, dim=1), h", "return torch.stack(states, dim=1), states[-1]"),
    of=MASKED,
    fails=(LAST_STATES, NO_MATTER, BEGINS, AS_MANY),
)


@padded_gru.right("by packing")
def _(x, lengths, h, weight_ih, weight_hh, bias_ih, bias_hh):
    layer = nn.GRU(weight_ih.shape[1], weight_hh.shape[1], batch_first=True).to(x.dtype)
    for param, value in zip(layer.parameters(), (weight_ih, weight_hh, bias_ih, bias_hh), strict=True):
        param.data = value
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    out, last = layer(packed, h[None])
    return nn.utils.rnn.pad_packed_sequence(out, batch_first=True, total_length=x.shape[1])[0].detach(), last[0].detach()


@padded_gru.right("row by row, without any padding")
def _(x, lengths, h, weight_ih, weight_hh, bias_ih, bias_hh):
    out = torch.zeros(x.shape[0], x.shape[1], h.shape[1], dtype=x.dtype)
    last = h.clone()
    for n, length in enumerate(lengths.tolist()):
        for t in range(length):
            last[n] = torch.gru_cell(x[n : n + 1, t], last[n : n + 1].clone(), weight_ih, weight_hh, bias_ih, bias_hh)[0]
            out[n, t] = last[n]
    return out, last


EQUAL = "rows of full length are answered from their last state"
OWN_END = "a short row is answered from its own last step"
UNREAD = "what stands in the padding changes no answer"
COMPANY = "a row alone, without padding, gets the answer that it gets in company"
KIND = "in double precision too: the first state is of the kind of x"


@exercise("rnn.Reader", points=4, mends=(OWN_END, UNREAD, COMPANY, KIND))
def Reader(student, rng):
    """One of the source articles' networks, mended."""

    def made():
        """A network with the check's own weights, and the same in torch alone."""
        net, rnn, fc = student.Reader(3, 6, 2), nn.RNN(3, 6, batch_first=True), nn.Linear(6, 2)
        state = {name: tensor(rng, *value.shape, scale=0.5).float() for name, value in net.state_dict().items()}
        net.load_state_dict(state)
        for part, own in (("rnn", rnn), ("fc", fc)):
            own.load_state_dict({name: state[f"{part}.{name}"] for name in own.state_dict()})

        def right(x, lengths):
            with torch.no_grad():
                states = rnn.to(x.dtype)(x)[0]
                return fc.to(x.dtype)(states[torch.arange(len(x)), lengths - 1])

        return net, right

    x, lengths = tensor(rng, 5, 7, 3).float(), torch.tensor([7, 2, 1, 4, 6])
    lengths = lengths[torch.from_numpy(rng.permutation(5))]
    with case(EQUAL, hint="Keep the parts' names, self.rnn and self.fc."):
        net, right = made()
        full = torch.full((5,), 7)
        close(net(x, full), right(x, full), rtol=1e-4, atol=1e-5)
    with case(OWN_END, hint="out[:, -1] is the state after the padding. Row n ended at step lengths[n] - 1: index with torch.arange(N) and that."):
        net, right = made()
        close(net(x, lengths), right(x, lengths), rtol=1e-4, atol=1e-5)
    with case(UNREAD, hint="The state must be taken before the padding is read."):
        net, right = made()
        real = (torch.arange(7) < lengths[:, None])[..., None]
        close(net(torch.where(real, x, 5.0), lengths), right(x, lengths), rtol=1e-4, atol=1e-5)
    with case(COMPANY, hint="The longest row of a batch must not decide how far the others are read."):
        net, right = made()
        whole = net(x, lengths)
        for n in range(5):
            alone = net(x[n : n + 1, : lengths[n]], lengths[n : n + 1])
            close(alone, right(x[n : n + 1, : lengths[n]], lengths[n : n + 1]), rtol=1e-4, atol=1e-5)
            close(whole[n : n + 1], alone, rtol=1e-4, atol=1e-5)
    with case(
        KIND, hint="torch.zeros makes float32 on the processor, whatever x is. x.new_zeros(…) makes it like x; without an h0, nn.RNN does so itself."
    ):
        net, right = made()
        net.double()
        full = torch.full((5,), 7)
        try:
            found = net(x.double(), full)
        except StudentError as error:
            raise Mismatch(f"In double precision it raised {error}") from None
        close(found, right(x.double(), full), rtol=1e-6, atol=1e-7)


@Reader.right("index by row and length")
class _(nn.Module):
    def __init__(self, inputs, hidden, outputs):
        super().__init__()
        self.rnn = nn.RNN(inputs, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, outputs)

    def forward(self, x, lengths):
        h0 = x.new_zeros(1, x.size(0), self.rnn.hidden_size)
        out, _last = self.rnn(x, h0)
        chosen = out[torch.arange(x.size(0)), lengths - 1]
        return self.fc(chosen)


BY_INDEX = "index by row and length"
Reader.slip(
    "the last step of the batch, and a first state of its own kind, as it was found",
    ("x.new_zeros(1, x.size(0), self.rnn.hidden_size)", "torch.zeros(1, x.size(0), self.rnn.hidden_size)"),
    ("out[torch.arange(x.size(0)), lengths - 1]", "out[:, -1]"),
    of=BY_INDEX,
    fails=(OWN_END, UNREAD, COMPANY, KIND),
)
Reader.slip("the last step of the batch", ("out[torch.arange(x.size(0)), lengths - 1]", "out[:, -1]"), of=BY_INDEX, fails=(OWN_END, UNREAD, COMPANY))
Reader.slip(
    "a first state of its own kind",
    ("x.new_zeros(1, x.size(0), self.rnn.hidden_size)", "torch.zeros(1, x.size(0), self.rnn.hidden_size)"),
    of=BY_INDEX,
    fails=KIND,
)
Reader.slip("the step before the last", ("lengths - 1]", "lengths - 2]"), of=BY_INDEX, fails=(EQUAL, OWN_END, UNREAD, COMPANY, KIND))
Reader.slip("the shortest row decides", ("lengths - 1]", "lengths.min() - 1]"), of=BY_INDEX, fails=(OWN_END, UNREAD, COMPANY))
Reader.slip(
    "the inputs masked, the state read at the end all the same",
    ("out, _last = self.rnn(x, h0)", "out, _last = self.rnn(x * (torch.arange(x.size(1)) < lengths[:, None])[..., None], h0)"),
    ("out[torch.arange(x.size(0)), lengths - 1]", "out[:, -1]"),
    of=BY_INDEX,
    fails=(OWN_END, UNREAD, COMPANY),
)
Reader.slip(
    "the mean over the real steps",
    ("out[torch.arange(x.size(0)), lengths - 1]", "(out * (torch.arange(x.size(1)) < lengths[:, None])[..., None]).sum(1) / lengths[:, None]"),
    of=BY_INDEX,
    fails=(EQUAL, OWN_END, UNREAD, COMPANY, KIND),
)
Reader.slip(
    "every row at every length",
    ("out[torch.arange(x.size(0)), lengths - 1]", "out[:, lengths - 1]"),
    of=BY_INDEX,
    fails=(EQUAL, OWN_END, UNREAD, COMPANY, KIND),
)


@Reader.right("by packing, and without an h0")
class _(nn.Module):
    def __init__(self, inputs, hidden, outputs):
        super().__init__()
        self.rnn = nn.RNN(inputs, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, outputs)

    def forward(self, x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.fc(self.rnn(packed)[1][0])


NOTHING_SEEN = "after a character that was never seen, every character is as likely"
BY_PAIR = "each character is judged by the one before it, and not the other way round"
ALL_PAIRS = "the mean over all pairs of the test text, in nats"
SMOOTHED = "one is added to the count of every pair, so that nothing is impossible"


@exercise("rnn.bigram_loss", points=3, reference="course_lib.nn.recurrent.language")
def bigram_loss(student, rng):
    """The surprise of a model that knows one character back."""
    train, test = rng.integers(4, size=60), rng.integers(4, size=25)
    train[-1] = (train[0] + 1) % 4  # or each character would be as often a first of a pair as a second
    with case(
        NOTHING_SEEN, hint="Its row of counts is all ones after smoothing: each of V characters has probability 1/V. Rows are V long, seen or not."
    ):
        close(student.bigram_loss(np.array([0, 1, 0, 1]), np.array([5, 0]), 7), math.log(7))
    with case(BY_PAIR, hint="Row: the character before. Column: the one after. Divide each row by its own sum."):
        after = np.array([0, 1, 0, 1, 0, 2, 0, 1])
        close(student.bigram_loss(after, np.array([0, 1]), 3), -math.log(4 / 7))
        close(student.bigram_loss(after, np.array([1, 0]), 3), -math.log(3 / 5))
    with case(ALL_PAIRS, hint="L characters have L - 1 pairs. The natural logarithm, and the mean."):
        close(student.bigram_loss(train, test, 4), language.bigram_loss(train, test, 4))
    with case(SMOOTHED, hint="Add 1 to each of the V × V counts before dividing."):
        close(student.bigram_loss(np.array([0, 1, 0, 1, 0]), np.array([1, 1]), 2), math.log(4))
        close(student.bigram_loss(np.array([0] * 10), np.array([0, 1]), 2), math.log(11))


@bigram_loss.right("counted in a loop")
def _(train, test, num_characters):
    counts = np.ones((num_characters, num_characters))
    for before, after in itertools.pairwise(train.tolist()):
        counts[before, after] += 1
    shares = counts / counts.sum(axis=1, keepdims=True)
    return float(-np.log(shares[test[:-1], test[1:]]).mean())


IN_A_LOOP = "counted in a loop"
ALL_BIGRAM = (NOTHING_SEEN, BY_PAIR, ALL_PAIRS, SMOOTHED)
bigram_loss.slip("no smoothing", ("np.ones(", "np.zeros("), of=IN_A_LOOP, fails=ALL_BIGRAM)
bigram_loss.slip("the share of all pairs, not of the row", ("counts.sum(axis=1, keepdims=True)", "counts.sum()"), of=IN_A_LOOP, fails=ALL_BIGRAM)
bigram_loss.slip("divided by the columns' sums", ("axis=1", "axis=0"), of=IN_A_LOOP, fails=(NOTHING_SEEN, BY_PAIR, ALL_PAIRS, SMOOTHED))
bigram_loss.slip("before and after exchanged", ("counts[before, after]", "counts[after, before]"), of=IN_A_LOOP, fails=(BY_PAIR, ALL_PAIRS))
bigram_loss.slip("in bits", ("-np.log(", "-np.log2("), of=IN_A_LOOP, fails=ALL_BIGRAM)
bigram_loss.slip("the sum", (".mean()", ".sum()"), of=IN_A_LOOP, fails=ALL_PAIRS)
bigram_loss.slip("counted on the test text", ("pairwise(train", "pairwise(test"), of=IN_A_LOOP, fails=ALL_BIGRAM)
bigram_loss.slip(
    "each pair counted once",
    ("counts[before, after] += 1", "counts[before, after] = 2"),
    of=IN_A_LOOP,
    fails=(BY_PAIR, ALL_PAIRS, SMOOTHED),
)


@bigram_loss.wrong("counts[train[:-1], train[1:]] += 1, which counts every pair once", fails=(BY_PAIR, ALL_PAIRS, SMOOTHED))
def _(train, test, num_characters):
    counts = np.ones((num_characters, num_characters))
    counts[train[:-1], train[1:]] += 1
    shares = counts / counts.sum(axis=1, keepdims=True)
    return float(-np.log(shares[test[:-1], test[1:]]).mean())


@bigram_loss.wrong("each character by itself", fails=ALL_BIGRAM)
def _(train, test, num_characters):
    counts = np.bincount(train, minlength=num_characters) + 1.0
    return float(-np.log(counts / counts.sum())[test[1:]].mean())


@bigram_loss.right("counted by numbers of pairs")
def _(train, test, num_characters):
    pairs = np.bincount(train[:-1] * num_characters + train[1:], minlength=num_characters**2)
    table = np.log(pairs.reshape(num_characters, num_characters) + 1.0)
    table = table - np.log(np.exp(table).sum(axis=1))[:, None]
    return -sum(table[test[k], test[k + 1]] for k in range(len(test) - 1)) / (len(test) - 1)


PARTS = "its parts: a vector for each character, a reader, a score for each character"
SCORES = "the logits: a row of scores after every character"
CHAR_LOSS = "the loss is the mean cross-entropy over all characters of the batch, None without targets"
CARRIED = "with the state handed over, two halves are the whole"
NO_FUTURE = "a logit knows the characters up to its own, and none after"
FORGETS = "nothing is kept in the model between two calls"
OTHER_KINDS = "the kind of reader is the one that was asked for"


@exercise("rnn.CharModel", points=5, reference="course_lib.nn.recurrent.language")
def CharModel(student, rng):
    """A language model that reads letter by letter."""
    ids = torch.from_numpy(rng.integers(11, size=(3, 8)))

    def made(kind):
        """A model with the check's own weights, and the logits and states that it should have."""
        net, wanted = student.CharModel(11, 5, 7, kind), language.CharModel(11, 5, 7, kind)
        state = {name: tensor(rng, *value.shape, scale=0.6).float() for name, value in wanted.state_dict().items()}
        net.load_state_dict(state)
        wanted.load_state_dict(state)

        def right(*arguments):
            with torch.no_grad():
                return wanted(*arguments)

        return net, right

    with case(PARTS, hint="self.embedding = nn.Embedding(V, E), self.reader = nn.LSTM(E, H, batch_first=True), self.head = nn.Linear(H, V)."):
        net = student.CharModel(11, 5, 7, "LSTM")
        same(
            {name: list(value.shape) for name, value in net.state_dict().items()},
            {name: list(value.shape) for name, value in language.CharModel(11, 5, 7, "LSTM").state_dict().items()},
            "the shapes in state_dict()",
        )
    with case(SCORES, hint="embedding, then reader with batch_first=True, then head, on the states of all steps: (N, T, V)."):
        net, right = made("LSTM")
        close(net(ids)[0], right(ids)[0], rtol=1e-4, atol=1e-5)
    with case(CHAR_LOSS, hint="F.cross_entropy wants (rows, V) and (rows,): flatten the first two axes. It takes logits, not probabilities."):
        net, right = made("LSTM")
        targets = torch.from_numpy(rng.integers(11, size=(3, 8)))
        found = net(ids, targets)
        close(found[1], right(ids, targets)[1], rtol=1e-4, atol=1e-5)
        holds(net(ids)[1] is None, "Without targets there is a loss.")
    with case(CARRIED, hint="Give `state` to the reader, and return the one that it gives back."):
        for kind, rows in (("LSTM", 3), ("GRU", 3), ("RNN", 1)):
            net, right = made(kind)
            first, _, state = net(ids[:rows, :3])
            second = net(ids[:rows, 3:], None, state)[0]
            close(torch.cat([first, second], dim=1), right(ids[:rows])[0], rtol=1e-4, atol=1e-5)
    with case(NO_FUTURE, hint="A model that guesses the next character must not have read it: one direction."):
        net, right = made("GRU")
        changed = ids.clone()
        changed[:, 5:] = (changed[:, 5:] + 1) % 11
        close(net(changed)[0][:, :5], right(ids)[0][:, :5], rtol=1e-4, atol=1e-5)
        close(net(changed)[0], right(changed)[0], rtol=1e-4, atol=1e-5)
    with case(
        FORGETS, hint="The state belongs to the run, so it is passed in and returned. Without one, begin at 0 (that is what None means to nn.LSTM)."
    ):
        net, right = made("LSTM")
        net(ids)
        close(net(ids)[0], right(ids)[0], rtol=1e-4, atol=1e-5)
    with case(OTHER_KINDS, hint='{"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}[kind] is the class to make it from.'):
        for kind in ("RNN", "GRU"):
            net, right = made(kind)
            close(net(ids)[0], right(ids)[0], rtol=1e-4, atol=1e-5)


@CharModel.right("embedding, reader, head")
class _(nn.Module):
    def __init__(self, num_characters, width, hidden, kind="LSTM"):
        super().__init__()
        self.embedding = nn.Embedding(num_characters, width)
        self.reader = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}[kind](width, hidden, batch_first=True)
        self.head = nn.Linear(hidden, num_characters)

    def forward(self, ids, targets=None, state=None):
        states, state = self.reader(self.embedding(ids), state)
        logits = self.head(states)
        loss = None
        if targets is not None:
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return logits, loss, state


THREE = "embedding, reader, head"
ALL_BUT_PARTS = (SCORES, CHAR_LOSS, CARRIED, NO_FUTURE, FORGETS, OTHER_KINDS)
CharModel.slip("no batch_first", (", batch_first=True", ""), of=THREE, fails=ALL_BUT_PARTS)
CharModel.slip("the state ignored", ("self.reader(self.embedding(ids), state)", "self.reader(self.embedding(ids))"), of=THREE, fails=CARRIED)
CharModel.slip(
    "probabilities instead of logits", ("logits = self.head(states)", "logits = self.head(states).softmax(-1)"), of=THREE, fails=ALL_BUT_PARTS
)
CharModel.slip(
    "the loss takes probabilities",
    ("logits.flatten(0, 1), targets", "logits.softmax(-1).flatten(0, 1), targets"),
    of=THREE,
    fails=CHAR_LOSS,
)
CharModel.slip(
    "the loss of the last character alone", ("logits.flatten(0, 1), targets.flatten()", "logits[:, -1], targets[:, -1]"), of=THREE, fails=CHAR_LOSS
)
CharModel.slip("the sum over the batch", ("targets.flatten())", 'targets.flatten(), reduction="sum")'), of=THREE, fails=CHAR_LOSS)
CharModel.slip(
    "an LSTM, whatever is asked for",
    ('{"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}[kind]', "nn.LSTM"),
    of=THREE,
    fails=(CARRIED, NO_FUTURE, OTHER_KINDS),
)
CharModel.slip(
    "the state kept in the model",
    (
        "        states, state = self.reader(self.embedding(ids), state)",
        "        states, self.kept = self.reader(self.embedding(ids), getattr(self, 'kept', state))\n        state = self.kept",
    ),
    of=THREE,
    fails=(NO_FUTURE, FORGETS),
)
CharModel.slip("scores after the last character alone", ("self.head(states)", "self.head(states[:, -1:])"), of=THREE, fails=ALL_BUT_PARTS)
CharModel.slip(
    "shifted by one, so that it has read its answer",
    ("logits = self.head(states)", "logits = self.head(states.roll(-1, dims=1))"),
    of=THREE,
    fails=ALL_BUT_PARTS,
)


@CharModel.right("step by step")
class _(nn.Module):
    def __init__(self, num_characters, width, hidden, kind="LSTM"):
        super().__init__()
        self.embedding = nn.Embedding(num_characters, width)
        self.reader = getattr(nn, kind)(width, hidden, batch_first=True)
        self.head = nn.Linear(hidden, num_characters)

    def forward(self, ids, targets=None, state=None):
        scores = []
        for t in range(ids.shape[1]):
            out, state = self.reader(self.embedding(ids[:, t : t + 1]), state)
            scores.append(self.head(out[:, 0]))
        logits = torch.stack(scores, dim=1)
        return logits, None if targets is None else F.cross_entropy(logits.transpose(1, 2), targets), state
