"""What the exercises of chapter 05 demand. Trusted side: student code is reached only through `student`.

A network cannot cross the wire, so the student's functions are given what it can be made of: a builder from `course_lib.nets`, which both sides can
import by its name, and a state dict of tensors.
"""

import copy
import itertools
import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from autograder.checking import accuracy, at_most, case, close, exercise, holds, inputs_unchanged, same
from course_lib import nets
from course_lib.data import digits
from course_lib.probe import input_slopes

TRAIN = ("course_lib.train", "course_lib.checkpoint")
WIDTHS = (7, 6, 5, 4)


def tensor(rng, *shape, scale=1.0, dtype=torch.float32):
    """Normal numbers as a tensor."""
    return torch.from_numpy(scale * rng.normal(size=shape)).to(dtype)


def classes(rng, rows, count=10):
    """Labels, every class about as often."""
    return torch.from_numpy(rng.permutation(np.arange(rows) % count))


def drawn(build, rng):
    """A state dict for a builder's network: weights drawn anew, normalisation with averages of its own."""
    weights = {}
    for name, value in build().state_dict().items():
        if not value.is_floating_point():
            weights[name] = value
        elif name.endswith("running_var"):
            weights[name] = torch.from_numpy(rng.uniform(0.5, 2, size=value.shape)).float()
        else:
            weights[name] = tensor(rng, *value.shape, scale=0.3 if value.ndim == 2 else 0.2)
    return weights


def logits_of(build, weights, x):
    """What the network answers when it is used, not trained."""
    net = build()
    net.load_state_dict(weights)
    net.eval()
    with torch.no_grad():
        return net(x)


def one_step(build, weights, x, y, lr, loss=F.cross_entropy, weight_decay=0.0):
    """One step of plain gradient descent in training mode. → (loss before it, the new state dict)"""
    net = build()
    net.load_state_dict(weights)
    net.train()
    value = loss(net(x), y)
    value.backward()
    torch.optim.SGD(net.parameters(), lr=lr, weight_decay=weight_decay).step()
    return value.item(), copy.deepcopy(net.state_dict())


def load_optimisers():
    """torch loads much more with its first optimiser, which can take seconds: where student code runs in this process, not at its expense."""
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)


def near(found, wanted) -> bool:
    return all(
        tuple(found[name].shape) == tuple(value.shape) and torch.allclose(found[name], value, rtol=1e-4, atol=1e-6) for name, value in wanted.items()
    )


@exercise("training.torch_gradients", points=3)
def torch_gradients(student, rng):
    """Chapter 03's gradients, by asking for them."""
    params = {
        "weight1": tensor(rng, 6, 5, dtype=torch.float64),
        "bias1": tensor(rng, 5, dtype=torch.float64),
        "weight2": tensor(rng, 5, 4, dtype=torch.float64),
        "bias2": tensor(rng, 4, dtype=torch.float64),
    }
    x, labels = tensor(rng, 9, 6, dtype=torch.float64), classes(rng, 9, 4)
    leaves = {name: value.clone().requires_grad_() for name, value in params.items()}
    hidden = torch.relu(x @ leaves["weight1"] + leaves["bias1"])
    loss = F.cross_entropy(hidden @ leaves["weight2"] + leaves["bias2"], labels)
    wanted = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
    with case(
        "the loss is the mean cross-entropy, as a plain number", hint="`.item()` takes the number out of a tensor and leaves the graph behind."
    ):
        close(student.torch_gradients(params, x, labels)[0], loss.item())
    with case("every parameter has its gradient", hint="Call backward() on the loss; then every leaf that asked for a gradient has one in `.grad`."):
        close(student.torch_gradients(params, x, labels)[1], wanted)
    with case("an open ReLU passes, a closed one does not", hint="torch.relu stands between the two layers."):
        closed = {**params, "bias1": torch.full((5,), -100.0, dtype=torch.float64)}
        grads = student.torch_gradients(closed, x, labels)[1]
        close(grads["weight1"], torch.zeros(6, 5, dtype=torch.float64))
        close(grads["bias2"], torch.softmax(params["bias2"], 0) - torch.bincount(labels, minlength=4).double() / 9)
    with case(
        "a confident mistake costs much, but not infinitely much", hint="F.cross_entropy takes logits; a logarithm of a softmax is -inf too soon."
    ):
        sure = {**params, "weight2": torch.zeros(5, 4, dtype=torch.float64), "bias2": torch.tensor([0.0, 900.0, 0.0, 0.0], dtype=torch.float64)}
        found = student.torch_gradients(sure, x[:1], torch.tensor([2]))
        close(found[0], 900.0)
        close(found[1]["bias2"], torch.tensor([0.0, 1.0, -1.0, 0.0], dtype=torch.float64))


GRADIENTS = "every parameter has its gradient"
LOSS_NUMBER = "the loss is the mean cross-entropy, as a plain number"
OPEN = "an open ReLU passes, a closed one does not"
CONFIDENT = "a confident mistake costs much, but not infinitely much"


@torch_gradients.right("leaves, backward, grad")
def _(params, x, labels):
    leaves = {name: value.detach().clone().requires_grad_(True) for name, value in params.items()}
    z = x @ leaves["weight1"] + leaves["bias1"]
    hidden = z.clamp(min=0)
    logits = hidden @ leaves["weight2"] + leaves["bias2"]
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    return loss.item(), {name: leaf.grad for name, leaf in leaves.items()}


torch_gradients.slip("the loss still a tensor", ("loss.item()", "loss"), of="leaves, backward, grad", fails=(LOSS_NUMBER, CONFIDENT))
torch_gradients.slip("never called backward", ("    loss.backward()\n", ""), of="leaves, backward, grad", fails=(GRADIENTS, OPEN, CONFIDENT))
torch_gradients.slip("no ReLU", ("z.clamp(min=0)", "z"), of="leaves, backward, grad", fails=(LOSS_NUMBER, GRADIENTS, OPEN))
torch_gradients.slip(
    "softmax before a loss that takes logits",
    ("F.cross_entropy(logits, labels)", "F.cross_entropy(logits.softmax(1), labels)"),
    of="leaves, backward, grad",
    fails=(LOSS_NUMBER, GRADIENTS, OPEN, CONFIDENT),
)
torch_gradients.slip(
    "the logarithm of a softmax",
    ("F.cross_entropy(logits, labels)", "F.nll_loss(torch.log(torch.softmax(logits, 1)), labels)"),
    of="leaves, backward, grad",
    fails=CONFIDENT,
)
torch_gradients.slip(
    "the sum over the batch",
    ("F.cross_entropy(logits, labels)", 'F.cross_entropy(logits, labels, reduction="sum")'),
    of="leaves, backward, grad",
    fails=(LOSS_NUMBER, GRADIENTS, OPEN),
)
torch_gradients.slip(
    "backward called twice",
    ("    loss.backward()\n", "    loss.backward(retain_graph=True)\n    loss.backward()\n"),
    of="leaves, backward, grad",
    fails=(GRADIENTS, OPEN, CONFIDENT),
)


@torch_gradients.right("through torch.autograd.grad and log-sum-exp")
def _(params, x, labels):
    names = ["weight1", "bias1", "weight2", "bias2"]
    w1, b1, w2, b2 = (params[name].clone().requires_grad_() for name in names)
    logits = torch.addmm(b2, torch.relu(torch.addmm(b1, x, w1)), w2)
    loss = (logits.logsumexp(1) - logits[torch.arange(len(x)), labels]).mean()
    return float(loss.detach()), dict(zip(names, torch.autograd.grad(loss, [w1, b1, w2, b2]), strict=True))


def shapes(net):
    return [list(value.shape) for value in net.state_dict().values()]


def through(layers, x):
    """layers: pairs of weight (out, in) and bias (out,); ReLU after all but the last."""
    for number, (weight, bias) in enumerate(layers):
        x = x @ weight.T + bias
        if number < len(layers) - 1:
            x = x.clamp(min=0)
    return x


def given_weights(net, rng):
    """Load weights of the check's own. → pairs (weight, bias) in the order of the layers"""
    state = {name: tensor(rng, *value.shape) for name, value in net.state_dict().items()}
    net.load_state_dict(state)
    values = list(state.values())
    return list(zip(values[::2], values[1::2], strict=True))


@exercise("training.MLP", points=4, seconds=4)
def MLP(student, rng):
    """A network of any depth, as a module."""
    with case(
        "every layer is registered: a weight and a bias each, in their order", hint="A Python list hides layers from nn.Module; use nn.ModuleList."
    ):
        net = student.MLP(list(WIDTHS))
        same(shapes(net), [[6, 7], [6], [5, 6], [5], [4, 5], [4]], "the shapes in state_dict()")
    with case("its answer: affine, ReLU, affine, ReLU, …, affine", hint="No activation after the last layer: its numbers are the logits."):
        net = student.MLP(list(WIDTHS))
        layers, x = given_weights(net, rng), tensor(rng, 8, 7)
        close(net(x), through(layers, x), rtol=1e-4, atol=1e-4)
    with case("with no hidden layer it is one affine map", hint="Then there is no ReLU at all: the only layer is the last."):
        net = student.MLP([5, 3])
        layers, x = given_weights(net, rng), tensor(rng, 6, 5)
        close(net(x), through(layers, x), rtol=1e-4, atol=1e-4)
    with case("as deep as it is told: six layers", hint="Make the layers in a loop over neighbouring sizes."):
        net = student.MLP([6] * 7)
        same(len(net.state_dict()), 12, "the number of tensors in state_dict()")
        layers, x = given_weights(net, rng), tensor(rng, 3, 6, scale=0.3)
        wanted = through(layers, x)
        close(net(x), wanted, rtol=1e-4, atol=1e-4 * max(1.0, float(wanted.abs().max())))
    with case("its layers start different, in it and from network to network", hint="Every layer is a new nn.Linear, which draws its own weights."):
        first, second = (student.MLP([6, 6, 6]).state_dict() for _ in range(2))
        square = [value for net in (first, second) for value in net.values() if tuple(value.shape) == (6, 6)]
        same(len(square), 4, "the number of weights in two networks of two layers")
        holds(all(not torch.equal(square[i], square[j]) for i in range(4) for j in range(i)), "Two layers start with the same weights.")


REGISTERED = "every layer is registered: a weight and a bias each, in their order"
FORMULA = "its answer: affine, ReLU, affine, ReLU, …, affine"
AFFINE = "with no hidden layer it is one affine map"
SIX = "as deep as it is told: six layers"
DIFFERENT = "its layers start different, in it and from network to network"


@MLP.right("a ModuleList")
class _(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(sizes[i], sizes[i + 1]) for i in range(len(sizes) - 1)])

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return self.layers[-1](x)


MLP.slip("layers in a Python list", ("nn.ModuleList([", "list(["), of="a ModuleList", fails=(REGISTERED, FORMULA, AFFINE, SIX, DIFFERENT))
MLP.slip(
    "a ReLU after the last layer",
    ("return self.layers[-1](x)", "return torch.relu(self.layers[-1](x))"),
    of="a ModuleList",
    fails=(FORMULA, AFFINE, SIX),
)
MLP.slip(
    "softmax at the end", ("return self.layers[-1](x)", "return self.layers[-1](x).softmax(-1)"), of="a ModuleList", fails=(FORMULA, AFFINE, SIX)
)
MLP.slip("no ReLU", ("torch.relu(layer(x))", "layer(x)"), of="a ModuleList", fails=(FORMULA, SIX))
MLP.slip("tanh", ("torch.relu(layer(x))", "torch.tanh(layer(x))"), of="a ModuleList", fails=(FORMULA, SIX))
MLP.slip(
    "the same layer again and again",
    (
        "nn.ModuleList([nn.Linear(sizes[i], sizes[i + 1]) for i in range(len(sizes) - 1)])",
        "nn.ModuleList([nn.Linear(sizes[0], sizes[1])] * (len(sizes) - 1))",
    ),
    of="a ModuleList",
    fails=(REGISTERED, FORMULA, SIX, DIFFERENT),
)
MLP.slip(
    "the last layer forgotten",
    ("range(len(sizes) - 1)", "range(len(sizes) - 2)"),
    of="a ModuleList",
    fails=(REGISTERED, AFFINE, SIX, DIFFERENT),
)


@MLP.right("one nn.Sequential")
class _(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        parts = []
        for position in range(len(sizes) - 1):
            parts += [nn.ReLU()] if position else []
            parts.append(nn.Linear(sizes[position], sizes[position + 1]))
        self.chain = nn.Sequential(*parts)

    def forward(self, x):
        return self.chain(x)


UNSURE = "an unsure answer costs log 2"
SURE = "a sure and right answer costs next to nothing"
WRONG_SURE = "a sure and wrong answer costs as much as it was sure"
BATCH_LOSS = "a batch: the mean over its rows"
PAIRS = "row n is compared with label n, not with every label"


@exercise("training.mend_loss", points=2, mends=(UNSURE, SURE, WRONG_SURE, BATCH_LOSS, PAIRS))
def mend_loss(student, rng):
    """The loss of a network with one output."""
    logits, labels = tensor(rng, 9, 1, scale=2.0), classes(rng, 9, 2)
    with case(UNSURE, hint="A logit of 0 stands for probability one half, whose surprise is log 2."):
        close(student.mend_loss(torch.zeros(6, 1), torch.tensor([0, 1, 1, 0, 1, 0])), torch.tensor(math.log(2)))
    with case(SURE, hint="Can the program's loss ever come near 0? How large can a sigmoid of a sigmoid be?"):
        close(student.mend_loss(torch.tensor([[40.0], [-40.0]]), torch.tensor([1, 0])), torch.tensor(0.0), atol=1e-6)
    with case(WRONG_SURE, hint="Leave the sigmoid to the loss: on its way through a probability, a large logit is rounded to 0 or 1."):
        close(student.mend_loss(torch.tensor([[300.0], [-500.0]]), torch.tensor([0, 1])), torch.tensor(400.0))
    with case(BATCH_LOSS, hint="A batch of one row is a batch too: squeeze(1) drops the second axis, squeeze() every axis of length 1."):
        close(student.mend_loss(logits, labels), F.binary_cross_entropy_with_logits(logits[:, 0], labels.float()))
        close(student.mend_loss(torch.zeros(1, 1), torch.tensor([1])), torch.tensor(math.log(2)))
    with case(PAIRS, hint="(N, 1) beside (N,) broadcasts to an N × N table. Give both the same shape."):
        two = torch.tensor([[30.0], [-30.0]])
        close(student.mend_loss(two, torch.tensor([1, 0])), torch.tensor(0.0), atol=1e-6)


@mend_loss.right("by hand, with softplus")
def _(logits, labels):
    z = logits[:, 0]
    wanted = labels.to(z.dtype)
    return (F.softplus(z) - z * wanted).mean()


mend_loss.slip("the sum over the batch", (".mean()", ".sum()"), of="by hand, with softplus", fails=(UNSURE, WRONG_SURE, BATCH_LOSS))
mend_loss.slip("every row with every label", ("logits[:, 0]", "logits"), of="by hand, with softplus", fails=(SURE, WRONG_SURE, BATCH_LOSS, PAIRS))
mend_loss.slip(
    "labels turned round", ("labels.to(z.dtype)", "1 - labels.to(z.dtype)"), of="by hand, with softplus", fails=(SURE, WRONG_SURE, BATCH_LOSS, PAIRS)
)


@mend_loss.wrong("a sigmoid before a loss that takes logits, as it was found", fails=(UNSURE, SURE, WRONG_SURE, BATCH_LOSS, PAIRS))
def _(logits, labels):
    return F.binary_cross_entropy_with_logits(torch.sigmoid(logits)[:, 0], labels.float())


@mend_loss.wrong("squeeze() without an axis, which a batch of one row does not survive", fails=BATCH_LOSS)
def _(logits, labels):
    return F.binary_cross_entropy_with_logits(logits.squeeze(), labels.float())


@mend_loss.wrong("through rounded probabilities", fails=WRONG_SURE)
def _(logits, labels):
    return F.binary_cross_entropy(torch.sigmoid(logits)[:, 0], labels.float())


@mend_loss.right("two classes, one of them with logit 0")
def _(logits, labels):
    return F.cross_entropy(torch.cat([torch.zeros_like(logits), logits], dim=1), labels)


STEP = "one step is a step of gradient descent"
STEPS = "three steps: each follows the slope of its own loss"
LOSSES = "the losses are those before each step"
NO_STEP = "without a step the weights are as they were"


@exercise("training.mend_steps", points=3, seconds=10, mends=(STEPS, LOSSES))
def mend_steps(student, rng):
    """A few steps of training on the same rows."""
    build, lr = nets.digit_net, 0.3
    weights, x, y = drawn(build, rng), tensor(rng, 12, 64, scale=0.5), classes(rng, 12)
    chain, values = [weights], []
    for _ in range(3):
        value, moved = one_step(build, chain[-1], x, y, lr)
        values.append(value)
        chain.append(moved)
    with case(NO_STEP, side=True):
        found, losses = student.mend_steps(build, weights, x, y, lr=lr, steps=0)
        same(found, weights)
        same(losses, [])
    with case(
        STEP,
        hint="optimizer.step() moves by lr times the gradients in .grad; a new network is in training mode, as it should be here.",
    ):
        close(student.mend_steps(build, weights, x, y, lr=lr, steps=1)[0], chain[1], rtol=1e-3, atol=1e-5)
        state = drawn(nets.norm_net, rng)
        close(student.mend_steps(nets.norm_net, state, x, y, lr=0.1, steps=1)[0], one_step(nets.norm_net, state, x, y, 0.1)[1], rtol=1e-3, atol=1e-5)
    with case(STEPS, hint="backward() adds to what is in .grad. Who empties it, and when?"):
        close(student.mend_steps(build, weights, x, y, lr=lr, steps=3)[0], chain[3], rtol=1e-3, atol=1e-4)
    with case(LOSSES, hint="If the first two are right and the third is not, the second step went wrong."):
        close(student.mend_steps(build, weights, x, y, lr=lr, steps=3)[1], values, rtol=1e-3, atol=1e-4)
    with case("what it was given is left as it was", side=True):
        student.mend_steps(build, weights, x, y, lr=lr, steps=1)
        inputs_unchanged(student)


@mend_steps.right("emptied at the end of every turn")
def _(build, weights, x, y, *, lr, steps):
    net = build()
    net.load_state_dict(weights)
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    losses = []
    for _turn in range(steps):
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return net.state_dict(), losses


EMPTIED = "emptied at the end of every turn"
mend_steps.slip("never emptied, as it was found", ("        optimizer.zero_grad()\n", ""), of=EMPTIED, fails=(STEPS, LOSSES))
mend_steps.slip(
    "emptied between backward and step",
    ("        optimizer.step()\n        optimizer.zero_grad()\n", "        optimizer.zero_grad()\n        optimizer.step()\n"),
    of=EMPTIED,
    fails=(STEP, STEPS, LOSSES),
)
mend_steps.slip(
    "emptied once, before the loop",
    ("        optimizer.zero_grad()\n", ""),
    ("    losses = []\n", "    losses = []\n    optimizer.zero_grad()\n"),
    of=EMPTIED,
    fails=(STEPS, LOSSES),
)
mend_steps.slip(
    "a new loss, the old gradient",
    ("        loss.backward()\n", "        loss.backward() if not losses else None\n"),
    of=EMPTIED,
    fails=(STEPS, LOSSES),
)
mend_steps.slip("a learning rate of its own", ("lr=lr", "lr=0.3"), of=EMPTIED, fails=STEP)
mend_steps.slip("in evaluation mode", ("    losses = []\n", "    losses = []\n    net.eval()\n"), of=EMPTIED, fails=STEP)
mend_steps.slip(
    "the loss after the step", ("losses.append(loss.item())", "losses.append(F.cross_entropy(net(x), y).item())"), of=EMPTIED, fails=(STEP, LOSSES)
)


@mend_steps.right("without an optimiser")
def _(build, weights, x, y, *, lr, steps):
    net, losses = build(), []
    net.load_state_dict(weights)
    params = list(net.parameters())
    for _turn in range(steps):
        loss = F.cross_entropy(net(x), y)
        losses.append(float(loss.detach()))
        with torch.no_grad():
            for param, grad in zip(params, torch.autograd.grad(loss, params), strict=True):
                param -= lr * grad
    return net.state_dict(), losses


PROBABLE = "a plain network: its probabilities"
TWICE = "with dropout: the answer of the whole network, the same every time"
COMPANY = "with batch normalisation: a row is answered alike in any company"
ALONE = "a single row gets an answer"


@exercise("training.mend_predict", points=3, seconds=4, mends=(TWICE, COMPANY), reference=TRAIN)
def mend_predict(student, rng):
    """What a trained network says."""
    x = tensor(rng, 12, 64)
    with case(PROBABLE, hint="softmax over the classes of each row, dim=1."):
        weights = drawn(nets.digit_net, rng)
        close(student.mend_predict(nets.digit_net, weights, x), logits_of(nets.digit_net, weights, x).softmax(1))
    with case(TWICE, hint="torch.no_grad() stops recording; it does not stop dropout. Which call does?"):
        weights = drawn(nets.dropout_net, rng)
        first, second = (student.mend_predict(nets.dropout_net, weights, x) for _ in range(2))
        holds(torch.equal(first, second), "The same rows got two different answers.")
        close(first, logits_of(nets.dropout_net, weights, x).softmax(1))
    with case(COMPANY, hint="In training mode, batch normalisation uses the averages of the rows that happen to be there."):
        weights = drawn(nets.norm_net, rng)
        wanted = logits_of(nets.norm_net, weights, x).softmax(1)
        close(student.mend_predict(nets.norm_net, weights, x), wanted)
        close(student.mend_predict(nets.norm_net, weights, x[:3]), wanted[:3])
    with case(ALONE, hint="One row has no spread, so in training mode batch normalisation cannot divide by it."):
        weights = drawn(nets.norm_net, rng)
        close(student.mend_predict(nets.norm_net, weights, x[:1]), logits_of(nets.norm_net, weights, x[:1]).softmax(1))


@mend_predict.right("eval, load, ask")
def _(build, weights, x):
    net = build().eval()
    net.load_state_dict(weights)
    with torch.inference_mode():
        return torch.softmax(net(x), dim=1)


ASK = "eval, load, ask"
mend_predict.slip("in training mode, as it was found", ("build().eval()", "build()"), of=ASK, fails=(TWICE, COMPANY, ALONE))
mend_predict.slip("weights never loaded", ("    net.load_state_dict(weights)\n", ""), of=ASK, fails=(PROBABLE, TWICE, COMPANY, ALONE))
mend_predict.slip("softmax over the rows", ("dim=1", "dim=0"), of=ASK, fails=(PROBABLE, TWICE, COMPANY, ALONE))
mend_predict.slip("logits instead of probabilities", ("torch.softmax(net(x), dim=1)", "net(x)"), of=ASK, fails=(PROBABLE, TWICE, COMPANY, ALONE))
mend_predict.slip(
    "eval() after the answer",
    ("build().eval()", "build()"),
    ("        return torch.softmax(net(x), dim=1)", "        out = torch.softmax(net(x), dim=1)\n        net.eval()\n        return out"),
    of=ASK,
    fails=(TWICE, COMPANY, ALONE),
)


@mend_predict.right("one row at a time, through functional_call")
def _(build, weights, x):
    net = build()
    net.train(False)
    rows = [torch.func.functional_call(net, weights, (row[None],)) for row in x]
    return torch.cat(rows).softmax(-1).detach()


ROW_MEAN = "the loss is the mean over the rows, however they fall into batches"
SHARE = "the accuracy is the share of rows answered rightly"
ONE_LOGIT = "with a single output, a logit above 0 means class 1"
USED = "the network is judged as it is used: dropout and batch statistics off"


@exercise("training.evaluate", points=4, seconds=4, reference=TRAIN)
def evaluate(student, rng):
    """How good is a network?"""
    build = nets.digit_net
    weights, x = drawn(build, rng), tensor(rng, 11, 64)
    y = logits_of(build, weights, x).argmax(1)
    y[:5] = (y[:5] + 1) % 10
    with case("one batch: the loss that was asked for", hint="loss(logits, y) for the loss function that was handed over."):
        found = student.evaluate(build, weights, x, y, loss=F.cross_entropy, batch_size=64)
        close(found["loss"], F.cross_entropy(logits_of(build, weights, x), y).item(), rtol=1e-4)
        found = student.evaluate(build, weights, x, y, loss=F.multi_margin_loss, batch_size=64)
        close(found["loss"], F.multi_margin_loss(logits_of(build, weights, x), y).item(), rtol=1e-4)
    with case(ROW_MEAN, hint="11 rows in batches of 4: 4, 4 and 3. Weigh each batch's mean by its number of rows, and keep the last one."):
        for size in (4, 5, 1):
            found = student.evaluate(build, weights, x, y, loss=F.cross_entropy, batch_size=size)
            close(found["loss"], F.cross_entropy(logits_of(build, weights, x), y).item(), rtol=1e-4)
    with case(SHARE, hint="argmax over the classes, compared with y; right rows divided by all rows."):
        found = student.evaluate(build, weights, x, y, loss=F.cross_entropy, batch_size=4)
        close(found["accuracy"], 6 / 11, rtol=1e-5)
    with case(
        ONE_LOGIT,
        hint="argmax over a single column is always 0. A probability above one half is a logit above 0. The loss takes logits too.",
    ):
        single = drawn(nets.tumour_net, rng)
        rows = tensor(rng, 10, 30)
        logits = logits_of(nets.tumour_net, single, rows)
        single["4.bias"] = single["4.bias"] - logits.sort(dim=0).values[4:6].mean()  # half of the rows above 0, however the draw falls
        logits = logits_of(nets.tumour_net, single, rows)
        wanted = (logits > 0).float()
        near_zero = logits.abs().argsort(dim=0)[:3, 0]
        wanted[near_zero] = 1 - wanted[near_zero]
        found = student.evaluate(nets.tumour_net, single, rows, wanted, loss=F.binary_cross_entropy_with_logits, batch_size=4)
        close(found["accuracy"], 0.7, rtol=1e-5)
        close(found["loss"], F.binary_cross_entropy_with_logits(logits, wanted).item(), rtol=1e-4)
        shifted = {**single, "4.bias": single["4.bias"] + 0.25 - logits.max()}
        low = logits_of(nets.tumour_net, shifted, rows)
        found = student.evaluate(nets.tumour_net, shifted, rows, (low > 0).float(), loss=F.binary_cross_entropy_with_logits, batch_size=4)
        close(found["accuracy"], 1.0, rtol=1e-5)
    with case(USED, hint="net.eval() before the first batch."):
        for noisy in (nets.dropout_net, nets.norm_net):
            state = drawn(noisy, rng)
            found = student.evaluate(noisy, state, x, y, loss=F.cross_entropy, batch_size=4)
            close(found["loss"], F.cross_entropy(logits_of(noisy, state, x), y).item(), rtol=1e-4)


ONE_BATCH = "one batch: the loss that was asked for"


@evaluate.right("sums over the batches")
def _(build, weights, x, y, *, loss, batch_size=256):
    net = build()
    net.load_state_dict(weights)
    net.eval()
    total, right = 0.0, 0
    with torch.no_grad():
        for start in range(0, len(x), batch_size):
            rows, wanted = x[start : start + batch_size], y[start : start + batch_size]
            logits = net(rows)
            total += loss(logits, wanted).item() * len(rows)
            answers = (logits > 0).float() if logits.shape[1] == 1 else logits.argmax(dim=1)
            right += (answers == wanted).sum().item()
    return {"loss": total / len(x), "accuracy": right / len(x)}


SUMS = "sums over the batches"
evaluate.slip("in training mode", ("net.eval()", "net.train()"), of=SUMS, fails=USED)
evaluate.slip(
    "the mean of the batches' means",
    (".item() * len(rows)", ".item()"),
    ("total / len(x)", "total / len(range(0, len(x), batch_size))"),
    of=SUMS,
    fails=(ROW_MEAN, ONE_LOGIT, USED),
)
evaluate.slip(
    "the last batch dropped",
    ("range(0, len(x), batch_size)", "range(0, len(x) - batch_size + 1, batch_size)"),
    of=SUMS,
    fails=(ONE_BATCH, ROW_MEAN, SHARE, ONE_LOGIT, USED),
)
evaluate.slip("means added up", (".item() * len(rows)", ".item()"), of=SUMS, fails=(ONE_BATCH, ROW_MEAN, ONE_LOGIT, USED))
evaluate.slip(
    "argmax over a single column",
    ("(logits > 0).float() if logits.shape[1] == 1 else logits.argmax(dim=1)", "logits.argmax(dim=1, keepdim=logits.shape[1] == 1)"),
    of=SUMS,
    fails=ONE_LOGIT,
)
evaluate.slip("logits compared with one half", ("logits > 0", "logits > 0.5"), of=SUMS, fails=ONE_LOGIT)
evaluate.slip(
    "a loss of its own", ("loss(logits, wanted)", "(F.cross_entropy if logits.shape[1] > 1 else loss)(logits, wanted)"), of=SUMS, fails=ONE_BATCH
)
evaluate.slip(
    "a sigmoid before the loss of a single output",
    ("loss(logits, wanted)", "loss(logits.sigmoid() if logits.shape[1] == 1 else logits, wanted)"),
    of=SUMS,
    fails=ONE_LOGIT,
)
evaluate.slip("rounded to whole rows", ("right / len(x)", "right // len(x)"), of=SUMS, fails=(SHARE, ONE_LOGIT))


@evaluate.right("all rows at once")
def _(build, weights, x, y, *, loss, batch_size=256):
    net = build()
    net.load_state_dict(weights)
    logits = torch.func.functional_call(net.eval(), weights, (x,)).detach()
    answers = torch.sigmoid(logits).round() if logits.shape[1] == 1 else logits.argmax(1)
    return {"loss": float(loss(logits, y)), "accuracy": torch.mean((answers == y).double()).item()}


LEARNT_FROM = "validation rows are judged after every epoch, and never learnt from"


@exercise("training.fit", points=5, seconds=10, reference=TRAIN)
def fit(student, rng):
    """Training as a function."""
    load_optimisers()
    build = nets.digit_net
    x, y = tensor(rng, 5, 64), classes(rng, 5)
    plain = {"loss": F.cross_entropy, "optimizer": torch.optim.SGD, "lr": 0.2}

    def after(epochs, rows, seed=0, **named):
        return student.fit(build, x[:rows], y[:rows], epochs=epochs, seed=seed, **{**plain, **named})[0]

    with case(
        "a batch larger than the data: one step of the optimiser that was handed over",
        hint="optimizer(net.parameters(), lr=lr, weight_decay=…), and loss(logits, y) for the loss that was handed over.",
    ):
        start, found = (after(epochs, 5, batch_size=64) for epochs in range(2))
        close(found, one_step(build, start, x, y, 0.2)[1], rtol=1e-3, atol=1e-5)
        start, found = (after(epochs, 5, batch_size=64, weight_decay=0.3, loss=F.multi_margin_loss) for epochs in range(2))
        close(found, one_step(build, start, x, y, 0.2, F.multi_margin_loss, weight_decay=0.3)[1], rtol=1e-3, atol=1e-5)
    with case("one epoch: every row once, and a step after every batch", hint="Five rows in batches of 2 make three steps: 2, 2 and 1 rows."):
        start, found = (after(epochs, 5, batch_size=2, seed=1) for epochs in range(2))
        holds(
            order_of(build, start, x, y, 2, found) is not None,
            "No order of the five rows, in batches of 2, leads from the first weights to those after an epoch.",
        )
    with case("a new random order in every epoch", hint="Draw the order inside the loop over epochs, for rows and labels alike."):
        pairs = []
        for seed in range(3):
            start, first, second = (after(epochs, 4, batch_size=1, seed=seed) for epochs in range(3))
            pair = [order_of(build, one, x[:4], y[:4], 1, other) for one, other in ((start, first), (first, second))]
            holds(None not in pair, "An epoch did not go through all four rows, one step for each.")
            pairs.append(pair)
        holds(any(one != other for one, other in pairs), "Every second epoch went through the rows in the order of the first.")
        holds(any(pair != pairs[0] for pair in pairs), "Three seeds went through the rows in the same orders.")
    with case(
        "the same seed gives the same weights, another seed others", hint="torch.manual_seed(seed) before build(), and no other source of chance."
    ):
        first, again, other = (after(2, 5, batch_size=2, seed=seed) for seed in (5, 5, 6))
        same(again, first, "the second run's state dict")
        holds(not torch.equal(first["0.weight"], other["0.weight"]), "Seeds 5 and 6 gave the same weights.")
        starts = [after(0, 5, batch_size=2, seed=seed)["0.weight"] for seed in (5, 6)]
        holds(not torch.equal(*starts), "Seeds 5 and 6 start from the same weights.")
    with case("the history: the mean training loss of every epoch", hint="Each batch's mean, weighed by its rows, divided by all rows."):
        start = after(0, 5, batch_size=64)
        found = student.fit(build, x, y, epochs=3, batch_size=64, seed=0, **plain)[1]["loss"]
        values, state = [], start
        for _ in range(3):
            value, state = one_step(build, state, x, y, 0.2)
            values.append(value)
        close(found, values, rtol=1e-3)
        for seed in range(3):  # whichever row is alone in the last batch, its loss may be near the mean
            still = student.fit(build, x, y, epochs=1, batch_size=2, seed=seed, **{**plain, "lr": 0.0})
            close(still[1]["loss"], [F.cross_entropy(logits_of(build, still[0], x), y).item()], rtol=1e-4)
    with case(
        "the history: validation as `evaluate` would give it, at the end of every epoch",
        hint="Validate in evaluation mode, after each epoch's last step; with a single output, a logit above 0 means class 1.",
    ):
        x_val, y_val = tensor(rng, 7, 64), classes(rng, 7)
        for noisy in (nets.norm_net, nets.dropout_net):
            weights, history = student.fit(noisy, x[:4], y[:4], epochs=2, batch_size=2, seed=3, validation=(x_val, y_val), **plain)
            logits = logits_of(noisy, {name: torch.as_tensor(value) for name, value in weights.items()}, x_val)
            same([len(history["val_loss"]), len(history["val_accuracy"])], [2, 2], "the lengths of val_loss and val_accuracy")
            close(history["val_loss"][-1], F.cross_entropy(logits, y_val).item(), rtol=1e-3)
            close(history["val_accuracy"][-1], (logits.argmax(1) == y_val).double().mean().item(), rtol=1e-5)
        rows, labels = tensor(rng, 6, 30), torch.ones(6, 1)  # all of class 1, so that two large steps are enough to say so
        named = {**plain, "loss": F.binary_cross_entropy_with_logits, "lr": 1.0, "batch_size": 64, "seed": 3}
        weights, history = student.fit(nets.tumour_net, rows, labels, epochs=2, validation=(rows, labels), **named)
        logits = logits_of(nets.tumour_net, weights, rows)
        close(history["val_loss"][-1], F.binary_cross_entropy_with_logits(logits, labels).item(), rtol=1e-3)
        close(history["val_accuracy"][-1], ((logits > 0) == labels).double().mean().item(), rtol=1e-5)
    with case(LEARNT_FROM, hint="Validation only asks: no step, and its figures are of the epoch that has just ended."):
        x_val, y_val = tensor(rng, 7, 64), classes(rng, 7)
        chain = [student.fit(build, x, y, epochs=epochs, batch_size=64, validation=(x_val, y_val), **plain) for epochs in range(3)]
        for (before, _), (behind, history) in itertools.pairwise(chain):
            close(behind, one_step(build, before, x, y, 0.2)[1], rtol=1e-3, atol=1e-5)
            wanted = [F.cross_entropy(logits_of(build, weights, x_val), y_val).item() for weights, _ in chain[1:]]
            close(history["val_loss"], wanted[: len(history["val_loss"])], rtol=1e-3)
    with case(
        "dropout is on in training, also after a validation",
        hint="Validation leaves a network in evaluation mode: net.train() at every epoch's start.",
    ):
        named = {"batch_size": 1, "validation": (x, y), "seed": 4, **plain}
        chain = [student.fit(nets.dropout_net, x[:1], y[:1], epochs=epochs, **named)[0] for epochs in range(3)]
        for before, behind in itertools.pairwise(chain):
            active = torch.relu(x[:1] @ before["0.weight"].T + before["0.bias"])[0] > 1e-3
            moved = (before["3.weight"] != behind["3.weight"]).any(dim=0)
            holds(bool(moved.any()), "An epoch moved nothing.")
            holds(bool((active & ~moved).any()), "In an epoch, no hidden unit was dropped.")
    with case("reads held-out digits: 92% on average over 3 seeds", hint="If all cases above pass, does each step use the loss of its own batch?"):
        pixels = rng.permutation(64)
        scores = []
        for seed in range(3):
            split = digits(seed=seed, dtype="float32")
            rows, labels = torch.from_numpy(split.x_train[:, pixels].copy()), torch.from_numpy(split.y_train)
            named = {"epochs": 4, "batch_size": 64, "lr": 0.01, "seed": seed}
            weights, _ = student.fit(build, rows, labels, loss=F.cross_entropy, optimizer=torch.optim.Adam, **named)
            told = logits_of(build, weights, torch.from_numpy(split.x_test[:, pixels].copy())).argmax(1)
            scores.append((told.numpy() == split.y_test).mean())
        accuracy(scores, over=0.92)


def order_of(build, weights, x, y, batch_size, goal):
    """An order of the rows whose batches lead from `weights` to `goal` in one epoch of gradient descent at rate 0.2; None when there is none."""
    net = build()

    def step(state, rows):
        leaves = {name: value.detach().requires_grad_() for name, value in state.items()}
        grads = torch.autograd.grad(F.cross_entropy(torch.func.functional_call(net, leaves, (x[rows],)), y[rows]), list(leaves.values()))
        return {name: value - 0.2 * grad for (name, value), grad in zip(state.items(), grads, strict=True)}

    def search(state, done, left):
        if not left:
            return done if near(goal, state) else None
        for batch in subsets(left, min(batch_size, len(left))):
            found = search(step(state, list(batch)), (*done, *batch), tuple(row for row in left if row not in batch))
            if found is not None:
                return found
        return None

    return search(weights, (), tuple(range(len(x))))


def subsets(items, size):
    if size == 0:
        return [()]
    return [(item, *rest) for position, item in enumerate(items) for rest in subsets(items[position + 1 :], size - 1)]


@fit.right("the loop")
def _(build, x, y, *, loss, epochs, batch_size, lr, weight_decay=0.0, seed=0, optimizer=torch.optim.Adam, validation=None):
    torch.manual_seed(seed)
    net = build()
    mover = optimizer(net.parameters(), lr=lr, weight_decay=weight_decay)
    history = {"loss": [], "val_loss": [], "val_accuracy": []}
    for _epoch in range(epochs):
        net.train()
        total = 0.0
        order = torch.randperm(len(x))
        for batch in order.split(batch_size):
            mover.zero_grad()
            value = loss(net(x[batch]), y[batch])
            value.backward()
            mover.step()
            total += value.item() * len(batch)
        history["loss"].append(total / len(x))
        if validation is not None:
            net.eval()
            with torch.no_grad():
                logits = net(validation[0])
                history["val_loss"].append(loss(logits, validation[1]).item())
                answers = logits > 0 if logits.shape[1] == 1 else logits.argmax(1)
                history["val_accuracy"].append((answers == validation[1]).double().mean().item())
    return net.state_dict(), history


LOOP = "the loop"
ONE_STEP = "a batch larger than the data: one step of the optimiser that was handed over"
EVERY_ROW = "one epoch: every row once, and a step after every batch"
NEW_ORDER = "a new random order in every epoch"
SEEDED = "the same seed gives the same weights, another seed others"
HISTORY = "the history: the mean training loss of every epoch"
VALIDATED = "the history: validation as `evaluate` would give it, at the end of every epoch"
DROPPED = "dropout is on in training, also after a validation"
READS = "reads held-out digits: 92% on average over 3 seeds"
ORDER = "order = torch.randperm(len(x))"
fit.slip("gradients never emptied", ("            mover.zero_grad()\n", ""), of=LOOP, fails=(EVERY_ROW, NEW_ORDER, HISTORY, LEARNT_FROM, READS))
fit.slip("rows never shuffled", (ORDER, "order = torch.arange(len(x))"), of=LOOP, fails=NEW_ORDER)
fit.slip(
    "forwards and backwards in turn",
    (ORDER, "order = torch.arange(len(x)) if _epoch % 2 else torch.arange(len(x)).flip(0)"),
    of=LOOP,
    fails=NEW_ORDER,
)
fit.slip(
    "orders from a generator that knows the epoch, not the seed",
    (ORDER, "order = torch.randperm(len(x), generator=torch.Generator().manual_seed(_epoch))"),
    of=LOOP,
    fails=NEW_ORDER,
)
fit.slip(
    "a loss of its own for many outputs",
    ("value = loss(net(x[batch]), y[batch])", "value = (loss if y.ndim == 2 else F.cross_entropy)(net(x[batch]), y[batch])"),
    of=LOOP,
    fails=ONE_STEP,
)
fit.slip(
    "a step on the validation rows after every epoch",
    (
        "            net.eval()\n",
        "            mover.zero_grad()\n            loss(net(validation[0]), validation[1]).backward()\n"
        "            mover.step()\n            net.eval()\n",
    ),
    of=LOOP,
    fails=LEARNT_FROM,
)
fit.slip(
    "validated once, at the end, and repeated",
    (
        "    return net.state_dict(), history",
        "    for name in ('val_loss', 'val_accuracy'):\n        history[name] = history[name][-1:] * len(history[name])\n"
        "    return net.state_dict(), history",
    ),
    of=LOOP,
    fails=LEARNT_FROM,
)
fit.slip(
    "validated by argmax over a single column",
    ("logits > 0 if logits.shape[1] == 1 else logits.argmax(1)", "logits.argmax(1, keepdim=logits.shape[1] == 1)"),
    of=LOOP,
    fails=VALIDATED,
)
fit.slip("training mode only before the first epoch", ("        net.train()\n", ""), of=LOOP, fails=DROPPED)
fit.slip("validated in training mode", ("            net.eval()\n", ""), of=LOOP, fails=VALIDATED)
fit.slip(
    "rows shuffled, labels not",
    ("y[batch])\n            value", "y[: len(batch)])\n            value"),
    of=LOOP,
    fails=(ONE_STEP, EVERY_ROW, NEW_ORDER, HISTORY, LEARNT_FROM, READS),
)
fit.slip(
    "the seed ignored",
    ("torch.manual_seed(seed)", "torch.seed()"),
    of=LOOP,
    fails=(ONE_STEP, EVERY_ROW, NEW_ORDER, SEEDED, HISTORY, LEARNT_FROM, DROPPED),
)
fit.slip("the weight decay forgotten", (", weight_decay=weight_decay)", ")"), of=LOOP, fails=ONE_STEP)
fit.slip(
    "an optimiser of its own",
    ("mover = optimizer(", "mover = torch.optim.Adam("),
    of=LOOP,
    fails=(ONE_STEP, EVERY_ROW, NEW_ORDER, HISTORY, LEARNT_FROM),
)
fit.slip("the last batch's loss as the epoch's", ("total += value.item() * len(batch)", "total = value.item() * len(x)"), of=LOOP, fails=HISTORY)
fit.slip(
    "the mean of the batches' means",
    ("total += value.item() * len(batch)", "total += value.item() * len(x) / len(order.split(batch_size))"),
    of=LOOP,
    fails=HISTORY,
)
fit.slip(
    "the last batch dropped",
    ("order.split(batch_size)", "order[: max(len(x) // batch_size, 1) * batch_size].split(batch_size)"),
    of=LOOP,
    fails=(EVERY_ROW, HISTORY),
)


@fit.right("through a DataLoader")
def _(build, x, y, *, loss, epochs, batch_size, lr, weight_decay=0.0, seed=0, optimizer=torch.optim.Adam, validation=None):
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(seed)
    net = build()
    loader = DataLoader(TensorDataset(x, y), batch_size, shuffle=True, generator=torch.Generator().manual_seed(seed))
    mover = optimizer(net.parameters(), lr=lr, weight_decay=weight_decay)
    losses, val_losses, val_accuracies = [], [], []
    for _epoch in range(epochs):
        seen = []
        for rows, wanted in loader:
            value = loss(net(rows), wanted)
            mover.zero_grad()
            value.backward()
            mover.step()
            seen += [value.item()] * len(rows)
        losses.append(sum(seen) / len(seen))
        if validation is not None:
            net.eval()
            logits = net(validation[0]).detach()
            net.train()
            val_losses.append(float(loss(logits, validation[1])))
            said = (logits.sigmoid() > 0.5).float() if logits.shape[1] == 1 else logits.argmax(1)
            val_accuracies.append(float(torch.mean((said == validation[1]).float())))
    return net.state_dict(), {"loss": losses, "val_loss": val_losses, "val_accuracy": val_accuracies}


HE = "ReLU: the variance of a layer's weights is 2 / fan_in"
GLOROT = "tanh: the variance of a layer's weights is 1 / fan_in"
THROUGH = "through 50 ReLU layers the numbers keep their size"
CENTRED = "as often below 0 as above"


@exercise("training.initial_weights", points=3, seconds=4, reference="course_lib.initialise")
def initial_weights(student, rng):
    """Random weights of the right size."""
    widths = [int(width) for width in rng.permutation([80, 320, 160])]

    def weights_of(widths, activation):
        found = list(student.initial_weights(widths, activation, seed=int(rng.integers(1000))))
        same(len(found), len(widths) - 1, "the number of weights")
        return found

    with case("one weight a layer, (fan_out, fan_in) as nn.Linear keeps it", hint="nn.Linear(in, out).weight has shape (out, in)."):
        found = student.initial_weights([5, 9, 3], "relu", seed=0)
        same([list(weight.shape) for weight in found], [[9, 5], [3, 9]], "the shapes")
    with case(HE, hint="The deviation is the root of the variance; a uniform draw between ±a has variance a²/3."):
        for weight in weights_of(widths, "relu"):
            close(weight.std() * weight.shape[1] ** 0.5, torch.tensor(2**0.5), rtol=0.06)
    with case(GLOROT, hint="tanh is about x near 0, so nothing of the signal is cut off: no factor 2."):
        for weight in weights_of(widths, "tanh"):
            close(weight.std() * weight.shape[1] ** 0.5, torch.tensor(1.0), rtol=0.06)
    with case(CENTRED, hint="A mean above 0 adds the same to every sum, and grows from layer to layer."):
        for weight in weights_of(widths, "relu"):
            at_most(abs(float(weight.mean() / weight.std())), 0.05, "the mean of a weight, in standard deviations,")
    with case(THROUGH, hint="Fan-in is the number of inputs that a unit adds up: the second axis of its weight."):
        sizes = [96, 192] * 25 + [96]
        signal = tensor(rng, 200, 96)
        for weight in weights_of(sizes, "relu"):
            signal = torch.relu(signal @ weight.to(signal.dtype).T)
        growth = float(signal.square().mean().sqrt())
        holds(0.05 < growth < 20, f"After 50 layers the numbers are {growth:.1e} times their first size.")
    with case("the same seed the same weights; another seed, or another layer, others", hint="One generator for all layers, seeded once."):
        first, again, other = (student.initial_weights([40, 40, 40], "relu", seed=seed) for seed in (3, 3, 4))
        same(again, first, "the second call's list")
        holds(not torch.equal(first[0], other[0]), "Seeds 3 and 4 gave the same weights.")
        holds(not torch.equal(first[0], first[1]), "Two layers got the same weights.")


@initial_weights.right("normal, from one generator")
def _(widths, activation, seed):
    generator = torch.Generator().manual_seed(seed)
    gain = {"relu": 2.0, "tanh": 1.0}[activation]
    weights = []
    for fan_in, fan_out in itertools.pairwise(widths):
        std = (gain / fan_in) ** 0.5
        weights.append(torch.randn(fan_out, fan_in, generator=generator) * std)
    return weights


NORMAL = "normal, from one generator"
LINEAR_SHAPES = "one weight a layer, (fan_out, fan_in) as nn.Linear keeps it"
SEEDS_DIFFER = "the same seed the same weights; another seed, or another layer, others"
initial_weights.slip("variance and deviation mixed up", ("(gain / fan_in) ** 0.5", "gain / fan_in"), of=NORMAL, fails=(HE, GLOROT, THROUGH))
initial_weights.slip("fan_out for fan_in", ("(gain / fan_in)", "(gain / fan_out)"), of=NORMAL, fails=(HE, GLOROT))
initial_weights.slip("the factor 2 of ReLU forgotten", ('"relu": 2.0', '"relu": 1.0'), of=NORMAL, fails=(HE, THROUGH))
initial_weights.slip("the factor 2 for tanh as well", ('"tanh": 1.0', '"tanh": 2.0'), of=NORMAL, fails=GLOROT)
initial_weights.slip(
    "uniform between plus and minus the deviation",
    ("torch.randn(fan_out, fan_in, generator=generator)", "(2 * torch.rand(fan_out, fan_in, generator=generator) - 1)"),
    of=NORMAL,
    fails=(HE, GLOROT, THROUGH),
)
initial_weights.slip("all positive", ("* std)", "* std + std)"), of=NORMAL, fails=(CENTRED, THROUGH))
initial_weights.slip(
    "the generator seeded anew for the second layer",
    ("        std =", "        generator.manual_seed(seed) if len(weights) == 1 else None\n        std ="),
    of=NORMAL,
    fails=SEEDS_DIFFER,
)
initial_weights.slip(
    "transposed", ("torch.randn(fan_out, fan_in,", "torch.randn(fan_in, fan_out,"), of=NORMAL, fails=(LINEAR_SHAPES, HE, GLOROT, THROUGH)
)


@initial_weights.right("uniform, from the global generator")
def _(widths, activation, seed):
    torch.manual_seed(seed)
    weights = [torch.empty(n_out, n_in) for n_in, n_out in itertools.pairwise(widths)]
    for weight in weights:
        bound = math.sqrt(3 * (2 if activation == "relu" else 1) / weight.shape[1])
        nn.init.uniform_(weight, -bound, bound)
    return weights


@initial_weights.right("normal, drawn by NumPy in double precision")
def _(widths, activation, seed):
    rng = np.random.default_rng(seed)
    variance = {"relu": 2, "tanh": 1}
    return [torch.from_numpy(rng.normal(0, math.sqrt(variance[activation] / n_in), size=(n_out, n_in))) for n_in, n_out in itertools.pairwise(widths)]


SLOPES = "in training, slopes pass through the batch's mean and variance"


@exercise("training.BatchNorm", points=5, seconds=4, reference="course_lib.normalise")
def BatchNorm(student, rng):
    """Batch normalisation, as a module with two modes."""
    x = tensor(rng, 12, 6, scale=3.0) + tensor(rng, 6, scale=4.0)
    weight, bias = tensor(rng, 6) + 2, tensor(rng, 6)

    def theirs(**state):
        layer = nn.BatchNorm1d(6)
        layer.load_state_dict({**layer.state_dict(), **state})
        return layer

    def ours(**state):
        layer = student.BatchNorm(6)
        layer.load_state_dict({**layer.state_dict(), **state})
        return layer

    with case(
        "in training: every feature with mean 0 and deviation 1 over the batch", hint="Average over the rows, axis 0; divide by N for the spread."
    ):
        close(student.BatchNorm(6)(x), theirs()(x), rtol=1e-3, atol=1e-4)
    with case("a constant feature gives zeros, not NaN", hint="eps stands under the root, beside the variance."):
        flat = x.clone()
        flat[:, 2] = 7.0
        flat[:, 4] = 1e-3 * (x[:, 4] - x[:, 4].mean())  # and one that hardly varies
        close(student.BatchNorm(6)(flat), theirs()(flat), rtol=1e-3, atol=1e-4)
    with case("then the learnt scale and shift", hint="out * weight + bias, after the division."):
        close(ours(weight=weight, bias=bias)(x), theirs(weight=weight, bias=bias)(x), rtol=1e-3, atol=1e-4)
    with case(
        "its state: weight, bias, running_mean, running_var",
        hint="nn.Parameter is learnt; register_buffer is remembered. A plain attribute is neither.",
    ):
        mine = student.BatchNorm(6)
        state = mine.state_dict()
        wanted = {"bias": torch.zeros(6), "running_mean": torch.zeros(6), "running_var": torch.ones(6), "weight": torch.ones(6)}
        close({name: state[name] for name in wanted}, wanted)
        for name in ("weight", "bias"):
            close(mine.get_parameter(name), wanted[name])
        for name in ("running_mean", "running_var"):
            close(mine.get_buffer(name), wanted[name])
    with case(
        SLOPES, hint="Mean and variance depend on every row: detach() or torch.no_grad() has no place where they are computed for the formula."
    ):
        mine, other = ours(weight=weight), theirs(weight=weight)
        mine.apply(input_slopes)
        close(mine.slopes, input_slopes(other), rtol=1e-2, atol=1e-2)
    with case(
        "every batch moves the running averages a tenth of the way",
        hint="new = 0.9 old + 0.1 batch, under torch.no_grad(), so that no graph is kept; the variance with divisor N - 1.",
    ):
        mine, other = student.BatchNorm(6), theirs()
        for rows in (x, 2 * x[:5] + 1, x[3:]):
            mine(rows)
            other(rows)
        state = mine.state_dict()
        for name in ("running_mean", "running_var"):
            close(state[name], other.state_dict()[name], rtol=1e-3, atol=1e-4)
        mine.apply(input_slopes)
        mine.apply(copy.deepcopy)  # torch refuses to copy a tensor that is part of a graph
    with case("in evaluation: by the running averages, and a single row will do", hint="`self.training` is False after net.eval()."):
        state = {"weight": weight, "bias": bias, "running_mean": tensor(rng, 6), "running_var": tensor(rng, 6).square() + 0.5}
        mine, other = ours(**state), theirs(**state)
        mine.eval()
        other.eval()
        close(mine(x), other(x).detach(), rtol=1e-3, atol=1e-4)
        close(mine(x[:1]), other(x[:1]).detach(), rtol=1e-3, atol=1e-4)
        close({name: mine.state_dict()[name] for name in state}, state)


TRAINING = "in training: every feature with mean 0 and deviation 1 over the batch"
CONSTANT = "a constant feature gives zeros, not NaN"
SCALED = "then the learnt scale and shift"
STATE = "its state: weight, bias, running_mean, running_var"
RUNNING = "every batch moves the running averages a tenth of the way"
EVALUATION = "in evaluation: by the running averages, and a single row will do"


@BatchNorm.right("as its definition has it")
class _(nn.Module):
    running_mean: torch.Tensor
    running_var: torch.Tensor

    def __init__(self, features):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))

    def forward(self, x):
        if self.training:
            mean = x.mean(dim=0)
            var = x.var(dim=0, unbiased=False)
            with torch.no_grad():
                self.running_mean.copy_(0.9 * self.running_mean + 0.1 * mean)
                self.running_var.copy_(0.9 * self.running_var + 0.1 * x.var(dim=0))
        else:
            mean, var = self.running_mean, self.running_var
        return (x - mean) / torch.sqrt(var + 1e-5) * self.weight + self.bias


DEFINED = "as its definition has it"
BatchNorm.slip(
    "the batch's own averages also in evaluation",
    ("mean, var = self.running_mean, self.running_var", "mean, var = x.mean(dim=0), x.var(dim=0, unbiased=False)"),
    of=DEFINED,
    fails=EVALUATION,
)
BatchNorm.slip("averages learnt in evaluation too", ("if self.training:", "if len(x) > 1:"), of=DEFINED, fails=EVALUATION)
BatchNorm.slip(
    "old and new weighed the wrong way round",
    ("0.9 * self.running_mean + 0.1 * mean", "0.1 * self.running_mean + 0.9 * mean"),
    of=DEFINED,
    fails=RUNNING,
)
BatchNorm.slip(
    "each row normalised over its features",
    ("x.mean(dim=0)", "x.mean(dim=1, keepdim=True)"),
    ("x.var(dim=0, unbiased=False)", "x.var(dim=1, unbiased=False, keepdim=True)"),
    ("0.1 * mean)", "0.1 * x.mean(dim=0))"),
    of=DEFINED,
    fails=(TRAINING, CONSTANT, SCALED, SLOPES),
)
BatchNorm.slip(
    "the running averages as plain attributes",
    ('self.register_buffer("running_mean", torch.zeros(features))', "self.running_mean = torch.zeros(features)"),
    ('self.register_buffer("running_var", torch.ones(features))', "self.running_var = torch.ones(features)"),
    of=DEFINED,
    fails=(STATE, RUNNING, EVALUATION),
)
BatchNorm.slip(
    "divided by the variance", ("torch.sqrt(var + 1e-5)", "(var + 1e-5)"), of=DEFINED, fails=(TRAINING, CONSTANT, SCALED, SLOPES, EVALUATION)
)
BatchNorm.slip(
    "cut off from mean and variance", ("torch.sqrt(var", "torch.sqrt(var.detach()"), ("(x - mean)", "(x - mean.detach())"), of=DEFINED, fails=SLOPES
)
BatchNorm.slip("cut off from the variance", ("torch.sqrt(var", "torch.sqrt(var.detach()"), of=DEFINED, fails=SLOPES)
BatchNorm.slip(
    "scale and shift remembered, not learnt",
    ("self.weight = nn.Parameter(torch.ones(features))", 'self.register_buffer("weight", torch.ones(features))'),
    ("self.bias = nn.Parameter(torch.zeros(features))", 'self.register_buffer("bias", torch.zeros(features))'),
    of=DEFINED,
    fails=STATE,
)
BatchNorm.slip(
    "the running averages for the optimiser to move",
    ('self.register_buffer("running_mean", torch.zeros(features))', "self.running_mean = nn.Parameter(torch.zeros(features))"),
    ('self.register_buffer("running_var", torch.ones(features))', "self.running_var = nn.Parameter(torch.ones(features))"),
    of=DEFINED,
    fails=STATE,
)
BatchNorm.slip("the running averages in the graph", ("with torch.no_grad():", "if True:"), of=DEFINED, fails=RUNNING)
BatchNorm.slip("eps beside the root", ("torch.sqrt(var + 1e-5)", "(torch.sqrt(var) + 1e-5)"), of=DEFINED, fails=CONSTANT)
BatchNorm.slip("no eps", ("var + 1e-5", "var"), of=DEFINED, fails=CONSTANT)
BatchNorm.slip(
    "shifted before it is scaled",
    ("* self.weight + self.bias", "+ self.bias) * self.weight"),
    ("return (x - mean)", "return ((x - mean)"),
    of=DEFINED,
    fails=(SCALED, EVALUATION),
)
BatchNorm.slip("divided with N - 1", ("x.var(dim=0, unbiased=False)", "x.var(dim=0)"), of=DEFINED, fails=(TRAINING, CONSTANT, SCALED, SLOPES))
BatchNorm.slip("the biased variance remembered", ("0.1 * x.var(dim=0))", "0.1 * var)"), of=DEFINED, fails=RUNNING)


@BatchNorm.right("with torch's function")
class _(nn.Module):
    running_mean: torch.Tensor
    running_var: torch.Tensor

    def __init__(self, features):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))

    def forward(self, x):
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training)


BETTER = "as long as every epoch is a new best, it goes on"
PATIENT = "it stops after `patience` epochs in a row without a new best"
AGAIN = "a new best starts the count again"
NOT_LAST = "it compares with the best, not with the epoch before"
EQUAL = "as good as the best is no new best"
REMEMBERS = "it remembers the best epoch, counted from 0, and its loss"
NOT_A_NUMBER = "a loss that is not a number is no new best"


@exercise("training.EarlyStopping", points=3, reference=TRAIN)
def EarlyStopping(student, rng):
    """When to stop."""

    def told(losses, patience):
        stopper = student.EarlyStopping(patience)
        return [stopper.step(float(loss)) for loss in losses], stopper

    falling = np.sort(rng.uniform(1, 2, size=6))[::-1]
    with case(BETTER, hint="step gives True when it is time to stop, and False otherwise."):
        same(told(falling, 1)[0], [False] * 6, "what step said")
    with case(PATIENT, hint="Count the epochs since the best one."):
        same(told([*falling, 3.0, 3.5, 4.0], 3)[0], [False] * 8 + [True], "what step said")
        same(told([*falling, 3.0], 1)[0], [False] * 6 + [True], "what step said")
    with case(AGAIN, hint="The count of bad epochs goes back to 0."):
        same(told([5.0, 6.0, 4.0, 6.0, 3.0, 6.0, 6.0], 2)[0], [False] * 6 + [True], "what step said")
    with case(NOT_LAST, hint="After 1.0, the losses 9, 8, 7 are falling, and none of them is a new best."):
        same(told([1.0, 9.0, 8.0, 7.0], 3)[0], [False, False, False, True], "what step said")
    with case(EQUAL, hint="Only a smaller loss is better."):
        same(told([1.0, 1.0, 1.0], 2)[0], [False, False, True], "what step said")
    with case(REMEMBERS, hint="When a new best comes, note its number and its loss."):
        losses = np.array([6.0, 3, 5, 1, 4, 7, 2]) + rng.uniform(0, 0.5, size=7)
        stopper = told(losses, 50)[1]
        same(stopper.best_epoch, 3, "best_epoch")
        close(stopper.best, float(losses.min()))
        same(stopper.epoch, 7, "epoch, after seven losses,")
    with case(NOT_A_NUMBER, hint="Every comparison with NaN is False. Ask whether it is better, not whether it is worse."):
        same(told([2.0, math.nan, math.nan], 2)[0], [False, False, True], "what step said")
        said, stopper = told([math.nan, 1.0], 3)
        same(said, [False, False], "what step said, the first loss being NaN,")
        close(stopper.best, 1.0)


@EarlyStopping.right("by counting bad epochs")
class _:
    def __init__(self, patience):
        self.patience, self.best, self.best_epoch, self.bad, self.epoch = patience, float("inf"), None, 0, 0

    def step(self, loss):
        if loss < self.best:
            self.best, self.best_epoch, self.bad = loss, self.epoch, 0
        else:
            self.bad += 1
        self.epoch += 1
        return self.bad >= self.patience


BAD = "by counting bad epochs"
EarlyStopping.slip(
    "one epoch too late", ("self.bad >= self.patience", "self.bad > self.patience"), of=BAD, fails=(PATIENT, AGAIN, NOT_LAST, EQUAL, NOT_A_NUMBER)
)
EarlyStopping.slip("equal counted as better", ("loss < self.best", "loss <= self.best"), of=BAD, fails=EQUAL)
EarlyStopping.slip(
    "the count never starts again", ("self.best_epoch, self.bad = loss, self.epoch, 0", "self.best_epoch = loss, self.epoch"), of=BAD, fails=AGAIN
)
EarlyStopping.slip(
    "compared with the epoch before",
    ("        else:\n            self.bad += 1\n", "        else:\n            self.bad += 1\n            self.best = loss\n"),
    of=BAD,
    fails=(NOT_LAST, REMEMBERS),
)
EarlyStopping.slip("better when it is not worse", ("if loss < self.best:", "if not loss >= self.best:"), of=BAD, fails=NOT_A_NUMBER)
EarlyStopping.slip(
    "epochs counted from 1",
    ("self.best_epoch, self.bad = loss, self.epoch, 0", "self.best_epoch, self.bad = loss, self.epoch + 1, 0"),
    of=BAD,
    fails=REMEMBERS,
)
EarlyStopping.slip(
    "it says when to go on",
    ("return self.bad >= self.patience", "return self.bad < self.patience"),
    of=BAD,
    fails=(BETTER, PATIENT, AGAIN, NOT_LAST, EQUAL, NOT_A_NUMBER),
)


@EarlyStopping.right("by looking back over all losses")
class _:
    def __init__(self, patience):
        self.patience, self.losses = patience, []

    def step(self, loss):
        self.losses.append(np.inf if np.isnan(loss) else loss)
        return len(self.losses) - 1 - self.best_epoch >= self.patience

    @property
    def best_epoch(self):
        return int(np.argmin(self.losses))

    @property
    def best(self):
        return self.losses[self.best_epoch]

    @property
    def epoch(self):
        return len(self.losses)


EarlyStopping.slip(
    "a count of epochs of its own",
    ("self.bad, self.epoch = patience", "self.bad, self.epoch, self.seen = patience"),
    ("None, 0, 0", "None, 0, 0, 0"),
    ("loss, self.epoch, 0", "loss, self.seen, 0"),
    ("self.epoch += 1", "self.seen += 1"),
    of=BAD,
    fails=REMEMBERS,
)


COUNTS = "the checkpoint counts its steps and holds the weights"
RESUMED = "stopped and resumed, it ends in the same weights, bit for bit"
ANYWHERE = "wherever it is stopped, also in the middle of an epoch"
CONTINUES = "it goes on from the checkpoint, and does not begin again"
MOMENTS = "the optimiser's memory goes on too"
CHANCE = "dropout goes on where it was, whatever was drawn in between"


ADAM = "every step is Adam's, on a batch of its own; an epoch is all rows once, in a new random order"
LEFT = "the checkpoint that it goes on from is left as it was"


def batches_of(build, chain, x, y, batch_size, lr):
    """The rows of each step, if every step from state to state of the chain is Adam's on rows that its epoch had not yet taken.

    Ends before the first step that is not. A batch's gradient is the mean of its rows', so each row is differentiated once for all batches.
    """
    net = build()
    names = [name for name, _ in net.named_parameters()]
    taken, left, mean, squares = [], (), torch.zeros(()), torch.zeros(())
    for step, (before, behind) in enumerate(itertools.pairwise(chain), start=1):
        left = left or tuple(range(len(x)))
        net.load_state_dict(before)
        slopes = [torch.autograd.grad(F.cross_entropy(net(x[[row]]), y[[row]]), list(net.parameters())) for row in left]
        table = dict(zip(left, (torch.cat([slope.flatten() for slope in row]) for row in slopes), strict=True))
        moved = torch.cat([(behind[name] - before[name]).flatten() for name in names])
        found = []
        for batch in itertools.combinations(left, min(batch_size, len(left))):
            slope = sum(table[row] for row in batch) / len(batch)
            new_mean, new_squares = 0.9 * mean + 0.1 * slope, 0.999 * squares + 0.001 * slope**2
            wanted = -lr * new_mean / (1 - 0.9**step) / ((new_squares / (1 - 0.999**step)).sqrt() + 1e-8)
            found.append((float((moved - wanted).abs().mean()), batch, new_mean, new_squares))
        far, batch, mean, squares = min(found, key=lambda item: item[0])
        if not far < 0.03 * lr:
            break
        taken.append(batch)
        left = tuple(row for row in left if row not in batch)
    return taken


@exercise("training.train_steps", points=5, seconds=10, reference=TRAIN)
def train_steps(student, rng):
    """Training that can be cut off anywhere."""
    load_optimisers()
    x, y = tensor(rng, 5, 64), classes(rng, 5)
    x[:, 0] = 0.0  # a pixel without ink: nothing pulls at its weights

    def run(build, steps, checkpoint=None, seed=7, lr=0.01):
        return student.train_steps(build, x, y, checkpoint, steps=steps, batch_size=2, lr=lr, seed=seed)

    with case(
        ADAM, hint="Rows and labels of one batch, cross-entropy of the logits, zero_grad, backward, a step of Adam; five rows in twos are 2, 2 and 1."
    ):
        orders = []
        for seed, lr in enumerate((0.01, 0.003, 0.01)):
            chain = [run(nets.digit_net, steps, seed=seed, lr=lr)["weights"] for steps in range(7)]
            orders.append(batches_of(nets.digit_net, chain, x, y, 2, lr))
            holds(
                len(orders[-1]) == 6, f"Step {len(orders[-1]) + 1} is no step of Adam, at the rate {lr}, on rows that this epoch had not yet taken."
            )
        holds(
            torch.equal(chain[6]["0.weight"][:, 0], chain[0]["0.weight"][:, 0]),
            "Weights moved whose gradient is zero. Adam leaves them; what shrinks weights by itself is AdamW, or weight_decay.",
        )
        holds(any(order[:3] != order[3:] for order in orders), "Every second epoch took the batches of the first.")
        holds(any(order != orders[0] for order in orders), "Three seeds took the same batches.")
    with case(COUNTS, hint='A dict with "step", "weights", "optimizer" and "random".'):
        start, whole = run(nets.digit_net, 0), run(nets.digit_net, 4)
        same([start["step"], whole["step"]], [0, 4], "the counts")
        holds(any(not torch.equal(whole["weights"][name], start["weights"][name]) for name in start["weights"]), "Four steps moved nothing.")
        other = run(nets.digit_net, 0, seed=8)
        holds(not torch.equal(start["weights"]["0.weight"], other["weights"]["0.weight"]), "Seeds 7 and 8 start from the same weights.")
    with case(RESUMED, hint="Weights, optimiser, generator and step: all four must be put back."):
        whole, part = run(nets.digit_net, 6), run(nets.digit_net, 3)
        same(run(nets.digit_net, 3, part)["weights"], whole["weights"], "the resumed run's state dict")
    with case(LEFT, hint="An optimiser's load_state_dict keeps the tensors that it is given, and the next step writes into them. Hand it a copy."):
        part = run(nets.digit_net, 1)
        same(run(nets.digit_net, 1, part)["step"], 2, "the count")
        inputs_unchanged(student)
    with case(
        ANYWHERE, hint="Step 4 of an epoch of 3 steps is the first of epoch 1. Which rows come next must follow from the step and the seed alone."
    ):
        whole = run(nets.digit_net, 7)
        for stop in (2, 4):
            same(run(nets.digit_net, 7 - stop, run(nets.digit_net, stop))["weights"], whole["weights"], "the resumed run's state dict")
        same(
            run(nets.digit_net, 2, run(nets.digit_net, 3, run(nets.digit_net, 2)))["weights"], whole["weights"], "the twice resumed run's state dict"
        )
    with case(CONTINUES, hint='Load checkpoint["weights"] into the network.'):
        part = run(nets.digit_net, 2)
        moved = {**part, "weights": {name: value + 0.5 for name, value in part["weights"].items()}}
        found = run(nets.digit_net, 1, moved)
        same(found["step"], 3, "the count")
        far = max(float((found["weights"][name] - moved["weights"][name]).abs().max()) for name in moved["weights"])
        holds(0 < far < 0.1, "One step after a checkpoint with other weights, the weights are not near those of the checkpoint.")
    with case(MOMENTS, hint='optimizer.load_state_dict(checkpoint["optimizer"]): Adam has two averages for every weight.'):
        first, second = run(nets.digit_net, 2), run(nets.digit_net, 2, seed=9)
        mixed = run(nets.digit_net, 1, {**first, "optimizer": second["optimizer"]})
        honest = run(nets.digit_net, 1, first)
        holds(not torch.equal(mixed["weights"]["0.weight"], honest["weights"]["0.weight"]), "Another optimiser's memory made no difference.")
        whole = run(nets.digit_net, 3)
        same(honest["weights"], whole["weights"], "the resumed run's state dict")
    with case(
        CHANCE, hint="Training mode; torch.get_rng_state() goes into the checkpoint; torch.set_rng_state(...) comes after the network is built."
    ):
        start, moved = (
            student.train_steps(nets.dropout_net, x[:1], y[:1], steps=steps, batch_size=1, lr=0.01, seed=7)["weights"] for steps in range(2)
        )
        active = torch.relu(x[:1] @ start["0.weight"].T + start["0.bias"])[0] > 1e-3
        still = (start["3.weight"] == moved["3.weight"]).all(dim=0)
        holds(bool((active & still).any()), "In a step, no hidden unit was dropped.")
        whole, part = run(nets.dropout_net, 6), run(nets.dropout_net, 2)
        run(nets.dropout_net, 5, seed=99)
        resumed = run(nets.dropout_net, 4, part)
        same(resumed["weights"], whole["weights"], "the resumed run's state dict")
        same(run(nets.dropout_net, 4, part)["weights"], resumed["weights"], "a second resumption's state dict")


@train_steps.right("all four put back")
def _(build, x, y, checkpoint=None, *, steps, batch_size, lr, seed):
    torch.manual_seed(seed)
    net = build()
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    step = 0
    if checkpoint is not None:
        step = checkpoint["step"]
        net.load_state_dict(checkpoint["weights"])
        optimizer.load_state_dict(copy.deepcopy(checkpoint["optimizer"]))
        torch.set_rng_state(checkpoint["random"])
    per_epoch = -(-len(x) // batch_size)
    for step in range(step, step + steps):  # noqa: B020
        epoch, place = divmod(step, per_epoch)
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1000 * seed + epoch))
        batch = order[place * batch_size : (place + 1) * batch_size]
        optimizer.zero_grad()
        F.cross_entropy(net(x[batch]), y[batch]).backward()
        optimizer.step()
    done = steps + (checkpoint["step"] if checkpoint else 0)
    return {"step": done, "weights": net.state_dict(), "optimizer": optimizer.state_dict(), "random": torch.get_rng_state()}


ALL_FOUR = "all four put back"
train_steps.slip(
    "weights alone",
    ('        optimizer.load_state_dict(copy.deepcopy(checkpoint["optimizer"]))\n        torch.set_rng_state(checkpoint["random"])\n', ""),
    of=ALL_FOUR,
    fails=(RESUMED, ANYWHERE, MOMENTS, CHANCE),
)
train_steps.slip(
    "the optimiser forgotten",
    ('        optimizer.load_state_dict(copy.deepcopy(checkpoint["optimizer"]))\n', ""),
    of=ALL_FOUR,
    fails=(RESUMED, ANYWHERE, MOMENTS, CHANCE),
)
train_steps.slip("AdamW for Adam", ("torch.optim.Adam(", "torch.optim.AdamW("), of=ALL_FOUR, fails=(ADAM, CHANCE))
train_steps.slip("the generator forgotten", ('        torch.set_rng_state(checkpoint["random"])\n', ""), of=ALL_FOUR, fails=CHANCE)
train_steps.slip(
    "every part begins a new epoch",
    ("divmod(step, per_epoch)", 'divmod(step - (checkpoint["step"] if checkpoint else 0), per_epoch)'),
    of=ALL_FOUR,
    fails=(RESUMED, ANYWHERE, MOMENTS, CHANCE),
)
train_steps.slip(
    "begun again from step 0",
    ('        net.load_state_dict(checkpoint["weights"])\n', ""),
    of=ALL_FOUR,
    fails=(RESUMED, ANYWHERE, CONTINUES, MOMENTS, CHANCE),
)
train_steps.slip(
    "run again from the start, to the same number of steps",
    ("    if checkpoint is not None:\n", "    if checkpoint is not None and False:\n"),
    ("range(step, step + steps)", 'range(steps + (checkpoint["step"] if checkpoint else 0))'),
    of=ALL_FOUR,
    fails=(CONTINUES, MOMENTS),
)
train_steps.slip(
    "the generator put back before the network is built",
    ("    net = build()\n", '    if checkpoint is not None:\n        torch.set_rng_state(checkpoint["random"])\n    net = build()\n'),
    ('        torch.set_rng_state(checkpoint["random"])\n    per_epoch', "    per_epoch"),
    of=ALL_FOUR,
    fails=CHANCE,
)
train_steps.slip(
    "steps written into the caller's checkpoint",
    ('copy.deepcopy(checkpoint["optimizer"])', 'checkpoint["optimizer"]'),
    of=ALL_FOUR,
    fails=LEFT,
)
train_steps.slip("rows shuffled, labels not", ("y[batch])", "y[: len(batch)])"), of=ALL_FOUR, fails=ADAM)
train_steps.slip("always the first batch", ("order[place * batch_size : (place + 1) * batch_size]", "order[:batch_size]"), of=ALL_FOUR, fails=ADAM)
train_steps.slip("uphill", ("lr=lr)", "lr=lr, maximize=True)"), of=ALL_FOUR, fails=ADAM)
train_steps.slip("a softmax before the loss", ("net(x[batch])", "net(x[batch]).softmax(1)"), of=ALL_FOUR, fails=ADAM)
train_steps.slip(
    "SGD with momentum, at a smaller rate",
    ("torch.optim.Adam(net.parameters(), lr=lr)", "torch.optim.SGD(net.parameters(), lr=lr / 100, momentum=0.9)"),
    of=ALL_FOUR,
    fails=ADAM,
)
train_steps.slip("a learning rate of its own", ("lr=lr)", "lr=0.01)"), of=ALL_FOUR, fails=ADAM)
train_steps.slip(
    "rows never shuffled",
    ("torch.randperm(len(x), generator=torch.Generator().manual_seed(1000 * seed + epoch))", "torch.arange(len(x))"),
    of=ALL_FOUR,
    fails=ADAM,
)
train_steps.slip("the same order in every epoch", ("1000 * seed + epoch", "1000 * seed"), of=ALL_FOUR, fails=ADAM)
train_steps.slip("the same orders for every seed", ("1000 * seed + epoch", "epoch"), of=ALL_FOUR, fails=ADAM)
train_steps.slip("the last batch dropped", ("-(-len(x) // batch_size)", "max(len(x) // batch_size, 1)"), of=ALL_FOUR, fails=ADAM)
train_steps.slip("gradients never emptied", ("        optimizer.zero_grad()\n", ""), of=ALL_FOUR, fails=(ADAM, RESUMED, ANYWHERE, MOMENTS, CHANCE))
train_steps.slip("in evaluation mode", ("    net = build()\n", "    net = build().eval()\n"), of=ALL_FOUR, fails=CHANCE)
train_steps.slip("steps not added up", ('"step": done', '"step": steps'), of=ALL_FOUR, fails=(LEFT, ANYWHERE, CONTINUES))


@train_steps.right("the order from the generator of the whole run, replayed")
def _(build, x, y, checkpoint=None, *, steps, batch_size, lr, seed):
    torch.manual_seed(seed)
    net = build()
    mover = torch.optim.Adam(net.parameters(), lr=lr)
    done = 0
    if checkpoint:
        net.load_state_dict(checkpoint["weights"])
        mover.load_state_dict(copy.deepcopy(checkpoint["optimizer"]))
        torch.set_rng_state(checkpoint["random"])
        done = checkpoint["step"]
    rng, batches = np.random.default_rng(seed), []
    while len(batches) < done + steps:
        batches += torch.from_numpy(rng.permutation(len(x))).split(batch_size)
    for batch in batches[done : done + steps]:
        mover.zero_grad(set_to_none=False)
        F.cross_entropy(net(x[batch]), y[batch]).backward()
        mover.step()
    return {"random": torch.get_rng_state(), "optimizer": mover.state_dict(), "step": done + steps, "weights": dict(net.state_dict())}


CHOSEN = "the trial is chosen by the validation rows"
FIRST = "of equally good trials the first"
FINAL = "the final figure is that of the chosen trial on the test rows"
UNTOUCHED = "the best test score of all has no say"


@exercise("training.mend_report", points=3, mends=(FINAL, UNTOUCHED))
def mend_report(student, rng):
    """What may be reported of a search."""
    val_labels, test_labels = rng.integers(10, size=40), rng.integers(10, size=50)

    def answers(labels, right):
        """(T, N): trial t answers right[t] rows rightly."""
        table = np.stack([(labels + 1 + rng.integers(9, size=len(labels))) % 10 for _ in right])
        for row, count in zip(table, right, strict=True):
            places = rng.permutation(len(labels))[:count]
            row[places] = labels[places]
        return table

    places = rng.permutation(6)
    val = answers(val_labels, np.array([30, 36, 31, 28, 33, 25])[places])
    test = answers(test_labels, np.array([41, 38, 36, 46, 30, 29])[places])
    best = int(np.flatnonzero(places == 1)[0])
    with case(CHOSEN, hint="The test rows must not choose."):
        same(student.mend_report(val, val_labels, test, test_labels)[0], best, "the number of the trial")
    with case(FIRST, hint="argmax gives the first of equals."):
        tied = answers(val_labels, np.array([20, 30, 12, 30, 30, 8]))
        beside = answers(test_labels, np.array([45, 30, 20, 31, 32, 10]))
        same(student.mend_report(tied, val_labels, beside, test_labels)[0], 1, "the number of the trial")
    with case(FINAL, hint="The chosen trial's validation score was the highest of many, which is why it was chosen. What has it not been chosen by?"):
        close(student.mend_report(val, val_labels, test, test_labels)[1], 38 / 50)
    with case(UNTOUCHED, hint="The highest test score is a choice made by the test rows."):
        close(student.mend_report(val[::-1].copy(), val_labels, test[::-1].copy(), test_labels)[1], 38 / 50)


@mend_report.right("chosen here, measured there")
def _(val_answers, val_labels, test_answers, test_labels):
    scores = (val_answers == val_labels).mean(axis=1)
    chosen = int(scores.argmax())
    return chosen, float((test_answers[chosen] == test_labels).mean())


CHOSEN_HERE = "chosen here, measured there"
mend_report.slip(
    "the score that it was chosen by, as it was found",
    ("float((test_answers[chosen] == test_labels).mean())", "float(scores[chosen])"),
    of=CHOSEN_HERE,
    fails=(FINAL, UNTOUCHED),
)
mend_report.slip(
    "chosen by the test rows",
    ("scores = (val_answers == val_labels)", "scores = (test_answers == test_labels)"),
    of=CHOSEN_HERE,
    fails=(CHOSEN, FIRST, FINAL, UNTOUCHED),
)
mend_report.slip(
    "the best test score of all",
    ("(test_answers[chosen] == test_labels).mean()", "(test_answers == test_labels).mean(axis=1).max()"),
    of=CHOSEN_HERE,
    fails=(FINAL, UNTOUCHED),
)
mend_report.slip(
    "the mean over all trials",
    ("(test_answers[chosen] == test_labels).mean()", "(test_answers == test_labels).mean()"),
    of=CHOSEN_HERE,
    fails=(FINAL, UNTOUCHED),
)
mend_report.slip(
    "both sets thrown together",
    ("float((test_answers[chosen] == test_labels).mean())", "float((scores[chosen] + (test_answers[chosen] == test_labels).mean()) / 2)"),
    of=CHOSEN_HERE,
    fails=(FINAL, UNTOUCHED),
)
mend_report.slip("the last of equals", ("int(scores.argmax())", "len(scores) - 1 - int(scores[::-1].argmax())"), of=CHOSEN_HERE, fails=FIRST)


@mend_report.right("by counting")
def _(val_answers, val_labels, test_answers, test_labels):
    counts = [sum(int(a == b) for a, b in zip(row, val_labels, strict=True)) for row in val_answers]
    chosen = counts.index(max(counts))
    return chosen, sum(int(a == b) for a, b in zip(test_answers[chosen], test_labels, strict=True)) / len(test_labels)
