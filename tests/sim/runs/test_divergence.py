"""`divergence`: two encodings of a run side by side, byte for byte, and what differs first."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import DivergenceError, TraceError
from sim.runs.divergence import (
    NO_FIELD,
    NO_LINE,
    Difference,
    EndOfRecordError,
    TraceCheck,
    TraceDivergenceError,
    explain,
    short,
)
from tests.support.drawn import TEXTS

Compared = Callable[..., TraceCheck]


def line(episode: int | None, n: int, cause: int | None = None, **message: Any) -> bytes:
    """Return a line of a trace."""
    said = {"type": "PlanMade", "step": 0, **message}
    place = {"episode": episode, "n": n, "cause": cause, "time": 0}
    return json.dumps({**place, "message": said}, separators=(",", ":")).encode() + b"\n"


def visit(episode: int, length: int = 3) -> list[bytes]:
    """Return the lines of an episode, each led to by the one before."""
    return [line(episode, n, n - 1 if n else None, step=n) for n in range(length)]


HEAD, END = line(None, 0), line(None, 1, 0)
EPISODES = [visit(0), visit(1), visit(2)]
TRACE = [HEAD, *EPISODES[0], *EPISODES[1], *EPISODES[2], END]
CHANGED = line(1, 1, 0, step=9)


@pytest.fixture
def compared(tmp_path: Path) -> Iterator[Compared]:
    """Give a function that begins a comparison with a recorded trace."""
    with ExitStack() as stack:

        def begin(*recorded: bytes, every: bool = False) -> TraceCheck:
            path = tmp_path / "trace.jsonl"
            path.write_bytes(b"".join(recorded))
            return stack.enter_context(closing(TraceCheck(path, every=every)))

        yield begin


def play(comparison: TraceCheck, *visits: Sequence[bytes]) -> list[Difference]:
    """Run a run of *visits* beside its record, and return what differs."""
    try:
        for lines in ([HEAD], *visits, [END]):
            comparison.write(b"".join(lines))
        comparison.end()
    except TraceDivergenceError as error:
        return [error.difference]
    return comparison.differences


def difference(recorded: bytes | None, got: bytes | None, *before: bytes) -> Difference:
    return explain(1 + len(before), recorded, got, before)


# -- bytes


def test_the_same_bytes_agree(compared: Compared) -> None:
    """Every line is counted; nothing is left over."""
    comparison = compared(*TRACE)
    assert play(comparison, *EPISODES) == []
    assert (comparison.lines, comparison.at_end()) == (len(TRACE), True)


@pytest.mark.parametrize(
    "recorded",
    [
        line(1, 1, 0, step=1.0),
        line(1, 1, 0, step=1, extra=2),
        line(1, 1, 0, step=1).replace(b":", b": ", 1),
        line(1, 1, 0, step=1)[:-2] + b',"extra":1}\n',
        line(1, 1, 0, step=1).replace(b"\n", b"\r\n"),
    ],
    ids=["float", "field", "white space", "field of the envelope", "end of line"],
)
def test_bytes_are_compared_and_not_values(recorded: bytes, compared: Compared) -> None:
    """`3` and `3.0` are equal and not the same; neither is what a decoder would skip."""
    comparison = compared(HEAD, *EPISODES[0], EPISODES[1][0], recorded, EPISODES[1][2])
    (found,) = play(comparison, *EPISODES)
    assert (found.number, found.episode, found.n) == (6, 1, 1)


def test_values_of_another_type_are_both_shown() -> None:
    found = difference(line(0, 0, step=3.0), line(0, 0, step=3))
    assert (found.field, found.recorded, found.got) == ("step", 3.0, 3)
    assert found.sentence.endswith("PlanMade.step: recorded 3.0, got 3")


def test_the_first_difference_ends_it(compared: Compared) -> None:
    """It is an error with the place in the trace, unless all are wanted."""
    comparison = compared(HEAD, *EPISODES[0], EPISODES[1][0], CHANGED, EPISODES[1][2])
    comparison.write(HEAD)
    comparison.write(b"".join(EPISODES[0]))
    with pytest.raises(DivergenceError, match=r"trace\.jsonl:6: episode 1, n 1, PlanMade\.step: "):
        comparison.write(b"".join(EPISODES[1]))
    assert comparison.lines == 4


# -- fields


@pytest.mark.parametrize(
    ("recorded", "got", "field", "values"),
    [
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 2}}}, "a.b.c", (1, 2)),
        ({"a": [[1, 2], [3, 4]]}, {"a": [[1, 2], [3, 5]]}, "a.1.1", (4, 5)),
        ({"a": [{"b": 1}, {"b": 2}]}, {"a": [{"b": 1}, {"b": 3}]}, "a.1.b", (2, 3)),
        ({"a": [1, 2]}, {"a": [1]}, "a.1", (2, NO_FIELD)),
        ({"a": [1]}, {"a": [1, 2]}, "a.1", (NO_FIELD, 2)),
        ({"a": []}, {"a": [1]}, "a.0", (NO_FIELD, 1)),
        ({"a": [1]}, {"a": []}, "a", (NO_FIELD, [])),
        ({"a": {}}, {"a": []}, "a", ({}, [])),
        ({"a": 1}, {}, "a", (1, NO_FIELD)),
        ({}, {"a": 1}, "a", (NO_FIELD, 1)),
        ({"a": None}, {"a": False}, "a", (None, False)),
        ({"a": 0}, {"a": False}, "a", (0, False)),
        ({"a": 1, "b": 1}, {"a": 2, "b": 2}, "a", (1, 2)),
    ],
)
def test_a_field_is_named_however_deep_it_lies(
    recorded: dict[str, Any], got: dict[str, Any], field: str, values: tuple[Any, Any]
) -> None:
    """With dots and positions, the first one in the order of the run's own line."""
    found = difference(line(0, 0, **recorded), line(0, 0, **got))
    assert (found.field, (found.recorded, found.got)) == (field, values)


@pytest.mark.parametrize("name", ["episode", "n", "cause", "time"])
def test_places_are_fields_as_well(name: str) -> None:
    got = json.loads(line(2, 3, 1))
    recorded = json.dumps({**got, name: 7}).encode()
    found = difference(recorded, json.dumps(got).encode())
    assert (found.field, found.recorded, found.got) == (name, 7, got[name])


def test_another_message_is_told_by_its_type() -> None:
    """The name is that of the message that came, and not of the one that was recorded."""
    found = difference(line(0, 4, type="PlanMade"), line(0, 4, type="ActionTaken"))
    assert found.sentence == (
        "episode 0, n 4, ActionTaken.type: recorded 'PlanMade', got 'ActionTaken'"
    )


@pytest.mark.parametrize("junk", [b"junk\n", b"\n", b"\xff\xfe\n", b"[" * 100_000 + b"\n", b"{}\n"])
def test_what_cannot_be_read_is_shown_as_it_stands(junk: bytes) -> None:
    found = difference(junk, line(0, 0))
    assert (found.field, found.message, found.was) == ("line", "PlanMade", None)
    assert found.recorded == junk.decode(errors="replace").rstrip("\n")


def test_lines_that_mean_the_same_are_shown_whole() -> None:
    spaced = line(0, 0).replace(b":", b": ")
    found = difference(spaced, line(0, 0))
    assert (found.field, found.recorded) == ("line", spaced.decode().rstrip())


@given(st.recursive(st.integers() | TEXTS | st.none(), st.lists, max_leaves=4), st.data())
def test_what_differs_has_a_field_and_what_does_not_has_none(
    value: Any, data: st.DataObject
) -> None:
    """Whatever the values are."""
    other = data.draw(st.just(value) | st.integers() | st.lists(st.just(value), max_size=2))
    found = difference(line(0, 0, a=value), line(0, 0, a=other))
    assert (found.field == "line") == (line(0, 0, a=value) == line(0, 0, a=other))


# -- sentences


def test_a_sentence_says_where_and_what() -> None:
    found = difference(line(12, 34, thought="Go on."), line(12, 34, thought="Stop."))
    assert found.sentence == ("episode 12, n 34, PlanMade.thought: recorded 'Go on.', got 'Stop.'")


def test_a_sentence_of_the_run_itself() -> None:
    found = difference(line(None, 0, seed=1), line(None, 0, seed=2))
    assert found.sentence == "the run itself, n 0, PlanMade.seed: recorded 1, got 2"


def test_a_sentence_is_short() -> None:
    """Whatever the texts are; and on one line."""
    found = difference(line(0, 0, text="a\n" * 900), line(0, 0, text="b\n" * 900))
    assert len(found.sentence) < 250
    assert "\n" not in found.sentence
    assert found.recorded == "a\n" * 900


@pytest.mark.parametrize("text", ["(in brackets)", NO_LINE[:-1], "(", ""])
def test_texts_are_quoted_whatever_they_say(text: str) -> None:
    """So that they are not taken for what billp says itself."""
    assert short(text) == repr(text)
    assert short(NO_LINE) == NO_LINE


# -- causes


def test_the_chain_leads_up_to_the_beginning() -> None:
    """By causes, the nearest first: what merely stands before is not in it."""
    before = [line(0, 0), line(0, 1, 0), line(0, 2, 0), line(0, 3, 2), line(0, 4, 1)]
    found = difference(line(0, 5, 3, step=1), line(0, 5, 3), *before)
    assert [above.n for above in found.chain] == [3, 2, 0]


def test_what_has_no_cause_has_no_chain() -> None:
    assert difference(line(0, 0, step=1), line(0, 0)).chain == ()


@pytest.mark.parametrize("cause", [-1, 2, 9, 1 << 40])
def test_a_cause_that_cannot_be_ends_the_chain(cause: int) -> None:
    """Nothing leads to what stands before it."""
    before = [line(0, 0), line(0, 1, cause)]
    found = difference(line(0, 2, 1, step=1), line(0, 2, 1), *before)
    assert [above.n for above in found.chain] == [1]


def test_a_chain_ends_where_it_cannot_be_read() -> None:
    before = [line(0, 0), b"junk\n", line(0, 2, 1)]
    found = difference(line(0, 3, 2, step=1), line(0, 3, 2), *before)
    assert [above.n for above in found.chain] == [2]


def test_a_chain_is_of_its_own_episode(compared: Compared) -> None:
    comparison = compared(HEAD, *EPISODES[0], *EPISODES[1][:2], line(1, 2, 1, step=9))
    (found,) = play(comparison, *EPISODES)
    assert [(above.episode, above.n) for above in found.chain] == [(1, 1), (1, 0)]


# -- ends


def test_a_record_that_ends_between_episodes(compared: Compared) -> None:
    """All there was agreed, and nothing of the next episode is there."""
    comparison = compared(HEAD, *EPISODES[0])
    with pytest.raises(EndOfRecordError) as end:
        play(comparison, *EPISODES)
    assert (end.value.size, comparison.lines) == (0, 4)


@given(size=st.integers(0, len(b"".join(EPISODES[1])) - 1), every=st.booleans())
def test_a_record_that_ends_in_an_episode(
    size: int, every: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The error says how many bytes of it there were, so that one can go on from there."""
    path = tmp_path_factory.getbasetemp() / "torn.jsonl"
    torn = b"".join(EPISODES[1])[:size]
    path.write_bytes(HEAD + b"".join(EPISODES[0]) + torn)
    with closing(TraceCheck(path, every=every)) as comparison:
        with pytest.raises(EndOfRecordError) as end:
            play(comparison, *EPISODES)
        assert (end.value.size, comparison.differences) == (size, [])
        assert comparison.lines == 4 + torn.count(b"\n")


def test_a_record_that_differs_before_its_end_differs(compared: Compared) -> None:
    """That it ends early is no excuse."""
    comparison = compared(HEAD, *EPISODES[0], EPISODES[1][0], CHANGED)
    assert play(comparison, *EPISODES)[0].number == 6


def test_a_torn_line_that_is_another_one_differs(compared: Compared) -> None:
    comparison = compared(HEAD, *EPISODES[0], EPISODES[1][0], CHANGED[:-2])
    assert play(comparison, *EPISODES)[0].number == 6


@pytest.mark.parametrize("every", [False, True])
def test_what_stands_after_the_end_differs(every: bool, compared: Compared) -> None:
    """Each line of it, if all are wanted."""
    found = play(compared(*TRACE, END, b"junk\n", every=every), *EPISODES)
    assert [one.number for one in found] == [12, 13][: 2 if every else 1]
    assert {one.got for one in found} == {NO_LINE}


@pytest.mark.parametrize("every", [False, True])
def test_what_an_episode_has_too_many_of_differs(every: bool, compared: Compared) -> None:
    """It is a line of that episode, and not of the next one, that is too much."""
    recorded = [HEAD, *EPISODES[0], *visit(1, 5), *EPISODES[2], END]
    found = play(compared(*recorded, every=every), *EPISODES)
    places = [(one.number, one.episode, one.n, one.got) for one in found]
    assert places == [(8, 1, 3, NO_LINE), (9, 1, 4, NO_LINE)][: 2 if every else 1]
    assert [above.n for above in found[0].chain] == [2, 1, 0]


def test_a_part_of_an_episode_may_be_compared_alone(compared: Compared) -> None:
    """What is recorded beyond it is not looked at."""
    comparison = compared(*visit(0))
    comparison.compare(b"".join(visit(0)[:2]), whole=False)
    assert comparison.lines == 2


# -- beginning at an episode


def test_one_episode_may_be_compared_alone(compared: Compared) -> None:
    """The lines before it are counted, so that places are those of the file."""
    comparison = compared(HEAD, *EPISODES[0], EPISODES[1][0], CHANGED, EPISODES[1][2], END)
    comparison.skip_to(1)
    with pytest.raises(TraceDivergenceError) as error:
        comparison.write(b"".join(EPISODES[1]))
    assert (error.value.difference.number, comparison.lines) == (6, 0)


def test_episodes_whose_numbers_begin_alike(compared: Compared) -> None:
    comparison = compared(*visit(10), *visit(1))
    comparison.skip_to(1)
    comparison.write(b"".join(visit(1)))
    assert comparison.at_end()


def test_an_episode_that_is_not_there(compared: Compared) -> None:
    with pytest.raises(TraceError, match="there is no episode 7"):
        compared(*TRACE).skip_to(7)


def test_a_trace_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"gone\.jsonl: there is no such trace"):
        TraceCheck(tmp_path / "gone.jsonl")
    with pytest.raises(TraceError, match="cannot be read"):
        TraceCheck(tmp_path)


# -- every difference


def test_an_episode_that_was_not_recorded(compared: Compared) -> None:
    """Each of its lines is missing; the next one is in its place again."""
    found = play(compared(HEAD, *EPISODES[0], *EPISODES[2], END, every=True), *EPISODES)
    assert [(one.episode, one.n, one.recorded) for one in found] == [
        (1, n, NO_LINE) for n in range(3)
    ]


def test_an_episode_that_the_run_does_not_have(compared: Compared) -> None:
    found = play(compared(*TRACE, every=True), *EPISODES[:2])
    assert {one.got for one in found[1:]} == {NO_LINE}
    assert (found[0].field, found[0].recorded, found[0].got) == ("episode", 2, None)


def test_a_shorter_and_a_longer_episode(compared: Compared) -> None:
    """Each is compared with its own record alone."""
    recorded = [HEAD, *visit(0, 2), *visit(1, 4), *EPISODES[2], END]
    found = play(compared(*recorded, every=True), *EPISODES)
    assert [(one.episode, one.n) for one in found] == [(0, 2), (1, 3)]


@pytest.mark.parametrize("number", range(1, len(TRACE)))
@pytest.mark.parametrize(
    "change",
    [
        lambda known: b"junk\n",
        lambda known: b"\n",
        lambda known: known.replace(b'"time":0', b'"time":1'),
        lambda known: known.replace(b'"episode":', b'"episode":1'),
        lambda known: known.replace(b'"episode":1', b'"episode":2'),
        lambda known: known.replace(b'"n":', b'"n":5'),
    ],
    ids=["junk", "empty", "field", "far episode", "next episode", "n"],
)
def test_one_altered_line_is_one_difference(
    number: int, change: Callable[[bytes], bytes], compared: Compared
) -> None:
    """Whatever became of it, and wherever it stands: what follows is in its place."""
    altered = change(TRACE[number])
    recorded = [*TRACE[:number], altered, *TRACE[number + 1 :]]
    found = play(compared(*recorded, every=True), *EPISODES)
    assert [one.number for one in found] == [number + 1] * (altered != TRACE[number])
