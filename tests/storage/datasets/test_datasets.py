from pathlib import Path

import pytest

from engine.errors import ConfigError
from storage.datasets import (
    FORMATS,
    SYNTHETIC,
    Columns,
    Recipe,
    build_environment,
    load,
    open_environment,
    save,
)
from storage.datasets import synthetic as built_in
from storage.environments import arrays


def table(path: Path) -> Path:
    rows = [f"u{user},i{item},{1 + (user * item) % 5}" for user in range(9) for item in range(7)]
    path.write_text("\n".join(["user,item,rating", *rows]) + "\n")
    return path


def test_synthetic_is_a_name() -> None:
    """The built-in environment is opened by its name."""
    assert open_environment(SYNTHETIC).head.digest == built_in.DIGEST


def test_a_built_in_environment_is_read_once_and_stays_as_it_is() -> None:
    """All runs of a process share it: nothing that one of them does to it reaches another."""
    world = open_environment(SYNTHETIC)
    assert open_environment(SYNTHETIC) is world
    catalog = world.catalog
    of_it = [*arrays(world).values(), *catalog.members.values(), *catalog.labels]
    for array in (*of_it, catalog.by_popularity):
        with pytest.raises(ValueError, match="read-only"):
            array[:1] = array[:1]


def test_a_built_environment_is_opened_by_its_path(tmp_path: Path) -> None:
    """From a table to a directory and back."""
    world = build_environment("csv", table(tmp_path / "t.csv"), Recipe(dimensions=2), name="t")
    save(world, tmp_path / "world")
    assert (
        open_environment(str(tmp_path / "world")).head
        == world.head
        == load(tmp_path / "world").head
    )


def test_provenance_names_files_and_options(tmp_path: Path) -> None:
    """It can be told later what an environment was made of, and how."""
    world = build_environment("csv", table(tmp_path / "t.csv"), Recipe(dimensions=2), name="t")
    provenance = world.head.provenance
    assert [file.name for file in provenance.files] == ["t.csv"]
    assert len(provenance.files[0].sha256) == 64
    assert (provenance.options["dimensions"], provenance.options["user"]) == (2, "user")


def test_an_unknown_format_suggests_the_nearest() -> None:
    """A slip of the finger is answered with what was meant."""
    with pytest.raises(ConfigError, match="there is no format 'movilens'") as caught:
        FORMATS.named("movilens")
    assert caught.value.hint.startswith("did you mean movielens?")


def test_every_format_has_a_sane_recipe() -> None:
    """What suits a format can be used as it is."""
    for one in map(FORMATS.named, FORMATS):
        one.recipe.check()


def test_columns_belong_to_csv(tmp_path: Path) -> None:
    """An option that would be passed over is refused."""
    with pytest.raises(ConfigError, match="columns of its own"):
        build_environment("movielens", tmp_path, Recipe(), name="x", columns=Columns(user="u"))
