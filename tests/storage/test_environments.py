import os
import tomllib
from dataclasses import fields, replace
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import DataError
from storage.datasets import open_environment
from storage.datasets.directories import HEAD, load, save
from storage.datasets.synthetic import build_synthetic
from storage.environments import Environment, Randomised, arrays, content_digest

ARRAYS = sorted(arrays(build_synthetic(users=2, items=3, categories=2)))


@pytest.fixture(scope="module")
def world() -> Environment:
    return build_synthetic(seed=4, users=20, items=50, categories=6)


@pytest.fixture
def saved(world: Environment, tmp_path: Path) -> Path:
    save(world, tmp_path / "world")
    return tmp_path / "world"


def reading(directory: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        load(directory)
    assert "\n" not in str(caught.value)
    return caught.value


def test_history_is_the_last_of_it(world: Environment) -> None:
    """The newest interactions are shown, oldest of them first."""
    everything = world.history(3, 1_000)
    assert len(everything) == np.diff(world.users.offsets)[3]
    assert world.history(3, 4) == everything[-4:]
    assert world.history(3, 0) == ()


def test_users_are_for_learning_or_for_testing(world: Environment) -> None:
    """Train and test users are separate and together are all."""
    both = np.concatenate([world.train_users, world.test_users])
    assert sorted(both.tolist()) == list(range(20))


def test_reading_gives_back_what_was_saved(world: Environment, saved: Path) -> None:
    """Saving and loading change nothing: not the head, not a title, not a number."""
    again = load(saved)
    assert again.head == world.head
    assert again.catalog.titles == world.catalog.titles
    assert again.catalog.categories == world.catalog.categories
    assert content_digest(again) == world.head.digest


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 10_000), users=st.integers(2, 12), items=st.integers(2, 40))
def test_round_trip_keeps_the_digest(tmp_path: Path, seed: int, users: int, items: int) -> None:
    """The digest is a matter of content, not of when and where it was written."""
    world = build_synthetic(seed, users, items, categories=3)
    save(world, tmp_path / "any", replace=(tmp_path / "any").exists())
    assert load(tmp_path / "any").head.digest == world.head.digest


def test_name_and_provenance_leave_the_digest_alone(world: Environment) -> None:
    """What an environment is called decides nothing."""
    renamed = replace(world, head=msgspec.structs.replace(world.head, name="other"))
    assert content_digest(renamed) == world.head.digest


def test_ratings_at_random_are_kept(world: Environment, tmp_path: Path) -> None:
    """They are part of the content, and only there where somebody has them."""
    shown = Randomised(np.array([3], np.int32), np.array([7], np.int32), np.array([4.0]))
    with_them = replace(world, randomised=shown)
    digest = content_digest(with_them)
    assert digest != content_digest(world)
    head = msgspec.structs.replace(world.head, digest=digest)
    save(replace(with_them, head=head), tmp_path / "with")
    again = load(tmp_path / "with").randomised
    assert again is not None
    assert (again.users[0], again.items[0], again.ratings[0]) == (3, 7, 4.0)
    np.save(tmp_path / "with" / "randomised_items.npy", np.array([50], np.int32))
    assert "names what does not exist" in str(reading(tmp_path / "with"))


@pytest.mark.parametrize("name", ARRAYS)
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_byte_is_noticed(saved: Path, name: str, data: st.DataObject) -> None:
    """No byte of an array can change unnoticed."""
    path = saved / f"{name}.npy"
    content = path.read_bytes()
    place = data.draw(st.integers(128, len(content) - 1))
    flipped = bytearray(content)
    flipped[place] ^= data.draw(st.sampled_from([1, 2, 64, 128]))
    path.write_bytes(flipped)
    reading(saved)
    path.write_bytes(content)


def test_a_changed_title_is_noticed(saved: Path) -> None:
    """The catalog is part of the digest; the error names both digests."""
    items = pl.read_parquet(saved / "items.parquet")
    items.with_columns(pl.col("title") + "!").write_parquet(saved / "items.parquet")
    assert "expected the digest" in str(reading(saved))


@pytest.mark.parametrize("name", [*(f"{name}.npy" for name in ARRAYS), "items.parquet", HEAD])
def test_a_missing_file_is_named(saved: Path, name: str) -> None:
    """The sentence says which file is not there."""
    (saved / name).unlink()
    assert name in str(reading(saved))


@pytest.mark.parametrize("name", ["places.npy", "items.parquet", "users.parquet"])
def test_a_torn_file_is_named(saved: Path, name: str) -> None:
    """The sentence says which file was cut short."""
    path = saved / name
    path.write_bytes(path.read_bytes()[:-40])
    assert name in str(reading(saved))


def test_a_wrong_shape_is_named(saved: Path) -> None:
    """An array of another size cannot be taken for the right one."""
    np.save(saved / "item_bias.npy", np.zeros(49, dtype=np.int32))
    assert "expected int32 (50,), got int32 (49,)" in str(reading(saved))


def test_a_pickle_is_refused(saved: Path) -> None:
    """Loading an environment never runs code from it."""
    np.save(saved / "test.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert "test.npy" in str(reading(saved))


def test_a_user_without_history_is_named(saved: Path) -> None:
    """Everybody needs something to be known by."""
    offsets = np.load(saved / "offsets.npy")
    offsets[5] = offsets[6]
    np.save(saved / "offsets.npy", offsets)
    assert "user '6' is without a history" in str(reading(saved))


def test_a_malformed_head_is_named(saved: Path) -> None:
    """The sentence names the head and the place in it."""
    (saved / HEAD).write_text("[environment\n")
    assert str(reading(saved)).startswith(f"{saved / HEAD}: ")


@pytest.mark.parametrize("schema", [1, 99])
def test_another_schema_is_refused(saved: Path, schema: int) -> None:
    """A directory of a version before or after is not misread."""
    document = tomllib.loads((saved / HEAD).read_text())
    document["environment"]["schema"] = schema
    (saved / HEAD).write_text(tomli_w.dumps(document))
    assert f"expected schema 2, got {schema}" in str(reading(saved))


def test_a_directory_that_is_none_has_a_hint(tmp_path: Path) -> None:
    """Whoever mistypes the path learns how to build an environment."""
    with pytest.raises(DataError, match="is not an environment") as caught:
        open_environment(str(tmp_path / "nothing"))
    assert "billp env build" in caught.value.hint


def test_nothing_is_overwritten_unasked(world: Environment, saved: Path) -> None:
    """A second build does not destroy the first, unless it is meant to."""
    with pytest.raises(DataError, match="is not empty"):
        save(world, saved)
    other = build_synthetic(seed=9, users=5, items=9, categories=3)
    save(other, saved, replace=True)
    assert load(saved).head == other.head
    assert os.listdir(saved.parent) == ["world"]


def test_only_environments_are_replaced(world: Environment, tmp_path: Path) -> None:
    """--replace is no way to lose a home directory."""
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match="something else"):
        save(world, tmp_path, replace=True)
    assert (tmp_path / "thesis.tex").exists()


def test_interruption_leaves_nothing_behind(
    world: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while saving: no half-written environment, no scratch directory."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save(world, tmp_path / "world")
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way_is_a_sentence(world: Environment, tmp_path: Path) -> None:
    """A target that cannot be written is said so before anything is."""
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DataError):
            save(world, target)


def test_sizes_in_the_head_are_those_of_the_parts(world: Environment) -> None:
    """The head never says anything else than what is there."""
    assert world.head.items == len(world.catalog) == len(world.factors.items)
    assert world.head.interactions == len(world.users.items)
    parts = {"head", "catalog", "factors", "users", "randomised"}
    assert {field.name for field in fields(world)} == parts
