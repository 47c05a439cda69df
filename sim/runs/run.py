"""Running: from a configuration to a run directory."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Unpack

from agents.making import Agent
from agents.models.recorded import NothingRecorded
from agents.roster import AGENTS, agent_of
from engine.attempt import log
from sim.config.flight import unused
from sim.config.layers import checked, configured
from sim.config.run import RunConfig
from sim.config.stages import BEGINNING, Course, Stage
from sim.metrics.own import METRICS, Metric
from sim.metrics.summary import Summary
from sim.runs.live import Live, listed
from sim.runs.loop import in_event_loop, in_their_loop
from sim.runs.models import noted
from sim.runs.scenario import Given, Scenario, scenario
from sim.runs.stopping import Begun, stopping
from sim.world.quitting import QUIT_RULES, QuitRule
from storage.provenance import this_process, written
from storage.runs import check_free, new_run, written_in


class Parts(Given, total=False):
    """What is given, and parts in place of those that the configuration names, or their names."""

    agent: Agent | str
    quit_rule: QuitRule | str
    metrics: Sequence[Metric | str]


def run(
    config: RunConfig | None = None,
    *,
    out: Path | str | None = None,
    uvloop: bool | None = None,
    **given: Unpack[Parts],
) -> Summary:
    """Run *config* and return what came of it; where an event loop runs, await `run_async`.

    The run directory is *out*, or the next free one in traces/runs. An *agent* and a *quit_rule*
    may be *given* as they are, if they are variables of a module; for the rest see `Given`. Raises
    ConfigError, DataError, ServiceError or RunDirectoryError before anything is written;
    ServiceError, LawError, FileError or InterruptedRunError for what stopped the run, with
    everything so far on disk.
    """
    with stopping() as begun:
        planned = _planned(config, given)
        main = partial(_run, planned, out, begun)
        return in_event_loop(main, twin="run_async", uvloop=uvloop)


async def run_async(
    config: RunConfig | None = None, *, out: Path | str | None = None, **given: Unpack[Parts]
) -> Summary:
    """Do what `run` does, inside an event loop that runs already: asyncio's or uvloop's."""
    with stopping() as begun, in_their_loop():
        planned = _planned(config, given)
        return await _run(planned, out, begun)


def _planned(config: RunConfig | None, given: Parts) -> Scenario:
    """Return what is to be run."""
    config = _with_parts(config, given)
    if why := unused(config):
        log("warning", "concurrency is higher than arrivals can use", why=why)
    return _warned(scenario(Course((Stage(BEGINNING, config),)), given))


def _warned(planned: Scenario) -> Scenario:
    """Return what is *planned*; whoever runs a world that was forced is told why not to."""
    for why in planned.environment.head.provenance.forced:
        log("warning", "this world was built by force", why=why)
    return planned


def _with_parts(config: RunConfig | None, given: Parts) -> RunConfig:
    """Return the configuration that is meant, its values checked."""
    if not given.keys() & {"agent", "quit_rule", "metrics"}:
        return checked(config or RunConfig())
    config = config or RunConfig()
    agent = AGENTS.name_of(given.get("agent", config.agent))
    rule = QUIT_RULES.name_of(given.get("quit_rule", config.quit_rule))
    # What the configuration says to another agent, or of another rule, is not for these.
    others = {*config.agent_settings.__struct_fields__}
    others -= {*agent_of(agent).settings.__struct_fields__}
    others |= {"quit"} if rule != config.quit_rule else set()
    kept = {name: value for name, value in config.settings().items() if name not in others}
    metrics = [METRICS.name_of(metric) for metric in given.get("metrics", config.metrics)]
    return configured(kept, {"agent": agent, "quit_rule": rule, "metrics": metrics})


async def _run(planned: Scenario, out: Path | str | None, begun: Begun) -> Summary:
    if out is not None:
        check_free(Path(out))
    async with planned.doors() as doors:
        directory = new_run(None if out is None else Path(out), planned.name)
        begun(directory)
        with directory.begun():
            here = this_process()
            directory.write_config(noted(planned.course, doors).settings() | written([here]))
            with written_in(directory, planned.kept) as files:
                live = Live(planned, directory, processes=(here,))
                summary = await live.run(doors, files, NothingRecorded(), [files.trace])
            return listed(directory, summary)
