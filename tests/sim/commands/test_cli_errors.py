"""Bad input: one sentence with the place, a hint, exit status 2, and nothing left behind."""

import shutil
import socket
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.models.serving.server import Behaviour
from engine.errors import ConfigError
from sim.cli import main
from storage.datasets import Recipe, build_environment, save
from storage.environments import Origin, assemble
from tests.support.shell import Shell, serving, tree

HEADER = "user,item,rating\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-a-test")
    return tmp_path


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


Refusal = Callable[..., tuple[str, str]]


@pytest.fixture
def refusal(here: Path, shell: Shell) -> Refusal:
    """Give a function for commands that are to be refused and leave everything as it was."""

    def refused(*arguments: str | Path) -> tuple[str, str]:
        before = tree(here)
        said = shell.refusal(*arguments)
        assert tree(here) == before
        return said

    return refused


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small environment, all of whose users are there to learn from."""
    directory = tmp_path_factory.mktemp("built")
    table = directory / "table.csv"
    rows = [f"u{user},i{item},{1 + user * item % 5}\n" for user in range(9) for item in range(7)]
    table.write_text(HEADER + "".join(rows))
    made = build_environment("csv", table, Recipe(dimensions=2), name="world")
    origin = Origin(**{name: getattr(made.head, name) for name in Origin.__struct_fields__})
    users = replace(made.users, test=np.zeros_like(made.users.test))
    save(
        assemble(origin, catalog=made.catalog, factors=made.factors, users=users),
        directory / "world",
    )
    return directory / "world"


@pytest.fixture
def world(built: Path, here: Path) -> Path:
    """Give a copy to spoil."""
    return Path(shutil.copytree(built, here / "world").name)


# -- environments


@pytest.mark.parametrize("command", [("run",), ("env", "info")])
def test_a_missing_environment(refusal: Refusal, command: tuple[str, ...]) -> None:
    sentence, hint = refusal(*command, "nowhere")
    assert sentence == "nowhere: is not an environment: no environment.toml"
    assert "billp env build" in hint


def test_a_malformed_environment(refusal: Refusal, world: Path) -> None:
    (world / "environment.toml").write_text("[environment\n")
    sentence, hint = refusal("run", world)
    assert sentence.startswith("world/environment.toml: ")
    assert "billp env build" in hint


def test_an_environment_that_was_changed(refusal: Refusal, world: Path) -> None:
    """Its digest is checked before a run begins."""
    popularity = np.load(world / "popularity.npy")
    np.save(world / "popularity.npy", popularity + 1)
    sentence, hint = refusal("run", world)
    assert sentence.startswith("world: expected the digest ")
    assert "build it again" in hint


def test_a_user_without_a_history(refusal: Refusal, world: Path) -> None:
    """Named as the source called them."""
    offsets = np.load(world / "offsets.npy")
    offsets[3] = offsets[2]
    np.save(world / "offsets.npy", offsets)
    sentence, hint = refusal("run", world)
    assert sentence == "world/offsets.npy: user 'u2' is without a history"
    assert "billp env build" in hint


def test_a_catalog_too_small_for_the_limit(refusal: Refusal, world: Path) -> None:
    """Where items are never repeated an episode cannot be longer than the catalog."""
    sentence, hint = refusal("run", world)
    assert sentence == "50 steps without repeats need as many items, there are 7"
    assert hint == "--set limit=7, or --repeats allow"


def test_an_environment_without_the_users_asked_for(refusal: Refusal, world: Path) -> None:
    sentence, hint = refusal("run", world, "--set", "users=test", "--set", "limit=7")
    assert sentence == "the environment has no test users"
    assert "--test-share" in hint


# -- sources of environments


def test_an_unknown_format(refusal: Refusal) -> None:
    sentence, hint = refusal("env", "build", "movie-lens", "source", "--out", "world")
    assert sentence == "there is no format 'movie-lens'"
    assert hint.startswith("did you mean movielens?")


@pytest.mark.parametrize(
    ("table", "sentence", "hint"),
    [
        ("user,thing\nu1,i1\n", "table.csv: has no column 'item' for the item", "--item"),
        (HEADER + "u1,i1,many\n", "table.csv:2: ", "the line"),
        (HEADER + "u1,i1,80\n", "table.csv:2: expected a rating from 0 to 5", "1–5"),
        (HEADER, "table.csv: holds no interactions", "source"),
        ("", "table.csv: ", "source"),
    ],
)
def test_a_table_that_cannot_be_used(
    refusal: Refusal, table: str, sentence: str, hint: str
) -> None:
    """A lacking column, ratings that are none, nothing at all: each with its place."""
    Path("table.csv").write_text(table)
    said = refusal("env", "build", "csv", "table.csv", "--out", "world")
    assert said[0].startswith(sentence)
    assert hint in said[1]


def test_a_rating_off_the_scale_in_movielens(refusal: Refusal) -> None:
    """It is the same sentence for every format with ratings."""
    Path("source").mkdir()
    Path("source/movies.csv").write_text("movieId,title,genres\n1,Heat,Crime\n")
    Path("source/ratings.csv").write_text("userId,movieId,rating,timestamp\n1,1,10,0\n")
    sentence, hint = refusal("env", "build", "movielens", "source", "--out", "world")
    assert sentence.startswith("source/ratings.csv:2: expected a rating from 0 to 5")
    assert "1–5" in hint


def test_a_missing_source(refusal: Refusal) -> None:
    sentence, hint = refusal("env", "build", "csv", "nowhere.csv", "--out", "world")
    assert sentence == "nowhere.csv: no such file"
    assert "path" in hint


# -- models


@pytest.mark.parametrize(
    ("name", "meant"), [("gpt-4o-mini", "openai/gpt-4o-mini"), ("embeded", "embedded")]
)
def test_an_unknown_model(refusal: Refusal, name: str, meant: str) -> None:
    sentence, hint = refusal("run", "--model", name)
    assert sentence == f"there is no model {name!r}"
    assert hint.startswith(f"did you mean {meant}?")


def test_an_unknown_model_of_one_role(refusal: Refusal) -> None:
    sentence, _ = refusal("run", "--set", "critic.model=gpt-4o-mini")
    assert sentence == "there is no model 'gpt-4o-mini'"


def test_a_model_that_the_service_does_not_have(refusal: Refusal) -> None:
    """Asked for before the run begins; the hint names what there is."""
    with serving() as url:
        sentence, hint = refusal("run", "--model", "openai/other", "--base-url", url)
    assert sentence == f"{url} has no model 'other'"
    assert "embedded" in hint


def test_a_base_url_that_refuses(refusal: Refusal) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))  # without listening: nobody else can listen there either
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        sentence, hint = refusal("run", "--model", "openai/any", "--base-url", url)
    assert sentence.startswith(f"{url} cannot be reached: ")
    assert "--base-url" in hint


def test_a_base_url_that_is_none(refusal: Refusal) -> None:
    sentence, hint = refusal("run", "--model", "openai/any", "--base-url", "localhost:8000")
    assert "'localhost:8000'" in sentence
    assert "http://" in hint


def test_a_key_that_is_missing(refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    sentence, hint = refusal("run", "--model", "openai/any")
    assert sentence == "no key in the environment variable OPENAI_API_KEY"
    assert hint == "export OPENAI_API_KEY=…"


def test_a_key_that_the_service_refuses(refusal: Refusal) -> None:
    """Nothing that is said shows the key."""
    with serving(behaviour=Behaviour(key="sk-another")) as url:
        sentence, hint = refusal("run", "--model", "openai/embedded", "--base-url", url)
    assert sentence == f"{url} refuses the key with 401"
    assert "OPENAI_API_KEY" in hint
    assert "sk-of-a-test" not in sentence + hint


# -- settings


@pytest.mark.parametrize(
    ("wrong", "named", "meant"),
    [
        ("episode=3", "episode", "episodes"),
        ("planer.recall_count=3", "planer", "planner"),
        ("planner.recal_count=3", "planner.recal_count", "planner.recall_count"),
    ],
)
def test_a_setting_that_does_not_exist(
    refusal: Refusal, wrong: str, named: str, meant: str
) -> None:
    """The nearest is suggested, on the command line and in a file alike."""
    Path("mine.toml").write_text(wrong)
    expected = (f"there is no setting {named!r}", f"did you mean {meant}?")
    assert refusal("run", "--set", wrong) == expected
    assert refusal("run", "--config", "mine.toml") == expected


def test_an_agent_that_does_not_exist(refusal: Refusal) -> None:
    expected = ("there is no agent 'bilp'", "did you mean billp?")
    assert refusal("run", "--agent", "bilp") == expected


def test_arrivals_that_do_not_exist(refusal: Refusal) -> None:
    sentence, hint = refusal("run", "--arrivals", "poison:3")
    assert sentence == "arrivals cannot be 'poison:3'"
    assert "poisson:RATE" in hint


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("repeats=maybe", "repeats: "),
        ("episodes=many", "episodes: "),
        ("quit.window=-1", "quit.window: "),
        ("planner=3", "'planner' is a table of settings, got 3"),
        ("episodes=0", "episodes: expected int >= 1, got 0"),
        ("dwell=[9, 3]", "dwell must be two durations"),
        ("rewards.offset=inf", "rewards.offset must be a finite number, got inf"),
        ("seed", "expected key=value, got 'seed'"),
    ],
)
def test_a_value_that_cannot_be_used(refusal: Refusal, wrong: str, sentence: str) -> None:
    """The setting is named."""
    assert refusal("run", "--set", wrong)[0].startswith(sentence)


@pytest.mark.parametrize("content", [None, "seed = ", "\0"])
def test_a_configuration_that_cannot_be_read(refusal: Refusal, content: str | None) -> None:
    """Missing or no TOML."""
    if content is not None:
        Path("mine.toml").write_text(content)
    assert refusal("run", "--config", "mine.toml")[0].startswith("mine.toml: ")


# -- where a run goes, and who listens


def test_another_run_is_never_overwritten(refusal: Refusal, shell: Shell) -> None:
    shell.fine("run", "--episodes", "2", "--agent", "random", "--quiet", "--out", "mine")
    sentence, hint = refusal("run", "--episodes", "2", "--agent", "random", "--out", "mine")
    assert sentence == "mine: the output directory holds another run"
    assert "another --out" in hint


def test_other_files_are_never_overwritten(refusal: Refusal, here: Path) -> None:
    Path("thesis").mkdir()
    Path("thesis/thesis.tex").write_text("…")
    for out in (here / "thesis", Path("thesis/thesis.tex")):
        assert refusal("run", "--out", out)[0] == f"{out}: the output directory is not empty"


def test_a_place_where_nothing_can_be_written(refusal: Refusal) -> None:
    """Such as below a file."""
    Path("file").write_text("")
    sentence, _ = refusal("run", "--out", "file/run")
    assert sentence == "file/run: cannot be made: Not a directory"


@pytest.mark.parametrize("name", ["nowhere_at_all:Class", "engine.messages:Missing", "Class"])
def test_a_listener_that_cannot_be_loaded(refusal: Refusal, name: str) -> None:
    assert repr(name) in refusal("run", "--listener", name)[0]


# -- how it is said


def test_debug_shows_where(capsys: pytest.CaptureFixture[str]) -> None:
    """For those who want to know: the error itself, with its traceback."""
    with pytest.raises(ConfigError, match="there is no agent 'bilp'"):
        main(["run", "--agent", "bilp", "--debug"])
    assert capsys.readouterr().out == ""


def test_brackets_are_said_as_they_are(refusal: Refusal) -> None:
    """What users wrote is never taken for markup."""
    assert refusal("run", "--agent", "[bold]x")[0] == "there is no agent '[bold]x'"
