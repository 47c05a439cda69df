"""The command line itself: its version, and its list of commands."""

from importlib.metadata import version

import pytest

from sim.cli import COMMANDS, command_named
from sim.commands.examples import EXAMPLES
from tests.support.shell import Shell


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert Shell(capsys).fine("--version") == f"billp {version('billp')}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_listed_by_the_first_line_of_its_help(name: str) -> None:
    """The list is written down, for it is shown before any command is imported."""
    assert COMMANDS[name][1] == command_named(name).help.partition("\n")[0]


@pytest.mark.parametrize(("path", "example"), EXAMPLES.items())
def test_an_example_is_one_of_its_command(path: str, example: str) -> None:
    """Its options are there, and take what they are given."""
    name, *inner = path.split()
    command, words = command_named(name), example.removeprefix(f"billp {path} ").split()
    for one in inner:
        command = command.commands[one]
    assert command.make_context(path, words).command is command
    assert example in command.epilog
