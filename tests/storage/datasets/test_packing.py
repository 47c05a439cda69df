"""Environments that go to other machines: what comes there is what was sent, or is refused."""

from pathlib import Path

import msgspec
import pytest

from engine.errors import DataError
from storage.datasets.packing import keep, kept, packed, unpacked
from storage.environments import content_digest
from tests.support.encounters import small_world


def test_what_is_unpacked_is_what_was_packed() -> None:
    """To its digest, and with its name."""
    there = unpacked(packed(small_world()))
    assert (content_digest(there), there.head) == (small_world().head.digest, small_world().head)


def test_what_is_kept_is_found_by_its_digest(tmp_path: Path) -> None:
    """Whoever keeps it a second time finds it there; nothing else is."""
    world = small_world()
    assert kept(world.head.digest, tmp_path / "cache") is None
    for _ in range(2):
        keep(world, tmp_path / "cache")
    there = kept(world.head.digest, tmp_path / "cache")
    assert there is not None
    assert content_digest(there) == world.head.digest


def test_what_was_damaged_is_kept_anew(tmp_path: Path) -> None:
    """A file that lacks something is not what its name says."""
    world = small_world()
    keep(world, tmp_path)
    place = tmp_path / world.head.digest / "user_bias.npy"
    whole = place.read_bytes()
    place.write_bytes(whole[:-1])
    assert kept(world.head.digest, tmp_path) is None
    keep(world, tmp_path)
    assert place.read_bytes() == whole


@pytest.mark.parametrize(
    ("pack", "why"),
    [
        (b"\xff", "cannot be read"),
        (msgspec.msgpack.encode({"../environment.toml": b""}), "has a file '../environment.toml'"),
        (msgspec.msgpack.encode({}), "is not an environment"),
    ],
    ids=["torn", "elsewhere", "empty"],
)
def test_what_is_no_environment_is_refused(pack: bytes, why: str) -> None:
    with pytest.raises(DataError, match=why):
        unpacked(pack)


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DataError, match="cannot be written"):
        keep(small_world(), tmp_path / "cache")
