"""Parts of others: which package brings one, and that what is installed meanwhile is seen."""

import os
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from storage.parts import Parts

PARTS = Parts("part", "billp.test_parts", object, own={"ours": "storage.parts:Parts"})


def test_ours_come_from_no_package() -> None:
    assert PARTS.origin("ours") == ""


def test_a_part_comes_from_the_package_that_the_library_of_python_names() -> None:
    """It asks for every file of every package; we read what each says of itself."""
    named = packages_distributions()
    for module in ("_pytest", "msgspec", "numpy", "structlog", "typer", "typing_extensions"):
        package, _, version = PARTS.origin(f"{module}:thing").rpartition(" ")
        assert package == named[module][0]
        assert version


def package(place: Path, name: str, *, files: dict[str, str]) -> None:
    """Install a package called *name*, of these *files* beside what is told of it."""
    about = place / f"{name}-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    for file, text in files.items():
        (about / file).write_text(text)


@pytest.mark.parametrize(
    "files",
    [
        {"RECORD": "lone_thing.py,sha256=x,1\n"},
        {"RECORD": "other.py,,\nlone_thing/__init__.py,,\n"},
        {"RECORD": "lone_thing.cpython-313-x86_64-linux-gnu.so,,\n"},
        {"RECORD": "__editable__.pth,,\n", "top_level.txt": "other\nlone_thing\n"},
    ],
)
def test_a_module_a_folder_or_what_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str]
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    package(tmp_path, "lonely", files=files)
    assert PARTS.origin("lone_thing.deeper:thing") == "lonely 1.2"
    assert PARTS.origin("lone:thing") == "the module lone"
    assert PARTS.origin("thing:thing") == "the module thing"


def test_what_is_installed_meanwhile_is_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a notebook, which nobody wants to begin anew."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    os.utime(tmp_path, (1, 1))  # clocks of file systems may be coarse
    assert [*PARTS] == ["ours"]
    offered = "[billp.test_parts]\nnew = lone:thing\n"
    package(tmp_path, "lonely", files={"entry_points.txt": offered})
    assert [*PARTS] == ["ours", "new"]
    assert PARTS.origin("new") == "lonely 1.2"
