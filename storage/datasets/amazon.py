"""BiLLP's Amazon-Book test users: what they liked, in order, and the categories of books."""

import ast
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np

from engine.errors import DataError
from engine.text import first_line
from storage.catalog import clean_title
from storage.datasets.building import Recipe
from storage.datasets.format import Columns, Format
from storage.datasets.interactions import Description, Interactions, encode, gather
from storage.datasets.sources import Source
from storage.environments import SourceFile

VISITORS = "test.json"
GENRES = "list_genre.json"

T = TypeVar("T")


class Visitor(msgspec.Struct, frozen=True):
    """A reader and the titles of what they liked, oldest first."""

    userid_encoded: int
    pos_seq_name: list[str]


def read(source: Path, _: Columns) -> Interactions:
    """Return the likes in directory *source*; books of one title count as one."""
    visitors, likes = _decode(source / VISITORS, list[Visitor])
    genres, books = _decode(source / GENRES, dict[str, str])
    for visitor in visitors:
        if not visitor.pos_seq_name:
            raise DataError(
                f"{source / VISITORS}: user {visitor.userid_encoded} is without a history",
                hint="remove the user",
            )
    users = [str(one.userid_encoded) for one in visitors for _ in one.pos_seq_name]
    if not users:
        raise DataError(f"{source / VISITORS}: holds no users", hint="check the source")
    titles = [clean_title(title) for one in visitors for title in one.pos_seq_name]
    described = {
        clean_title(title): Description(title, _categories(text, title, source / GENRES))
        for title, text in genres.items()
    }
    return gather(
        encode(users),
        encode(titles),
        np.ones(len(users)),
        scale="positive",
        described=described,
        files=(likes, books),
    )


def _decode(path: Path, kind: type[T]) -> tuple[T, SourceFile]:
    source = Source(path)
    content = b"".join(block.text for block in source.blocks())
    try:
        return msgspec.json.decode(content, type=kind), source.file
    except msgspec.DecodeError as error:
        raise DataError(f"{path}: {first_line(error)}", hint="check the source") from error


def _categories(text: str, title: str, path: Path) -> tuple[str, ...]:
    """Return the categories in *text*, which is a list as Python writes it."""
    try:
        names = ast.literal_eval(text)
    except (ValueError, SyntaxError) as error:
        raise DataError(f"{path}: expected a list for {title!r}, got {text[:60]!r}") from error
    if not isinstance(names, list):
        raise DataError(f"{path}: expected a list for {title!r}, got {text[:60]!r}")
    return tuple(filter(None, (clean_title(str(name)) for name in names)))


FORMAT = Format(
    summary="BiLLP's Amazon-Book users: a directory with test.json and list_genre.json",
    read=read,
    recipe=Recipe(min_user=10, min_item=10),
)
