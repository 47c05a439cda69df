"""Coat Shopping: coats that people chose to rate, and coats shown to them at random.

The layout is that of https://www.cs.cornell.edu/~schnabts/mnar (Schnabel et al., arXiv 1602.05352):
matrices of 290 users by 300 coats, in which 0 is no rating. Their order is not known: it is drawn.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError
from storage.datasets.format import Columns, Format
from storage.datasets.interactions import Description, Interactions, drawn, encode, gather
from storage.datasets.marks import HIGHEST
from storage.datasets.sources import Source, files_in

CHOSEN = "train.ascii"
FEATURES = "item_features.ascii"
NAMES = "item_features_map.txt"


def read(source: Path, _: Columns) -> Interactions:
    """Return the ratings that users chose to give in directory *source*."""
    chosen, features, names = (
        Source(files_in(source, name, f"*/{name}")[0]) for name in (CHOSEN, FEATURES, NAMES)
    )
    ratings = _matrix(chosen)
    coats = _described(_matrix(features), names)
    if len(coats) != ratings.shape[1]:
        raise DataError(
            f"{features.path}: expected {ratings.shape[1]} coats, as in {CHOSEN}, got {len(coats)}"
        )
    users, items = np.nonzero(ratings)
    data = gather(
        encode(f"user {user}" for user in users.tolist()),
        encode(f"coat {item}" for item in items.tolist()),
        ratings[users, items],
        scale="rating",
        described={f"coat {item}": coat for item, coat in enumerate(coats)},
        files=(chosen.file, features.file, names.file),
    )
    return drawn(data)


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
    title = f"{words.get('color', '')} {words.get('jackettype', '')} for {words.get('gender', '')}"
    return Description(title.strip().capitalize(), tuple(own))


FORMAT = Format(
    summary="Coat Shopping: a directory with train.ascii, test.ascii and item_features.ascii",
    read=read,
)
