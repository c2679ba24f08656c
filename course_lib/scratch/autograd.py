"""Automatic differentiation of scalars, in reverse: the whole idea of torch.autograd with numbers in place of tensors.

Every operation makes a node that remembers its parents (the operands) and its local gradients (how fast it changes with each of them).
`backward` walks the graph from the output to the leaves and multiplies and adds: the chain rule. Baydin et al. (2018), "Automatic
differentiation in machine learning: a survey", section 3.2.

>>> x, y = Value(2.0, label="x"), Value(3.0, label="y")
>>> out = x * y + x
>>> out.backward()
>>> out.data, x.grad, y.grad
(8.0, 4.0, 2.0)
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Real
from typing import Union

Operand = Union["Value", float]


@dataclass(eq=False, repr=False, slots=True)  # nodes are told apart by identity: two numbers may be equal and yet not the same node
class Value:
    """A number in a graph. `local_gradients[i]` is d(self) / d(parents[i]); `grad` is d(output) / d(self) once `backward` has run."""

    data: float
    parents: tuple["Value", ...] = ()
    op: str = ""
    label: str = ""
    local_gradients: tuple[float, ...] = ()
    grad: float = 0.0

    __array_ufunc__ = None  # lets NumPy numbers step back, so that np.float64(2) * value comes to __rmul__

    def __post_init__(self):
        self.data = float(self.data)
        if len(self.local_gradients) != len(self.parents):
            raise ValueError(f"{len(self.parents)} parents need as many local_gradients, was given {len(self.local_gradients)}")

    def __repr__(self) -> str:
        name = f"{self.label}: " if self.label else ""
        return f"Value({name}{self.data:.6g}, grad {self.grad:.6g}{', op ' + self.op if self.op else ''})"

    def __add__(self, other: Operand) -> "Value":
        other = _value(other)
        return Value(self.data + other.data, (self, other), "+", local_gradients=(1.0, 1.0))

    def __sub__(self, other: Operand) -> "Value":
        other = _value(other)
        return Value(self.data - other.data, (self, other), "-", local_gradients=(1.0, -1.0))

    def __mul__(self, other: Operand) -> "Value":
        other = _value(other)
        return Value(self.data * other.data, (self, other), "*", local_gradients=(other.data, self.data))

    def __truediv__(self, other: Operand) -> "Value":
        other = _value(other)
        quotient = self.data / other.data
        return Value(quotient, (self, other), "/", local_gradients=(1 / other.data, -quotient / other.data))

    def __pow__(self, exponent: float) -> "Value":
        """The exponent is a plain number. Where the power or its slope is not a finite real number there is a ValueError."""
        if not isinstance(exponent, Real):
            raise TypeError(f"the exponent must be a plain number, not {type(exponent).__name__}")
        base, exponent = self.data, float(exponent)
        if (base < 0 and not exponent.is_integer()) or (base == 0 and exponent < 1 and exponent != 0):
            raise ValueError(f"{base} ** {exponent} has no finite real value and slope")
        slope = 0.0 if exponent == 0 else exponent * base ** (exponent - 1)
        return Value(base**exponent, (self,), f"**{exponent:g}", local_gradients=(slope,))

    def __neg__(self) -> "Value":
        return Value(-self.data, (self,), "neg", local_gradients=(-1.0,))

    def __radd__(self, other: float) -> "Value":
        return _value(other) + self

    def __rsub__(self, other: float) -> "Value":
        return _value(other) - self

    def __rmul__(self, other: float) -> "Value":
        return _value(other) * self

    def __rtruediv__(self, other: float) -> "Value":
        return _value(other) / self

    def exp(self) -> "Value":
        out = math.exp(self.data)
        return Value(out, (self,), "exp", local_gradients=(out,))

    def log(self) -> "Value":
        """The natural logarithm."""
        if self.data <= 0:
            raise ValueError(f"log wants a positive number, was given {self.data}")
        return Value(math.log(self.data), (self,), "log", local_gradients=(1 / self.data,))

    def tanh(self) -> "Value":
        out = math.tanh(self.data)
        return Value(out, (self,), "tanh", local_gradients=(1 - out * out,))

    def relu(self) -> "Value":
        """max(self, 0); the slope at exactly 0 is taken to be 0, as in torch."""
        return Value(max(self.data, 0.0), (self,), "relu", local_gradients=(float(self.data > 0),))

    def backward(self) -> None:
        """Put d(self) / d(node) into `grad` of every node that self was made from.

        As in torch, leaves (nodes without parents) add up what several calls bring them: that is how the gradients of a batch are
        summed, and why a training loop begins with `zero_grad`. The nodes between hold the gradient of the last call alone.
        """
        for _ in backward_steps(self):
            pass


def topological_order(output: Value) -> list[Value]:
    """Every node that output was made from, itself last, each once, parents before children.

    A depth-first search with its own stack in place of recursion, so that a long chain does not hit Python's recursion limit.
    """
    order: list[Value] = []
    seen: set[Value] = set()
    stack = [(output, False)]
    while stack:
        node, parents_done = stack.pop()
        if parents_done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((parent, False) for parent in reversed(node.parents))
    return order


def backward_steps(output: Value) -> Iterator[Value]:
    """The backward pass, one operation at a time: yields a node right after it has passed its gradient on to its parents.

    Children come before parents, so a node's gradient is complete when its turn comes. Leaves have nobody to pass it to and are not
    yielded. A figure draws the graph after each step; gradients are whole when the iterator is exhausted.
    """
    order = topological_order(output)
    for node in order:
        if node.parents:
            node.grad = 0.0
    output.grad += 1.0  # d(output) / d(output)
    for node in reversed(order):
        for parent, local_gradient in zip(node.parents, node.local_gradients, strict=True):
            parent.grad += local_gradient * node.grad
        if node.parents:
            yield node


def zero_grad(output: Value) -> None:
    """Forget every gradient in the graph that ends in output."""
    for node in topological_order(output):
        node.grad = 0.0


def _value(operand: Operand) -> Value:
    """A plain number becomes a leaf."""
    if isinstance(operand, Value):
        return operand
    if isinstance(operand, Real):
        return Value(float(operand))
    raise TypeError(f"a Value goes with Values and plain numbers, not with {type(operand).__name__}")
