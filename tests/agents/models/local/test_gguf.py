"""What a GGUF file says of itself, and files that are none."""

from pathlib import Path

import pytest

from agents.models.local.gguf import read_weights
from agents.models.local.room import check_room, needed
from engine.errors import ConfigError
from tests.support.gguf import FACTS, header, write_gguf


def test_a_file_tells_what_it_takes_to_load_it(tmp_path: Path) -> None:
    """Context, template, and the bytes of a token: 2 layers · 2 heads · 2 · 16 numbers · 2."""
    weights = read_weights(write_gguf(tmp_path / "small.gguf"))
    assert (weights.context, weights.template, weights.token_bytes) == (2_048, True, 256)
    assert weights.size == (tmp_path / "small.gguf").stat().st_size


def test_layers_may_differ_in_their_heads(tmp_path: Path) -> None:
    """Then there is a list, one number for each."""
    path = write_gguf(tmp_path / "m.gguf", llama_attention_head_count_kv=[2, 1])
    assert read_weights(path).token_bytes == 3 * (16 + 16) * 2


@pytest.mark.parametrize("size", [0, 3, 10, 30, 100, 200])
def test_a_file_that_is_cut_off_is_told_apart(tmp_path: Path, size: int) -> None:
    """Wherever it ends within its beginning."""
    path = tmp_path / "m.gguf"
    path.write_bytes(header(FACTS)[:size])
    with pytest.raises(ConfigError, match="not a GGUF file"):
        read_weights(path)


@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04" + bytes(60),
        b"GGUF" + bytes([9]) + bytes(60),
        header({})[:-8] + b"\xff" * 8,
        header({"a": "b"})[:24] + b"\xff" * 30,
        header({"a": ["b"]})[:-17] + b"\xff" * 17,
        header({"a": 1})[:-8] + b"\x63" * 8,
    ],
)
def test_what_is_no_gguf_file_is_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    """Another format, a version to come, counts and lengths beyond all bounds, unknown types."""
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="not a GGUF file") as caught:
        read_weights(path)
    assert caught.value.hint


def test_a_directory_is_no_model(tmp_path: Path) -> None:
    """It cannot be read, and that is said."""
    with pytest.raises(ConfigError, match="cannot be read"):
        read_weights(tmp_path)


def test_too_little_memory_is_told_with_both_numbers(tmp_path: Path) -> None:
    """What it takes, what is free, and by what it would take less."""
    weights = read_weights(write_gguf(tmp_path / "m.gguf"))
    assert needed(weights, 2 * 2_048) == weights.size + 2 * 2_048 * 256
    check_room(weights, 2, 2_048, needed(weights, 2 * 2_048))
    check_room(weights, 2, 2_048, None)  # a system that does not say
    with pytest.raises(ConfigError, match=r"needs 3 MB of memory, 1 MB are free: fewer slots"):
        check_room(weights, 5, 2_048, 1_000_000)
