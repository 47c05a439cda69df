"""A trace that was altered anywhere is found out, with the place and the field."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatReply, ChatRequest
from engine.errors import BillpError, CallFailedError, DataError, TraceError
from engine.messages import Message
from sim.config.layers import configured
from sim.runs.replay import replay
from sim.runs.run import run

Line = dict[str, Any]
Path_ = tuple[str | int, ...]


class Failing:
    """The embedded model, that fails one call of each role for good."""

    def __init__(self) -> None:
        self.model = EmbeddedModel()

    async def reply(self, request: ChatRequest) -> ChatReply:
        call = request.call
        if call.episode == 1 and call.step == 1 and call.role == "actor":
            raise CallFailedError("withheld", kind="content_filter")
        return await self.model.reply(request)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that holds every type of message."""
    out = tmp_path_factory.mktemp("recorded") / "run"
    small = {"episodes": 4, "arrivals": "batches:2", "limit": 4, "prompts": False}
    run(configured(small), model=Failing(), out=out)
    return out


@pytest.fixture(scope="module")
def lines(recorded: Path) -> list[bytes]:
    return (recorded / "trace.jsonl").read_bytes().splitlines(keepends=True)


Altered = Callable[[list[bytes]], Path]


@pytest.fixture(scope="module")
def altered(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Altered:
    """Return a function that gives a copy of the run another trace."""
    copy = tmp_path_factory.mktemp("altered") / "run"
    shutil.copytree(recorded, copy)

    def alter(lines: list[bytes]) -> Path:
        (copy / "trace.jsonl").write_bytes(b"".join(lines))
        return copy

    return alter


def places(value: Any, above: Path_ = ()) -> Iterator[Path_]:
    """Yield where the leaves of *value* are."""
    if isinstance(value, dict) and value:
        for name, one in value.items():
            yield from places(one, (*above, name))
    elif isinstance(value, list) and value:
        for number, one in enumerate(value):
            yield from places(one, (*above, number))
    else:
        yield above


def another(value: Any) -> Any:
    """Return a value of the same kind that is not *value*."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value + 0.5
        case str():
            return f"{value}!"
        case list():
            return [1]
    return 1


def with_leaf(line: bytes, place: Path_, value: Any) -> bytes:
    whole = json.loads(line)
    inner = whole
    for part in place[:-1]:
        inner = inner[part]
    inner[place[-1]] = value
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def leaf(line: bytes, place: Path_) -> Any:
    value = json.loads(line)
    for part in place:
        value = value[part]
    return value


def test_the_run_holds_every_type(lines: list[bytes]) -> None:
    """What is not there would not be tested."""
    assert {json.loads(line)["message"]["type"] for line in lines} == {
        kind.__name__ for kind in get_args(Message)
    }


def test_json_is_written_back_as_it_was(lines: list[bytes]) -> None:
    """The alterations below change one leaf and nothing else."""
    for line in lines:
        place = next(places(json.loads(line)))
        assert with_leaf(line, place, leaf(line, place)) == line


@given(data=st.data())
@settings(max_examples=120, deadline=None)
def test_any_altered_field_is_named(
    data: st.DataObject, lines: list[bytes], altered: Altered
) -> None:
    """Episode, n and field of what was altered, whichever it was.

    A head that cannot be read, or that is of another environment, is refused before anything runs.
    """
    kinds = [kind.__name__ for kind in get_args(Message)]
    kind = data.draw(st.sampled_from(kinds)).encode()
    having = [n for n, line in enumerate(lines) if b'"message":{"type":"%s"' % kind in line]
    number = data.draw(st.sampled_from(having))
    line = lines[number]
    place = data.draw(st.sampled_from(list(places(json.loads(line)))))
    changed = with_leaf(line, place, another(leaf(line, place)))
    run = altered([*lines[:number], changed, *lines[number + 1 :]])
    name = ".".join(str(part) for part in place).removeprefix("message.")
    if number == 0 and name in {"type", "schema", "environment"}:
        with pytest.raises((TraceError, DataError), match=name):
            replay(run)
        return
    difference = replay(run).differences[0]
    original = json.loads(line)
    assert (difference.number, difference.field) == (number + 1, name)
    assert (difference.episode, difference.n) == (original["episode"], original["n"])
    assert difference.got == leaf(line, place)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_lines_are_where_they_were(
    data: st.DataObject, lines: list[bytes], altered: Altered
) -> None:
    """Removed, repeated and swapped lines are found at the first line that is not in its place."""
    number = data.draw(st.integers(1, len(lines) - 2))
    other = data.draw(st.integers(1, len(lines) - 2).filter(lambda n: n != number))
    swapped = list(lines)
    swapped[number], swapped[other] = lines[other], lines[number]
    changed = data.draw(
        st.sampled_from(
            [
                [*lines[:number], *lines[number + 1 :]],
                [*lines[: number + 1], *lines[number:]],
                swapped,
            ]
        )
    )
    first = next(n for n, pair in enumerate(zip(lines, changed, strict=False)) if len({*pair}) > 1)
    assert replay(altered(changed)).differences[0].number == first + 1


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line.replace(b'":', b'": ', 1),
        lambda line: line.replace(b'"n":', b'"extra":1,"n":', 1),
        lambda line: line.replace(b'"step":0', b'"step":0.0', 1),
        lambda line: line.replace(b'"step":0', b'"step":00', 1),
        lambda line: b"no envelope\n",
        lambda line: b"\xff\xfe\n",
        lambda line: b"\n",
    ],
    ids=["white space", "added", "float", "zeros", "junk", "no text", "empty"],
)
def test_bytes_are_compared(
    change: Callable[[bytes], bytes], lines: list[bytes], altered: Altered
) -> None:
    """Lines that mean the same, or nothing, are not the same lines."""
    number = next(n for n, line in enumerate(lines) if b'"PlanRequested","step":0' in line)
    changed = [*lines[:number], change(lines[number]), *lines[number + 1 :]]
    difference = replay(altered(changed)).differences[0]
    assert difference.number == number + 1


@given(cut=st.integers(1, 400))
@settings(max_examples=25, deadline=None)
def test_a_finished_run_has_its_whole_trace(cut: int, lines: list[bytes], altered: Altered) -> None:
    """Cut anywhere near its end, it is not taken for a run that goes on."""
    whole = b"".join(lines)
    with pytest.raises(TraceError, match="ends early"):
        replay(altered([whole[:-cut]]))


def test_what_follows_the_end_is_found(lines: list[bytes], altered: Altered) -> None:
    assert replay(altered([*lines, lines[-1]])).differences[0].number == len(lines) + 1


def test_every_difference_is_listed(lines: list[bytes], altered: Altered) -> None:
    """One alteration leads to no others: the run is made anew, and not from its trace."""
    numbers = [n for n, line in enumerate(lines) if b'"UserResponded"' in line][:3]
    changed = list(lines)
    for number in numbers:
        changed[number] = with_leaf(lines[number], ("message", "reward"), 9.5)
    run = altered(changed)
    assert [d.number - 1 for d in replay(run, every=True).differences] == numbers
    assert len(replay(run).differences) == 1


def test_an_altered_reply_is_found(recorded: Path, tmp_path: Path) -> None:
    """Also in the journal: there a line that was changed does not agree with its checksum."""
    copy = tmp_path / "run"
    shutil.copytree(recorded, copy)
    journal = copy / "calls.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b"Take from", b"Take form", 1))
    with pytest.raises(BillpError, match=r"calls\.jsonl:\d+: .*checksum"):
        replay(copy)
