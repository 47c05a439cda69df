"""The command line itself: its version, and its list of commands."""

from importlib.metadata import version

import pytest

from sim.cli import COMMANDS, command_named
from tests.support.shell import Shell


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert Shell(capsys).fine("--version") == f"billp {version('billp')}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_listed_by_the_first_line_of_its_help(name: str) -> None:
    """The list is written down, for it is shown before any command is imported."""
    assert COMMANDS[name][1] == command_named(name).help.partition("\n")[0]
