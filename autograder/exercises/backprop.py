"""What the exercises of chapter 03 demand. Trusted side: student code is reached only through `student`."""

import itertools
import math

import numpy as np

from autograder.checking import accuracy, case, close, exercise, holds, inputs_unchanged, is_object, same
from course_lib.data import digits
from course_lib.scratch import functional, gradcheck
from course_lib.scratch.mlp import MLP, MLPConfig

FUNCTIONAL = "course_lib.scratch.functional"


@exercise("backprop.relu_backward", points=2, reference=(FUNCTIONAL, "course_lib.scratch.layers"))
def relu_backward(student, rng):
    """The gradient on its way back through a ReLU."""
    z = rng.choice([-1.0, 1.0], size=(6, 5)) * rng.uniform(0.1, 2, size=(6, 5))
    z[0, :3] = 50.0, -50.0, 0.0
    grad_out = rng.normal(size=(6, 5))
    with case("where z was positive, the gradient passes as it is", hint="The slope there is 1, so the chain rule multiplies by 1."):
        found = np.asarray(student.relu_backward(grad_out, z))
        close(np.where(z > 0, found, 0), np.where(z > 0, grad_out, 0))
    with case("where z was negative, nothing passes", hint="The output stayed 0 whatever z did, so z had no influence: the slope is 0.", side=True):
        found = np.asarray(student.relu_backward(grad_out, z))
        close(np.where(z < 0, found, 0), np.zeros_like(z))
    with case("where z was exactly 0, nothing passes either", hint="The slope there is taken to be 0: z > 0 decides, not z >= 0.", side=True):
        close(student.relu_backward(np.ones(3), np.zeros(3)), np.zeros(3))
    with case("keeps the shape, whatever it is", side=True):
        cube = z.reshape(2, 3, 5)
        holds(np.shape(student.relu_backward(grad_out.reshape(2, 3, 5), cube)) == cube.shape, "Three axes go in, and another shape comes out.")
    with case("leaves its inputs as they were", hint="Writing into `grad_out` or `z` changes the caller's array; make a new one.", side=True):
        student.relu_backward(grad_out, z)
        inputs_unchanged(student)


@relu_backward.wrong(
    "the gradient's own sign decides",
    fails=(
        "where z was positive, the gradient passes as it is",
        "where z was negative, nothing passes",
        "where z was exactly 0, nothing passes either",
    ),
)
def _(grad_out, z):
    return np.maximum(grad_out, 0)


@relu_backward.wrong("the slope alone, without what came from above", fails="where z was positive, the gradient passes as it is")
def _(grad_out, z):
    return (z > 0).astype(float)


@relu_backward.wrong("multiplied by the output instead of the slope", fails="where z was positive, the gradient passes as it is")
def _(grad_out, z):
    return grad_out * np.maximum(z, 0)


@relu_backward.wrong("everything passes", fails=("where z was negative, nothing passes", "where z was exactly 0, nothing passes either"))
def _(grad_out, z):
    return grad_out


@relu_backward.wrong("open at 0", fails="where z was exactly 0, nothing passes either")
def _(grad_out, z):
    return grad_out * (z >= 0)


@relu_backward.wrong("written into the caller's array", fails="leaves its inputs as they were")
def _(grad_out, z):
    grad_out[z <= 0] = 0
    return grad_out


@relu_backward.right("by choosing")
def _(grad_out, z):
    return np.where(z > 0, grad_out, 0.0)


@exercise("backprop.affine_backward", points=3, reference=(FUNCTIONAL, "course_lib.scratch.layers"))
def affine_backward(student, rng):
    """Three gradients of one affine layer, for one row."""
    x, weight, grad_out = rng.normal(size=5), rng.normal(size=(5, 3)), rng.normal(size=3)
    with case("the gradient of x", hint="x[i] reaches every output j through weight[i, j], so its gradient is a sum over j."):
        close(student.affine_backward(grad_out, x, weight)[0], weight @ grad_out)
    with case("the gradient of weight", hint="weight[i, j] joins x[i] to output j and nothing else: x[i] times what arrived at j."):
        close(student.affine_backward(grad_out, x, weight)[1], np.outer(x, grad_out))
    with case("the gradient of bias", hint="bias[j] is added to output j: its slope is 1."):
        close(student.affine_backward(grad_out, x, weight)[2], grad_out)
    with case("as many outputs as inputs", hint="With a square weight the shapes cannot help you: compare with the indices."):
        square = rng.normal(size=(3, 3))
        close(student.affine_backward(grad_out, x[:3], square), (square @ grad_out, np.outer(x[:3], grad_out), grad_out))


@affine_backward.wrong("weight gradient transposed", fails=("the gradient of weight", "as many outputs as inputs"))
def _(grad_out, x, weight):
    return weight @ grad_out, np.outer(grad_out, x), grad_out


@affine_backward.wrong(
    "weight transposed", fails=("the gradient of x", "the gradient of weight", "the gradient of bias", "as many outputs as inputs")
)
def _(grad_out, x, weight):
    return weight.T @ grad_out, np.outer(x, grad_out), grad_out


@affine_backward.wrong("what came from above forgotten", fails=("the gradient of x", "the gradient of weight", "the gradient of bias",
    "as many outputs as inputs"))  # fmt: skip
def _(grad_out, x, weight):
    return weight.sum(axis=1), np.outer(x, np.ones(weight.shape[1])), np.ones(weight.shape[1])


@affine_backward.right("through einsum")
def _(grad_out, x, weight):
    return np.einsum("ij,j->i", weight, grad_out), np.einsum("i,j->ij", x, grad_out), grad_out.copy()


@exercise(
    "backprop.mend_affine_backward",
    points=3,
    reference=(FUNCTIONAL, "course_lib.scratch.layers"),
    mends=("the bias has a gradient of its own shape, summed over the batch", "a batch of one"),
)
def mend_affine_backward(student, rng):
    """The same three gradients for a whole batch."""
    x, weight, grad_out = rng.normal(size=(7, 5)), rng.normal(size=(5, 3)), rng.normal(size=(7, 3))
    with case("a gradient for every row of x"):
        close(student.mend_affine_backward(grad_out, x, weight)[0], grad_out @ weight.T)
    with case("the weight's gradient is summed over the batch"):
        close(student.mend_affine_backward(grad_out, x, weight)[1], x.T @ grad_out)
    with case("the bias has a gradient of its own shape, summed over the batch", hint="One bias served all N rows, so it hears from all N."):
        close(student.mend_affine_backward(grad_out, x, weight)[2], grad_out.sum(axis=0))
    with case("a batch of one", hint="A bias of shape (H,) has a gradient of shape (H,), for one row too."):
        close(student.mend_affine_backward(grad_out[:1], x[:1], weight), (grad_out[:1] @ weight.T, x[:1].T @ grad_out[:1], grad_out[0]))
    with case("as many outputs as inputs", hint="With a square weight the shapes cannot help you: compare with the indices."):
        square = rng.normal(size=(3, 3))
        found = student.mend_affine_backward(grad_out, x[:, :3], square)
        close((found[0], found[1]), (grad_out @ square.T, x[:, :3].T @ grad_out))


@mend_affine_backward.wrong(
    "not summed, as it was found", fails=("the bias has a gradient of its own shape, summed over the batch", "a batch of one")
)
def _(grad_out, x, weight):
    return grad_out @ weight.T, x.T @ grad_out, grad_out


@mend_affine_backward.wrong("averaged instead of summed", fails="the bias has a gradient of its own shape, summed over the batch")
def _(grad_out, x, weight):
    return grad_out @ weight.T, x.T @ grad_out, grad_out.mean(axis=0)


@mend_affine_backward.wrong("the batch axis kept", fails=("the bias has a gradient of its own shape, summed over the batch", "a batch of one"))
def _(grad_out, x, weight):
    return grad_out @ weight.T, x.T @ grad_out, grad_out.sum(axis=0, keepdims=True)


@mend_affine_backward.wrong("the first row only", fails="the bias has a gradient of its own shape, summed over the batch")
def _(grad_out, x, weight):
    return grad_out @ weight.T, x.T @ grad_out, grad_out[0]


@mend_affine_backward.right("a row of ones does the summing")
def _(grad_out, x, weight):
    return np.dot(grad_out, weight.T), np.einsum("ni,nj->ij", x, grad_out), np.ones(len(grad_out)) @ grad_out


@exercise("backprop.softmax", points=3, reference=FUNCTIONAL)
def softmax(student, rng):
    """Scores to probabilities along the last axis."""
    scores = rng.normal(size=(5, 7))
    with case("agrees with the definition"):
        close(student.softmax(scores), functional.softmax(scores))
    with case("large scores stay finite", hint="Subtract each row's maximum before exponentiating."):
        large = 1000 + 1000 * np.abs(scores[:1])
        close(student.softmax(large), functional.softmax(large))
    with case("no row disturbs another", hint="Each row needs its own maximum; the largest of the whole table underflows the others."):
        rows = np.stack([scores[0] - 2000, scores[1] + 20_000])
        close(student.softmax(rows), functional.softmax(rows))
    with case("normalises the last axis of any stack", hint="Sum over axis -1 and keep the dimension."):
        stack = rng.normal(size=(2, 3, 4))
        close(student.softmax(stack), functional.softmax(stack))
        close(student.softmax(stack[0, 0]), functional.softmax(stack[0, 0]))
    with case(
        "leaves its input as it was", hint="`scores -= ...` writes into the caller's array; `scores = scores - ...` makes a new one.", side=True
    ):
        student.softmax(scores)
        inputs_unchanged(student)


@softmax.wrong("no maximum subtracted", fails=("large scores stay finite", "no row disturbs another"))
def _(scores):
    exp = np.exp(scores)
    return exp / exp.sum(axis=-1, keepdims=True)


@softmax.wrong(
    "normalised over the whole table",
    fails=("agrees with the definition", "no row disturbs another", "normalises the last axis of any stack"),
)
def _(scores):
    exp = np.exp(scores - scores.max())
    return exp / exp.sum()


@softmax.wrong("the maximum of the whole table", fails="no row disturbs another")
def _(scores):
    exp = np.exp(scores - scores.max())
    return exp / np.maximum(exp.sum(axis=-1, keepdims=True), 1e-300)


@softmax.wrong("axis 1 instead of the last", fails="normalises the last axis of any stack")
def _(scores):
    exp = np.exp(scores - scores.max(axis=1, keepdims=True))
    return exp / exp.sum(axis=1, keepdims=True)


@softmax.wrong("in place", fails="leaves its input as it was")
def _(scores):
    scores -= scores.max(axis=-1, keepdims=True)
    exp = np.exp(scores)
    return exp / exp.sum(axis=-1, keepdims=True)


@softmax.right("through the logarithm of the sum")
def _(scores):
    top = scores.max(axis=-1, keepdims=True)
    return np.exp(scores - top - np.log(np.exp(scores - top).sum(axis=-1, keepdims=True)))


@softmax.right("one row at a time")
def _(scores):
    def one(row):
        parts = np.array([math.exp(value - max(row)) for value in row])
        return parts / parts.sum()

    return np.apply_along_axis(one, -1, scores)


@exercise("backprop.cross_entropy", points=3, reference=FUNCTIONAL)
def cross_entropy(student, rng):
    """The mean surprise at the right answers."""
    logits, labels = rng.normal(size=(8, 5)), rng.integers(5, size=8)
    with case("one row: minus the log of the right answer's probability"):
        close(student.cross_entropy(logits[:1], labels[:1]), functional.cross_entropy(logits[:1], labels[:1]))
    with case("a batch: the mean over its rows", hint="Average over the N rows, so that the loss does not grow with the batch."):
        close(student.cross_entropy(logits, labels), functional.cross_entropy(logits, labels))
    with case("every row is asked for its own label", hint="`logits[:, labels]` gives an N×N table. `logits[np.arange(N), labels]` gives N numbers."):
        ordered = np.arange(5)
        close(student.cross_entropy(12 * np.eye(5), ordered), functional.cross_entropy(12 * np.eye(5), ordered))
    with case("a confident mistake costs much, but not infinitely much", hint="Do not take the log of a probability that has become 0."):
        sure = np.array([[1000.0, 0.0, -1000.0], [0.0, 1000.0, 0.0]])
        close(student.cross_entropy(sure, np.array([2, 0])), 1500.0)
    with case("no row disturbs another", hint="Subtract from each row its own maximum, not that of the whole table."):
        rows = np.stack([logits[0] - 2000, logits[1] + 2000])
        close(student.cross_entropy(rows, np.array([0, 3])), functional.cross_entropy(rows, np.array([0, 3])))
    with case(
        "leaves its inputs as they were", hint="`logits -= ...` writes into the caller's array; `shifted = logits - ...` makes a new one.", side=True
    ):
        student.cross_entropy(logits, labels)
        inputs_unchanged(student)


@cross_entropy.wrong("log of softmax", fails="a confident mistake costs much, but not infinitely much")
def _(logits, labels):
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exp / exp.sum(axis=1, keepdims=True)
    return -np.log(probabilities[np.arange(len(labels)), labels]).mean()


@cross_entropy.wrong("clipped probabilities", fails="a confident mistake costs much, but not infinitely much")
def _(logits, labels):
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = np.clip(exp / exp.sum(axis=1, keepdims=True), 1e-12, 1)
    return -np.log(probabilities[np.arange(len(labels)), labels]).mean()


@cross_entropy.right("through log-softmax")
def _(logits, labels):
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -log_probabilities[np.arange(len(labels)), labels].mean()


MANY_ROWS = (
    "a batch: the mean over its rows",
    "every row is asked for its own label",
    "a confident mistake costs much, but not infinitely much",
    "no row disturbs another",
)
cross_entropy.slip(
    "the maximum of the whole table",
    ("logits.max(axis=1, keepdims=True)", "logits.max()"),
    of="through log-softmax",
    fails="no row disturbs another",
)
cross_entropy.slip("the sum over the batch", (".mean()", ".sum()"), of="through log-softmax", fails=MANY_ROWS)
cross_entropy.slip(
    "a table of all labels for all rows", ("[np.arange(len(labels)), labels]", "[:, labels]"), of="through log-softmax", fails=MANY_ROWS
)
cross_entropy.slip(
    "minus sign forgotten",
    ("return -log", "return log"),
    of="through log-softmax",
    fails=("one row: minus the log of the right answer's probability", *MANY_ROWS),
)


@cross_entropy.right("one row at a time")
def _(logits, labels):
    total = 0.0
    for row, label in zip(logits, labels, strict=True):
        top = max(row)
        total += top + math.log(sum(math.exp(score - top) for score in row)) - row[label]
    return total / len(labels)


@exercise("backprop.cross_entropy_backward", points=3, reference=FUNCTIONAL)
def cross_entropy_backward(student, rng):
    """How the loss changes with each score."""
    logits, labels = rng.normal(size=(6, 4)), rng.integers(4, size=6)
    with case("one row: probabilities, minus 1 at the right answer"):
        close(student.cross_entropy_backward(logits[:1], labels[:1]), functional.cross_entropy_backward(logits[:1], labels[:1]))
    with case("a batch: every row has its share of the mean", hint="The loss is a mean over N rows, so each row's gradient is divided by N."):
        close(student.cross_entropy_backward(logits, labels), functional.cross_entropy_backward(logits, labels))
    with case("agrees with measured slopes", hint="Moving a score up by h must change the loss by h times its gradient."):
        close(
            student.cross_entropy_backward(logits[:2], labels[:2]),
            gradcheck.numerical_gradient(lambda moved: functional.cross_entropy(moved, labels[:2]), logits[:2]),
            rtol=1e-6,
            atol=1e-8,
        )
    with case("large scores stay finite", hint="Use your softmax: it subtracts each row's maximum."):
        sure = 1000 * np.array([[2.0, 0.0, 1.0, -3.0], [0.0, 4.0, -1.0, 2.0]])
        close(student.cross_entropy_backward(sure, np.array([1, 1])), np.array([[0.5, -0.5, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]))
    with case("leaves its inputs as they were", hint="Subtract the 1 from a new array, not from the logits.", side=True):
        student.cross_entropy_backward(logits, labels)
        inputs_unchanged(student)


@cross_entropy_backward.right("given minus deserved")
def _(logits, labels):
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    grad = exp / exp.sum(axis=1, keepdims=True)
    grad[np.arange(len(labels)), labels] -= 1
    return grad / len(labels)


NUMBERS = (
    "one row: probabilities, minus 1 at the right answer",
    "a batch: every row has its share of the mean",
    "agrees with measured slopes",
    "large scores stay finite",
)
MINUS_ONE = "grad[np.arange(len(labels)), labels] -= 1"
cross_entropy_backward.slip("not divided by N", ("return grad / len(labels)", "return grad"), of="given minus deserved", fails=NUMBERS[1:])
cross_entropy_backward.slip("divided by the number of classes", ("/ len(labels)", "/ logits.shape[1]"), of="given minus deserved", fails=NUMBERS)
cross_entropy_backward.slip("the sign turned round", ("return grad", "return -grad"), of="given minus deserved", fails=NUMBERS)
cross_entropy_backward.slip(
    "the slope of -log p, without the softmax",
    (MINUS_ONE, "grad = -np.eye(logits.shape[1])[labels] / np.maximum(grad, 1e-12)"),
    of="given minus deserved",
    fails=NUMBERS,
)
cross_entropy_backward.slip("the sigmoid's slope, p (1 - p)", (MINUS_ONE, "grad = grad * (1 - grad)"), of="given minus deserved", fails=NUMBERS)
cross_entropy_backward.slip(
    "the 1 is taken from the logits",
    ("exp = np.exp(", "logits[np.arange(len(labels)), labels] -= 1\n    exp = np.exp("),
    of="given minus deserved",
    fails=(*NUMBERS[:3], "leaves its inputs as they were"),
)


@cross_entropy_backward.right("with a table of ones and zeros")
def _(logits, labels):
    onehot = (np.arange(logits.shape[1]) == labels[:, None]).astype(float)
    log_probabilities = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return (np.exp(log_probabilities) - onehot) / logits.shape[0]


@exercise("backprop.numerical_gradient", points=3, reference="course_lib.scratch.gradcheck")
def numerical_gradient(student, rng):
    """Slopes measured, not derived."""
    x = rng.uniform(0.5, 2, size=(2, 3))
    with case("one slope for every element, whatever the shape"):
        close(student.numerical_gradient(np.linalg.norm, x), x / np.linalg.norm(x), rtol=1e-3)
        square = rng.uniform(0.5, 2, size=(3, 3)) + 3 * np.eye(3)
        close(student.numerical_gradient(np.linalg.det, square), np.linalg.det(square) * np.linalg.inv(square).T, rtol=1e-3, atol=1e-4)
        close(student.numerical_gradient(np.sum, rng.normal(size=(2, 1, 3))), np.ones((2, 1, 3)), rtol=1e-3)
    with case("steps to both sides", hint="(f(x + h) - f(x - h)) / 2h is right to about h²; a one-sided step only to about h."):
        close(student.numerical_gradient(np.var, x, step=1e-3), 2 * (x - x.mean()) / x.size, rtol=1e-7, atol=1e-9)
    with case("uses the step that it is given", hint="The third argument is the h of the formula."):
        wide = gradcheck.numerical_gradient(lambda v: float(np.linalg.norm(v)), x, step=0.25)
        close(student.numerical_gradient(np.linalg.norm, x, step=0.25), wide, rtol=1e-6)
    with case("whole numbers too", hint="An integer array cannot hold 1 + 0.00001: convert it to float64 first."):
        close(student.numerical_gradient(np.prod, np.array([2, 3, 4])), np.array([12.0, 8.0, 6.0]), rtol=1e-5)
    with case("leaves x as it was", hint="Put the old value back before you go on to the next element, or work on a copy.", side=True):
        close(student.numerical_gradient(np.prod, x), np.prod(x) / x, rtol=1e-5)
        inputs_unchanged(student)


@numerical_gradient.right("two copies for each element")
def _(function, x, step=1e-5):
    x = np.array(x, dtype=float)
    grad = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        above, below = x.copy(), x.copy()
        above[index] += step
        below[index] -= step
        grad[index] = (function(above) - function(below)) / (2 * step)
    return grad


EVERY_SLOPE = (
    "one slope for every element, whatever the shape",
    "steps to both sides",
    "uses the step that it is given",
    "whole numbers too",
    "leaves x as it was",
)
numerical_gradient.slip(
    "one-sided",
    ("function(below)) / (2 * step)", "function(x)) / step"),
    of="two copies for each element",
    fails=("steps to both sides", "uses the step that it is given"),
)
numerical_gradient.slip("divided by h instead of 2h", ("(2 * step)", "step"), of="two copies for each element", fails=EVERY_SLOPE)
numerical_gradient.slip("brackets forgotten around 2h", ("(2 * step)", "2 * step"), of="two copies for each element", fails=EVERY_SLOPE)
numerical_gradient.slip(
    "integers stay integers",
    ("x = np.array(x, dtype=float)\n    grad = np.zeros_like(x)", "grad = np.zeros(x.shape)"),
    of="two copies for each element",
    fails="whole numbers too",
)


@numerical_gradient.wrong("the step is never taken back", fails=("steps to both sides", "uses the step that it is given",
    "whole numbers too", "leaves x as it was"))  # fmt: skip
def _(function, x, step=1e-5):
    grad = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        x[index] += step
        above = function(x)
        x[index] -= 2 * step
        grad[index] = (above - function(x)) / (2 * step)
    return grad


@numerical_gradient.wrong("the whole array moved at once", fails=("one slope for every element, whatever the shape", "steps to both sides",
    "uses the step that it is given", "whole numbers too", "leaves x as it was"))  # fmt: skip
def _(function, x, step=1e-5):
    slope = (function(x + step) - function(x - step)) / (2 * step)
    return np.full(x.shape, slope)


@numerical_gradient.right("one flat element after the other, put back afterwards")
def _(function, x, step=1e-5):
    point = np.array(x, dtype=np.float64)
    flat = point.reshape(-1)
    slopes = []
    for i in range(flat.size):
        before = flat[i]
        flat[i] = before + step
        above = function(point)
        flat[i] = before - step
        below = function(point)
        flat[i] = before
        slopes.append((above - below) / (2 * step))
    return np.reshape(slopes, np.shape(x))


NAMES = ("weight1", "bias1", "weight2", "bias2")


def small_network(rng, rows: int = 9, sizes: tuple[int, int, int] = (6, 8, 4)):
    """Parameters with some hidden units off for some rows, and a batch: (params, x, labels)."""
    inputs, hidden, classes = sizes
    params = {
        "weight1": rng.normal(size=(inputs, hidden)),
        "bias1": rng.normal(size=hidden),
        "weight2": rng.normal(size=(hidden, classes)),
        "bias2": rng.normal(size=classes),
    }
    x = rng.normal(size=(rows, inputs))
    x[0] = 0.0  # for this row z is bias1 itself, and so near the corner of the ReLU that a measured slope crosses it
    params["bias1"][: hidden // 2] = 1e-6 * rng.choice([-1.0, 1.0], size=hidden // 2)
    return params, x, rng.integers(classes, size=rows)


def reference_pass(params, x, labels):
    """Loss and gradients by the library."""
    sizes = (params["weight1"].shape[0], *params["weight2"].shape)
    return MLP(MLPConfig(sizes)).with_params(params).loss_and_gradients(x, labels)


@exercise("backprop.loss_and_gradients", points=5, reference=("course_lib.scratch.mlp", FUNCTIONAL, "course_lib.scratch.layers"))
def loss_and_gradients(student, rng):
    """Forward and backward through two layers."""
    params, x, labels = small_network(rng)
    loss, grads = reference_pass(params, x, labels)
    with case("the loss of the batch"):
        close(student.loss_and_gradients(params, x, labels)[0], loss)
    with case("the last layer: weight2 and bias2", hint="Its input is the hidden layer after the ReLU. Sum the bias gradient over the rows."):
        found = student.loss_and_gradients(params, x, labels)[1]
        close({name: found[name] for name in NAMES[2:]}, {name: grads[name] for name in NAMES[2:]})
    with case("the first layer: weight1 and bias1", hint="Go back through weight2, then through the ReLU at the z that went into it."):
        found = student.loss_and_gradients(params, x, labels)[1]
        close({name: found[name] for name in NAMES[:2]}, {name: grads[name] for name in NAMES[:2]})
    with case("every gradient has its parameter's name and shape, for one row too"):
        for row in range(1, 6):
            one = x[row : row + 1], labels[row : row + 1]
            close(student.loss_and_gradients(params, *one)[1], reference_pass(params, *one)[1])
    with case("parameters and data are left as they were", hint="This function measures; changing parameters is the optimiser's work.", side=True):
        student.loss_and_gradients(params, x, labels)
        inputs_unchanged(student)


@loss_and_gradients.right("in one piece")
def _(params, x, labels):
    z = x @ params["weight1"] + params["bias1"]
    hidden = np.maximum(z, 0)
    logits = hidden @ params["weight2"] + params["bias2"]
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    rows = np.arange(len(labels))
    grad = np.exp(log_p)
    grad[rows, labels] -= 1
    grad /= len(labels)
    back = (grad @ params["weight2"].T) * (z > 0)
    grads = {"weight2": hidden.T @ grad, "bias2": grad.sum(0), "weight1": x.T @ back, "bias1": back.sum(0)}
    return -log_p[rows, labels].mean(), grads


FIRST_LAYER = ("the first layer: weight1 and bias1", "every gradient has its parameter's name and shape, for one row too")
LAST_LAYER = ("the last layer: weight2 and bias2", "every gradient has its parameter's name and shape, for one row too")
BACK = '(grad @ params["weight2"].T) * (z > 0)'
loss_and_gradients.slip("the ReLU forgotten on the way back", (" * (z > 0)", ""), of="in one piece", fails=FIRST_LAYER)
loss_and_gradients.slip(
    "the gradient's sign decides at the ReLU", (BACK, 'np.maximum(grad @ params["weight2"].T, 0)'), of="in one piece", fails=FIRST_LAYER
)
loss_and_gradients.slip(
    "the hidden layer before the ReLU feeds the last gradient", ("hidden.T @ grad", "z.T @ grad"), of="in one piece", fails=LAST_LAYER
)
loss_and_gradients.slip(
    "the mean is taken twice",
    ("x.T @ back", "x.T @ back / len(labels)"),
    of="in one piece",
    fails="the first layer: weight1 and bias1",
)
loss_and_gradients.slip(
    "an update slipped in",
    ("    return -log_p", "    for name in params:\n        params[name] -= 0.1 * grads[name]\n    return -log_p"),
    of="in one piece",
    fails="parameters and data are left as they were",
)


@loss_and_gradients.right("one row at a time, added up")
def _(params, x, labels):
    total, grads = 0.0, {name: np.zeros_like(value) for name, value in params.items()}
    for row, label in zip(x, labels, strict=True):
        z = row @ params["weight1"] + params["bias1"]
        hidden = z * (z > 0)
        logits = hidden @ params["weight2"] + params["bias2"]
        total += np.logaddexp.reduce(logits) - logits[label]
        delta = np.exp(logits - np.logaddexp.reduce(logits))
        delta[label] -= 1
        back = (params["weight2"] @ delta) * (hidden > 0)
        for name, part in (("weight1", np.outer(row, back)), ("bias1", back), ("weight2", np.outer(hidden, delta)), ("bias2", delta)):
            grads[name] += part / len(x)
    return total / len(x), grads


@exercise(
    "backprop.mend_train_step",
    points=4,
    reference=("course_lib.scratch.mlp", FUNCTIONAL, "course_lib.scratch.optim"),
    mends="the first layer's gradient knows nothing of the step",
)
def mend_train_step(student, rng):
    """Measure first, then move: one step of gradient descent."""
    params, x, labels = small_network(rng)
    loss, grads = reference_pass(params, x, labels)
    with case("the loss is the one before the step"):
        close(student.mend_train_step(params, x, labels, 0.5)[0], loss)
    with case("the last layer moves against its gradient", hint="Both weight2 and bias2: each minus lr times its own gradient."):
        for lr in (0.5, 0.03):
            moved = student.mend_train_step(params, x, labels, lr)[1]
            close({name: moved[name] for name in NAMES[2:]}, {name: params[name] - lr * grads[name] for name in NAMES[2:]})
    with case("the first layer's gradient knows nothing of the step", hint="Where in the program is weight2 new, and where must it still be old?"):
        moved = student.mend_train_step(params, x, labels, 0.5)[1]
        close({name: moved[name] for name in NAMES[:2]}, {name: params[name] - 0.5 * grads[name] for name in NAMES[:2]})
    with case("a step of length 0 changes nothing"):
        close(student.mend_train_step(params, x, labels, 0.0)[1], params)
    with case(
        "the caller's parameters are left as they were", hint="`params[name] -= ...` writes into the caller's arrays. Return new ones.", side=True
    ):
        student.mend_train_step(params, x, labels, 0.5)
        inputs_unchanged(student)


@mend_train_step.right("measure, then move")
def _(params, x, labels, lr):
    z = x @ params["weight1"] + params["bias1"]
    hidden = np.maximum(z, 0)
    logits = hidden @ params["weight2"] + params["bias2"]
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    rows = np.arange(len(labels))
    grad = np.exp(log_p)
    grad[rows, labels] -= 1
    grad /= len(labels)
    back = (grad @ params["weight2"].T) * (z > 0)
    grads = {"weight2": hidden.T @ grad, "bias2": grad.sum(0), "weight1": x.T @ back, "bias1": back.sum(0)}
    new = {name: params[name] - lr * grads[name] for name in params}
    return -log_p[rows, labels].mean(), new


LAST_MOVES = "the last layer moves against its gradient"
FIRST_MOVES = "the first layer's gradient knows nothing of the step"
mend_train_step.slip(
    "updated on the way back, as it was found",
    ('grad @ params["weight2"].T', 'grad @ (params["weight2"] - lr * hidden.T @ grad).T'),
    of="measure, then move",
    fails=FIRST_MOVES,
)
mend_train_step.slip("uphill", ("- lr * grads", "+ lr * grads"), of="measure, then move", fails=(LAST_MOVES, FIRST_MOVES))
mend_train_step.slip(
    "one bias forgotten",
    ("    new = {name: params[name]", '    grads["bias2"] = 0.0\n    new = {name: params[name]'),
    of="measure, then move",
    fails=LAST_MOVES,
)
mend_train_step.slip(
    "mended, but in the caller's arrays",
    (
        "new = {name: params[name] - lr * grads[name] for name in params}",
        "new = params\n    for name in new:\n        new[name] -= lr * grads[name]",
    ),
    of="measure, then move",
    fails="the caller's parameters are left as they were",
)


@mend_train_step.wrong("the loss after the step", fails="the loss is the one before the step")
def _(params, x, labels, lr):
    def forward(params):
        z = x @ params["weight1"] + params["bias1"]
        logits = np.maximum(z, 0) @ params["weight2"] + params["bias2"]
        return z, logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)

    z, log_p = forward(params)
    rows = np.arange(len(labels))
    grad = np.exp(log_p)
    grad[rows, labels] -= 1
    grad /= len(labels)
    back = (grad @ params["weight2"].T) * (z > 0)
    grads = {"weight2": np.maximum(z, 0).T @ grad, "bias2": grad.sum(0), "weight1": x.T @ back, "bias1": back.sum(0)}
    new = {name: params[name] - lr * grads[name] for name in params}
    return -forward(new)[1][rows, labels].mean(), new


@mend_train_step.right("the old weight kept under a name of its own")
def _(params, x, labels, lr):
    weight1, bias1, old_weight2, bias2 = (params[name].copy() for name in ("weight1", "bias1", "weight2", "bias2"))
    z = x @ weight1 + bias1
    hidden = np.maximum(z, 0)
    logits = hidden @ old_weight2 + bias2
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    rows = np.arange(len(labels))
    grad = np.exp(log_p)
    grad[rows, labels] -= 1
    grad /= len(labels)
    weight2 = old_weight2 - lr * (hidden.T @ grad)
    bias2 -= lr * grad.sum(0)
    back = (grad @ old_weight2.T) * (z > 0)
    weight1 -= lr * (x.T @ back)
    bias1 -= lr * back.sum(0)
    return -log_p[rows, labels].mean(), {"weight1": weight1, "bias1": bias1, "weight2": weight2, "bias2": bias2}


def predicted(params, x) -> np.ndarray:
    """The classes that a two-layer ReLU network gives to x."""
    hidden = functional.relu(functional.affine(x, params["weight1"], params["bias1"]))
    return functional.affine(hidden, params["weight2"], params["bias2"]).argmax(axis=1)


def one_step(params, x, labels, lr):
    """Where a plain step of gradient descent leads from `params`."""
    _, grads = reference_pass(params, x, labels)
    return {name: params[name] - lr * grads[name] for name in NAMES}


def epochs_from(params, x, labels, batch_size, lr, rows=None):
    """Every place that one epoch can lead to, with the order that leads there: rows once each, in batches of `batch_size`."""
    rows = range(len(x)) if rows is None else rows
    if not rows:
        yield (), params
    for batch in itertools.combinations(rows, min(batch_size, len(rows))) if rows else ():  # their order within a batch makes no difference
        moved = one_step(params, x[list(batch)], labels[list(batch)], lr)
        for order, end in epochs_from(moved, x, labels, batch_size, lr, [row for row in rows if row not in batch]):
            yield batch + order, end


def agree(params, wanted) -> bool:
    return all(np.shape(params[name]) == wanted[name].shape and np.allclose(params[name], wanted[name], rtol=1e-6, atol=1e-9) for name in NAMES)


@exercise("backprop.train", points=4, seconds=20, reference=("course_lib.scratch.mlp", "course_lib.scratch.optim", FUNCTIONAL))
def train(student, rng):
    """A network that reads digits it has never seen."""
    x, labels = rng.normal(size=(5, 3)), np.array([0, 1, 2, 2, 1])
    small = {"hidden": 4, "lr": 0.3}
    with case("without an epoch: the network that it starts from", hint="initial_params(x.shape[1], hidden, labels.max() + 1, seed)."):
        start = student.train(x, labels, epochs=0, batch_size=2, seed=0, **small)
        same({name: list(np.shape(start[name])) for name in NAMES}, {"weight1": [3, 4], "bias1": [4], "weight2": [4, 3], "bias2": [3]}, "shapes")
    with case(
        "a batch larger than the data: one step, of the length that lr says", hint="The last batch may be smaller than batch_size; use it too."
    ):
        start = student.train(x, labels, epochs=0, batch_size=64, seed=1, **small)
        close(student.train(x, labels, epochs=1, batch_size=64, seed=1, **small), one_step(start, x, labels, 0.3), rtol=1e-6)
    with case("one epoch: every row once, and a step after every batch", hint="Five rows in batches of 2 make three steps: 2, 2 and 1 rows."):
        start = student.train(x, labels, epochs=0, batch_size=2, seed=2, **small)
        found = student.train(x, labels, epochs=1, batch_size=2, seed=2, **small)
        reached = any(agree(found, moved) for _, moved in epochs_from(start, x, labels, 2, 0.3))
        holds(reached, "No order of the five rows, in batches of 2, leads from the first network to the one after an epoch.")
    with case("a new random order in every epoch", hint="Draw the order inside the loop over epochs, for rows and labels alike."):
        four, four_labels = x[:4], labels[:4]
        another = False
        for seed in range(3):
            start, first, second = (student.train(four, four_labels, epochs=number, batch_size=1, seed=seed, **small) for number in range(3))
            to_first = next((order for order, moved in epochs_from(start, four, four_labels, 1, 0.3) if agree(first, moved)), ())
            to_second = next((order for order, moved in epochs_from(first, four, four_labels, 1, 0.3) if agree(second, moved)), ())
            holds(bool(to_first and to_second), "An epoch did not go through all four rows, one step for each.")
            another = to_first != to_second
            if another:
                break
        holds(another, "Every second epoch went through the rows in the order of the first.")
    with case("the same seed gives the same network, another seed another", hint="Take every random number from the seed: weights and orders."):
        first, again, other = (student.train(x, labels, epochs=2, batch_size=2, seed=seed, **small) for seed in (5, 5, 6))
        same(again, first, "the second run's network")
        holds(not np.array_equal(first["weight1"], other["weight1"]), "Seeds 5 and 6 gave the same network.")
        starts = [student.train(x, labels, epochs=0, batch_size=2, seed=seed, **small)["weight1"] for seed in (5, 6)]
        holds(not np.array_equal(*starts), "Seeds 5 and 6 start from the same weights.")
    with case("leaves the data as they were", hint="Shuffle an array of row numbers, not the rows themselves.", side=True):
        student.train(x, labels, epochs=1, batch_size=2, seed=0, **small)
        inputs_unchanged(student)
    with case("reads held-out digits: 90% on average over 3 seeds", hint="If all cases above pass, does a step use the loss of its own batch?"):
        pixels = rng.permutation(64)
        scores = []
        for seed in range(3):
            split = digits(seed=seed)
            params = student.train(split.x_train[:, pixels], split.y_train, hidden=32, epochs=8, batch_size=32, lr=0.6, seed=seed)
            scores.append(np.mean(predicted(params, split.x_test[:, pixels]) == split.y_test))
        accuracy(scores, over=0.90)


@train.right("plain loops")
def _(x, labels, *, hidden=64, epochs=40, batch_size=16, lr=0.5, seed=0):
    rng = np.random.default_rng(seed)
    classes = labels.max() + 1
    w1, b1 = rng.normal(size=(x.shape[1], hidden)) * np.sqrt(2 / x.shape[1]), np.zeros(hidden)
    w2, b2 = rng.normal(size=(hidden, classes)) * np.sqrt(2 / hidden), np.zeros(classes)
    for _epoch in range(epochs):
        order = rng.permutation(len(x))
        for start in range(0, len(x), batch_size):
            batch = order[start : start + batch_size]
            rows, wanted = x[batch], labels[batch]
            z = rows @ w1 + b1
            h = np.maximum(z, 0)
            logits = h @ w2 + b2
            g = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
            g[np.arange(len(wanted)), wanted] -= 1
            g /= len(wanted)
            back = (g @ w2.T) * (z > 0)
            w2, b2 = w2 - lr * h.T @ g, b2 - lr * g.sum(0)
            w1, b1 = w1 - lr * rows.T @ back, b1 - lr * back.sum(0)
    return {"weight1": w1, "bias1": b1, "weight2": w2, "bias2": b2}


START = "without an epoch: the network that it starts from"
ONE_STEP = "a batch larger than the data: one step, of the length that lr says"
EVERY_ROW = "one epoch: every row once, and a step after every batch"
NEW_ORDER = "a new random order in every epoch"
SEEDED = "the same seed gives the same network, another seed another"
READS = "reads held-out digits: 90% on average over 3 seeds"
ORDER = "order = rng.permutation(len(x))"
train.slip("rows never shuffled", (ORDER, "order = np.arange(len(x))"), of="plain loops", fails=NEW_ORDER)
train.slip(
    "shuffled once for all epochs",
    (f"    for _epoch in range(epochs):\n        {ORDER}\n", f"    {ORDER}\n    for _epoch in range(epochs):\n"),
    of="plain loops",
    fails=NEW_ORDER,
)
train.slip(
    "the rest of the epoch dropped",
    ("range(0, len(x), batch_size)", "range(0, len(x) - batch_size + 1, batch_size)"),
    of="plain loops",
    fails=(ONE_STEP, EVERY_ROW),
)
train.slip(
    "rows shuffled, labels not",
    ("labels[batch]", "labels[start : start + batch_size]"),
    of="plain loops",
    fails=(ONE_STEP, EVERY_ROW, NEW_ORDER, READS),
)
train.slip(
    "one step an epoch",
    ("range(0, len(x), batch_size)", "[0]"),
    ("order[start : start + batch_size]", "order"),
    of="plain loops",
    fails=(EVERY_ROW, NEW_ORDER, READS),
)
train.slip("the seed ignored", ("default_rng(seed)", "default_rng()"), of="plain loops", fails=(ONE_STEP, EVERY_ROW, NEW_ORDER, SEEDED))
train.slip(
    "begun anew in every epoch",
    (f"        {ORDER}", f"        w1, b1 = rng.normal(size=w1.shape) * np.sqrt(2 / len(w1)), 0 * b1\n        {ORDER}"),
    of="plain loops",
    fails=(ONE_STEP, EVERY_ROW, NEW_ORDER, READS),
)
train.slip("width of the hidden layer written as a number", ("labels.max() + 1", "labels.max() + 1\n    hidden = 32"), of="plain loops", fails=START)
train.slip(
    "the last class forgotten",
    ("labels.max() + 1", "max(labels.max(), 1)"),
    of="plain loops",
    fails=(START, ONE_STEP, EVERY_ROW, NEW_ORDER, SEEDED, "leaves the data as they were", READS),
)
train.slip(
    "the caller's rows shuffled in place",
    (ORDER, ORDER + "\n        x[:], labels[:] = x[order], labels[order]"),
    ("order[start : start + batch_size]", "slice(start, start + batch_size)"),
    of="plain loops",
    fails="leaves the data as they were",
)
train.slip(
    "the network that it started from is returned",
    ("    for _epoch in", '    first = {"weight1": w1, "bias1": b1, "weight2": w2, "bias2": b2}\n    for _epoch in'),
    ('return {"weight1": w1, "bias1": b1, "weight2": w2, "bias2": b2}', "return first"),
    of="plain loops",
    fails=(ONE_STEP, EVERY_ROW, NEW_ORDER, READS),
)


@train.right("batches cut by array_split, smaller initial weights")
def _(x, labels, *, hidden=64, epochs=40, batch_size=16, lr=0.5, seed=0):
    rng = np.random.default_rng(seed)
    classes = int(labels.max()) + 1
    bound = 1 / np.sqrt(x.shape[1])
    p = {
        "weight1": rng.uniform(-2 * bound, 2 * bound, size=(x.shape[1], hidden)),
        "bias1": np.zeros(hidden),
        "weight2": rng.uniform(-bound, bound, size=(hidden, classes)),
        "bias2": np.zeros(classes),
    }
    onehot = np.eye(classes)[labels]
    for _epoch in range(epochs):
        for batch in np.array_split(rng.permutation(len(x)), math.ceil(len(x) / batch_size)):
            z = x[batch] @ p["weight1"] + p["bias1"]
            h = np.maximum(z, 0)
            logits = h @ p["weight2"] + p["bias2"]
            g = (np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)) - onehot[batch]) / len(batch)
            back = (g @ p["weight2"].T) * (z > 0)
            grads = {"weight1": x[batch].T @ back, "bias1": back.sum(0), "weight2": h.T @ g, "bias2": g.sum(0)}
            p = {name: p[name] - lr * grads[name] for name in p}
    return p


def in_order(order: list, parents: dict) -> str:
    """ "" when every name stands once and after its parents; otherwise what is wrong."""
    if len(order) != len(set(order)):
        return "A name stands in your list more than once."
    place = {name: position for position, name in enumerate(order)}
    for name in order:
        for parent in parents.get(name, ()):
            if parent not in place:
                return "A parent of a listed node is missing."
            if place[parent] > place[name]:
                return "A node stands before one of its parents."
    return ""


@exercise("backprop.topological_order", points=3, seconds=1, reference="course_lib.scratch.autograd")
def topological_order(student, rng):
    """Parents before children."""
    tree = {"a": (), "b": (), "c": ("a", "b"), "L": ("c",)}
    with case("a tree: every node once, after its parents"):
        order = student.topological_order(tree, "L")
        same(sorted(order), ["L", "a", "b", "c"], "the list, sorted by name,")
        holds(not in_order(order, tree), in_order(order, tree))
    with case("a node that is used twice stands once, before both uses", hint="Remember where you have been; add a node after all its parents."):
        diamond = {"L": ("q", "p"), "q": ("x", "p"), "p": ("y",), "y": ("x",), "x": ()}
        order = student.topological_order(diamond, "L")
        same(sorted(order), ["L", "p", "q", "x", "y"], "the list, sorted by name,")
        holds(not in_order(order, diamond), in_order(order, diamond))
        same(student.topological_order({"L": ("q", "q"), "q": ()}, "L"), ["q", "L"])
    with case("random graphs: what the output was made of, and nothing else"):
        for _ in range(20):
            size = int(rng.integers(3, 25))
            name = [f"n{number}" for number in rng.permutation(size)]  # so that neither names nor places in the dict give the order away
            graph = {name[node]: tuple(name[p] for p in rng.choice(node, size=min(node, 2), replace=False)) for node in range(size)}
            graph = {key: graph[key] for key in sorted(graph)}
            output = name[size - 1]
            order = student.topological_order(graph, output)
            reached, waiting = set(), [output]
            while waiting:
                node = waiting.pop()
                reached.add(node)
                waiting.extend(graph[node])
            same(sorted(order), sorted(reached), "the list, sorted by name,")
            holds(not in_order(order, graph), in_order(order, graph))
    with case("a chain of 3,000 nodes", hint="Python stops at about 1,000 calls inside one another. Keep your own stack in a list."):
        chain = {f"n{i}": (f"n{i - 1}",) if i else () for i in range(3000)}
        same(student.topological_order(chain, "n2999"), [f"n{i}" for i in range(3000)])
    with case(
        "sixty doublings do not take for ever",
        hint="Going down every path visits a node as often as there are paths to it: 2^60 times here.",
        seconds=0.5,
    ):
        doubling = {f"n{i}": (f"n{i - 1}", f"m{i - 1}") if i else () for i in range(61)} | {f"m{i}": (f"n{i}",) for i in range(60)}
        order = student.topological_order(doubling, "n60")
        holds(not in_order(order, doubling) and len(order) == 121, "Every node once, after its parents, is wanted.")


@topological_order.wrong("breadth first, turned round", fails=("a node that is used twice stands once, before both uses",
    "random graphs: what the output was made of, and nothing else", "sixty doublings do not take for ever"))  # fmt: skip
def _(parents, output):
    order, waiting = [], [output]
    while waiting:
        node = waiting.pop(0)
        if node not in order:
            order.append(node)
            waiting.extend(parents[node])
    return order[::-1]


@topological_order.wrong("no memory of where it has been", fails=("a node that is used twice stands once, before both uses",
    "random graphs: what the output was made of, and nothing else", "sixty doublings do not take for ever"))  # fmt: skip
def _(parents, output):
    order, waiting = [], [output]
    while waiting:
        node = waiting.pop()
        order.append(node)
        waiting.extend(parents[node])
    return order[::-1]


@topological_order.wrong("recursion runs out", fails="a chain of 3,000 nodes")
def _(parents, output):
    order, seen = [], set()

    def visit(node):
        if node in seen:
            return
        seen.add(node)
        for parent in parents[node]:
            visit(parent)
        order.append(node)

    visit(output)
    return order


@topological_order.wrong("every node of the dict, in its order", fails=("a node that is used twice stands once, before both uses",
    "random graphs: what the output was made of, and nothing else", "sixty doublings do not take for ever"))  # fmt: skip
def _(parents, output):
    return list(parents)


@topological_order.wrong("remembered when seen instead of when listed", fails=("a node that is used twice stands once, before both uses",
    "random graphs: what the output was made of, and nothing else"))  # fmt: skip
def _(parents, output):
    order, seen, stack = [], {output}, [output]
    while stack:
        node = stack.pop()
        order.append(node)
        for parent in parents[node]:
            if parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return order[::-1]


@topological_order.right("count the children that are still to come (Kahn)")
def _(parents, output):
    children = {output: 0}
    waiting = [output]
    while waiting:
        for parent in parents[waiting.pop()]:
            if parent not in children:
                waiting.append(parent)
            children[parent] = children.get(parent, 0) + 1
    order, ready = [], [output]
    while ready:
        node = ready.pop()
        order.append(node)
        for parent in parents[node]:
            children[parent] -= 1
            if children[parent] == 0:
                ready.append(parent)
    return order[::-1]


@exercise("backprop.Value", points=5, seconds=1, reference="course_lib.scratch.autograd")
def Value(student, rng):
    """An engine that does the chain rule by itself."""
    a, b, c = (float(number) for number in rng.uniform(0.3, 1.5, size=3))
    with case("the numbers come out right, and stay in the graph", hint="Every operation returns a new Value, with parents and local_gradients."):
        x, y = student.Value(a), student.Value(b)
        nodes = [x + y, x * y, x - y, 1.0 - x, 2.0 * x, (x * y + x).tanh(), student.Value(-400.0).tanh()]
        holds(all(is_object(node) for node in nodes), "An operation gave a plain number; a Value is wanted, or the graph ends there.")
        close([node.data for node in nodes], [a + b, a * b, a - b, 1 - a, 2 * a, math.tanh(a * b + a), -1.0])
    with case("sums and products send the right gradients back", hint="Did backward set self.grad = 1? And d(xy)/dx is y: the other one's value."):
        x, y, z = student.Value(a), student.Value(b), student.Value(c)
        (x * y + z * 3.0).backward()
        close([x.grad, y.grad, z.grad], [b, a, 3.0])
    with case("tanh sends the right gradient back", hint="Its slope is 1 minus the square of its output."):
        x = student.Value(a)
        (x * b).tanh().backward()
        close(x.grad, b * (1 - math.tanh(a * b) ** 2))
    with case("a node used twice collects from both uses", hint="Add to the parent's gradient (+=); do not overwrite it."):
        x, y = student.Value(a), student.Value(b)
        (x * x + x * y).backward()
        close([x.grad, y.grad], [2 * a + b, a])
    with case("two nodes with the same number are two nodes", hint="Remember nodes, not numbers: keep the node itself in `seen`."):
        x, y = student.Value(a), student.Value(a)
        twice, also_twice = x * 2.0, y * 2.0
        (twice * also_twice + twice).backward()
        close([x.grad, y.grad], [4 * a + 2, 4 * a])
    with case("a node passes its gradient on only when it is complete", hint="Go through the nodes in topological order, from the output back."):
        x = student.Value(a)
        shared = x * b
        top = shared + shared * c
        (top + top * shared).backward()
        close(x.grad, b * (1 + c) * (1 + 2 * a * b))
    with case("thirty doublings do not take for ever", hint="Visit each node once, not once for every path that leads to it.", seconds=0.5):
        x = student.Value(1e-6)
        node = x
        for _ in range(30):
            node = node + node
        node.backward()
        close(x.grad, 2.0**30)
    with case("gradients agree with measured slopes on random expressions"):
        for _ in range(3):
            points = rng.uniform(-1, 1, size=4)
            leaves = [student.Value(float(point)) for point in points]
            (((leaves[0] * leaves[1] + leaves[2]).tanh() - leaves[3] * leaves[0]) * (leaves[2] + 0.5) + leaves[1] * leaves[1]).backward()
            measured = gradcheck.numerical_gradient(lambda p: (np.tanh(p[0] * p[1] + p[2]) - p[3] * p[0]) * (p[2] + 0.5) + p[1] * p[1], points)
            close([leaf.grad for leaf in leaves], measured.tolist(), rtol=1e-6, atol=1e-8)


@Value.right("with local gradients")
class _:
    def __init__(self, data, parents=(), local_gradients=()):
        self.data, self.parents, self.local_gradients, self.grad = float(data), parents, local_gradients, 0.0

    def _wrap(self, other):
        return other if isinstance(other, type(self)) else type(self)(other)

    def __add__(self, other):
        other = self._wrap(other)
        return type(self)(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other):
        other = self._wrap(other)
        return type(self)(self.data * other.data, (self, other), (other.data, self.data))

    __rmul__ = __mul__

    def __sub__(self, other):
        return self + self._wrap(other) * -1

    def __rsub__(self, other):
        return self._wrap(other) - self

    def tanh(self):
        out = math.tanh(self.data)
        return type(self)(out, (self,), (1 - out**2,))

    def backward(self):
        order, seen = [], set()

        def visit(node):
            if node not in seen:
                seen.add(node)
                for parent in node.parents:
                    visit(parent)
                order.append(node)

        visit(self)
        self.grad = 1.0
        for node in reversed(order):
            for parent, local in zip(node.parents, node.local_gradients, strict=True):
                parent.grad += local * node.grad


PRODUCT = "sums and products send the right gradients back"
TANH = "tanh sends the right gradient back"
TWICE = "a node used twice collects from both uses"
EQUAL = "two nodes with the same number are two nodes"
COMPLETE = "a node passes its gradient on only when it is complete"
DOUBLINGS = "thirty doublings do not take for ever"
MEASURED = "gradients agree with measured slopes on random expressions"
Value.slip(
    "gradients overwritten", ("parent.grad += ", "parent.grad = "), of="with local gradients", fails=(TWICE, EQUAL, COMPLETE, DOUBLINGS, MEASURED)
)
Value.slip(
    "the output's own gradient is never set to 1",
    ("        self.grad = 1.0\n", ""),
    of="with local gradients",
    fails=(PRODUCT, TANH, TWICE, EQUAL, COMPLETE, DOUBLINGS, MEASURED),
)
Value.slip(
    "the product's slopes swapped",
    ("(other.data, self.data)", "(self.data, other.data)"),
    of="with local gradients",
    fails=(PRODUCT, TANH, TWICE, EQUAL, COMPLETE, MEASURED),
)
Value.slip("the slope of tanh from its input", ("1 - out**2", "1 - self.data**2"), of="with local gradients", fails=(TANH, MEASURED))
Value.slip(
    "a node listed before its parents",
    (
        "                for parent in node.parents:\n                    visit(parent)\n                order.append(node)\n",
        "                order.append(node)\n                for parent in node.parents:\n                    visit(parent)\n",
    ),
    ("reversed(order)", "order"),
    of="with local gradients",
    fails=(COMPLETE,),
)
Value.slip(
    "numbers remembered instead of nodes",
    ("if node not in seen:", "if node.data not in seen:"),
    ("seen.add(node)", "seen.add(node.data)"),
    of="with local gradients",
    fails=(EQUAL,),
)
Value.slip("a node listed once for every path", ("if node not in seen:", "if True:"), of="with local gradients", fails=(EQUAL, COMPLETE, DOUBLINGS))


@Value.right("with a function for each node's backward step")
class _:
    def __init__(self, data, parents=()):
        self.data, self.parents, self.grad, self.push = data, parents, 0.0, lambda: None

    def __add__(self, other):
        other = other if isinstance(other, type(self)) else type(self)(other)
        out = type(self)(self.data + other.data, (self, other))

        def push():
            self.grad += out.grad
            other.grad += out.grad

        out.push = push
        return out

    def __mul__(self, other):
        other = other if isinstance(other, type(self)) else type(self)(other)
        out = type(self)(self.data * other.data, (self, other))

        def push():
            self.grad += other.data * out.grad
            other.grad += self.data * out.grad

        out.push = push
        return out

    __rmul__ = __mul__

    def __sub__(self, other):
        return self + other * -1

    def __rsub__(self, other):
        return type(self)(other) + self * -1

    def tanh(self):
        out = type(self)(np.tanh(self.data), (self,))

        def push():
            self.grad += (1 - out.data**2) * out.grad

        out.push = push
        return out

    def backward(self):
        order, stack = [], [(self, False)]
        seen = set()
        while stack:
            node, done = stack.pop()
            if done:
                order.append(node)
            elif node not in seen:
                seen.add(node)
                stack.append((node, True))
                stack.extend((parent, False) for parent in node.parents)
        self.grad = 1.0
        for node in reversed(order):
            node.push()
