"""Which of a student's own earlier answers an answer calls: where one of them is wrong, what calls it cannot be right."""

import ast
import contextlib
import dis
import types
from collections.abc import Collection, Iterable


def called(objects: Iterable[object], names: Collection[str]) -> list[str]:
    """Those of `names` that these functions, and the methods of these classes, look up."""
    codes: list[types.CodeType] = []
    for item in objects:
        parts = vars(item).values() if isinstance(item, type) else (item,)
        codes += [part.__code__ for part in parts if isinstance(part, types.FunctionType)]
    found: set[str] = set()
    while codes:
        code = codes.pop()
        found.update(step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"))  # `x.name` is another thing
        codes += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return [name for name in names if name in found]


def named(sources: Iterable[str], names: Collection[str]) -> list[str]:
    """Those of `names` that these programs look up; none, in a program that cannot be read."""
    found: set[str] = set()
    for source in sources:
        with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
            found.update(node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name))
    return [name for name in names if name in found]


def advice(wrong: Collection[str]) -> str:
    """What to tell whose answer calls these, whose own checks have found something wrong; "" when there is none."""
    if not wrong:
        return ""
    names = ", ".join(f"`{name}`" for name in wrong)
    what = "is not right yet by its own check" if len(wrong) == 1 else "are not right yet by their own checks"
    return f"This calls {names}, which {what}: begin there."
