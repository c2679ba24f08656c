"""Which cells of a notebook a verdict depends on. Trusted side; reads programs and runs none.

What a student wrote always runs. A cell that stands as it was released runs when it makes, or changes, something that a cell which runs refers to:
a chapter's demonstrations and pictures, about which there is nothing to find out, are left out. In doubt a cell runs.
"""

import ast
import builtins
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
COMPREHENSIONS = {"listcomp", "setcomp", "dictcomp", "genexpr"}
# Statements that call these show something and change nothing.
SHOWS = {"print", "display", "show", "show_static", "predict", "check"}
# Statements that call a method of these draw, and change nothing else.
DRAWS = {"figure", "fig", "axis", "axes", "ax", "left", "right", "top", "bottom"}
# Libraries, of which a statement changes nothing that a verdict depends on: checks seed every generator, the grader says how many threads there are.
LIBRARIES = {"plt", "np", "torch", "random", "nn", "F"}
SETTINGS = re.compile("(set_(?!num_)|use_|register)")  # unless its name says that it does
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
    search = _Search([(_read_again if again else _read)(cell.source) for cell, again in zip(cells, released, strict=True)])
    run = {place for place, cell in enumerate(cells) if cell.kind == "answer"}
    run |= search.closure(run, named, {place for place, again in enumerate(released) if again})
    run |= {place for place, cell in enumerate(cells) if cell.kind == "own"}
    short = {place for place, cell in enumerate(cells) if cell.kind == "released"}
    if any(ROUNDABOUT & search.uses(place) or BACKDOORS & set(IDENTIFIER.findall(cells[place].source)) for place in run):
        return run | short
    return run | search.closure(run, (), short)


@dataclass(frozen=True)
class _Cell:
    """What a cell's program does with names.

    now      looks up in the notebook when it runs, before it has bound them itself
    later    looks up in its functions, whenever those are called
    binds    gives a meaning to; sure: in any case; fixed: by def, class or import
    changes  may change what they stand for
    aliases  groups of names, some of which may stand for one thing afterwards
    """

    now: frozenset[str]
    later: frozenset[str]
    binds: frozenset[str]
    sure: frozenset[str]
    fixed: frozenset[str]
    changes: frozenset[str]
    aliases: tuple[frozenset[str], ...]


class _Search:
    """Which cells make what others look up."""

    def __init__(self, cells: list[_Cell]):
        self._cells = cells
        # What is a function, a class or a module wherever it is bound is not changed by being handed over or named anew.
        unchanged = frozenset(vars(builtins)).union(*(cell.fixed for cell in cells)) - frozenset[str]().union(
            *(cell.binds - cell.fixed for cell in cells)
        )
        tied = _Tied(group - unchanged for cell in cells for group in cell.aliases)
        self._makes = [cell.binds | (tied.to(cell.changes - unchanged) if cell.changes else frozenset()) for cell in cells]
        self._makers: dict[str, list[int]] = {}
        for place, names in enumerate(self._makes):
            for name in names:
                self._makers.setdefault(name, []).append(place)

    def uses(self, place: int) -> frozenset[str]:
        return self._cells[place].now | self._cells[place].later

    def closure(self, run: set[int], named: Collection[str], candidates: set[int]) -> set[int]:
        """The candidates that make what `run` looks up, or what is named, and those that make what they look up in turn."""
        found: set[int] = set()
        wanted: list[tuple[str, int | None]] = [(name, None) for name in named]
        for place in run:
            wanted += self._wanted(place)
        asked = set(wanted)
        while wanted:
            for place in self._making(*wanted.pop(), candidates, run | found) - run - found:
                found.add(place)
                new = set(self._wanted(place)) - asked
                asked |= new
                wanted.extend(new)
        return found

    def _wanted(self, place: int) -> list[tuple[str, int | None]]:
        cell = self._cells[place]
        return [*((name, place) for name in cell.now), *((name, None) for name in cell.later)]

    def _making(self, name: str, before: int | None, candidates: set[int], run: set[int]) -> set[int]:
        """The candidates that may have a part in what a name stands for when the cell `before` runs; None: at any time."""
        found = set()
        for place in reversed(self._makers.get(name, [])):
            if before is not None and place >= before:
                continue
            if place in candidates:
                found.add(place)
            if before is not None and name in self._cells[place].sure and (place in candidates or place in run):
                break
        return found


def _read(source: str) -> _Cell:
    try:
        tree = ast.parse(source)
        tables = [symtable.symtable(ast.unparse(statement), "cell", "exec") for statement in tree.body]
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # a magic command, or no program at all
        return _anything(source)
    if any(isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in tree.body):
        return _anything(source)
    now: set[str] = set()
    later: set[str] = set()
    binds: set[str] = set()
    sure: set[str] = set()
    fixed: set[str] = set()
    for statement, table in zip(tree.body, tables, strict=True):
        bound = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
        here = _names(statement.target) if isinstance(statement, ast.For) else set()
        at_once, deferred = _looked_up(table)
        now |= at_once - sure - here
        later |= deferred - (sure & fixed)
        if isinstance(statement, ast.For):
            now |= _names(statement.iter) - sure
        elif isinstance(statement, ast.AugAssign):
            now |= _names(statement.target) - sure
        if isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom):
            fixed |= bound
        else:
            fixed -= bound
        if not isinstance(statement, ast.For | ast.If | ast.While | ast.Try | ast.Delete):  # those may bind nothing
            sure |= bound
        binds |= bound
    nodes = list(ast.walk(tree))
    binds.update(*(node.names for node in nodes if isinstance(node, ast.Global)))
    changes = set[str]().union(*map(_changed, nodes))
    aliases = tuple(group for node in nodes if (group := _aliases(node)))
    now_, later_, binds_, sure_, fixed_, changes_ = map(frozenset, (now, later, binds, sure, fixed, changes))
    return _Cell(now_, later_, binds_, sure_, fixed_, changes_, aliases)


def _anything(source: str) -> _Cell:
    every = frozenset(IDENTIFIER.findall(source))
    return _Cell(every, every, every, frozenset(), frozenset(), every, ())


# A class shares its release; a student's programs are read once and not kept.
_read_again = functools.lru_cache(1024)(_read)


def _looked_up(top: symtable.SymbolTable) -> tuple[set[str], set[str]]:
    """Names that a statement looks up when it runs, and those that its functions look up."""
    now, later, tables = set(), set(), [(top, False)]
    while tables:
        table, deferred = tables.pop()
        function = table.get_type() == "function"
        deferred = deferred or (function and table.get_name() not in COMPREHENSIONS)
        tables += [(child, deferred) for child in table.get_children()]
        names = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced() and (symbol.is_global() or not function)}
        (later if deferred else now).update(names)
    return now, later


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
        if called in DRAWS or (called in LIBRARIES and not SETTINGS.match(getattr(node.value.func, "attr", ""))):
            return {called} - LIBRARIES
        given = [*node.value.args, *(keyword.value for keyword in node.value.keywords)]
        return {called, *(_root(part) for part in given)} - {""}
    return set()


def _first(called: ast.AST) -> ast.AST:
    """What the first call of `name.one().two()` calls."""
    while isinstance(called, ast.Attribute | ast.Subscript | ast.Call):
        called = called.func if isinstance(called, ast.Call) else called.value
    return called


DISPLAYS = ast.List | ast.Tuple | ast.Dict | ast.Set


def _aliases(node: ast.AST) -> frozenset[str]:
    """All names of `a = b`, `a = b.part`, `a, c = b[0], [d]`, `a = a + [b]` and `a.append(b)`, as a change by one may be a change of another.

    None of `a = f(b)` and `a = b + c`: what comes of a call or of arithmetic is taken for something new.
    """
    if isinstance(node, ast.Assign):
        roots = set[str]().union(
            *(_roots(part) for part in (node.value.elts if isinstance(node.value, ast.List | ast.Tuple | ast.Set) else [node.value]))
        )
        return frozenset(roots.union(*(_roots(target) for target in node.targets))) if roots else frozenset()
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return frozenset(_changed(node))
    return frozenset()


def _roots(value: ast.AST) -> set[str]:
    """Names of what a value may be, or hold."""
    if isinstance(value, ast.Call | ast.Constant | ast.Lambda):
        return set()
    if isinstance(value, ast.BinOp | ast.UnaryOp | ast.Compare) and not any(isinstance(part, DISPLAYS) for part in ast.walk(value)):
        return set()
    if isinstance(value, ast.Name | ast.Attribute | ast.Subscript | ast.Starred):
        return {_root(value)} - {""}
    return set[str]().union(*(_roots(part) for part in ast.iter_child_nodes(value)))


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
