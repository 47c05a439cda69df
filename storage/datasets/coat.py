"""Coat Shopping: coats that people chose to rate, and coats shown to them at random.

The layout is that of https://www.cs.cornell.edu/~schnabts/mnar (Schnabel et al., arXiv 1602.05352):
matrices of 290 users by 300 coats, in which 0 is no rating. Their order is not known: it is drawn.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError
from storage.datasets.format import Columns, Format
from storage.datasets.interactions import Codes, Description, Interactions, drawn, gather
from storage.datasets.marks import HIGHEST
from storage.datasets.sources import Source, files_in
from storage.environments import Randomised

CHOSEN = "train.ascii"
SHOWN = "test.ascii"
FEATURES = "item_features.ascii"
NAMES = "item_features_map.txt"


def read(source: Path, _: Columns) -> Interactions:
    """Return the ratings that users chose to give in directory *source*.

    Those at random are kept beside them, but of coats that the same user chose, too.
    """
    chosen, random, features, names = (
        Source(files_in(source, name, f"*/{name}")[0]) for name in (CHOSEN, SHOWN, FEATURES, NAMES)
    )
    ratings, at_random, coats = _matrix(chosen), _matrix(random), _matrix(features)
    if at_random.shape != ratings.shape or len(coats) != ratings.shape[1]:
        raise DataError(
            f"{source}: expected matrices of one shape, got {ratings.shape} and {at_random.shape},"
            f" and {len(coats)} coats",
            hint="check the source",
        )
    at_random[ratings > 0] = 0.0  # a model that knows a rating tells nothing of the others
    count, items = ratings.shape
    rows, columns = np.nonzero(ratings)
    shown_users, shown_items = np.nonzero(at_random)
    data = gather(
        Codes(tuple(f"user {user}" for user in range(count)), rows),
        Codes(tuple(map(str, range(items))), columns),
        ratings[rows, columns],
        scale="rating",
        described={str(item): coat for item, coat in enumerate(_described(coats, names))},
        files=(chosen.file, random.file, features.file, names.file),
    )
    randomised = Randomised(
        shown_users.astype(np.int32), shown_items.astype(np.int32), at_random[at_random > 0]
    )
    return replace(drawn(data), randomised=randomised)


def _matrix(source: Source) -> NDArray[np.float64]:
    """Return the numbers in a file, a row for each line; raise DataError where one is none."""
    rows: list[list[float]] = []
    for block in source.blocks():
        for number, line in enumerate(block.text.splitlines(), block.line):
            row = _numbers(line, f"{source.path}:{number}")
            if rows and len(row) != len(rows[0]):
                raise DataError(
                    f"{source.path}:{number}: expected {len(rows[0])} numbers, got {len(row)}"
                )
            rows.append(row)
    if not rows:
        raise DataError(f"{source.path}: is empty", hint="check the source")
    return np.array(rows)


def _numbers(line: bytes, place: str) -> list[float]:
    try:
        numbers = [float(number) for number in line.split()]
    except ValueError as error:
        raise DataError(f"{place}: {error}", hint="check the source") from error
    if not all(0.0 <= number <= HIGHEST for number in numbers):
        raise DataError(f"{place}: expected numbers from 0 to {HIGHEST:g}")
    return numbers


def _described(features: NDArray[np.float64], names: Source) -> list[Description]:
    """Return what the features of each coat say; the last one, where it was shown, says nothing."""
    known = [line.strip() for line in names.read().decode(errors="replace").splitlines()]
    if len(known) != features.shape[1]:
        raise DataError(
            f"{names.path}: expected {features.shape[1]} names, as in {FEATURES}, got {len(known)}"
        )
    return [
        _coat([name for name, has in zip(known, row, strict=True) if has])
        for row in features.tolist()
    ]


def _coat(features: Sequence[str]) -> Description:
    own = [feature for feature in features if not feature.startswith("onfrontpage")]
    words = dict(feature.partition(":")[::2] for feature in own)
    parts = words.get("color"), words.get("jackettype"), "coat for", words.get("gender")
    return Description(" ".join(filter(None, parts)).capitalize(), tuple(own))


FORMAT = Format(
    summary="Coat Shopping: a directory with train.ascii, test.ascii and item_features.ascii",
    read=read,
)
