"""MovieLens: the layouts of ml-latest (csv), ml-1m (`::`) and ml-100k (tabs and pipes)."""

from collections.abc import Callable, Iterable
from pathlib import Path

from engine.errors import DataError
from storage.datasets.collecting import collect
from storage.datasets.delimited import delimited, read_delimited
from storage.datasets.format import Columns, Format
from storage.datasets.interactions import Description, Interactions
from storage.datasets.sources import Source
from storage.datasets.table_files import Table

NO_GENRE = {"(no genres listed)", "unknown", ""}
_RATING = ("userId", "movieId", "rating", "timestamp")
_MOVIE = ("movieId", "title", "genres")


def read(source: Path, _: Columns) -> Interactions:
    """Return the ratings in directory *source*, whichever of the layouts it has."""
    if not source.exists():
        raise DataError(f"{source}: no such directory", hint="check the path of the source")
    for name, layout in _LAYOUTS.items():
        if (source / name).exists():
            return layout(source)
    expected = ", ".join(_LAYOUTS)
    raise DataError(
        f"{source}: is not MovieLens: none of {expected}",
        hint="give the directory that the archive unpacks to",
    )


def _latest(source: Path) -> Interactions:
    movies = read_delimited(source / "movies.csv", ",")
    ratings = Source(source / "ratings.csv")
    return _ratings(ratings, delimited(ratings, ","), _described(movies), movies)


def _one_million(source: Path) -> Interactions:
    movies = _plain(source / "movies.dat", "::", _MOVIE, encoding="latin-1")
    return _plain_ratings(source / "ratings.dat", "::", _described(movies), movies)


def _hundred_thousand(source: Path) -> Interactions:
    genres = _plain(source / "u.genre", "|", ("genre", "number")).texts("genre")
    header = ("movieId", "title", "released", "video", "url", *genres)
    movies = _plain(source / "u.item", "|", header, encoding="latin-1")
    flags = [movies.texts(genre) for genre in genres]
    described = {
        movie: Description(
            title, _kept(g for g, flag in zip(genres, row, strict=True) if flag == "1")
        )
        for movie, title, *row in zip(
            movies.texts("movieId"), movies.texts("title"), *flags, strict=True
        )
    }
    return _plain_ratings(source / "u.data", "\t", described, movies)


_LAYOUTS: dict[str, Callable[[Path], Interactions]] = {
    "ratings.csv": _latest,
    "ratings.dat": _one_million,
    "u.data": _hundred_thousand,
}


def _plain(path: Path, separator: str, header: Iterable[str], encoding: str = "utf-8") -> Table:
    return read_delimited(path, separator, header=tuple(header), quote=None, encoding=encoding)


def _described(movies: Table) -> dict[str, Description]:
    columns = movies.texts("movieId"), movies.texts("title"), movies.texts_or_empty("genres")
    return {
        movie: Description(title, _kept(genres.split("|")))
        for movie, title, genres in zip(*columns, strict=True)
    }


def _kept(genres: Iterable[str]) -> tuple[str, ...]:
    return tuple(genre for genre in genres if genre not in NO_GENRE)


def _plain_ratings(
    path: Path, separator: str, described: dict[str, Description], movies: Table
) -> Interactions:
    ratings = Source(path)
    parts = delimited(ratings, separator, header=_RATING, quote=None)
    return _ratings(ratings, parts, described, movies)


def _ratings(
    source: Source, parts: Iterable[Table], described: dict[str, Description], movies: Table
) -> Interactions:
    columns = Columns(user="userId", item="movieId", rating="rating", time="timestamp")
    sources = (source, movies.source)
    return collect(parts, columns, described=lambda _: described, sources=sources)


FORMAT = Format(
    summary="MovieLens: a directory as ml-latest-small, ml-25m, ml-1m or ml-100k unpack to",
    read=read,
)
