"""The directory of an environment: a TOML head, Parquet tables and NumPy arrays.

::

    environment.toml    the head: sizes, scale, provenance, held-out errors, digest
    items.parquet       title, categories
    users.parquet       user
    <name>.npy          one for each of `storage.environments.arrays`; randomised_* only where
                        ratings of items shown at random are known
"""

import shutil
import tempfile
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError
from engine.text import first_line
from storage.arrays import read_array
from storage.catalog import Catalog
from storage.environments import (
    SCHEMA,
    Environment,
    Head,
    Randomised,
    Users,
    arrays,
    content_digest,
)
from storage.factors import Factors
from storage.files import force
from storage.objects.addresses import check_out
from storage.reading import SETTINGS_SIZE, parse_toml, read_small

HEAD = "environment.toml"
ITEMS = "items.parquet"
USERS = "users.parquet"

_BUILD_AGAIN = "build the environment again with this version: billp env build"

S = TypeVar("S", bound=np.generic)


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """The whole numbers that belong to the factors."""

    mean: int
    bits: int
    beta_squared: int


class _Version(msgspec.Struct, frozen=True):
    schema: int


class _Versioned(msgspec.Struct, frozen=True):
    environment: _Version


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """What environment.toml holds."""

    environment: Head
    model: Model


def save(environment: Environment, directory: Path, *, replace: bool = False) -> None:
    """Write *environment* to *directory*, whole or not at all.

    Raises DataError when something is there already, unless it is an environment and *replace* is
    asked for.
    """
    check_free(directory, replace=replace)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        # Beside it: only within a file system can it be renamed into its place.
        scratch = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    except OSError as error:
        raise DataError(
            f"{directory}: cannot be written: {error.strerror}", hint="choose another directory"
        ) from error
    try:
        _write(environment, scratch / "new")
        _move(scratch / "new", directory, scratch / "old")
    except OSError as error:
        raise DataError(f"{directory}: cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def check_free(directory: Path, *, replace: bool = False) -> None:
    """Raise DataError unless `save` may write to *directory*, ConfigError if none can be there."""
    check_out(directory)
    if not directory.exists():
        return
    if not directory.is_dir():
        raise DataError(f"{directory}: is a file", hint="choose another directory")
    if not any(directory.iterdir()):
        return
    if not replace:
        raise DataError(
            f"{directory}: exists and is not empty",
            hint="choose another directory, or replace the environment with --replace",
        )
    if not (directory / HEAD).is_file():
        raise DataError(
            f"{directory}: holds something else than an environment, so it is not replaced",
            hint="choose another directory",
        )


def _write(environment: Environment, directory: Path) -> None:
    from storage.datasets.table_files import write_parquet

    directory.mkdir()
    factors, catalog = environment.factors, environment.catalog
    model = Model(mean=factors.mean, bits=factors.bits, beta_squared=factors.beta_squared)
    document = Document(environment=environment.head, model=model)
    (directory / HEAD).write_bytes(msgspec.toml.encode(document))
    items = {"title": catalog.titles, "categories": catalog.categories}
    write_parquet(directory / ITEMS, items, lists=["categories"])
    write_parquet(directory / USERS, {"user": environment.users.names})
    for name, array in arrays(environment).items():
        np.save(directory / f"{name}.npy", array, allow_pickle=False)
    # The directory last: it holds the names of the others.
    for path in [*directory.iterdir(), directory]:
        force(path)


def _move(new: Path, directory: Path, old: Path) -> None:
    """Put *new* in the place of *directory*; what was there goes to *old*."""
    if directory.exists():
        directory.rename(old)
    try:
        new.rename(directory)
    except BaseException:
        if old.exists():
            old.rename(directory)
        raise
    force(directory.parent)


def load(directory: Path) -> Environment:
    """Return the environment in *directory*.

    Raises DataError, naming the file, when anything is missing, malformed or not what its digest
    says.
    """
    from storage.datasets.table_files import lists, read_parquet, texts

    document = _read_document(directory)
    items, users = directory / ITEMS, directory / USERS
    table = read_parquet(items)
    titles, categories = texts(table, "title", items), lists(table, "categories", items)
    names = texts(read_parquet(users), "user", users)
    popularity = _read_array(directory / "popularity.npy", np.int64, (len(titles),))
    environment = Environment(
        head=document.environment,
        catalog=Catalog(titles, categories, popularity),
        factors=_read_factors(directory, document, len(names), len(titles)),
        users=_read_users(directory, names),
        randomised=_read_randomised(directory, len(names), len(titles)),
    )
    _check_histories(environment.users, len(titles), directory)
    _check_digest(environment, directory)
    return environment


def read_head(directory: Path) -> Head:
    """Return the head of the environment in *directory*, without a look at the rest."""
    return _read_document(directory).environment


def _read_document(directory: Path) -> Document:
    path = directory / HEAD
    try:
        content = read_small(path, SETTINGS_SIZE)
    except OSError as error:
        raise DataError(
            f"{directory}: is not an environment: no {HEAD}",
            hint="build one with: billp env build FORMAT SOURCE --out DIR",
        ) from error
    try:
        tables = parse_toml(content)
        version = msgspec.convert(tables, _Versioned).environment.schema
        if version == SCHEMA:
            return msgspec.convert(tables, Document)
    except ValueError as error:  # also of msgspec
        raise DataError(f"{path}: {first_line(error)}", hint=_BUILD_AGAIN) from error
    raise DataError(f"{path}: expected schema {SCHEMA}, got {version}", hint=_BUILD_AGAIN)


def _read_factors(directory: Path, document: Document, users: int, items: int) -> Factors:
    head, model = document.environment, document.model
    return Factors(
        users=_read_array(directory / "user_factors.npy", np.int16, (users, head.dimensions)),
        items=_read_array(directory / "item_factors.npy", np.int16, (items, head.dimensions)),
        user_bias=_read_array(directory / "user_bias.npy", np.int32, (users,)),
        item_bias=_read_array(directory / "item_bias.npy", np.int32, (items,)),
        mean=model.mean,
        bits=model.bits,
        low=head.rating_low,
        high=head.rating_high,
        places=_read_array(directory / "places.npy", np.int16, (items, None)),
        beta_squared=model.beta_squared,
    )


def _read_users(directory: Path, names: tuple[str, ...]) -> Users:
    return Users(
        names=names,
        test=_read_array(directory / "test.npy", np.bool_, (len(names),)),
        offsets=_read_array(directory / "offsets.npy", np.int64, (len(names) + 1,)),
        items=_read_array(directory / "history_items.npy", np.int32, (None,)),
        ratings=_read_array(directory / "history_ratings.npy", np.float64, (None,)),
    )


def _read_randomised(directory: Path, users: int, items: int) -> Randomised | None:
    """Return the ratings of items shown at random, where there are such."""
    path = directory / "randomised_users.npy"
    if not path.exists():
        return None
    owners = _read_array(path, np.int32, (None,))
    shown = _read_array(directory / "randomised_items.npy", np.int32, owners.shape)
    for name, numbers, most in (("users", owners, users), ("items", shown, items)):
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < most:
            raise DataError(f"{directory / f'randomised_{name}.npy'}: names what does not exist")
    ratings = _read_array(directory / "randomised_ratings.npy", np.float64, owners.shape)
    return Randomised(owners, shown, ratings)


def _read_array(path: Path, kind: type[S], shape: tuple[int | None, ...]) -> NDArray[S]:
    """Return the array at *path*, checked to be of *kind* and *shape* (None: any length)."""
    try:
        array: NDArray[S] = read_array(path)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or first_line(error)}") from error
    except ValueError as error:
        raise DataError(f"{path}: {first_line(error)}", hint=_BUILD_AGAIN) from error
    fits = len(array.shape) == len(shape) and all(
        expected in {None, found} for expected, found in zip(shape, array.shape, strict=True)
    )
    if array.dtype != kind or not fits:
        expected = f"{np.dtype(kind)} {shape}".replace("None", "any")
        raise DataError(
            f"{path}: expected {expected}, got {array.dtype} {array.shape}", hint=_BUILD_AGAIN
        )
    return array


def _check_histories(users: Users, items: int, directory: Path) -> None:
    """Raise DataError unless every user has a history of items that exist."""
    path = directory / "offsets.npy"
    if not len(users):
        raise DataError(f"{directory / USERS}: holds no users", hint=_BUILD_AGAIN)
    if users.offsets[0] != 0 or users.offsets[-1] != len(users.items):
        raise DataError(f"{path}: does not span the histories", hint=_BUILD_AGAIN)
    lacking = np.flatnonzero(np.diff(users.offsets) < 1)
    if len(lacking):
        name = users.names[lacking[0]]
        raise DataError(f"{path}: user {name!r} is without a history", hint=_BUILD_AGAIN)
    if len(users.ratings) != len(users.items):
        raise DataError(f"{directory}: as many ratings as items expected in the histories")
    if users.items.min() < 0 or users.items.max() >= items:
        raise DataError(f"{directory / 'history_items.npy'}: names an item that does not exist")


def _check_digest(environment: Environment, directory: Path) -> None:
    expected, found = environment.head.digest, content_digest(environment)
    if expected != found:
        raise DataError(
            f"{directory}: expected the digest {expected[:12]}, got {found[:12]}",
            hint="its files were changed or damaged; build it again",
        )
