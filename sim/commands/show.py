"""`billp show`: an episode of a run, or a step of it, as people read it."""

from pathlib import Path
from typing import Annotated

import typer

from engine.errors import ConfigError, RunDirectoryError
from engine.tree import encode
from sim.commands.places import parse_place
from sim.runs.recorded import cast_of, is_imported
from sim.runs.replay import prompt_of
from sim.views.console import plain, write, write_json_line
from sim.views.episode import Remembered, Shown, episode_page, step_page
from storage.runs import RunDirectory, open_run
from storage.traces import read_episode, read_head


def show(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    place: Annotated[
        str, typer.Argument(metavar="EPISODE[:STEP]", help="An episode, or a step of it: 3:0.")
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="The envelopes as they stand in the trace.")
    ] = False,
    prompt: Annotated[
        str | None,
        typer.Option(help="The whole prompt of a role at that step.", metavar="ROLE"),
    ] = None,
) -> None:
    """Show an episode step by step; with a step, all that led to it."""
    episode, step = parse_place(place)
    if prompt is not None:
        _show_prompt(run, episode, step, prompt)
        return
    directory = open_run(run)
    envelopes = read_episode(directory.trace, episode)
    if as_json:
        for envelope in envelopes:
            write_json_line(encode(envelope))
        return
    shown = Shown(envelopes, _remembered(directory))
    page = episode_page(shown) if step is None else step_page(shown, step)
    plain().print(page)


def _remembered(directory: RunDirectory) -> Remembered:
    if is_imported(directory):
        return Remembered(directory.memory)
    try:
        cast = cast_of(directory, read_head(directory.trace))
    except (ConfigError, RunDirectoryError) as error:
        return Remembered(directory.memory, unknown=str(error))
    return Remembered(directory.memory, cast.memories)


def _show_prompt(run: Path, episode: int, step: int | None, role: str) -> None:
    if step is None:
        raise ConfigError("a prompt belongs to a step", hint=f"such as {episode}:0")
    request = prompt_of(run, (episode, step), role)
    for message in request.messages:
        write(f"# {message.role}\n\n{message.content}\n\n")
    if request.schema:
        write(f"# schema\n\n{request.schema}\n")
