"""summary.json: what came of a run."""

from collections.abc import Mapping
from typing import Any

import msgspec

from agents.making import PRIVILEGED
from agents.models.access import Usage
from engine.errors import RunDirectoryError
from engine.html import note, table
from engine.messages import RunStarted, Setting, number
from sim.metrics.failures import Failure
from sim.metrics.lifetimes import Retention, retention_rows
from sim.metrics.metrics import CurvePoint, Measured, Metrics
from sim.metrics.own import Found
from sim.metrics.told import beside_test, metric_rows
from sim.metrics.toll import NO_TOLL, Toll
from sim.world.quitting import QUIT_RULES, names_of, reasons_of
from storage.provenance import Process
from storage.runs import RunDirectory
from storage.traces import digest_of

CAUTION = "The embedded model is a stand-in: its numbers say nothing of language models."
_METRICS = tuple(field.name for field in msgspec.structs.fields(Metrics))


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a run.

    *metrics* are those of the last test, *train* those of the training before; without a test there
    is no *train*, and *metrics* are of all episodes. *curve* is what each test came to, if there
    were several; *test_memory* says whether memories were frozen in tests, or learning.

    *all_episodes* and *all_steps* are of the whole run, without episodes that failed. What is
    *per_episode* or *per_reward* is of the whole run as well: all calls, also those of episodes
    that failed, by *all_episodes* or by the sum of their rewards (the price of a unit of R_traj);
    None if there is nothing to divide by. *failed_episodes* are those of the whole run, *failures*
    the reasons.

    *seconds*, *utilization* (of the slots for calls in flight) and *live_calls* (those that were
    not recorded before, *cached_calls* among them) are of this process alone. *tokens* are as the
    service counted them, in both directions; of the prompts' it had *cached_tokens* before, and
    keeps *written_tokens*; *reasoning_tokens* of the replies are not seen. In
    *refused_calls* of the replies the model says that it would rather not. *cost* is by the prices
    that are set. *listeners* are the results of the user's own. *weights* are the sha256 of models'
    files, by model, where they were computed on this machine; *certificate* what one of `billp
    probe` says of a model. *access* is the toll of access to models. Listeners, followers and views
    that raised were *dropped*, by name and why; others *missed* so many messages, for they were too
    slow. *provenance* tells of the processes that worked on the run. *manifest* is the digest of
    the run's manifest, which lists its summary and so does not stand there.
    """

    run: str
    digest: str
    agent: str
    model: str
    environment: str
    environment_digest: str
    seed: int
    repeats: str
    metrics: Metrics
    all_episodes: int
    all_steps: int
    messages: int
    calls: int
    live_calls: int
    failed_calls: int
    tokens: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    utilization: float
    cached_calls: int = 0
    cost: float = 0.0
    calls_per_episode: float | None = 0.0
    cached_tokens: int = 0
    written_tokens: int = 0
    reasoning_tokens: int = 0
    refused_calls: int = 0
    tokens_per_episode: float | None = 0.0
    cost_per_episode: float | None = 0.0
    tokens_per_reward: float | None = 0.0
    cost_per_reward: float | None = 0.0
    train: Metrics | None = None
    test_memory: str = ""
    curve: tuple[CurvePoint, ...] = ()
    failed_episodes: int = 0
    failures: tuple[Failure, ...] = ()
    access: Toll = NO_TOLL
    dropped: dict[str, str] = {}
    missed: dict[str, int] = {}
    listeners: dict[str, Any] = {}
    weights: dict[str, str] = {}
    certificate: dict[str, str] = {}
    own_metrics: dict[str, Found] = {}
    quit_rule: str = ""
    privileged: str = ""
    retention: Retention | None = None
    provenance: tuple[Process, ...] = ()
    manifest: str = ""

    def flat(self) -> dict[str, Any]:
        """Return everything but the manifest as one object, the metrics beside the rest.

        What not all runs have is left out where it is empty: *train*, *test_memory* and *curve* are
        of tests; *own_metrics*; a *quit_rule* that is not BiLLP's; what a *privileged* agent is
        told that none could know; *retention* is of users with several sessions; who was *dropped*
        or *missed* messages.
        """
        values: dict[str, Any] = msgspec.to_builtins(self)
        metrics = values.pop("metrics")
        del values["manifest"]
        head = {name: values.pop(name) for name in ("run", "digest")}
        of_some = ("train", "test_memory", "curve", "own_metrics", "quit_rule", "privileged")
        some = (*of_some, "weights", "certificate", "retention", "dropped", "missed")
        told = {name: value for name in some if (value := values.pop(name))}
        return {**head, **metrics, **told, **values}

    @property
    def title(self) -> str:
        """Whose numbers they are, and of which phase."""
        told = f" told {self.privileged}, which no agent could know," if self.privileged else ""
        run = f"{self.agent}{told} in {self.environment}"
        if self.train is None:
            return run
        metrics, trained = self.metrics, self.train.episodes + self.train.failed
        tested = f"{metrics.users:,} test users"
        if metrics.episodes != metrics.users:
            tested = f"{metrics.episodes:,} test episodes of {metrics.users:,} users"
        return f"{run}\n{tested}, memory {self.test_memory}, after {trained:,} training episodes"

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """The metrics that say something: name, value, meaning."""
        return self._rows(reasons_of(self.quit_rule or "billp"))

    def _rows(self, reasons: Mapping[str, str]) -> list[tuple[str, str, str]]:
        own = [
            (one.column, "–" if one.mean is None else f"{one.mean:.4g}", one.error or one.meaning)
            for one in self.own_metrics.values()
        ]
        rows = metric_rows(self.metrics, {**reasons, "limit": "stayed to the limit"})
        return [*rows, *retention_rows(self.retention), *own]

    def _repr_html_(self) -> str:
        # A summary may be read from elsewhere: it does not say what is imported.
        rule = self.quit_rule or "billp"
        reasons = reasons_of(rule) if {*names_of(rule)} <= {*QUIT_RULES} else {}
        beside = beside_test(self.train)
        names = ("metric", "value", *(["training"] if beside else []), "meaning")
        rows = [
            (name, value, *([beside.get(name, "")] if beside else []), meaning)
            for name, value, meaning in self._rows(reasons)
        ]
        notes = [f"{self.run} · digest {self.digest}"]
        notes += [CAUTION] if self.model == "embedded" and self.calls else []
        title = self.title.replace("\n", ": ")
        return table(names, rows, title=title, words={0, len(names) - 1}) + "".join(
            map(note, notes)
        )


def read_summary(directory: RunDirectory) -> Summary:
    """Return the summary of a finished run; raises RunDirectoryError if it cannot be read."""
    values = directory.read_summary()
    try:
        if directory.manifest.exists():
            values["manifest"] = digest_of(directory.manifest)
        values["metrics"] = {name: values.pop(name) for name in _METRICS if name in values}
        return msgspec.convert(values, Summary)
    except msgspec.ValidationError as error:
        raise RunDirectoryError(f"{directory.summary}: cannot be read: {error}") from error


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """What a process did for a run: messages, seconds, the share of slots in use, and replies.

    *cached* replies came from a cache; *cost* is by the prices that are set, with recorded calls,
    and *access* their toll. For *dropped* and *missed* see `Summary`.
    """

    messages: int
    seconds: float
    utilization: float
    cached: int
    cost: float
    access: Toll = NO_TOLL
    dropped: dict[str, str] = {}
    missed: dict[str, int] = {}


def summarise(
    head: RunStarted,
    *,
    run: str,
    environment: str,
    digest: str,
    measured: Measured,
    usage: Usage,
    effort: Effort,
    failures: tuple[Failure, ...] = (),
    listeners: dict[str, Any],
) -> Summary:
    """Return the summary of a finished run."""
    settings = dict(head.settings)
    cost, episodes, rewards = effort.cost, measured.episodes, measured.rewards
    return Summary(
        run=run,
        digest=digest,
        agent=head.agent,
        model=head.model,
        environment=environment,
        environment_digest=head.environment,
        seed=head.seed,
        repeats=str(settings["repeats"]),
        metrics=measured.main,
        all_episodes=episodes,
        all_steps=measured.steps,
        messages=effort.messages,
        calls=usage.calls,
        live_calls=usage.live,
        failed_calls=usage.failed,
        tokens=usage.tokens,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.cached_tokens,
        written_tokens=usage.written_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        refused_calls=usage.refused,
        seconds=round(effort.seconds, 3),
        utilization=round(effort.utilization, 4),
        cached_calls=effort.cached,
        cost=round(cost, 6),
        calls_per_episode=_per(usage.calls, episodes),
        tokens_per_episode=_per(usage.tokens, episodes),
        cost_per_episode=_per(cost, episodes),
        tokens_per_reward=_per(usage.tokens, rewards),
        cost_per_reward=_per(cost, rewards),
        train=measured.train,
        test_memory=str(settings["test_memory"]) if measured.train else "",
        curve=measured.curve,
        failed_episodes=sum(failure.episodes for failure in failures),
        failures=failures,
        access=effort.access,
        dropped=effort.dropped,
        missed=effort.missed,
        listeners=listeners,
        quit_rule=str(settings.get("quit_rule", "")),
        privileged=_privileged(settings),
        retention=measured.retention,
    )


def _privileged(settings: Mapping[str, Setting]) -> str:
    """Return what the settings say that the agent is told and none could know."""
    return ",".join(
        str(value) for name, value in settings.items() if name.endswith(PRIVILEGED) and value
    )


def _per(amount: float, whole: float) -> float | None:
    if not amount:
        return 0.0
    return number(amount / whole) if whole > 0 else None
