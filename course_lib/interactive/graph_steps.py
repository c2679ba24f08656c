"""Values flow forward and gradients back through a computation graph, one node a step.

Nodes stand in columns by how many operations lie between them and the leaves, the output on the right (the layering of Sugiyama, Tagawa and Toda,
1981, "Methods for visual understanding of hierarchical system structures": columns, stand-ins where an edge crosses a column, then orders by the mean
position of the neighbours). Gradients are computed here from the local derivatives; the given graph is only read.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from course_lib.interactive.show import InteractiveFigure, Steps
from course_lib.interactive.style import DARK_BLUE, DARK_VERMILION, FAINT, INK, PALE_ORANGE, PAPER, new_figure, number

MOST_NODES = 30  # more cannot be read on a page

# Inches. A gap between columns holds "−0.1234 × −0.5678" and a bit of the arrow on both sides.
BOX_WIDTH, BOX_HEIGHT = 1.05, 0.68
COLUMN_GAP, ROW_GAP = 1.3, 0.34
MARGIN, LEGEND_HEIGHT, SMALLEST_WIDTH = 0.15, 0.3, 5.0
PORT_GAP = 0.34  # between edges at the same side of a box
PRODUCT_WIDTH, PRODUCT_GAP = 1.1, 0.42  # width of the words on an edge; distance between the middles of two such
LETTER = 0.58  # the mean width of a character, as a share of the font size

Point = tuple[float, float]


class Node(Protocol):
    """What a graph is made of: `course_lib.scratch.autograd.Value`, a student's own class, or anything with the same attributes."""

    @property
    def data(self) -> float: ...
    @property
    def parents(self) -> Sequence["Node"]: ...
    @property
    def local_gradients(self) -> Sequence[float]: ...
    @property
    def op(self) -> str: ...
    @property
    def label(self) -> str: ...


@dataclass(frozen=True)
class Edge:
    """One operand of one operation. A node used twice by the same operation has two."""

    parent: int
    child: int
    local: float  # d(child) / d(parent)


@dataclass(frozen=True)
class Graph:
    """A copy of the graph in plain numbers; a node's index is its place in the forward order, so the output is the last."""

    names: tuple[str, ...]
    ops: tuple[str, ...]
    values: tuple[float, ...]
    edges: tuple[Edge, ...]

    @property
    def size(self) -> int:
        return len(self.names)

    def incoming(self, node: int) -> list[Edge]:
        """The edges from the node's parents, in the order of its operands."""
        return [edge for edge in self.edges if edge.child == node]

    def outgoing(self, node: int) -> list[Edge]:
        """The edges to the nodes that use this one."""
        return [edge for edge in self.edges if edge.parent == node]


@dataclass(frozen=True)
class Frame:
    """What one step shows. `gradients` holds a node from the moment its first contribution arrives."""

    valued: int  # nodes 0, …, valued - 1 have their values
    gradients: dict[int, float]
    active: int | None
    flow: Literal["none", "forward", "backward"]  # on the edges between the active node and its parents
    caption: str


@dataclass(frozen=True)
class Drawing:
    """Where everything stands, in inches from the lower left corner. Every edge is a list of straight-line stops, from parent to child."""

    centres: tuple[Point, ...]
    routes: tuple[tuple[Point, ...], ...]
    width: float
    height: float


def copy_graph(output: Node) -> Graph:
    """Read the graph that ends in `output`, parents before children, operands from left to right."""
    nodes: list[Node] = []
    index: dict[int, int] = {}  # by identity
    stack: list[tuple[Node, bool]] = [(output, False)]
    while stack:
        node, parents_done = stack.pop()
        if id(node) in index:
            continue
        if parents_done:
            index[id(node)] = len(nodes)
            nodes.append(node)
        else:
            stack.append((node, True))
            stack.extend((parent, False) for parent in reversed(node.parents))
    if len(nodes) > MOST_NODES:
        raise ValueError(f"the graph has {len(nodes)} nodes; at most {MOST_NODES} can be read in one figure")
    for node in nodes:
        if len(node.parents) != len(node.local_gradients):
            raise ValueError(
                f"node {node.label or node.op!r} has {len(node.parents)} parents and {len(node.local_gradients)} local gradients; wanted as many"
            )
    return Graph(
        names=tuple(node.label or f"v{i + 1}" for i, node in enumerate(nodes)),
        ops=tuple(node.op for node in nodes),
        values=tuple(float(node.data) for node in nodes),
        edges=tuple(
            Edge(index[id(parent)], child, float(local))
            for child, node in enumerate(nodes)
            for parent, local in zip(node.parents, node.local_gradients, strict=True)
        ),
    )


def frames(graph: Graph) -> Iterator[Frame]:
    """Every step: the empty graph, each node forward, the output's own gradient, then each operation backward."""
    output = graph.size - 1
    yield Frame(0, {}, None, "none", f"Start: {graph.size} nodes and no values yet. Forward, every node waits for its parents.")
    for node in range(graph.size):
        yield Frame(node + 1, {}, node, "forward", _forward_caption(graph, node))

    gradients = {output: 1.0}
    received = dict.fromkeys(range(graph.size), 0)
    name = graph.names[output]
    yield Frame(graph.size, dict(gradients), output, "none", f"Backward begins: the gradient of {name} with respect to itself is 1.")
    for node in reversed(range(graph.size)):
        edges = graph.incoming(node)
        for edge in edges:
            gradients[edge.parent] = gradients.get(edge.parent, 0.0) + edge.local * gradients[node]
            received[edge.parent] += 1
        if edges:
            yield Frame(graph.size, dict(gradients), node, "backward", _backward_caption(graph, node, gradients, received))


def layout(graph: Graph) -> Drawing:
    """Columns from left to right, rows centred, every edge routed through a row of its own where it crosses a column."""
    column = [0] * graph.size
    for edge in graph.edges:  # children come after their parents, so a parent's column is final when it is used
        column[edge.child] = max(column[edge.child], column[edge.parent] + 1)
    for node in range(graph.size):  # a leaf stands right before the first node that uses it
        if not graph.incoming(node) and graph.outgoing(node):
            column[node] = min(column[edge.child] for edge in graph.outgoing(node)) - 1

    # A slot is (node, column): the node itself, or the place where its edges cross a later column (shared by edges to the same child's column).
    slots: list[list[tuple[int, int]]] = [[] for _ in range(max(column) + 1)]
    links: list[tuple[tuple[int, int], tuple[int, int]]] = []
    for node in range(graph.size):
        last = max((column[edge.child] for edge in graph.outgoing(node)), default=column[node] + 1)
        for crossed in range(column[node], last):
            slots[crossed].append((node, crossed))
            if crossed > column[node]:
                links.append(((node, crossed - 1), (node, crossed)))
    links += [((edge.parent, column[edge.child] - 1), (edge.child, column[edge.child])) for edge in graph.edges]
    row = _rows(slots, links)

    pitch = BOX_HEIGHT + ROW_GAP
    tallest = max(len(column_slots) for column_slots in slots)
    width = 2 * MARGIN + len(slots) * BOX_WIDTH + (len(slots) - 1) * COLUMN_GAP
    height = 2 * MARGIN + LEGEND_HEIGHT + tallest * pitch - ROW_GAP

    def centre(slot: tuple[int, int]) -> Point:
        x = MARGIN + BOX_WIDTH / 2 + slot[1] * (BOX_WIDTH + COLUMN_GAP)
        return x, LEGEND_HEIGHT + (height - LEGEND_HEIGHT) / 2 - row[slot] * pitch

    centres = tuple(centre((node, column[node])) for node in range(graph.size))
    crossings = [[centre((edge.parent, crossed)) for crossed in range(column[edge.parent] + 1, column[edge.child])] for edge in graph.edges]
    leave, arrive = _ports(graph, centres, crossings)
    routes = []
    for i, edge in enumerate(graph.edges):
        x, y = centres[edge.parent]
        stops = [(x + BOX_WIDTH / 2, y + leave[i])]
        for x, y in crossings[i]:
            stops += [(x - BOX_WIDTH / 2, y), (x + BOX_WIDTH / 2, y)]
        x, y = centres[edge.child]
        routes.append((*stops, (x - BOX_WIDTH / 2, y + arrive[i])))
    return Drawing(centres, tuple(routes), max(width, SMALLEST_WIDTH), height)


def draw_graph(graph: Graph, drawing: Drawing, frame: Frame) -> Figure:
    """One frame. Forward edges at work are solid and thick, backward ones dashed and thick, so grey paper tells them apart too."""
    figure = new_figure(drawing.width, drawing.height)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, drawing.width), ylim=(0, drawing.height))
    axes.set_axis_off()
    for edge, route in zip(graph.edges, drawing.routes, strict=True):
        _draw_edge(axes, route, frame.flow if edge.child == frame.active else "none")
    for node, centre in enumerate(drawing.centres):
        _draw_node(axes, graph, frame, node, centre)
    if frame.flow == "backward" and frame.active is not None:
        _draw_products(axes, graph, drawing, frame.active, frame.gradients[frame.active])
    axes.text(MARGIN, 0.1, "backward, on an edge: local slope × upstream gradient = contribution", fontsize=9, color=INK)
    return figure


def graph_steps(output: Node) -> InteractiveFigure:
    """The graph that ends in `output`: a slider first reveals the values, node by node, then sends the gradients back.

    Names are the nodes' labels; a node without one is called v1, v2, … by its place in the forward order. At most 30 nodes.
    """
    graph = copy_graph(output)
    drawing = layout(graph)
    steps = tuple(frames(graph))
    leaves = [graph.names[node] for node in range(graph.size) if not graph.incoming(node)]
    return InteractiveFigure(
        controls={"step": Steps("step", last=len(steps) - 1, milliseconds=1500)},
        draw=lambda step: draw_graph(graph, drawing, steps[step]),
        caption=lambda step: steps[step].caption,
        alt=f"Computation graph with {graph.size} nodes, from {', '.join(leaves)} to {graph.names[-1]}. "
        "A slider computes the values from left to right, then sends the gradients from right to left.",
        static={"step": len(steps) - 1},
    )


def example_graph() -> Node:
    """L = (tanh(w·x + b) - t)²: one neuron, its target and its squared error, with numbers that are easy to follow."""
    from course_lib.scratch.autograd import Value  # here, because graph_steps must not need the answer to an exercise

    w, x, b, t = Value(0.5, label="w"), Value(2.0, label="x"), Value(-0.5, label="b"), Value(1.0, label="t")
    product = w * x
    product.label = "p"
    z = product + b
    z.label = "z"
    y = z.tanh()
    y.label = "y"
    error = y - t
    error.label = "e"
    loss = error**2
    loss.label = "L"
    return loss


def _forward_caption(graph: Graph, node: int) -> str:
    parents = [edge.parent for edge in graph.incoming(node)]
    name, value = graph.names[node], number(graph.values[node])
    if not parents:
        return f"Forward: {name} is given, {value}."
    symbols = _formula(graph.ops[node], [graph.names[parent] for parent in parents])
    numbers = _formula(graph.ops[node], [f"({number(v)})" if v < 0 else number(v) for v in (graph.values[parent] for parent in parents)])
    return f"Forward: {name} = {symbols} = {numbers} = {value}."


def _formula(op: str, operands: list[str]) -> str:
    """a + b, a**2, tanh(a): two operands stand around a sign, one before a power, all others in brackets behind a name."""
    if len(operands) == 2 and not op.isalpha():
        return f"{operands[0]} {op} {operands[1]}"
    if op.startswith("**"):
        return operands[0] + op
    return f"{op}({', '.join(operands)})".replace("((", "(").replace("))", ")")


def _backward_caption(graph: Graph, node: int, gradients: dict[int, float], received: dict[int, int]) -> str:
    upstream = gradients[node]
    edges = graph.incoming(node)
    passed = [f"{number(edge.local)} × {number(upstream)} = {number(edge.local * upstream)} to {graph.names[edge.parent]}" for edge in edges]
    arrived = []
    for parent in dict.fromkeys(edge.parent for edge in edges):
        wanted = len(graph.outgoing(parent))
        if wanted > 1:
            so_far = "in all" if received[parent] == wanted else "so far"
            arrived.append(f" {graph.names[parent]} has received {received[parent]} of {wanted} contributions, {number(gradients[parent])} {so_far}.")
    return f"Backward: {graph.names[node]} passes {' and '.join(passed)}.{''.join(arrived)}"


def _rows(slots: list[list[tuple[int, int]]], links: list[tuple[tuple[int, int], tuple[int, int]]]) -> dict[tuple[int, int], float]:
    """Heights, in rows below the middle, after a few sweeps that put every slot near the mean of its neighbours in the next column."""
    row = {slot: i - (len(column) - 1) / 2 for column in slots for i, slot in enumerate(column)}

    def order(column: list[tuple[int, int]], neighbours: dict[tuple[int, int], list[tuple[int, int]]]) -> None:
        def mean(slot: tuple[int, int]) -> float:
            near = neighbours.get(slot, [])
            return sum(row[other] for other in near) / len(near) if near else row[slot]

        column.sort(key=mean)  # stable: equal means keep the operands' order
        for i, slot in enumerate(column):
            row[slot] = i - (len(column) - 1) / 2

    left: dict[tuple[int, int], list[tuple[int, int]]] = {}
    right: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for start, end in links:
        right.setdefault(start, []).append(end)
        left.setdefault(end, []).append(start)
    for _ in range(4):
        for column in slots[1:]:
            order(column, left)
        for column in reversed(slots[:-1]):
            order(column, right)
    return row


def _ports(graph: Graph, centres: tuple[Point, ...], crossings: list[list[Point]]) -> tuple[list[float], list[float]]:
    """For each edge, how far above the middle of the box it leaves its parent and arrives at its child, so that edges do not run together."""
    next_stop = [(*crossed, centres[edge.child])[0] for edge, crossed in zip(graph.edges, crossings, strict=True)]
    last_stop = [(centres[edge.parent], *crossed)[-1] for edge, crossed in zip(graph.edges, crossings, strict=True)]
    leave, arrive = [0.0] * len(graph.edges), [0.0] * len(graph.edges)
    for node in range(graph.size):
        _spread(leave, [i for i, edge in enumerate(graph.edges) if edge.parent == node], next_stop)
        _spread(arrive, [i for i, edge in enumerate(graph.edges) if edge.child == node], last_stop)
    return leave, arrive


def _spread(offsets: list[float], edges: list[int], other_ends: list[Point]) -> None:
    """Write evenly spaced offsets for the edges at one side of a box, the highest for the edge whose other end is highest."""
    gap = min(PORT_GAP, (BOX_HEIGHT - 0.2) / max(len(edges) - 1, 1))
    for place, i in enumerate(sorted(edges, key=lambda i: -other_ends[i][1])):
        offsets[i] = ((len(edges) - 1) / 2 - place) * gap


def _draw_edge(axes: Axes, route: tuple[Point, ...], flow: Literal["none", "forward", "backward"]) -> None:
    vertices, codes = [route[0]], [Path.MOVETO]
    for i, ((x0, y0), (x1, y1)) in enumerate(itertools.pairwise(route)):
        if i % 2:  # straight across a column
            vertices.append((x1, y1))
            codes.append(Path.LINETO)
        else:  # from one column to the next, level at both ends
            vertices += [((x0 + x1) / 2, y0), ((x0 + x1) / 2, y1), (x1, y1)]
            codes += [Path.CURVE4] * 3
    if flow == "backward":
        vertices.reverse()  # the codes of a chain of cubics and lines read the same from the other end
        codes = [Path.MOVETO, *reversed(codes[1:])]
    axes.add_patch(
        FancyArrowPatch(
            path=Path(vertices, codes),
            arrowstyle="-|>",
            mutation_scale=9 if flow == "none" else 14,
            color={"none": FAINT, "forward": DARK_BLUE, "backward": DARK_VERMILION}[flow],
            linewidth=1.2 if flow == "none" else 2.4,
            linestyle=(0, (4, 2)) if flow == "backward" else "solid",
            fill=False,
            zorder=1 if flow == "none" else 2,
        )
    )


def _draw_node(axes: Axes, graph: Graph, frame: Frame, node: int, centre: Point) -> None:
    x, y = centre
    active, valued = node == frame.active, node < frame.valued
    edge_colour = INK if not active else DARK_VERMILION if frame.gradients else DARK_BLUE
    axes.add_patch(
        FancyBboxPatch(
            (x - BOX_WIDTH / 2, y - BOX_HEIGHT / 2),
            BOX_WIDTH,
            BOX_HEIGHT,
            boxstyle="round,pad=0,rounding_size=0.08",
            facecolor=PALE_ORANGE if valued else PAPER,
            edgecolor=edge_colour,
            linewidth=3 if active else 1,
            zorder=3,
        )
    )
    op, name = graph.ops[node], graph.names[node]
    title = f"{name}: {op}" if op else name
    axes.text(x, y + 0.2, title, fontsize=_fitting(title, 10), fontweight="bold", color=INK, ha="center", va="center", zorder=4)
    if valued:
        text = f"value {number(graph.values[node])}"
        axes.text(x, y, text, fontsize=_fitting(text, 9), color=DARK_BLUE, ha="center", va="center", zorder=4)
    if node in frame.gradients:
        text = f"grad {number(frame.gradients[node])}"
        axes.text(x, y - 0.2, text, fontsize=_fitting(text, 9), color=DARK_VERMILION, ha="center", va="center", zorder=4)


def _draw_products(axes: Axes, graph: Graph, drawing: Drawing, node: int, upstream: float) -> None:
    """The chain rule on each edge between the node and its parents, in the gap right before the node, from top to bottom."""
    edges = [(edge, route) for edge, route in zip(graph.edges, drawing.routes, strict=True) if edge.child == node]
    tags = sorted(((route[-2], route[-1], edge.local) for edge, route in edges), key=_height)
    heights = [_height(tag) for tag in tags]
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + PRODUCT_GAP)
    shift = sum(heights) / len(heights) - sum(map(_height, tags)) / len(tags)
    for ((x0, _), (x1, _), local), height in zip(tags, heights, strict=True):
        product = f"{number(local)} × {number(upstream)}"
        axes.text(
            (x0 + x1) / 2,
            height - shift,
            f"{product}\n= {number(local * upstream)}",
            fontsize=_fitting(product, 9, PRODUCT_WIDTH),
            color=INK,
            ha="center",
            va="center",
            zorder=5,
            bbox={"boxstyle": "round,pad=0.2", "facecolor": PAPER, "edgecolor": DARK_VERMILION, "linewidth": 0.8},
        )


def _height(tag: tuple[Point, Point, float]) -> float:
    """Half way between the two ends of an edge's last part."""
    (_, y0), (_, y1), _ = tag
    return (y0 + y1) / 2


def _fitting(text: str, size: float, width: float = BOX_WIDTH - 0.08) -> float:
    """The font size, reduced where the text would be wider than `width` inches."""
    return min(size, 72 * width / (LETTER * len(text)))
