"""A manifest from elsewhere is believed in nothing that could lead out of a directory."""

import json
from typing import Any

import pytest

from engine.errors import TransferError
from storage.objects.manifests import StoredFile, decode, encode, manifest_of

FILE = {"sha256": "0" * 64, "size": 1}
NAMES = [
    *("../evil", "/etc/passwd", "a/../../b", "", ".", "..", "a//b", "a/", "./a", "a\\b"),
    *("a\0b", "a\nb", "\x1b[2J", "\u202ea", "a" * 251, "/".join("a" * 17), "é" * 501),
]


def told(files: dict[str, Any], **facts: Any) -> bytes:
    manifest = {"format": 1, "kind": "run", "files": files} | facts
    return (json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def test_a_manifest_is_read_as_it_was_written() -> None:
    manifest = manifest_of("run", {"a/é": StoredFile(sha256="0" * 64, size=1)})
    assert decode(encode(manifest), "here") == manifest
    assert encode(manifest) == told({"a/é": FILE})


@pytest.mark.parametrize("name", NAMES)
def test_planted_names_are_refused(name: str) -> None:
    with pytest.raises(TransferError, match="its manifest is not believed"):
        decode(told({name: FILE}), "here")


@pytest.mark.parametrize("names", [("a", "a/b"), ("A", "a"), ("é", "e\u0301"), ("A", "a/b")])
def test_no_file_may_come_in_the_place_of_another(names: tuple[str, str]) -> None:
    """Not on a system either for which large and small letters are the same."""
    with pytest.raises(TransferError, match="its manifest is not believed"):
        decode(told(dict.fromkeys(names, FILE)), "here")


ODD: dict[str, bytes] = {
    "no JSON": b"<html>",
    "not UTF-8": b'{"\xff": 1}',
    "half a character": b'{"format":1,"kind":"run","files":{"\\ud800":{"sha256":"","size":0}}}',
    "nested": b"[" * 100_000,
    "another format": told({"a": FILE}, format=2),
    "another kind": told({"a": FILE}, kind="virus"),
    "another field": told({"a": FILE}, more=1),
    "no files": told({}),
    "too many": told({f"{n}": FILE for n in range(100_001)}),
    "a report of two": told({"a": FILE, "b": FILE}, kind="report"),
    "a key": told({"a": FILE | {"sha256": f"../{'0' * 61}"}}),
    "less than nothing": told({"a": FILE | {"size": -1}}),
    "no number": told({"a": FILE | {"size": 1.5}}),
    "larger than disks": told({"a": FILE | {"size": 1 << 60}}),
    "larger together": told({f"{n}": FILE | {"size": 1 << 42} for n in range(3)}),
    "twice": told({"a": FILE}).replace(b'"files": {', b'"files": {"a": {"sha256":"","size":0},'),
    "other bytes": told({"a": FILE}).strip(),
}


@pytest.mark.parametrize("what", ODD)
def test_all_else_is_refused(what: str) -> None:
    with pytest.raises(TransferError, match=r"^here: [^\n]*$"):
        decode(ODD[what], "here")


def test_what_could_not_be_fetched_is_not_sent() -> None:
    with pytest.raises(TransferError, match="this run cannot be sent"):
        manifest_of("run", {"a\nb": StoredFile(sha256="0" * 64, size=1)})
