"""Somebody who reads a page and types what it shows, in processes forked from a warm one."""

import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from sim.experiments import experiment
from tests.support.dying import executed, forked, in_own_process, typed
from tests.support.shell import Said, Shell


@dataclass(frozen=True)
class Reader:
    """Somebody who is *here*; a *shell* is for experiments, which begin processes themselves."""

    here: Path
    shell: Shell

    def types(self, line: str) -> None:
        """Assert that a command ends as the page says, and is no surprise."""
        command, _, status = line.partition(" || test $? -eq ")
        words = shlex.split(command)
        said = self._experiment(words[1:]) if "experiment" in words else self._else(words)
        assert said.status == int(status or 0), f"{line}\n{said.err}"
        assert "Traceback" not in said.err

    def _else(self, words: Sequence[str]) -> Said:
        return in_own_process(partial(_entered, self.here, words), self.here)

    def _experiment(self, words: Sequence[str]) -> Said:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.here)
            patch.setattr(experiment, "_process", forked)
            return self.shell.billp(*words)


def _entered(here: Path, words: Sequence[str]) -> None:
    """Be what a shell would start by these *words*."""
    match words:
        case ["billp", *others]:
            typed(here, others, OPENAI_API_KEY="none")
        case ["python", script]:
            executed(here, here / script)
        case _:
            subprocess.run(words, cwd=here, check=True)
