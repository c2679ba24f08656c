import doctest
import inspect
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.scratch import autograd
from course_lib.scratch.autograd import Value, backward_steps, topological_order, zero_grad
from course_lib.scratch.gradcheck import numerical_gradient

CONSTANTS = st.floats(-2, 2).filter(lambda c: abs(c) > 0.1)
UNARY = {
    "neg": lambda v: -v,
    "tanh": lambda v: v.tanh(),
    "relu": lambda v: v.relu(),
    "exp": lambda v: v.tanh().exp(),
    "log": lambda v: (v * v + 1).log(),
    "square": lambda v: v.tanh() ** 2,
    "cube": lambda v: v.tanh() ** 3,
    "root": lambda v: (v * v + 0.5) ** 0.5,
    "inverse square": lambda v: (v * v + 1) ** -2,
}
BINARY = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a.tanh() * b.tanh(), "/": lambda a, b: a / (b * b + 1)}
MIXED = {
    "v + c": lambda v, c: v + c,
    "c + v": lambda v, c: c + v,
    "v - c": lambda v, c: v - c,
    "c - v": lambda v, c: c - v,
    "v * c": lambda v, c: v * c,
    "c * v": lambda v, c: c * v,
    "v / c": lambda v, c: v / c,
    "c / v": lambda v, c: c / (v * v + 1),
}
INDEX = st.integers(0, 10**6)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(sorted(UNARY)), INDEX),
        st.tuples(st.sampled_from(sorted(BINARY)), INDEX, INDEX),
        st.tuples(st.sampled_from(sorted(MIXED)), INDEX, CONSTANTS),
    ),
    min_size=1,
    max_size=25,
)


def build(leaves, steps):
    """A graph in which any step may use any earlier node again. The same code runs on Values and on tensors."""
    nodes = list(leaves)
    for name, first, *second in steps:
        operand = nodes[first % len(nodes)]
        if name in UNARY:
            nodes.append(UNARY[name](operand))
        elif name in BINARY:
            nodes.append(BINARY[name](operand, nodes[second[0] % len(nodes)]))
        else:
            nodes.append(MIXED[name](operand, second[0]))
    return nodes[-1] + nodes[len(nodes) // 2] + sum(leaves)


@given(data=st.lists(st.floats(-2, 2), min_size=1, max_size=4), steps=STEPS)
def test_random_graphs_with_reused_nodes_have_the_values_and_gradients_that_torch_finds(data, steps):
    ours = [Value(number) for number in data]
    theirs = [torch.tensor(number, dtype=torch.float64, requires_grad=True) for number in data]
    out, expected = build(ours, steps), build(theirs, steps)
    out.backward()
    expected.backward()
    assert out.data == pytest.approx(expected.item(), rel=1e-10, abs=1e-10)
    for leaf, tensor in zip(ours, theirs, strict=True):
        assert tensor.grad is not None
        assert leaf.grad == pytest.approx(tensor.grad.item(), rel=1e-10, abs=1e-10)


@pytest.mark.parametrize(
    ("operation", "op", "at"),
    [
        (lambda a, b: a + b, "+", (1.5, -0.7)),
        (lambda a, b: a - b, "-", (1.5, -0.7)),
        (lambda a, b: a * b, "*", (1.5, -0.7)),
        (lambda a, b: a / b, "/", (1.5, -0.7)),
        (lambda a: -a, "neg", (1.5,)),
        (lambda a: a**3, "**3", (-1.5,)),
        (lambda a: a**-0.5, "**-0.5", (1.5,)),
        (lambda a: a.exp(), "exp", (0.4,)),
        (lambda a: a.log(), "log", (0.4,)),
        (lambda a: a.tanh(), "tanh", (0.4,)),
        (lambda a: a.relu(), "relu", (0.4,)),
        (lambda a: a.relu(), "relu", (-0.4,)),
    ],
)
def test_every_operation_makes_one_node_whose_local_gradients_are_those_measured(operation, op, at):
    operands = tuple(Value(number) for number in at)
    node = operation(*operands)
    assert node.op == op and node.parents == operands
    measured = numerical_gradient(lambda point: operation(*(Value(number) for number in point)).data, at)
    assert node.local_gradients == pytest.approx(measured, rel=1e-8)
    assert node.grad == 0 and all(operand.grad == 0 for operand in operands)  # nothing flows before backward


def test_the_slope_of_relu_at_zero_is_zero_and_of_anything_to_the_power_zero_too():
    for make in (lambda v: v.relu(), lambda v: v**0):
        x = Value(0.0)
        make(x).backward()
        assert x.grad == 0


def test_a_node_used_twice_gets_both_gradients():
    x = Value(3.0)
    (x * x + x).backward()
    assert x.grad == 7


def test_gradients_of_leaves_add_up_over_calls_as_in_torch_and_those_between_do_not():
    x = Value(3.0)
    middle = x * x
    out = middle * 2.0
    for call in (1, 2, 3):
        out.backward()
        assert (out.grad, middle.grad, x.grad) == (1, 2, 12 * call)
    (middle * 1.0).backward()  # another output that shares a node
    assert (middle.grad, x.grad) == (1, 42)


def test_zero_grad_forgets_every_gradient_of_the_graph():
    x = Value(3.0)
    out = x * x
    out.backward()
    zero_grad(out)
    assert (out.grad, x.grad) == (0, 0)
    out.backward()
    assert x.grad == 6


def test_the_gradient_of_a_leaf_with_respect_to_itself_is_one_a_call():
    x = Value(3.0)
    for call in (1, 2):
        x.backward()
        assert x.grad == call


@given(steps=STEPS)
def test_the_order_puts_parents_before_children_and_holds_each_node_once(steps):
    leaves = [Value(0.5), Value(-1.0)]
    out = build(leaves, steps)
    order = topological_order(out)
    position = {node: place for place, node in enumerate(order)}
    assert len(position) == len(order) and order[-1] is out
    assert all(position[parent] < position[node] for node in order for parent in node.parents)
    assert set(leaves) <= set(order)


def test_equal_numbers_are_different_nodes():
    a, b = Value(1.0), Value(1.0)
    assert a != b and len(topological_order(a + b)) == 3


def test_a_chain_of_fifty_thousand_nodes_is_no_trouble():
    x = Value(1.0)
    out = x
    for _ in range(50_000):
        out = out + x
    out.backward()
    assert x.grad == 50_001
    assert len(topological_order(out)) == 50_001
    assert "50001" in repr(out)
    zero_grad(out)
    del out


def test_a_graph_with_two_to_the_sixty_paths_is_walked_once():
    x = Value(1.0)
    out = x
    for _ in range(60):
        out = out + out
    out.backward()
    assert x.grad == 2.0**60


def test_the_steps_of_backward_can_be_watched_one_operation_at_a_time():
    x, y = Value(2.0), Value(3.0)
    product = x * y
    out = product + x
    steps = backward_steps(out)
    assert next(steps) is out
    assert (out.grad, product.grad, x.grad, y.grad) == (1, 1, 1, 0)
    assert next(steps) is product
    assert (x.grad, y.grad) == (4, 2)
    assert next(steps, None) is None


@given(steps=STEPS)
def test_watching_the_steps_gives_the_gradients_of_backward_and_no_yielded_gradient_changes_later(steps):
    watched, plain = [Value(0.5), Value(-1.0)], [Value(0.5), Value(-1.0)]
    out = build(watched, steps)
    seen = [(node, node.grad) for node in backward_steps(out)]
    build(plain, steps).backward()
    assert [leaf.grad for leaf in watched] == [leaf.grad for leaf in plain]
    assert [node.grad for node, _ in seen] == [grad for _, grad in seen]
    assert [node for node, _ in seen] == [node for node in reversed(topological_order(out)) if node.parents]


@pytest.mark.parametrize("number", [2, 2.0, True + 1, np.float64(2), np.float32(2), np.int64(2), Fraction(2)])
def test_plain_numbers_of_every_kind_work_on_either_side(number):
    x = Value(4.0)
    results = [x + number, number + x, x - number, number - x, x * number, number * x, x / number, number / x, x**number]
    assert all(isinstance(result, Value) for result in results)
    assert [result.data for result in results] == [6, 6, 2, -2, 8, 8, 2, 0.5, 16]


@pytest.mark.parametrize("operand", ["2", None, np.ones(2), [1.0], 1j])
def test_other_operands_are_refused_by_their_type(operand):
    with pytest.raises(TypeError):
        _ = Value(1.0) + operand
    with pytest.raises(TypeError):
        _ = operand * Value(1.0)
    with pytest.raises(TypeError, match="exponent must be a plain number"):
        _ = Value(1.0) ** operand


def test_an_exponent_that_is_a_node_is_refused_since_its_gradient_would_be_lost():
    with pytest.raises(TypeError, match="exponent must be a plain number, not Value"):
        _ = Value(2.0) ** Value(3.0)  # pyright: ignore[reportOperatorIssue]


@pytest.mark.parametrize(("base", "exponent"), [(-2.0, 0.5), (0.0, -1), (0.0, 0.5), (-2.0, -0.5)])
def test_a_power_without_a_finite_real_value_and_slope_is_refused(base, exponent):
    with pytest.raises(ValueError, match="no finite real value and slope"):
        _ = Value(base) ** exponent


def test_undefined_values_are_refused():
    for number in (0.0, -1.0):
        with pytest.raises(ValueError, match="log wants a positive number"):
            Value(number).log()
    with pytest.raises(ZeroDivisionError):
        _ = Value(1.0) / 0.0


def test_parents_without_local_gradients_are_refused():
    with pytest.raises(ValueError, match="1 parents need as many local_gradients, was given 0"):
        Value(1.0, (Value(2.0),), "mystery")


def test_label_value_gradient_and_operation_can_be_read_off_a_node():
    x = Value(2, label="x")
    out = x.exp()
    out.label = "out"
    out.backward()
    assert repr(x) == f"Value(x: 2, grad {math.exp(2):.6g})"
    assert repr(out) == f"Value(out: {math.exp(2):.6g}, grad 1, op exp)"
    assert type(x.data) is float


def test_the_engine_is_small_enough_to_read_and_its_example_is_true():
    assert doctest.testmod(autograd).attempted > 0
    assert doctest.testmod(autograd).failed == 0
    assert len(inspect.getsource(autograd).splitlines()) < 300
