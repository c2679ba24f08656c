"""What a zygote imports before its first submission, so that no submission has to. Trusted side; reads programs and runs none."""

import ast
from collections.abc import Callable, Iterable

HEAVY = {"sklearn": "sklearn.datasets", "torch": "torch", "scipy": "scipy.special", "pandas": "pandas"}  # package → what to import of it


def imported(sources: Iterable[str]) -> set[str]:
    """Modules that these programs import, wherever in them; those of a program that cannot be read are left out."""
    found: set[str] = set()
    for source in sources:
        try:
            nodes = list(ast.walk(ast.parse(source)))
        except (SyntaxError, ValueError):  # one with a %magic, for example
            continue
        found.update(alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names)
        found.update(node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level)
    return found


def libraries(checks: Iterable[Callable]) -> set[str]:
    """Of the packages that take long to import, those which the checks are written with: what they ask of students will need them too."""
    names = (getattr(value, "__module__", None) or getattr(value, "__name__", "") for check in checks for value in check.__globals__.values())
    return {HEAVY[package] for name in names if isinstance(name, str) and (package := name.partition(".")[0]) in HEAVY}
