"""Which runs may be looked at: those below a folder, by the names that stand in addresses."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from engine.errors import ConfigError, RunDirectoryError
from sim.analysis.listing import names_below
from storage.runs import RunDirectory, open_run


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
        parts = PurePosixPath(name).parts
        inside = bool(parts) and not {"..", "/", "//"} & {*parts} and "\0" not in name
        if not inside or (self.named and name not in self.named):
            raise RunDirectoryError(f"there is no run {name!r} here")
        path = self.root.joinpath(*parts)
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise RunDirectoryError(f"there is no run {name!r} here", hint="links are not followed")
        return _checked(open_run(path))


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
    return open_run(path).path.absolute()


def _checked(directory: RunDirectory) -> RunDirectory:
    """Return a run whose files are its own; raises RunDirectoryError where a link leads out."""
    inside = directory.path.resolve()
    for path in (directory.config, directory.trace, directory.journal, directory.prompts):
        if path.exists() and not path.resolve().is_relative_to(inside):
            what = f"{path.name} of the run is a link that leads out of it"
            raise RunDirectoryError(what, hint="put the file itself into its place")
    return directory
