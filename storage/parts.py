"""Parts by name: our own, those that installed packages offer, and any `package.module:object`.

A part is a value that brings what is its own: an agent, a quit rule, a way to models, a data
format, a metric, a listener. It is imported when it is asked for, not before.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache, partial
from importlib import import_module
from importlib.metadata import Distribution, EntryPoint, EntryPoints, distributions, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from engine.attempt import attempted, told
from engine.errors import ConfigError

T = TypeVar("T")

_OURS = frozenset({"engine", "storage", "agents", "sim"})


def of_extra(module: str, extra: str, what: str, *, instead: str = "") -> Any:
    """Return a *module* of ours that an *extra* brings the packages for, imported now.

    Raises ConfigError if they are not installed, so that *what* cannot be done; *instead* is what
    can be.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in _OURS:
            raise  # a fault of ours, which nothing to install would mend
        raise lacking(extra, what, error, instead=instead) from error


def lacking(extra: str, what: str, error: object, *, instead: str = "") -> ConfigError:
    """Return the error that *what* needs an *extra*, because of *error*."""
    hint = f"pip install 'billp[{extra}]'" + (f", or {instead}" if instead else "")
    return ConfigError(f"{what} needs the extra {extra}: {error}", hint=hint)


@dataclass(frozen=True)
class Parts(Generic[T]):
    """All parts of a *kind*, called *what*; *own* are the places of ours, `module:object`.

    Installed packages offer theirs as entry points of a *group*.
    """

    what: str
    group: str
    kind: type[T]
    own: Mapping[str, str]

    def __iter__(self) -> Iterator[str]:
        """Yield the names that are known here, ours first."""
        yield from self.own
        yield from sorted(point.name for point in self._offered() if point.name not in self.own)

    def named(self, name: str) -> T:
        """Return the part called *name*; a ConfigError names the nearest if there is none."""
        place = self.place(name)
        if place == name:
            _look_here()
        part, error = attempted(partial(_imported, place))
        if error is not None:
            what = f"{self.what} {name!r} cannot be imported: {told(error)}"
            raise ConfigError(what, hint=self._nearest(name)) from error
        if not isinstance(part, self.kind):
            kind = type(part).__name__
            what = f"expected {self.what} {name!r} to be of {self.kind.__name__}, got {kind}"
            raise ConfigError(what, hint=f"{place} is another thing")
        return part

    def place(self, name: str) -> str:
        """Return where the part called *name* is, `module:object`; raises ConfigError."""
        if name in self.own:
            return self.own[name]
        for point in self._offered():
            if point.name == name:
                return point.value
        module, colon, attribute = name.partition(":")
        if colon and all(map(str.isidentifier, (*module.split("."), *attribute.split(".")))):
            return name
        raise ConfigError(f"there is no {self.what} {name!r}", hint=self._nearest(name))

    def is_place(self, name: str) -> bool:
        """Tell whether *name* is a place, `package.module:object`, that nobody offers by a name."""
        known = name in self.own or any(point.name == name for point in self._offered())
        return not known and ":" in name

    def name_of(self, part: T | str) -> str:
        """Return the name by which *part* is found again, here and in other processes.

        Raises ConfigError for an object that is in no variable of a module: no replay could find
        it.
        """
        if isinstance(part, str):
            return part
        places = {
            f"{module}:{name}"
            for module, loaded in [*sys.modules.items()]
            for name, value in [*getattr(loaded, "__dict__", {}).items()]
            if value is part
        }
        for name in self:
            if self.place(name) in places:
                return name
        if not places:
            raise ConfigError(
                f"the {self.what} that is given is in no variable of a module: no replay finds it",
                hint="write it where its module can be asked for it: my_part = …",
            )
        # Of a script or a notebook nobody else can import anything.
        return min(places, key=lambda place: (place.startswith("__main__:"), place))

    def origin(self, name: str) -> str:
        """Return the package that the part called *name* comes from, and its version.

        Empty for ours; a module that no package brings has no version.
        """
        if name in self.own:
            return ""
        for point in self._offered():
            if point.name == name and point.dist is not None:
                return f"{point.dist.name} {point.dist.version}"
        return _package(self.place(name).partition(":")[0])

    def _offered(self) -> list[EntryPoint]:
        return [*_entry_points(_folders()).select(group=self.group)]

    def _nearest(self, name: str) -> str:
        near = get_close_matches(name, self, n=1, cutoff=0.5)
        if near and near[0] != name:
            return f"did you mean {near[0]}?"
        own = "package.module:object of your own"
        known = ", ".join(self)
        return f"there are {known}, and {own}" if known else f"name a {own}"


def _look_here() -> None:
    """Let Python find a module beside the user, as `python -m` would."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)


def _imported(place: str) -> Any:
    module, _, attributes = place.partition(":")
    part: Any = import_module(module)
    for attribute in attributes.split("."):
        part = getattr(part, attribute)
    return part


def _package(module: str) -> str:
    name = module.partition(".")[0]
    for package in distributions():
        if _brings(package, name):
            return f"{package.name} {package.version}"
    return f"the module {module}"


def _brings(package: Distribution, module: str) -> bool:
    """Tell whether a *package* says that it brings a top-level *module*, as a file or a folder.

    What it says is read, and not looked for: `packages_distributions` asks for every file of every
    package, which takes a second where there are hundreds.
    """
    if declared := (package.read_text("top_level.txt") or "").split():
        return module in declared
    files = package.read_text("RECORD") or ""
    return re.search(rf"^{re.escape(module)}(/|\.[^/\n]*,)", files, re.MULTILINE) is not None


def _folders() -> tuple[tuple[str, int], ...]:
    """Return where packages are looked for, and when that changed last (ns)."""
    return tuple((folder, _changed(folder or ".")) for folder in sys.path)


def _changed(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=1)
def _entry_points(folders: tuple[tuple[str, int], ...]) -> EntryPoints:
    """Return what packages in *folders* offer: a run with parts of others asks many times."""
    return entry_points()


def made_of(parts: Parts[object], name: str) -> Any:
    """Return what the part called *name*, a class, makes without arguments; raises ConfigError."""
    kind: Any = parts.named(name)
    made, error = attempted(kind)
    if made is None or error is not None:
        what = told(error) if error else "it makes None"
        hint = "a class made without arguments"
        raise ConfigError(f"{parts.what} {name!r} cannot be made: {what}", hint=hint) from error
    return made
