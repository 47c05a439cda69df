"""Whatever is altered in a finished run is found by `verify`, or it is stated that it is not."""

import os
import random
import tomllib
from collections.abc import Callable
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import msgspec
import pytest
from zstandard import ZstdCompressor, ZstdDecompressor

from agents.models.embedded import EmbeddedModel
from engine.errors import RunDirectoryError, ServiceError
from sim.config.layers import read_config
from sim.config.run import RunConfig, leaves_no_mark
from sim.config.stages import read_course
from sim.runs.resume import resume
from sim.verification.summary import OF_THE_PROCESS
from sim.verification.verify import Check, verify
from storage.journal import CallEnded, read_journal
from storage.origin import NAME as ORIGIN
from storage.prompt_texts import PromptText, PromptTexts, read_prompts
from storage.runs import RunDirectory
from tests.sim.verification.test_verify import Both
from tests.support.altering import Alteration, alter, make_again, tree
from tests.support.small import Counted, Failing, recorded

UNEXPLAINED = {"finish", "latency", "wait", "attempts", "said"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run with every file that a run can have."""
    out = tmp_path_factory.mktemp("whole") / "run"
    return recorded(out, Both(), embeddings="openai/small", episodes=4, prompts=True)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A like run, whose files are exchanged for those of the first."""
    out = tmp_path_factory.mktemp("other") / "run"
    return recorded(out, Both(), embeddings="openai/small", episodes=4, prompts=True, seed=8)


@pytest.fixture
def run(whole: RunDirectory, tmp_path: Path) -> RunDirectory:
    return RunDirectory(Path(copytree(whole.path, tmp_path / "run")))


def faults(run: RunDirectory) -> list[str]:
    """Return the checks that found something; a directory that is no run any more is found, too."""
    try:
        checks = verify(run.path)
    except RunDirectoryError:
        return ["open"]
    return [check.name for check in checks if check.fault]


def stated(alteration: Alteration) -> bool:
    """Tell whether an alteration is one of those that are stated, all checksums made again."""
    if alteration.kind == "add":
        return True  # a file more is listed like all others
    if alteration.name == ORIGIN:
        return True  # nothing explains it; whether it is there is said
    excuse = STATED.get(alteration.name)
    if excuse is None or alteration.name not in alteration.after:
        return False
    return excuse(*alteration.told(alteration.name))


def explained(journal: bytes) -> list[dict[str, Any]]:
    """Return the calls, in no order, without what nothing explains; an odd line as it is."""
    calls = []
    for line in journal.splitlines():
        try:
            call = msgspec.json.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            call = {"odd": repr(line)}
        calls.append({k: v for k, v in call.items() if k not in {*UNEXPLAINED, "check"}})
    return sorted(calls, key=repr)


def deciding(config: bytes) -> object:
    try:
        settings = read_course(tomllib.loads(config.decode()), proven=True).config
    except (ValueError, RunDirectoryError, LookupError):
        return object()
    return settings.deciding(), settings.named()


def reckoned(before: bytes, after: bytes) -> bool:
    """Tell whether two summaries differ in nothing that both tell and that can be reckoned."""
    try:
        one, two = msgspec.json.decode(before, type=dict), msgspec.json.decode(after, type=dict)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return {*two} <= {*one} and all(
        msgspec.json.encode(one[name]) == msgspec.json.encode(two[name])
        for name in two
        if name not in {*OF_THE_PROCESS, "digest"}
    )


STATED: dict[str, Callable[[bytes, bytes], bool]] = {
    # What was made of replies is for `billp replay`.
    "trace.jsonl": lambda before, after: after.endswith(b"}\n"),
    "embeddings/vectors.jsonl": lambda before, after: True,  # of what text each is
    **{f"memory/{name}.npy": lambda before, after: True for name in ("planner", "actor", "critic")},
    "calls.jsonl": lambda before, after: explained(before) == explained(after),
    "run.toml": lambda before, after: deciding(before) == deciding(after),
    "summary.json": reckoned,
}
"""What may be altered unseen, by file: as the checks say."""


# -- by chance


def check_found(whole: RunDirectory, other: RunDirectory, place: Path, numbers: range) -> None:
    """Assert that each of some alterations is found by the manifest or by any other check."""
    for number in numbers:
        run = RunDirectory(Path(copytree(whole.path, place / "run")))
        alteration = alter(run, other, random.Random(number))
        assert faults(run), f"{number}: {alteration.kind} in {alteration.name}"
        rmtree(run.path)


def test_whatever_is_altered_is_found(
    whole: RunDirectory, other: RunDirectory, tmp_path: Path
) -> None:
    """Bits, lines, numbers, files: lost, doubled, exchanged, renamed, added."""
    check_found(whole, other, tmp_path, range(40))


@pytest.mark.slow
def test_two_hundred_alterations_are_found(
    whole: RunDirectory, other: RunDirectory, tmp_path: Path
) -> None:
    check_found(whole, other, tmp_path, range(1_000, 1_200))


@pytest.mark.parametrize(
    "numbers", [range(25), pytest.param(range(1_000, 1_200), marks=pytest.mark.slow)]
)
def test_who_makes_all_checksums_again_is_found_or_it_is_stated(
    numbers: range, whole: RunDirectory, other: RunDirectory, tmp_path: Path
) -> None:
    """Files explain each other, but for what the checks say that nothing explains."""
    for number in numbers:
        run = RunDirectory(Path(copytree(whole.path, tmp_path / "run")))
        alteration = alter(run, other, random.Random(number), skip="manifest.json")
        make_again(run)
        undone = tree(run.path) == alteration.before  # it was a checksum
        where = f"{number}: {alteration.kind} in {alteration.name}"
        assert faults(run) or undone or stated(alteration), where
        rmtree(run.path)


def test_when_a_file_was_touched_does_not_count(run: RunDirectory) -> None:
    for path in run.path.rglob("*"):
        os.utime(path, (0, 0))
    assert not faults(run)


# -- one after the other, all checksums made again


def test_every_number_of_a_summary_is_reckoned_again(run: RunDirectory) -> None:
    """But for what is said to be the process's own, and listeners' results."""
    summary = run.read_summary()
    unseen = set()
    for name, value in summary.items():
        run.write_summary({**summary, name: altered(value)})
        make_again(run)
        if name != "digest" and not faults(run):
            unseen.add(name)
    assert unseen == {*OF_THE_PROCESS}
    assert unseen == {*check(run, "summary").unexplained}


def altered(value: Any) -> Any:
    match value:
        case bool() | None:
            return 7
        case int() | float():
            return value + 1
        case str():
            return value + "x"
        case list():
            return value[1:] or [1]
        case dict():
            return {**value, "more": 1}
    raise TypeError(value)


def check(run: RunDirectory, name: str) -> Check:
    return next(check for check in verify(run.path) if check.name == name)


def test_every_setting_that_decides_is_compared_with_the_trace(run: RunDirectory) -> None:
    """The others leave no mark, and it is said that nobody can know them."""
    for name, value in flat(read_config(run.config)):
        settings = run.read_config()
        inner, *outer = reversed(name.split("."))
        place: dict[str, Any] = settings
        for part in reversed(outer):
            place = place[part]
        place[inner] = other_setting(value)
        before = run.config.read_bytes()
        run.write_config(settings)
        make_again(run)
        assert faults(run) or leaves_no_mark(name, RunConfig().roles), name
        run.config.write_bytes(before)


def flat(settings: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in settings.items():
        if isinstance(value, dict):
            found += flat(value, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", value))
    return found


def other_setting(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case list():
            return [part + 1 for part in value] or ["any"]
        case _:
            return f"{value}x"


def journal_lines(run: RunDirectory) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in run.journal.read_bytes().splitlines()]


def write_journal(run: RunDirectory, calls: list[dict[str, Any]]) -> None:
    run.journal.write_bytes(b"".join(msgspec.json.encode(call) + b"\n" for call in calls))


def test_every_field_of_a_call_is_explained_or_said_not_to_be(run: RunDirectory) -> None:
    """The trace tells what was asked and said, and nobody how long it took."""
    calls = journal_lines(run)
    unseen = set()
    for name in CallEnded.__struct_fields__:
        otherwise = 0 if name.endswith("tokens") else ""
        changed = {**calls[3], name: altered(calls[3].get(name, otherwise))}
        changed["check"] = changed.pop("check")  # which stands last
        write_journal(run, [*calls[:3], changed, *calls[4:]])
        make_again(run)
        if not faults(run):
            unseen.add(name)
    assert unseen == UNEXPLAINED
    write_journal(run, calls)
    make_again(run)
    assert {*check(run, "journal").unexplained} == {*UNEXPLAINED, "attempts that failed"}


def test_a_call_more_or_twice_is_found(run: RunDirectory) -> None:
    calls = journal_lines(run)
    for more in ({**calls[3], "step": 99}, calls[3]):
        write_journal(run, [*calls, more])
        make_again(run)
        assert faults(run)


Texts = Callable[[list[PromptText]], list[PromptText]]

TEXTS: dict[str, Texts] = {
    "one is lost": lambda texts: [*texts[:5], *texts[6:]],
    "all are": lambda texts: [],
    "one is other": lambda texts: [*texts[:-1], msgspec.structs.replace(texts[-1], text="Hm?")],
    "another system": lambda texts: [msgspec.structs.replace(texts[0], system=""), *texts[1:]],
    "a schema": lambda texts: [msgspec.structs.replace(texts[0], schema="{}"), *texts[1:]],
    "one more": lambda texts: [*texts, msgspec.structs.replace(texts[0], request="0" * 24)],
    "two are exchanged": lambda texts: [
        msgspec.structs.replace(texts[0], text=texts[1].text),
        msgspec.structs.replace(texts[1], text=texts[0].text),
        *texts[2:],
    ],
}


@pytest.mark.parametrize("change", TEXTS)
def test_texts_are_those_of_the_requests(change: str, run: RunDirectory) -> None:
    """Their digests are in the journal and in the trace."""
    texts = TEXTS[change](list(read_prompts(run.prompts)))
    lines = b"".join(msgspec.json.encode(text) + b"\n" for text in texts)
    run.prompts.write_bytes(ZstdCompressor().compress(lines))
    make_again(run)
    assert faults(run) == ["prompts"]


def test_a_file_of_texts_can_be_written_anew(run: RunDirectory) -> None:
    """Frames are nobody's business."""
    with run.prompts.open("rb") as file:
        lines = ZstdDecompressor().stream_reader(file, read_across_frames=True).read()
    run.prompts.write_bytes(ZstdCompressor(level=9).compress(lines))
    make_again(run)
    assert not faults(run)


def test_records_are_those_that_the_trace_tells(run: RunDirectory) -> None:
    """Whose they are, and what they say; a lesson that was put in would be recalled."""
    for path in sorted(run.memory.glob("*.jsonl")):
        before = path.read_bytes()
        first, *rest = before.splitlines(keepends=True)
        says = msgspec.json.decode(first)
        payload = {name: altered(value) for name, value in says["payload"].items()}
        for changed in ({**says, "episode": 77}, {**says, "payload": payload}):
            path.write_bytes(b"".join([msgspec.json.encode(changed) + b"\n", *rest]))
            make_again(run)
            assert faults(run) == ["memory"]
        path.write_bytes(before)


def test_a_whole_run_of_another_seed_is_another_run(run: RunDirectory, other: RunDirectory) -> None:
    """Nothing in the directory can tell: that is what the two digests are for."""
    rmtree(run.path)
    copytree(other.path, run.path)
    assert not faults(run)


# -- prompts of runs that did not go straight


def test_texts_may_lack_only_where_a_process_ended(run: RunDirectory) -> None:
    """One that is killed loses what it had not written; its successor leaves a mark."""
    texts = list(read_prompts(run.prompts))
    for resumed in (True, False):
        run.prompts.unlink()
        for process, part in enumerate((texts[:20], texts[30:])):
            file = PromptTexts(run.prompts, resumed=resumed and process > 0)
            for text in part:
                file.add(text)
            file.close()
        make_again(run)
        assert faults(run) == ([] if resumed else ["prompts"])


def test_a_run_that_was_stopped_or_retried_has_all_its_texts(tmp_path: Path) -> None:
    """Those of each process: who stops writes what there is."""
    run = RunDirectory(tmp_path / "run")
    with pytest.raises(ServiceError):
        recorded(run.path, Counted(40), prompts=True)
    resume(run.path, model=Failing())
    resume(run.path, retry_failed=True, model=EmbeddedModel())
    assert not faults(run)
    ends = {ended.request for ended in read_journal(run.journal).every()}
    assert {text.request for text in read_prompts(run.prompts)} == ends
