"""Which runs may be looked at: those below a folder, by the names that stand in addresses."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from engine.errors import ConfigError, RunDirectoryError
from sim.analysis.listing import names_below
from storage.runs import RunDirectory, open_run
from storage.within import leads_into

_SHOWN = 80  # characters of a name that leads nowhere


@dataclass(frozen=True)
class Folder:
    """The runs below *root*, or of those only the ones that are *named*."""

    root: Path
    named: tuple[str, ...] = ()

    def names(self) -> list[str]:
        """Return the names of all runs there are, in order."""
        return sorted(self.named or names_below(self.root))

    def run(self, name: str) -> RunDirectory:
        """Return the run called *name*.

        Raises RunDirectoryError if there is none, or if it is not for whoever looks at this folder.
        """
        path = self._place(name)
        if path is None:
            raise RunDirectoryError(f"there is no run {name[:_SHOWN]!r} here")
        directory = open_run(path)
        check_own(directory)
        return directory

    def _place(self, name: str) -> Path | None:
        """Return where the run called *name* is, None where it is nowhere below the root."""
        parts = PurePosixPath(name).parts
        inside = bool(parts) and not {"..", "/", "//"} & {*parts} and "\0" not in name
        if not inside or (self.named and name not in self.named):
            return None
        path = self.root.joinpath(*parts)
        try:
            there = path.resolve(strict=True).is_relative_to(self.root.resolve())
        except (OSError, RuntimeError):  # too long, a circle of links, or nothing at all
            return None
        return path if there else None


def folder_of(paths: Sequence[Path]) -> Folder:
    """Return what *paths* show: a folder of runs, or runs by themselves.

    Raises RunDirectoryError for what is neither, and ConfigError for folders of which there are
    several.
    """
    if len(paths) == 1 and not (paths[0] / "run.toml").exists():
        if not paths[0].is_dir():
            raise RunDirectoryError(f"{paths[0]}: there is no such folder")
        return Folder(paths[0])
    whole = [_placed(path) for path in paths]
    root = Path(os.path.commonpath([path.parent for path in whole]))
    if len(whole) != len({*whole}):
        raise ConfigError("a run is named twice")
    return Folder(root, tuple(path.relative_to(root).as_posix() for path in whole))


def _placed(path: Path) -> Path:
    return open_run(path).path.resolve()  # whose name is told is meant, also if it is a link


def check_own(directory: RunDirectory) -> None:
    """Raise RunDirectoryError if a file of a run is not its own: a link may lead to any other."""
    inside = directory.path.resolve()
    for path in _links(directory.path, levels=2):
        if not leads_into(path, inside):
            what = f"{path.name} of the run is a link that leads out of it"
            raise RunDirectoryError(what, hint="put the file itself into its place")


def _links(folder: Path, levels: int) -> Iterator[Path]:
    """Yield the links in *folder*, and in those within it; no file of ours lies deeper than 2."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_symlink():
                    yield Path(entry.path)
                elif levels > 1 and entry.is_dir():
                    yield from _links(Path(entry.path), levels - 1)
    except OSError as error:
        raise RunDirectoryError(f"{folder}: cannot be read: {error.strerror}") from error
