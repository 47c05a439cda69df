from dataclasses import dataclass
from typing import Annotated

import typer
from typer.testing import CliRunner

from sim.commands.options import gathered


@dataclass(frozen=True)
class Size:
    width: Annotated[int, typer.Option(help="How wide.")]
    height: Annotated[int, typer.Option(help="How high.")] = 3


def application() -> typer.Typer:
    app = typer.Typer()

    @app.command()
    @gathered
    def draw(name: str, size: Size, bold: bool = False) -> None:
        """Draw a box."""
        typer.echo(f"{name} {size} {bold}")

    return app


def test_fields_are_options() -> None:
    """Each field of the dataclass is an option; the command gets the dataclass."""
    result = CliRunner().invoke(application(), ["box", "--width", "4", "--bold"])
    assert result.stdout.strip() == "box Size(width=4, height=3) True"


def test_fields_without_default_are_required() -> None:
    """What has no default has to be given."""
    result = CliRunner().invoke(application(), ["box"])
    assert result.exit_code == 2
    assert "--width" in result.output


def test_help_is_that_of_the_command() -> None:
    """The docstring and the fields' helps are shown."""
    output = CliRunner().invoke(application(), ["--help"]).output
    assert all(text in output for text in ("Draw a box.", "How wide.", "How high."))
