"""What a docstring refers to is there: pages of the API would name it without a link."""

import ast
import builtins
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from pkgutil import resolve_name

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("engine", "storage", "agents", "sim")
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@cache
def nodes() -> list[tuple[Path, Documented | ast.Name]]:
    """Return all that has docstrings or is a name, with its file; it takes a second."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    trees = ((path, ast.parse(path.read_text("utf-8"))) for path in paths)
    return [
        (path, node)
        for path, tree in trees
        for node in ast.walk(tree)
        if isinstance(node, Documented | ast.Name)
    ]


def references(pattern: str) -> Iterator[tuple[str, str]]:
    """Yield what is quoted in docstrings and has a form, with the place of its docstring."""
    for path, node in nodes():
        if isinstance(node, Documented):
            place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"
            for quoted in re.findall(r"`([^`\n]+)`", ast.get_docstring(node) or ""):
                if re.fullmatch(pattern, quoted):
                    yield place, quoted


def test_what_is_named_in_full_is_there() -> None:
    for place, name in references(rf"({'|'.join(PACKAGES)})(\.\w+)+"):
        try:
            resolve_name(name)
        except (ImportError, AttributeError):
            pytest.fail(f"{place}: there is no {name}")


def test_names_of_types_are_known() -> None:
    """A type that was renamed is renamed wherever it is spoken of."""
    known = set(dir(builtins))
    for _, node in nodes():
        if isinstance(node, ast.ClassDef):
            known.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            known.add(node.id)
    found = references(r"[A-Z][a-z]\w*(\.\w+)*")
    assert [(place, name) for place, name in found if name.split(".")[0] not in known] == []
