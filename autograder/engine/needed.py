"""Which cells of a notebook a verdict depends on. Trusted side; reads programs and runs none.

What a student wrote always runs. A cell that stands as it was released runs when it makes, or changes, something that a cell which runs refers to:
a chapter's demonstrations and pictures, about which there is nothing to find out, are left out. In doubt a cell runs.
"""

import ast
import functools
import re
import symtable
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

IDENTIFIER = re.compile(r"[^\W\d]\w*")
# Through these a program reaches names that it does not spell; then everything runs.
ROUNDABOUT = {"globals", "locals", "vars", "eval", "exec", "compile", "get_ipython", "In", "Out", "_", "__", "___"}
BACKDOORS = {"__main__", "__globals__", "user_ns", "f_globals", "_getframe"}
# Statements that call these show something and change nothing.
SHOWS = {"print", "display", "show", "show_static", "predict", "check"}
# Statements that call a method of these draw, and change nothing else.
DRAWS = {"plt", "figure", "fig", "axis", "axes", "ax", "left", "right", "top", "bottom"}
MOST = 200_000  # characters of a student's programs that are read; with more, everything runs

Kind = Literal["answer", "own", "released", "long"]


@dataclass(frozen=True)
class Code:
    """A code cell. kind: an answer, something else that the student wrote, a cell as it was released, or a released one that takes long."""

    source: str
    kind: Kind


def needed(cells: Sequence[Code], named: Collection[str]) -> set[int]:
    """Places of the cells that run: the student's own, and what they and the checks need.

    named  what the checks and the predictions refer to

    A cell that takes long runs when a check or an answer needs it, and not for what a student added.
    """
    released = [cell.kind in ("released", "long") for cell in cells]
    if sum(len(cell.source) for cell, again in zip(cells, released, strict=True) if not again) > MOST:
        return {place for place, cell in enumerate(cells) if cell.kind != "long"}
    read = [(_read_again if again else _read)(cell.source) for cell, again in zip(cells, released, strict=True)]
    tied = _Tied(group for cell in read for group in cell.aliases)
    uses = [cell.uses for cell in read]
    makes = [cell.binds | tied.to(cell.changes) if again else cell.binds for cell, again in zip(read, released, strict=True)]
    run = {place for place, cell in enumerate(cells) if cell.kind == "answer"}
    _close(run, set(named).union(*(uses[place] for place in run)), uses, makes, [place for place, again in enumerate(released) if again])
    run |= {place for place, cell in enumerate(cells) if cell.kind == "own"}
    short = [place for place, cell in enumerate(cells) if cell.kind == "released"]
    if any(ROUNDABOUT & uses[place] or BACKDOORS & set(IDENTIFIER.findall(cells[place].source)) for place in run):
        return run | set(short)
    _close(run, set().union(*(uses[place] for place in run)), uses, makes, short)
    return run


def _close(run: set[int], wanted: set[str], uses: list[frozenset[str]], makes: list[frozenset[str]], candidates: list[int]) -> None:
    """Add to `run` the candidates that make what is wanted, and those that make what they want in turn."""
    waiting = [place for place in candidates if place not in run]
    while found := [place for place in waiting if makes[place] & wanted]:
        run.update(found)
        wanted.update(*(uses[place] for place in found))
        waiting = [place for place in waiting if place not in run]


@dataclass(frozen=True)
class _Cell:
    """What a cell's program does with names.

    uses     looks up in the notebook, in its functions too, before it has bound them itself
    binds    gives a meaning to
    changes  may change what they stand for
    aliases  groups of names, some of which may stand for one thing afterwards
    """

    uses: frozenset[str]
    binds: frozenset[str]
    changes: frozenset[str]
    aliases: tuple[frozenset[str], ...]


def _read(source: str) -> _Cell:
    try:
        tree = ast.parse(source)
        tables = [symtable.symtable(ast.unparse(statement), "cell", "exec") for statement in tree.body]
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # a magic command, or no program at all
        every = frozenset(IDENTIFIER.findall(source))
        return _Cell(every, every, every, ())
    if any(isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in tree.body):
        every = frozenset(IDENTIFIER.findall(source))
        return _Cell(every, every, every, ())
    uses: set[str] = set()
    binds: set[str] = set()
    certain: set[str] = set()
    for statement, table in zip(tree.body, tables, strict=True):
        bound = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
        here = _names(statement.target) if isinstance(statement, ast.For) else set()
        uses |= _looked_up(table) - certain - here
        if isinstance(statement, ast.For):
            uses |= _names(statement.iter) - certain
        elif isinstance(statement, ast.AugAssign):
            uses |= _names(statement.target) - certain
        if not isinstance(statement, ast.For | ast.If | ast.While | ast.Try | ast.Delete):  # those may bind nothing
            certain |= bound
        binds |= bound
    nodes = list(ast.walk(tree))
    binds.update(*(node.names for node in nodes if isinstance(node, ast.Global)))
    changes = set[str]().union(*map(_changed, nodes))
    aliases = tuple(_aliases(node) for node in nodes if isinstance(node, ast.Assign))
    return _Cell(frozenset(uses), frozenset(binds), frozenset(changes), aliases)


# A class shares its release; a student's programs are read once and not kept.
_read_again = functools.lru_cache(1024)(_read)


def _looked_up(top: symtable.SymbolTable) -> set[str]:
    found, tables = set(), [top]
    while tables:
        table = tables.pop()
        tables.extend(table.get_children())
        inside = table.get_type() == "function"
        found |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced() and (symbol.is_global() or not inside)}
    return found


def _changed(node: ast.AST) -> set[str]:
    """Names of what this piece of a program may change, without the pieces in it."""
    if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
        return {_root(node)}
    if isinstance(node, ast.AugAssign):
        return {_root(node.target)}
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        called = _root(_first(node.value))
        if called in SHOWS:
            return set()
        if called in DRAWS:
            return {called}
        given = [*node.value.args, *(keyword.value for keyword in node.value.keywords)]
        return {called, *(_root(part) for part in given)} - {""}
    return set()


def _first(called: ast.AST) -> ast.AST:
    """What the first call of `name.one().two()` calls."""
    while isinstance(called, ast.Attribute | ast.Subscript | ast.Call):
        called = called.func if isinstance(called, ast.Call) else called.value
    return called


def _aliases(statement: ast.Assign) -> frozenset[str]:
    """All names of `a = b`, `a = b.part` and `a, c = b[0], [d]`, as a change by one may be a change of the other; none of `a = f(b)`."""
    values = statement.value.elts if isinstance(statement.value, ast.Tuple | ast.List | ast.Set) else [statement.value]
    parts = [part for value in values for part in (ast.walk(value) if isinstance(value, ast.Dict | ast.List | ast.Tuple) else [value])]
    targets = [part for target in statement.targets for part in (target.elts if isinstance(target, ast.Tuple | ast.List) else [target])]
    right, left = ({_root(part) for part in side} - {""} for side in (parts, targets))
    return frozenset(left | right) if right else frozenset()


class _Tied:
    """Names that may stand for one thing."""

    def __init__(self, groups: Iterable[frozenset[str]]):
        self._above: dict[str, str] = {}
        for group in groups:
            tops = [self._top(name) for name in group]
            self._above.update(dict.fromkeys(tops[1:], tops[0]) if tops else {})
        self._groups: dict[str, set[str]] = {}
        for name in list(self._above):
            self._groups.setdefault(self._top(name), set()).add(name)

    def _top(self, name: str) -> str:
        path = [name]
        while (above := self._above.setdefault(path[-1], path[-1])) != path[-1]:
            path.append(above)
        self._above.update(dict.fromkeys(path, path[-1]))
        return path[-1]

    def to(self, names: Iterable[str]) -> set[str]:
        """These names and all that are tied to them."""
        found = set(names)
        return found.union(*(self._groups.get(top, ()) for top in {self._above.get(name, name) for name in found}))


def _names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _root(node: ast.AST) -> str:
    """The name at the beginning of `name.part[0]`, "" when there is none: what a call gives is taken for something new."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
