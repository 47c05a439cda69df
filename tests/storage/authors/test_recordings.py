"""Recordings of BiLLP's authors' code: what their lines and files say, and what is not readable."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import DataError
from engine.messages import number
from storage.authors.recordings import Fault, RecordedStep, read_lines
from storage.authors.trajectories import Recordings, read_recordings

QUESTION = "The user's viewing history is ['Red', \"Bob's\"], please recommend item for this user"
INVALID = "Invalid Action. Valid Actions are recommend[item]."
LEFT = "Episode finished, User Stop, reward=-1000.000"


def went_on(reward: object) -> str:
    return f"Episode continue, reward={reward}"


def taken(title: str, reward: float | None, *, words: str = "", thought: str = "t") -> RecordedStep:
    return RecordedStep(
        thought=thought, words=words or title, title=title, reward=reward, left=reward is None
    )


def written(steps: Sequence[RecordedStep]) -> list[str]:
    """Return the lines that their `step` writes."""
    lines = [QUESTION]
    for n, step in enumerate(steps, 1):
        lines += [f"Thought {n}: {step.thought}", f"Action {n}: recommend[{step.words}]"]
        if step.words != step.title:
            instead = f"can not be recommened, instead, recommend[{step.title}]"
            lines.append(f"Observation {n}: [{step.words}] {instead}")
        lines.append(f"Observation {n}: {LEFT if step.left else went_on(step.reward)}")
    return lines


FILM = [
    taken("Red", 4, thought="Something with Jean-Louis."),
    taken("Blue", 4.5, words="Bleu [fr]"),
    taken("Red", None),
]

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n")).map(str.strip)
titles = text.filter(lambda title: bool(title) and "can not be" not in title)
rewards = st.floats(0, 5).map(number) | st.integers(1, 5).map(float)


@st.composite
def visits(draw: st.DrawFn) -> list[RecordedStep]:
    going = st.builds(taken, titles, rewards, words=titles, thought=text)
    last = st.builds(taken, titles, st.none() | rewards, words=titles, thought=text)
    return [*draw(st.lists(going, max_size=5)), draw(last)]


def test_an_episode_is_read_step_by_step() -> None:
    """Thought, words, the title that stands in their place, reward; the last reward is unknown."""
    told = read_lines(written(FILM))
    assert told.steps == tuple(FILM)
    assert (told.count, told.outcome, told.fault, told.faults) == (3, "left", "", Counter())


@given(visits())
def test_what_their_code_writes_is_read_back(steps: list[RecordedStep]) -> None:
    """Whatever titles, words and thoughts hold: brackets, signs, line separators of Unicode."""
    told = read_lines(written(steps))
    assert told.steps == tuple(steps)
    assert told.outcome == ("left" if steps[-1].left else "continued")
    assert not told.faults


parts = st.sampled_from(["Thought", "Action", "Observation", "Critic"])
said = st.sampled_from(
    [
        *("", "recommend[]", "recommend[a]", "recommend[a", LEFT, INVALID, "Episode continue"),
        *(went_on(reward) for reward in ("", "4", "nan", "-1000", "1e400", "1" * 400)),
        *(f"[{words}] can not be recommened, instead, recommend[b]" for words in ("a", "", "]")),
        "[a] can not be recommened, instead, recommend[]",
    ]
)
strange = st.builds("{} {}: {}".format, parts, st.integers(0, 3), said)


@given(st.lists(strange | text, max_size=20))
def test_no_line_is_too_strange_to_be_read(lines: list[str]) -> None:
    """And none of it becomes a step without a title, or a reward that is none."""
    for step in read_lines(lines).steps:
        assert step.title.strip()
        assert step.reward is None or step.reward == number(step.reward)


@pytest.mark.parametrize(
    ("line", "reward"),
    [
        ("Episode continue, reward=0", 0.0),
        ("Episode continue, reward=0.90697035862193367", 0.90697),
        ("Episode continue, reward=1e-05", 1e-05),
        ("Episode finished, User Stop, reward=-1000.00000", None),
        ("Episode finished, User Stop, reward=1.5", 1.5),
        ("Episode finished, reward=3", 3.0),
    ],
)
def test_a_reward_is_what_the_line_says(line: str, reward: float | None) -> None:
    """Rounded as all numbers of messages; −1000 stands for "left" and is no reward."""
    told = read_lines(
        [QUESTION, "Thought 1: t", "Action 1: recommend[Red]", f"Observation 1: {line}"]
    )
    assert [step.reward for step in told.steps] == [reward]
    assert not told.faults


def one(*observed: str, action: str = "recommend[Red]") -> list[str]:
    """Return a step of these observations between two that are whole."""
    before, after = written([taken("Ann", 3.0)]), written([taken("Ann", 3.0), taken("Eve", None)])
    lines = ["Thought 2: t", f"Action 2: {action}", *(f"Observation 2: {o}" for o in observed)]
    return [*before, *lines, *(line.replace(" 2: ", " 3: ") for line in after[4:])]


@pytest.mark.parametrize(
    ("lines", "fault", "titles"),
    [
        (one(went_on(2), action=""), "unreadable action", "Ann Eve"),
        (one(went_on(2), action="Recommend[Red]"), "unreadable action", "Ann Eve"),
        (one(went_on(2), action="recommend[Red]."), "unreadable action", "Ann Eve"),
        (one(went_on(2), action="recommend[]"), "empty title", "Ann Eve"),
        (one(went_on(2), action="recommend[ ]"), "empty title", "Ann Eve"),
        (one(went_on("nan")), "unreadable reward", "Ann Red Eve"),
        (one(went_on("inf")), "unreadable reward", "Ann Red Eve"),
        (one(went_on("1e999")), "unreadable reward", "Ann Red Eve"),
        (one(went_on("-1000.000")), "unreadable reward", "Ann Red Eve"),
        (one(went_on("")), "unreadable reward", "Ann Red Eve"),
        (one("Episode continue"), "unreadable reward", "Ann Red Eve"),
        (one(), "no outcome line", "Ann Red Eve"),
        (one(went_on(2), went_on(3)), "unknown line", "Ann Red Eve"),
        (one("Episode paused", went_on(2)), "unknown line", "Ann Red Eve"),
        ([*one(went_on(2)), "Critic: 3"], "unknown line", "Ann Red Eve"),
        ([*one(went_on(2)), "Thought 4: t"], "line after the end", "Ann Red Eve"),
        ([*written(FILM)[:4], "Thought 2: t", *written(FILM)[8:]], "no action line", "Red Red"),
    ],
)
def test_what_cannot_be_read_is_counted(lines: list[str], fault: Fault, titles: str) -> None:
    """Once, by its kind; all the rest of the episode is there."""
    told = read_lines(lines)
    assert told.faults == {fault: 1}
    assert [step.title for step in told.steps] == titles.split()


def test_an_action_outside_the_grammar_ends_an_episode() -> None:
    """As it does in their code; the first thing that is missing says where."""
    told = read_lines([*written([taken("Red", 4.0)]), "Action 2: hm", f"Observation 2: {INVALID}"])
    assert [step.title for step in told.steps] == ["Red"]
    assert told.outcome == "invalid"
    assert told.fault == "unreadable action at step 2 of the recording"
    assert told.faults == {"unreadable action": 1}


def test_a_second_action_line_may_ground_the_first() -> None:
    """As their agent with revisions writes it, which loses the first for most users."""
    grounded = "Action 1: [Bleu] can not be recommened, instead, recommend[Blue]"
    for first in ("Action 1: recommend[Bleu]", "Action 1:"):
        told = read_lines([QUESTION, "Thought 1: t", first, grounded, f"Observation 1: {LEFT}"])
        assert told.steps == (taken("Blue", None, words="Bleu"),)


def test_lines_may_break_off_anywhere() -> None:
    """What is whole is read; what is cut is no step of another kind."""
    lines = written(FILM)
    lengths = [len(read_lines(lines[:end]).steps) for end in range(len(lines) + 1)]
    assert lengths == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 3, 3]
    assert not any(read_lines(lines[:end]).faults for end in range(len(lines) + 1))


# Files


def entry(steps: Sequence[RecordedStep], user: object = 7) -> dict[str, Any]:
    lines = written(steps)
    return {"userid": user, "prompt": "Solve …", "traj": "\n".join(lines), "traj_by_line": lines}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "recorded.json"


def read(file: Path, *documents: object, indent: int | None = None) -> Recordings:
    file.write_text("\n".join(json.dumps(one, indent=indent) for one in documents))
    return read_recordings(file)


def refusal(file: Path, content: str | bytes) -> str:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError) as raised:
        read_recordings(file)
    return str(raised.value).removeprefix(str(file))


def test_every_form_of_a_file_holds_the_same(file: Path) -> None:
    """An object by user, a list, JSON lines of entries or of objects, as text alone."""
    one, two = entry(FILM, 7), entry(FILM[1:], 8)
    told = read(file, {"a": one, "b": two}, indent=2).episodes
    assert [(episode.user, len(episode.steps)) for episode in told] == [(7, 3), (8, 2)]
    plain = {key: value for key, value in one.items() if key != "traj_by_line"}
    for documents in ([[one, two]], [one, two], [{"a": one}, {"b": two}], [[plain, {"b": two}]]):
        assert read(file, *documents).episodes == told


def test_one_entry_is_a_file(file: Path) -> None:
    assert len(read(file, entry(FILM)).episodes) == 1


def test_who_stayed_to_the_limit_is_seen_by_the_others(file: Path) -> None:
    """Nobody makes more steps than the limit; whose lines stop before it have no end."""
    going = [taken("Red", 4.0), taken("Blue", 3.0), taken("Ann", 3.0)]
    told = read(file, [entry(FILM), entry(going), entry(going[:2])])
    assert [episode.end for episode in told.episodes] == ["quit", "limit", None]
    assert [episode.fault for episode in told.episodes] == ["", "", "episode without end"]
    assert told.unreadable == {"episode without end": 1}


def test_an_episode_that_breaks_off_within_a_step_has_no_end(file: Path) -> None:
    told = read(file, {"userid": 7, "traj_by_line": written(FILM)[:-1]})
    assert [episode.end for episode in told.episodes] == [None]
    assert told.unreadable == {"episode without end": 1}


def test_no_episode_is_invented(file: Path) -> None:
    """Entries without a step that can be read, and what is no entry, are counted."""
    bad = {"traj_by_line": [QUESTION, "Thought 1: t", "Action 1: hm", f"Observation 1: {INVALID}"]}
    file_of = {"0": entry(FILM), "1": bad, "2": {"traj_by_line": []}, "reflections": ["Be bold."]}
    told = read(file, file_of)
    assert [episode.user for episode in told.episodes] == [7]
    unreadable = {"episode without steps": 2, "not an episode": 1, "unreadable action": 1}
    assert told.unreadable == unreadable


@pytest.mark.parametrize(
    ("written_as", "users"),
    [
        ([7, 7], [7, 7]),
        (["7", "08"], [7, 8]),
        ([None, 8], [29, 8]),
        (["ann", "8"], [29, 8]),
        ([-1, True], [29, 30]),
        ([10**40, 1.5], [29, 30]),
    ],
)
def test_users_are_numbered_as_in_the_file(
    file: Path, written_as: list[object], users: list[int]
) -> None:
    """By userid, else by the key of the entry."""
    told = read(file, {str(29 + n): entry(FILM, user) for n, user in enumerate(written_as)})
    assert [episode.user for episode in told.episodes] == users


def test_users_without_a_number_are_numbered_by_place(file: Path) -> None:
    told = read(file, [entry(FILM, "ann"), entry(FILM, 0)])
    assert [episode.user for episode in told.episodes] == [0, 1]


def test_halves_of_characters_do_no_harm(file: Path) -> None:
    """Python's json writes and reads them; a trace cannot hold them."""
    told = read(file, entry([taken("Red \ud83d", None)]))
    assert told.episodes[0].steps[0].title == "Red ?"


LINE = json.dumps(entry(FILM))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", ": is empty"),
        (" \n", ": is empty"),
        ("{}", ": holds no recorded trajectory"),
        ("[]", ": holds no recorded trajectory"),
        ("[[[1]]]", ": holds no recorded trajectory"),
        ('{"metrics": {"len": 3}}', ": holds no recorded trajectory"),
        (LINE[:-1], ":1: not JSON, or cut short: expecting ',' delimiter"),
        (json.dumps([1], indent=2)[:-2], ":2: not JSON, or cut short: expecting ',' delimiter"),
        (f"{LINE}\n\n{LINE[:-1]}", ":3: not JSON, or cut short: expecting ',' delimiter"),
        ("Thought 1: t\nAction 1: x", ":1: not JSON, or cut short: expecting value"),
        (b"\xff\xfe", ": not JSON: invalid start byte at byte 0"),
        ('{"a": {"traj": "Hm"}}', ": holds no recommendation that can be read: "),
    ],
)
def test_what_is_no_recordings_file_is_refused(
    file: Path, content: str | bytes, sentence: str
) -> None:
    """In one sentence, with the line where there is one."""
    assert refusal(file, content).startswith(sentence)


def test_nesting_without_end_is_refused(file: Path) -> None:
    assert ":1: not JSON that can be read: " in refusal(file, "[" * 100_000)


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.integers() | text,
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["traj", "traj_by_line", "userid", "0"]), inner)
        ),
        max_leaves=8,
    )
)
def test_any_json_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, value: object
) -> None:
    file = tmp_path_factory.mktemp("any") / "file.json"
    assert refusal(file, json.dumps(value))
