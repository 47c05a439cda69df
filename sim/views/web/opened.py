"""A run that is looked at: what is known of it without running or importing anything of its own."""

from dataclasses import dataclass
from functools import cached_property

from engine.errors import BillpError
from engine.messages import RunStarted
from sim.analysis.visits import Standing, standing_of
from sim.config.run import Settings, flat
from sim.metrics.summary import Summary, read_summary
from sim.runs.recorded import is_imported
from sim.views.web.kept import Kept
from storage.datasets import BUILT_IN, open_environment
from storage.environments import Environment
from storage.runs import RunDirectory
from storage.traces import read_head, whole_size


@dataclass(frozen=True)
class Opened:
    """The run in *directory*."""

    directory: RunDirectory

    @cached_property
    def head(self) -> RunStarted | None:
        """The head of its trace; None if nothing is written yet. Raises TraceError for damage."""
        return read_head(self.directory.trace) if whole_size(self.directory.trace) else None

    @cached_property
    def standing(self) -> Standing:
        """Where it stands."""
        return standing_of(self.directory)

    @cached_property
    def imported(self) -> bool:
        """Whether it was imported."""
        return is_imported(self.directory)

    @cached_property
    def settings(self) -> Settings:
        """What its run.toml says, as it stands; raises RunDirectoryError."""
        return self.directory.read_config()

    @property
    def told(self) -> list[tuple[str, object]]:
        """All that its run.toml says, by dotted name."""
        return [*flat(self.settings)]

    @cached_property
    def proven(self) -> bool:
        """Whether its run.toml was written here and is as it was left."""
        return self.directory.read_proven()[1]

    @cached_property
    def summary(self) -> Summary | None:
        """What came of it, if it came to its end and was not imported."""
        if self.imported or not self.directory.finished:
            return None
        return read_summary(self.directory)

    def world_kept(self, kept: Kept) -> tuple[Environment | None, str]:
        """Return `world`, read once for all pages until the run's configuration changes."""
        config = self.directory.config
        changed = config.stat().st_mtime_ns if config.exists() else 0
        key = (config, changed, self.head.environment if self.head else "")
        return kept.worlds.get(key, lambda: self.world, keep=lambda found: found[0] is not None)

    @cached_property
    def world(self) -> tuple[Environment | None, str]:
        """Its environment, or why it is not here.

        Of a run from elsewhere only a built-in one: no other path that it names is opened.
        """
        name = str(self.settings.get("environment", ""))
        if not name:
            return None, "the run names no environment"
        if name not in BUILT_IN and not self.proven:
            return None, f"the run is from elsewhere, so {name!r} is not opened"
        digest = self.head.environment if self.head else ""
        try:
            found = open_environment(name, digest)
        except BillpError as error:
            return None, str(error)
        if digest and found.head.digest != digest:
            return None, f"{name} is not what it was: the run was in {digest[:12]}"
        return found, ""
