"""GGUF files with a beginning and no weights, and the real model where it is installed."""

import struct
from pathlib import Path
from typing import TypeAlias

import pytest

from agents.models.local.packaged import SMOLLM2

Fact: TypeAlias = int | str | list[int] | list[str]

FACTS: dict[str, Fact] = {
    "general.architecture": "llama",
    "tokenizer.ggml.tokens": ["<s>", "a", "b"],
    "llama.context_length": 2_048,
    "llama.embedding_length": 64,
    "llama.block_count": 2,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "tokenizer.chat_template": "{{ messages }}",
}


def header(facts: dict[str, Fact]) -> bytes:
    """Return the beginning of a GGUF file that says *facts*."""
    parts = [_text(name) + _value(value) for name, value in facts.items()]
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(facts)) + b"".join(parts)


def write_gguf(path: Path, **changed: Fact) -> Path:
    """Write such a file; names are *changed* with `_` for `.`, and left out where empty."""
    facts = {name: changed.get(name.replace(".", "_"), value) for name, value in FACTS.items()}
    path.write_bytes(header({name: value for name, value in facts.items() if value != ""}))
    return path


def _value(value: Fact) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if value and isinstance(value[0], str):
        return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(_text(str(one)) for one in value)
    return struct.pack("<IIQ", 9, 4, len(value)) + struct.pack(f"<{len(value)}I", *value)


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def real_model() -> str:
    """Return the name of the packaged model; skip where it or what computes it is missing."""
    pytest.importorskip("xllamacpp", reason="the extra local is not installed")
    if SMOLLM2.file() is None:
        pytest.skip(f"no model is installed: {SMOLLM2.install}")
    return "local/smollm2"
