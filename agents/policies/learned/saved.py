"""The file of a learned policy: a line that says what it is, then its weights, and nothing else.

No pickle: whatever the bytes are, reading them runs nothing, and takes no more memory than there
are bytes. The digest of a policy is the sha256 of its file: `sha256sum` agrees with it.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from agents.policies.learned.network import Floats, Network, Seen, network_of
from agents.policies.learned.observation import Folding
from engine.errors import ConfigError, FileError
from storage.files import whole
from storage.reading import open_regular

Privilege: TypeAlias = Literal["pair"]
"""What no agent could know: `pair` is the true nearness of items to the last ones."""

_FORM = b"billp policy 1\n"
_LONGEST_HEAD = 1 << 14
_MOST_BYTES = 1 << 30

Size: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=100_000_000)]


class PolicyHead(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a policy is: how it was learned, where, and what it is told.

    It learned by *algorithm* with a *seed* of its own, from training users of the environment of
    that digest; policies of one *recipe* differ by nothing but the seed. *privileged* names what it
    is told that no agent could know. It sees the last *window* items, and steps as shares of
    *limit*. Items whose likelihood is below the share *threshold* of the likeliest are left out.
    *shapes* are those of the arrays that follow, in their order.
    """

    algorithm: str
    seed: int
    recipe: str
    environment: str
    privileged: tuple[Privilege, ...]
    window: Annotated[int, msgspec.Meta(ge=1, le=1_000)]
    limit: Size
    threshold: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    shapes: dict[str, tuple[Size, ...]] = {}


@dataclass(frozen=True, eq=False)
class Saved:
    """A policy as its file has it: *likely*, if there is one, says which items are left out."""

    head: PolicyHead
    folding: Folding
    network: Network
    likely: Network | None
    digest: str

    @property
    def items(self) -> int:
        """The size of the catalog that it is of."""
        return len(self.folding.items)

    def best(self, seen: Seen, closed: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the best item for each of *n* visits, [n]; none that is *closed*, [n, items]."""
        worth = self.network.logits(seen)
        if self.likely is not None:
            likelihood = np.where(closed, -np.inf, self.likely.logits(seen))
            likeliest = likelihood.max(axis=1, keepdims=True)
            worth[likelihood < likeliest + math.log(self.head.threshold)] = -np.inf
        worth[closed] = -np.inf
        chosen: NDArray[np.int64] = np.argmax(worth, axis=1)
        return chosen


def write_policy(path: Path, head: PolicyHead, parts: Mapping[str, object]) -> str:
    """Write a policy of the dataclasses of arrays in *parts*, and return its digest.

    Raises FileError if it cannot be written.
    """
    arrays = {
        f"{part}.{name}": np.ascontiguousarray(array, "<f8")
        for part, held in parts.items()
        for name, array in vars(held).items()
    }
    shapes = {name: array.shape for name, array in arrays.items()}
    line = msgspec.json.encode(msgspec.structs.replace(head, shapes=shapes))
    content = b"".join([_FORM, line, b"\n", *(array.tobytes() for array in arrays.values())])
    try:
        with whole(path) as file:
            file.write(content)
    except OSError as error:
        raise FileError(f"{path}: cannot be written: {error.strerror}") from error
    return sha256(content).hexdigest()


def read_policy(path: Path) -> Saved:
    """Return the policy in the file at *path*; raises ConfigError if there is none."""
    try:
        return _read(path)
    except FileNotFoundError as error:
        hint = "billp train writes policies"
        raise ConfigError(f"{path}: there is no such policy", hint=hint) from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: is no policy of billp train: {error}") from error


def _read(path: Path) -> Saved:
    with open_regular(path) as file:
        if file.read(len(_FORM)) != _FORM:
            raise ValueError("it begins otherwise")
        line = file.readline(_LONGEST_HEAD)
        head = msgspec.json.decode(line, type=PolicyHead)
        claimed = sum(8 * math.prod(shape) for shape in head.shapes.values())
        found = os.fstat(file.fileno()).st_size - len(_FORM) - len(line)
        if claimed != found or claimed > _MOST_BYTES:
            raise ValueError(f"its head claims {claimed:,} bytes of weights, it holds {found:,}")
        content = file.read(claimed)
    digest = sha256(_FORM + line + content).hexdigest()
    return _assembled(head, _split(head, content), digest)


def _split(head: PolicyHead, content: bytes) -> dict[str, Floats]:
    """Return the arrays that *content* holds, by name."""
    arrays, place = {}, 0
    for name, shape in head.shapes.items():
        size = math.prod(shape)
        values = np.frombuffer(content, "<f8", size, place).astype(np.float64)
        if not np.all(np.isfinite(values)):
            raise ValueError(f"its {name} holds what is no number")
        arrays[name] = values.reshape(shape)
        place += 8 * size
    return arrays


def _assembled(head: PolicyHead, arrays: Mapping[str, Floats], digest: str) -> Saved:
    folding = Folding(**_part(arrays, "folding", ("mean", "item_bias", "items")))
    folding.check()
    network = network_of(_part(arrays, "network"), head.window)
    likely = network_of(_part(arrays, "likely"), head.window) if head.threshold else None
    for one in (network, likely) if likely else (network,):
        if len(one.items) != len(folding.items) or len(one.scale) != folding.width:
            raise ValueError("its parts are of other catalogs")
        if one.told and "pair" not in head.privileged:
            raise ValueError("it is told what its head does not say")
    return Saved(head, folding, network, likely, digest)


def _part(
    arrays: Mapping[str, Floats], part: str, names: tuple[str, ...] = ()
) -> dict[str, Floats]:
    own = {
        name.removeprefix(f"{part}."): array
        for name, array in arrays.items()
        if name.startswith(f"{part}.")
    }
    if names and own.keys() != {*names}:
        raise ValueError(f"its {part} is not {', '.join(names)}")
    return own
