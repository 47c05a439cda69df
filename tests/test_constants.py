"""Constants stand above whatever uses them, so that a file is read from its top."""

import ast
from pathlib import Path

ROOMS = ("engine", "storage", "agents", "sim")


def late(path: Path) -> list[str]:
    """Return the uses of constants above them, but for tables of a file's own functions."""
    body = (tree := ast.parse(path.read_text())).body
    own = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    known: dict[str, int] = {}
    for line in (node for node in body if isinstance(node, ast.Assign | ast.AnnAssign)):
        names = [node for node in ast.walk(line) if isinstance(node, ast.Name)]
        if not own & {name.id for name in names}:
            known |= {name.id: line.lineno for name in names if isinstance(name.ctx, ast.Store)}
    uses = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id.isupper()]
    return [f"{path}:{use.lineno}" for use in uses if use.lineno < known.get(use.id, 0)]


def test_constants_stand_above_their_use() -> None:
    assert not [use for room in ROOMS for path in Path(room).rglob("*.py") for use in late(path)]
