"""The command line as its users meet it, and a service that it can talk to."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatModel
from agents.models.serving.server import Behaviour, Server
from sim.cli import main


@dataclass(frozen=True)
class Said:
    """What a command said, and its exit status."""

    status: object
    out: str
    err: str


@dataclass(frozen=True)
class Shell:
    """Runs billp in this process, in front of a screen of some *width*, as if on a *terminal*."""

    capsys: pytest.CaptureFixture[str]
    width: int = 1_000
    terminal: bool = False

    def billp(self, *arguments: str | Path) -> Said:
        self.capsys.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("FORCE_COLOR", raising=False)
            if self.terminal:
                patch.setenv("FORCE_COLOR", "1")
                patch.setenv("TERM", "xterm-256color")
            patch.setenv("COLUMNS", str(self.width))
            with pytest.raises(SystemExit) as left:
                main([str(argument) for argument in arguments])
        said = self.capsys.readouterr()
        return Said(left.value.code, said.out, said.err)

    def fine(self, *arguments: str | Path) -> str:
        """Return what a command that succeeds writes to standard output."""
        said = self.billp(*arguments)
        assert said.status == 0, said
        return said.out

    def refusal(self, *arguments: str | Path) -> tuple[str, str]:
        """Return the one sentence, and the hint, of a command that refuses its input."""
        said = self.billp(*arguments)
        assert (said.status, said.out) == (2, ""), said
        sentence, _, hint = said.err.rstrip("\n").partition("\n  ")
        assert sentence.startswith("billp: ")
        assert "\n" not in sentence + hint
        return sentence.removeprefix("billp: "), hint


@contextmanager
def serving(model: ChatModel | None = None, behaviour: Behaviour | None = None) -> Iterator[str]:
    """Serve *model*, or the embedded one, from a thread of its own; yield the URL."""
    server = Server(model or EmbeddedModel(), behaviour)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(server) as url:
        yield url


def tree(directory: Path) -> dict[str, bytes | None]:
    """Return everything below *directory*, with what the files hold."""
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None
        for path in directory.rglob("*")
    }
