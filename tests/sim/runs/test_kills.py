"""SIGKILL: wherever it strikes, a resumed run ends as if nothing had happened, and pays once."""

import random
from collections import Counter
from pathlib import Path

import pytest

from sim.runs.resume import resume
from storage.journal import read_journal
from storage.prompt_texts import read_prompts
from storage.runs import RunDirectory
from tests.support.dying import (
    CONCURRENCY,
    Death,
    Noted,
    Undisturbed,
    begin,
    check_same,
    deaths,
    go_on,
    journaled,
    undisturbed,
)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return undisturbed(tmp_path_factory.mktemp("plain") / "run")


@pytest.fixture
def model(tmp_path: Path) -> Noted:
    return Noted(tmp_path / "asked")


def check_survives(death: Death, plain: Undisturbed, place: Path) -> None:
    """Assert that a run killed at *death* comes to the end of *plain*, and asks what it must."""
    place.mkdir(exist_ok=True)
    killed, healthy = Noted(place / "first"), Noted(place / "second")
    directory = begin(place / "run", killed, death)
    known = journaled(directory)
    resume(directory.path, model=healthy)
    check_same(directory, plain)
    assert Counter(healthy.asked) == Counter(plain.calls.keys() - known)
    assert len(set(killed.asked)) == len(killed.asked) <= len(known) + CONCURRENCY


@pytest.mark.parametrize("seed", range(25))
def test_a_killed_run_ends_as_if_undisturbed(seed: int, plain: Undisturbed, tmp_path: Path) -> None:
    """Same digest, memories and summary; no journaled call is made again."""
    check_survives(random.Random(seed).choice(deaths(plain)), plain, tmp_path)


@pytest.mark.slow
def test_no_instant_is_a_bad_one(plain: Undisturbed, tmp_path: Path) -> None:
    """The same at every write, before it, in the middle of it and after it."""
    for number, death in enumerate(deaths(plain)):
        check_survives(death, plain, tmp_path / str(number))


@pytest.mark.parametrize(
    "death",
    [
        Death("run.toml", part=1.0),
        Death("trace.jsonl"),
        Death("trace.jsonl", part=0.5),
        Death("trace.jsonl", part=1.0),
        Death("trace.jsonl", 6, part=1.0),
        Death("memory"),
        Death("memory", 2),
        Death("summary.json"),
    ],
    ids=lambda death: f"{death.file}-{death.count}-{death.part}",
)
def test_beginning_and_end_are_no_exception(
    death: Death, plain: Undisturbed, tmp_path: Path
) -> None:
    """Before the journal is made, around the head, and between RunEnded and the summary."""
    check_survives(death, plain, tmp_path)


@pytest.mark.parametrize("seed", range(4))
def test_a_run_may_be_killed_again_and_again(
    seed: int, plain: Undisturbed, model: Noted, tmp_path: Path
) -> None:
    """While it replays and while it is live; each call is lost once at most for each death."""
    chance = random.Random(seed)
    directory = begin(tmp_path / "run", model, Death("calls.jsonl", chance.randint(5, 12), 0.5))
    go_on(directory, model, Death("replay", chance.randint(1, 4)))
    go_on(directory, model, Death("calls.jsonl", chance.randint(1, 4), chance.choice([0.5, 1.0])))
    go_on(directory, model, Death("trace.jsonl", 1, chance.choice([0.0, 0.5, 1.0])))
    known = journaled(directory)
    last = Noted(tmp_path / "last")
    resume(directory.path, model=last)
    check_same(directory, plain)
    assert Counter(last.asked) == Counter(plain.calls.keys() - known)
    assert len(model.asked) <= len(known) + 4 * CONCURRENCY


def test_a_death_in_the_replay_costs_nothing(
    plain: Undisturbed, model: Noted, tmp_path: Path
) -> None:
    """Journal and trace are what they were, a torn last line aside."""
    directory = begin(tmp_path / "run", model, Death("calls.jsonl", 20, 1.0))
    before = directory.journal.read_bytes(), directory.trace.read_bytes()
    go_on(directory, model, Death("replay", 3))
    assert (directory.journal.read_bytes(), directory.trace.read_bytes()) == before


@pytest.mark.parametrize("fsync", ["none", "interval", "call"])
def test_every_durability_survives_a_kill(fsync: str, tmp_path: Path, model: Noted) -> None:
    """What is forced to the disk matters to a crash of the machine only."""
    plain = undisturbed(tmp_path / "plain", fsync=fsync)
    directory = begin(tmp_path / "run", model, Death("calls.jsonl", 15, 0.5), fsync=fsync)
    resume(directory.path, model=model)
    check_same(directory, plain)


def texts(directory: RunDirectory) -> Counter[str]:
    return Counter(text.request for text in read_prompts(directory.prompts))


def test_prompts_are_kept_once(plain: Undisturbed, model: Noted, tmp_path: Path) -> None:
    """Prompts that a crash took are missing; all those of the calls made since are there."""
    directory = begin(tmp_path / "run", model, Death("calls.jsonl", 20, 0.5))
    lost = {ended.request for ended in read_journal(directory.journal).values()}
    resume(directory.path, model=model)
    assert texts(directory) == Counter(set(plain.calls.values()) - lost)


def test_prompts_are_there_before_the_summary(
    plain: Undisturbed, model: Noted, tmp_path: Path
) -> None:
    """Who dies when all is asked loses none."""
    directory = begin(tmp_path / "run", model, Death("summary.json"))
    resume(directory.path, model=model)
    assert texts(directory) == Counter(plain.calls.values())
