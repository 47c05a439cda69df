"""Recordings of BiLLP's authors' code as runs of ours: the same steps, told by our messages.

A trace that was imported has neither journal nor environment, and no time: all of it happens at 0.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from math import fsum
from pathlib import Path

import msgspec

from agents.embeddings import hashed
from engine.errors import RunDirectoryError
from engine.messages import (
    SCHEMA,
    ActionTaken,
    Envelope,
    EpisodeEnded,
    EpisodeFailed,
    EpisodeSettled,
    EpisodeStarted,
    Message,
    PlanMade,
    PlanRequested,
    RunEnded,
    RunStarted,
    UserResponded,
    number,
)
from engine.records import UNIT
from engine.tree import LAST, Node, encode, encode_tree
from sim.runs.recorded import IMPORTED
from storage.authors.recordings import RecordedStep
from storage.authors.trajectories import RecordedEpisode, Recordings, read_recordings
from storage.files import AppendOnly
from storage.manifest import write_manifest
from storage.names import check_name
from storage.runs import RunDirectory, check_free, new_run
from storage.traces import TraceWriter

FORMAT = "billp-trajectories"


class Imported(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What came of an import; means are over all *episodes*, the *failed* ones among them.

    *failed* ones lack something that could not be read. *len* counts every recommendation, the
    quitting one included; *len_rewarded* those whose reward is known. *r_traj*: mean of the sum of
    rewards. *r_each*: all rewards ÷ all rewarded steps. *grounded*: actions whose words were
    replaced by another title. *repeats*: recommendations of an item shown before in the episode.
    Shares are of all recommendations. *ended*: episodes by how they ended, as far as is known.
    """

    run: str
    digest: str
    episodes: int
    failed: int
    len: float
    len_rewarded: float
    r_traj: float
    r_each: float
    grounded: int
    grounded_share: float
    repeats: int
    repeats_share: float
    distinct_items: int
    ended: dict[str, int]
    unreadable: dict[str, int]


def import_trajectories(path: Path | str, out: Path | str) -> Imported:
    """Make the run directory *out* of the trajectory file at *path*, and return what came of it.

    Raises DataError if it is no such file, RunDirectoryError if *out* is taken.
    """
    source, place = Path(path), Path(out)
    check_name(source)  # which the run tells of
    check_free(place)
    recordings = read_recordings(source)
    directory = new_run(place, "imported")
    with directory.begun():
        settings = {"format": FORMAT, "source": str(source), "sha256": recordings.digest}
        directory.write_config({IMPORTED: settings})
        with closing(TraceWriter(AppendOnly(directory.trace))) as trace:
            for lines in trace_of(recordings):
                trace.write(lines)
        imported = told(recordings, run=str(place), digest=trace.digest)
        directory.write_summary(imported)
        write_manifest(directory)
    return imported


def trace_of(recordings: Recordings) -> Iterator[bytes]:
    """Yield the lines of the run that *recordings* make, episode after episode."""
    yield _line_of_run(0, None, _head(recordings))
    items = items_of(recordings)
    sessions: Counter[int] = Counter()
    for place, episode in enumerate(recordings.episodes):
        yield encode_tree(place, _tree(episode, sessions[episode.user], items))
        sessions[episode.user] += 1
    failed = sum(bool(episode.fault) for episode in recordings.episodes)
    yield _line_of_run(1, 0, RunEnded(episodes=len(recordings.episodes), failed=failed))


def items_of(recordings: Recordings) -> dict[str, int]:
    """Return the number of each title: they are numbered as they first appear."""
    titles = (step.title for episode in recordings.episodes for step in episode.steps)
    return {title: place for place, title in enumerate(dict.fromkeys(titles))}


def _line_of_run(n: int, cause: int | None, message: Message) -> bytes:
    return encode(Envelope(episode=None, n=n, cause=cause, time=0, message=message)) + b"\n"


def _head(recordings: Recordings) -> RunStarted:
    # Who recommended, and where, is not in the file. Its digest keeps runs of different worlds from
    # being taken for comparable. Repeats are allowed in the code that writes such files.
    return RunStarted(
        schema=SCHEMA,
        agent="recorded",
        model="recorded",
        environment=recordings.digest,
        seed=0,
        settings=((IMPORTED, FORMAT), ("repeats", "allow")),
    )


def _tree(episode: RecordedEpisode, session: int, items: Mapping[str, int]) -> Node[None]:
    # The history stands in the file without ratings: it is left out, for none may be invented.
    started = EpisodeStarted(user=episode.user, session=session, arrival=0, history=(), memories=())
    root: Node[None] = Node(started, 0, None, (0, 0))
    last = root
    for place, step in enumerate(episode.steps):
        for message in _messages(place, step, items[step.title]):
            last = _caused(last, message)
    if episode.end is not None:
        reward = number(fsum(step.reward for step in episode.steps if step.reward is not None))
        length = len(episode.steps)
        _caused(last, EpisodeEnded(length=length, reward=reward, reason=episode.end))
    join = EpisodeFailed(why=episode.fault) if episode.fault else EpisodeSettled()
    _caused(root, join, place=LAST)
    return root


def _caused(cause: Node[None], message: Message, *, place: int = 0) -> Node[None]:
    node = Node(message, 0, cause, (place, 0))
    cause.add(node)
    return node


def _messages(place: int, step: RecordedStep, item: int) -> Iterator[Message]:
    """Yield the messages of a step, each the cause of the next."""
    yield PlanRequested(step=place)
    if step.thought is not None:
        yield PlanMade(step=place, thought=step.thought)
    yield ActionTaken(
        step=place,
        item=item,
        title=step.title,
        words=step.words,
        grounding="nearest" if step.replaced else "exact",
        distance=_distance(step.words, step.title) if step.replaced else 0.0,
    )
    if step.reward is not None:
        yield UserResponded(step=place, reward=step.reward, left=step.left)


def _distance(words: str, title: str) -> float:
    """Return how far a title is from the words, by our vectors: theirs are not in the file."""
    one, other = hashed((words,)).astype(int), hashed((title,)).astype(int)
    return number(max(0.0, 1 - int(one @ other) / UNIT**2))


@dataclass(eq=False)
class Retold:
    """What a trace tells of an imported run; hears it, message after message."""

    episodes: int = 0
    failed: int = 0
    steps: int = 0
    grounded: int = 0
    shown: int = 0
    rewards: list[float] = field(default_factory=list)
    titles: set[str] = field(default_factory=set)
    ended: Counter[str] = field(default_factory=Counter)
    _visit: set[str] = field(default_factory=set)

    def __call__(self, envelope: Envelope[Message]) -> None:
        """Take note of a message."""
        match envelope.message:
            case EpisodeStarted():
                self.begin()
            case ActionTaken() as action:
                self.act(action.title, replaced=action.grounding == "nearest")
            case UserResponded() as response:
                self.rewards.append(response.reward)
            case EpisodeEnded() as ended:
                self.ended[ended.reason] += 1
            case EpisodeFailed():
                self.failed += 1

    def begin(self) -> None:
        """Begin an episode."""
        self.episodes += 1
        self._visit = set()

    def act(self, title: str, *, replaced: bool) -> None:
        """Take a recommendation, whose words may have been *replaced* by another title."""
        self.steps += 1
        self.grounded += replaced
        self.shown += title not in self._visit
        self._visit.add(title)
        self.titles.add(title)

    def imported(self, *, run: str, digest: str, unreadable: dict[str, int]) -> Imported:
        """Return what came of it, with what no trace tells."""
        steps, episodes, repeats = self.steps, self.episodes, self.steps - self.shown
        rewards, unknown = self.rewards, self.episodes - self.ended.total()
        ended = self.ended + Counter(unknown=unknown)
        return Imported(
            run=run,
            digest=digest,
            episodes=episodes,
            failed=self.failed,
            len=_ratio(steps, episodes),
            len_rewarded=_ratio(len(rewards), episodes),
            r_traj=_ratio(fsum(rewards), episodes),
            r_each=_ratio(fsum(rewards), len(rewards)),
            grounded=self.grounded,
            grounded_share=_ratio(self.grounded, steps),
            repeats=repeats,
            repeats_share=_ratio(repeats, steps),
            distinct_items=len(self.titles),
            ended=dict(sorted(ended.items())),
            unreadable=unreadable,
        )


def told(recordings: Recordings, *, run: str, digest: str) -> Imported:
    """Return what came of *recordings*."""
    retold = Retold()
    for episode in recordings.episodes:
        retold.begin()
        for step in episode.steps:
            retold.act(step.title, replaced=step.replaced)
        retold.rewards += [step.reward for step in episode.steps if step.reward is not None]
        retold.failed += bool(episode.fault)
        if episode.end is not None:
            retold.ended[episode.end] += 1
    unreadable = {str(kind): count for kind, count in recordings.unreadable.items()}
    return retold.imported(run=run, digest=digest, unreadable=unreadable)


def check_retold(directory: RunDirectory, retold: Retold) -> str:
    """Compare the summary of an imported run with its trace; raises RunDirectoryError."""
    try:
        summary = msgspec.convert(directory.read_summary(), Imported)
        found = retold.imported(
            run=summary.run, digest=summary.digest, unreadable=summary.unreadable
        )
    except (msgspec.ValidationError, ArithmeticError) as error:
        raise RunDirectoryError(f"{directory.summary}: not of an import: {error}") from error
    for name in found.__struct_fields__:
        one, other = getattr(found, name), getattr(summary, name)
        if one != other:
            raise RunDirectoryError(f"{directory.summary}: {name} is {one}, told {other}")
    return f"{len(found.__struct_fields__) - 2} fields reckoned again"


def _ratio(part: float, whole: int) -> float:
    return number(part / max(1, whole))
