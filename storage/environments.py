"""An environment: who visits, what can be recommended, and the model that rewards it."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

import msgspec
import numpy as np
from msgspec.structs import asdict, replace
from numpy.typing import NDArray

from storage.catalog import Catalog
from storage.factors import Factors

SCHEMA = 2
"""The version of the directory format; since 2 the rewards are fitted to other ratings than the
histories."""

_COVERED = 1  # the version of what the digest covers: it did not change with that of directories


_DECISIVE = (
    *("users", "test_users", "items", "categories", "interactions"),
    *(
        "rating_low",
        "rating_high",
        "dimensions",
        "category_weight",
        "beta_quantile",
        "beta",
        "seed",
    ),
)


class Errors(msgspec.Struct, frozen=True, kw_only=True):
    """Errors on ratings that the model has not seen."""

    rmse: float
    mae: float


class Accuracy(msgspec.Struct, frozen=True, kw_only=True):
    """How well *count* ratings are predicted that the model has not seen.

    *bias* is the mean of prediction minus rating, and *auc* the share of two different ratings of
    one user whose predictions stand in the right order.
    """

    count: int
    rmse: float
    bias: float
    auc: float


class Unbiased(msgspec.Struct, frozen=True, kw_only=True):
    """How well one model predicts what users chose to rate, and what was *shown* at random.

    People rate what they expect to like: only items shown at random tell how well the rest is
    known.
    """

    chosen: Accuracy
    shown: Accuracy


class Fit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How well a model *fitted* to so many ratings predicts those held out, beside simpler ones.

    What is held out is what histories tell. *drawn* are the errors of the world itself, where it is
    a draw from what the ratings leave open around the *model*.
    """

    fitted: int
    held_out: int
    global_mean: Errors
    tuned_biases: Errors
    model: Errors
    drawn: Errors | None = None
    unbiased: Unbiased | None = None


class SourceFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file that was read, the sha256 of its bytes, and what was found in it: "gzip", say."""

    name: str
    sha256: str
    kind: str = ""


class LeftOut(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Rows of a source that became no interaction of their own.

    *unrated*: nothing was rated; *merged*: of a pair of user and item that is there again; *rare*:
    of a user or an item with too few.
    """

    unrated: int = 0
    merged: int = 0
    rare: int = 0


NOTHING = LeftOut()


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """Where an environment comes from; decides nothing.

    *forced* is what spoke against it, where it was written all the same.
    """

    source: str
    files: tuple[SourceFile, ...] = ()
    options: dict[str, str | int | float] = {}
    left_out: LeftOut = NOTHING
    forced: tuple[str, ...] = ()


class Origin(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What whoever builds an environment says of it; its parts say the rest."""

    name: str
    format: str
    category_weight: float
    beta_quantile: float
    seed: int
    provenance: Provenance
    fit: Fit | None = None


class Head(Origin, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What an environment is, at a glance.

    *digest* is the sha256 of its logical content: everything that decides a run, but not its name,
    its provenance or the bytes of its files. *rating_low* … *rating_high* is the scale of rewards.
    """

    schema: int
    digest: str
    users: int
    test_users: int
    items: int
    categories: int
    interactions: int
    rating_low: float
    rating_high: float
    dimensions: int
    beta: float


@dataclass(frozen=True, eq=False)
class Users:
    """Every user: the identifier in the source, the part, and the history, oldest first.

    The history of user *u* stands at `offsets[u] … offsets[u + 1]` of *items* and *ratings*; nobody
    is without one.
    """

    names: tuple[str, ...]
    test: NDArray[np.bool_]
    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    ratings: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, eq=False)
class Randomised:
    """Ratings of items that were shown to users at random; the world is not made of them."""

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    ratings: NDArray[np.float64]

    def within(self, users: NDArray[np.bool_], items: NDArray[np.bool_]) -> "Randomised":
        """Return those of the *users* and *items* that are kept, numbered anew."""
        rows = users[self.users] & items[self.items]
        return Randomised(
            users=(np.cumsum(users) - 1)[self.users[rows]].astype(np.int32),
            items=(np.cumsum(items) - 1)[self.items[rows]].astype(np.int32),
            ratings=self.ratings[rows],
        )


@dataclass(frozen=True, eq=False)
class Environment:
    """A world to recommend in; nothing in it changes."""

    head: Head
    catalog: Catalog
    factors: Factors
    users: Users
    randomised: Randomised | None = None

    @property
    def train_users(self) -> NDArray[np.int64]:
        """The users that agents may learn from."""
        return np.flatnonzero(~self.users.test)

    @property
    def test_users(self) -> NDArray[np.int64]:
        """The users that agents are judged by."""
        return np.flatnonzero(self.users.test)

    def history(self, user: int, count: int) -> tuple[tuple[int, float], ...]:
        """Return the last *count* items that *user* met before, with ratings, oldest first."""
        start, end = self.users.offsets[user : user + 2].tolist()
        last = slice(max(start, end - count), end)
        pairs = zip(self.users.items[last].tolist(), self.users.ratings[last].tolist(), strict=True)
        return tuple(pairs)


def assemble(
    origin: Origin,
    *,
    catalog: Catalog,
    factors: Factors,
    users: Users,
    randomised: Randomised | None = None,
) -> Environment:
    """Return the environment of these parts, with a head that describes them."""
    head = Head(
        **asdict(origin),
        schema=SCHEMA,
        digest="",
        users=len(users),
        test_users=int(users.test.sum()),
        items=len(catalog),
        categories=len(catalog.category_names),
        interactions=len(users.items),
        rating_low=factors.low,
        rating_high=factors.high,
        dimensions=factors.items.shape[1],
        beta=factors.beta,
    )
    environment = Environment(head, catalog, factors, users, randomised)
    head = replace(head, digest=content_digest(environment))
    return Environment(head, catalog, factors, users, randomised)


def with_near(environment: Environment, quantile: float, beta_squared: int) -> Environment:
    """Return *environment* where items are near below another β, the *quantile* of all pairs.

    Its digest is another; all else stays.
    """
    head = environment.head
    told = {name: getattr(head, name) for name in Origin.__struct_fields__}
    options = head.provenance.options | {"beta_quantile": quantile}
    told["provenance"] = replace(head.provenance, options=options)
    return assemble(
        Origin(**told | {"beta_quantile": quantile}),
        catalog=environment.catalog,
        factors=dataclasses.replace(environment.factors, beta_squared=beta_squared),
        users=environment.users,
        randomised=environment.randomised,
    )


def forced(environment: Environment, why: tuple[str, ...]) -> Environment:
    """Return *environment* with *why* it should not be there, which its digest leaves alone."""
    provenance = replace(environment.head.provenance, forced=why)
    head = replace(environment.head, provenance=provenance)
    return dataclasses.replace(environment, head=head)


def content_digest(environment: Environment) -> str:
    """Return the sha256 of what *environment* logically is, whatever its files look like."""
    digest = sha256()
    for name, content in _contents(environment):
        # With lengths, so that no part can pass for the beginning of the next.
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def arrays(environment: Environment) -> dict[str, NDArray[np.generic]]:
    """Return every array of *environment* by the name of its file."""
    factors, users = environment.factors, environment.users
    shown = environment.randomised
    randomised: dict[str, NDArray[np.generic]] = {
        f"randomised_{name}": array for name, array in (vars(shown).items() if shown else ())
    }
    return randomised | {
        "popularity": environment.catalog.popularity,
        "user_factors": factors.users,
        "item_factors": factors.items,
        "user_bias": factors.user_bias,
        "item_bias": factors.item_bias,
        "places": factors.places,
        "test": users.test,
        "offsets": users.offsets,
        "history_items": users.items,
        "history_ratings": users.ratings,
    }


def _contents(environment: Environment) -> Iterator[tuple[str, bytes]]:
    """Yield the parts that the digest covers, in a fixed order and one way of writing them."""
    head, factors = environment.head, environment.factors
    facts = {"schema": _COVERED} | {name: getattr(head, name) for name in _DECISIVE}
    yield "head", _canonical(facts)
    yield "model", _canonical([factors.mean, factors.bits, factors.beta_squared])
    yield "titles", _canonical(environment.catalog.titles)
    yield "categories", _canonical(environment.catalog.categories)
    yield "users", _canonical(environment.users.names)
    for name, array in arrays(environment).items():
        # One order of bytes and of rows: the digest is to be the same on every machine.
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        yield f"{name} {array.dtype.name} {array.shape}", little.tobytes()


def _canonical(value: object) -> bytes:
    return msgspec.json.encode(value, order="sorted")
