import gzip
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from engine.errors import BillpError, ConfigError, DataError
from sim.commands.env import app
from sim.config.run import RunConfig
from sim.runs.run import run as run_episodes
from storage.datasets import load, save
from storage.datasets.draws import integers
from storage.environments import LeftOut, forced

COAT = Path(__file__).parents[4] / "shared" / "data" / "coat"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Forty users who like one half of twenty items, and have rated most of them."""
    pairs = [(user, item) for user in range(40) for item in range(20) if (user + item // 2) % 5]
    rows = [f"u{user},i{item},{2 + 3 * ((user + item) % 2)}" for user, item in pairs]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["user,item,stars", *rows]) + "\n")
    return path


STARS = ("--rating", "stars")


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None, result.exception
    return result


def failing(*arguments: str | Path) -> BillpError:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert isinstance(result.exception, BillpError)
    return result.exception


def test_build_writes_and_shows_the_environment(table: Path, tmp_path: Path) -> None:
    """The portrait has sizes, scale, errors beside biases, and the next command."""
    result = run("build", "csv", table, "--out", tmp_path / "world", "--rating", "stars")
    head = load(tmp_path / "world").head
    assert (head.name, head.rating_high) == ("world", 5.0)
    for text in ("40: 32 to learn from, 8 to test with", "2 to 5", "tuned biases", "billp run"):
        assert text in result.stdout


def test_options_reach_the_recipe(table: Path, tmp_path: Path) -> None:
    """What is asked for takes the place of what suits the format."""
    options = ["--seed", "3", "--dimensions", "2", "--beta-quantile", "0.2", "--test-share", "0.5"]
    options += ["--rating", "stars", "--truth-share", "0.6", "--sample", "2", "--force"]
    run("build", "csv", table, "--out", tmp_path / "world", "--name", "mine", *options)
    head = load(tmp_path / "world").head
    assert (head.name, head.seed, head.dimensions, head.beta_quantile) == ("mine", 3, 2, 0.2)
    assert head.test_users == 20
    told = head.provenance.options
    assert (told["truth_share"], told["sample"], told["factors"]) == (0.6, 2, "sampled")


def test_what_was_left_out_is_said(table: Path, tmp_path: Path) -> None:
    """Options and counts stand in the head and in the portrait, and so does what was recognised."""
    table.write_bytes(gzip.compress(table.read_bytes() + b"u0,i2,4\nu1,i1,9\n"))
    options = ["--rating", "stars", "--scale", "1:5", "--missing", "9", "--min-item", "9"]
    result = run("build", "csv", table, "--out", tmp_path / "world", *options)
    provenance = load(tmp_path / "world").head.provenance
    assert provenance.left_out == LeftOut(unrated=1, merged=1)
    assert (provenance.options["scale"], provenance.options["missing"]) == ("1:5", "9")
    for text in ("1 without a rating", "1 of a pair that is there again", "csv is gzip"):
        assert text in run("info", tmp_path / "world", "--no-judge").stdout == result.stdout


@pytest.fixture
def guesses(tmp_path: Path) -> Path:
    """Ratings that are drawn, so that nobody can know them."""
    drawn = zip(*(integers(0, name, 500, below).tolist() for name, below in DRAWN), strict=True)
    path = tmp_path / "guesses.csv"
    rows = [f"u{user},i{item},{1 + stars}" for user, item, stars in drawn]
    path.write_text("\n".join(["user,item,stars", *rows]) + "\n")
    return path


DRAWN = (("user", 40), ("item", 60), ("stars", 5))


def test_a_world_that_knows_nobody_is_refused(guesses: Path, tmp_path: Path) -> None:
    """The sentence has the figures; nothing is written, and what was there before stays."""
    out = tmp_path / "world"
    error = failing("build", "csv", guesses, *STARS, "--out", out)
    assert isinstance(error, DataError)
    assert re.search(r"held-out ratings no better .* RMSE \d\.\d+ against \d\.\d+ of", str(error))
    assert "--force" in error.hint
    assert not out.exists()


def test_a_forced_world_says_so(
    guesses: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In its head, in its portrait, and once before each run in it."""
    out = tmp_path / "world"
    shown = run("build", "csv", guesses, *STARS, "--out", out, "--force", "--beta-quantile", "0.9")
    (model, span) = load(out).head.provenance.forced
    assert "held-out ratings" in model
    assert "diverse-greedy gets" in span
    assert re.search(r"forced +the reward model predicts", shown.stdout)
    config = RunConfig(environment=str(out), agent="random", episodes=2)
    run_episodes(config, out=tmp_path / "run")
    said = capsys.readouterr()
    assert (said.out + said.err).count("this world was built by force") == 2


def test_a_reward_model_that_loses_to_the_mean_is_warned_of(guesses: Path, tmp_path: Path) -> None:
    """Also of a world that was built before anybody asked."""
    out, old = tmp_path / "world", tmp_path / "old"
    run("build", "csv", guesses, *STARS, "--out", out, "--force", "--beta-quantile", "0.9")
    save(forced(load(out), ()), old)
    shown = " ".join(run("info", old, "--no-judge").stdout.split())
    assert "Warning: the reward model predicts" in shown
    assert "Warning" not in run("info", out, "--no-judge").stdout


def test_calibration_writes_another_world(table: Path, tmp_path: Path) -> None:
    """With what was found, and the command that runs it; the environment it is of stays."""
    run("build", "csv", table, *STARS, "--out", tmp_path / "world")
    arguments: list[str | Path] = ["calibrate", tmp_path / "world"]
    for rule in ("limit=15", "quit_rule=billp", "rewards.satiation=[0,0]"):
        arguments += ["--set", rule]
    arguments += ["--out", tmp_path / "short"]
    shown = run(*arguments, "--bound-len", "10", "--random-len", "2.5").stdout
    assert re.search(r"the bound's Len +│ +10\.00 │ +\d+\.\d+ │ +(9\.[89]|10\.)", shown)
    assert "--set=quit.lowest=" in shown
    before, head = load(tmp_path / "world").head, load(tmp_path / "short").head
    assert (head.name, head.items) == ("short", before.items)
    assert head.beta_quantile > before.beta_quantile == 0.08
    facts = json.loads(run(*arguments, "--replace", "--bound-len", "10", "--json").stdout)
    assert facts["digest"] == load(tmp_path / "short").head.digest
    assert facts["calibration"]["wanted"] == {"bound_len": 10.0}


def test_what_was_forced_is_judged_again(table: Path, tmp_path: Path) -> None:
    """With another β nothing may speak against the world any more."""
    built: list[str | Path] = ["build", "csv", table, *STARS, "--beta-quantile", "0.95", "--force"]
    run(*built, "--out", tmp_path / "world")
    assert len(load(tmp_path / "world").head.provenance.forced) == 1
    run("calibrate", tmp_path / "world", "--bound-len", "15", "--out", tmp_path / "sound")
    assert load(tmp_path / "sound").head.provenance.forced == ()


def test_what_cannot_be_calibrated_is_said_before_work(table: Path, tmp_path: Path) -> None:
    """Nothing wanted, a directory that is taken, more than there can be: nothing is written."""
    out = tmp_path / "short"
    assert "nothing is wanted" in str(failing("calibrate", "nowhere", "--out", out))
    assert "is a file" in str(failing("calibrate", "nowhere", "--out", table))
    run("build", "csv", table, *STARS, "--out", tmp_path / "world")
    error = failing("calibrate", tmp_path / "world", "--out", out, "--bound-len", "99")
    assert "the bound's Len cannot be 99" in str(error)
    assert not out.exists()


def test_build_speaks_json(table: Path, tmp_path: Path) -> None:
    """One object on stdout, with all of the head."""
    result = run("build", "csv", table, "--out", tmp_path / "world", *STARS, "--json")
    facts = json.loads(result.stdout)
    assert facts["digest"] == load(tmp_path / "world").head.digest
    assert facts["environment"] == str(tmp_path / "world")
    models = {"global_mean", "tuned_biases", "model", "drawn"}
    assert set(facts["fit"]) == {"fitted", "held_out", *models}


def test_ratings_at_random_are_judged(tmp_path: Path) -> None:
    """Whoever has such ratings sees how well the world predicts them beside those that it is of."""
    if not COAT.exists():
        pytest.skip(f"needs {COAT}")
    portrait = run("build", "coat", COAT, "--out", tmp_path / "coat").stdout
    assert re.search(r"chosen, held out +│ +3,480 ", portrait)
    assert re.search(r"shown at random +│ +4,274 ", portrait)
    policies = re.findall(r"(?:random|greedy for what is told) +│ +(\S+) ± \S+ │ +(\S+) ", portrait)
    assert policies[0] < policies[1]
    assert re.search(r"Of \d pairs that people tell apart \(95 %\) ", portrait)
    unbiased = json.loads(run("info", tmp_path / "coat", "--json").stdout)["fit"]["unbiased"]
    assert abs(unbiased["chosen"]["bias"]) < 0.1 < unbiased["shown"]["bias"] < 0.5
    assert unbiased["shown"]["rmse"] < 1.2
    assert unbiased["shown"]["auc"] > 0.55


def test_synthetic_worlds_can_be_built(tmp_path: Path) -> None:
    """Another seed, another world; sources and recipes have no place there."""
    run("build", "synthetic", "--seed", "1", "--out", tmp_path / "one")
    assert (load(tmp_path / "one").head.name, load(tmp_path / "one").head.seed) == ("one", 1)
    for wrong in (["source"], ["--min-user", "3"], ["--no-header"]):
        assert "takes no source" in str(
            failing("build", "synthetic", *wrong, "--out", tmp_path / "two")
        )


def test_other_formats_need_a_source(tmp_path: Path) -> None:
    """What is left out is named."""
    assert "needs a source" in str(failing("build", "csv", "--out", tmp_path / "world"))


def test_info_shows_the_built_in_world() -> None:
    """The word synthetic stands for a directory."""
    assert "2,000 in 20 categories" in run("info", "synthetic", "--no-judge").stdout
    assert json.loads(run("info", "synthetic", "--no-judge", "--json").stdout)["items"] == 2_000


def test_info_judges_the_world(table: Path, tmp_path: Path) -> None:
    """However small; by settings of the user's own too. The bars that are not met are marked."""
    run("build", "csv", table, "--out", tmp_path / "world", "--rating", "stars")
    shown = run("info", tmp_path / "world").stdout
    for text in ("best fixed", "one sequence for all gets at most 60 %", "40 users: this world"):
        assert text in shown
    facts = json.loads(run("info", tmp_path / "world", "--json", "--set", "limit=3").stdout)
    assert facts["judgement"]["limit"] == 3
    error = failing("info", tmp_path / "world", "--set", "quit_rule=hazard")
    assert "a world is judged by" in str(error)


@pytest.mark.parametrize(
    "words", [("info", "synthetic:personal"), ("build", "synthetic:personal", "--out", "world")]
)
def test_a_world_of_old_is_told_by_its_name_of_now(words: tuple[str, ...]) -> None:
    """Whoever knew the worlds by other names learns both."""
    error = failing(*words)
    assert str(error) == "the world 'synthetic:personal' is the default now, and called 'synthetic'"
    assert error.hint == "what was called 'synthetic' is 'synthetic:plain'"


def test_list_shows_what_is_there(table: Path, tmp_path: Path) -> None:
    """Sound environments with their sizes, broken ones with the reason, the built-in ones."""
    run("build", "csv", table, "--out", tmp_path / "sound", *STARS)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "environment.toml").write_text("[")
    places = json.loads(run("list", tmp_path, "--json").stdout)["environments"]
    assert [place["environment"] for place in places] == [
        *("synthetic", "synthetic:plain"),
        str(tmp_path / "broken"),
        str(tmp_path / "sound"),
    ]
    assert "error" in places[2]
    assert "cannot be read" in run("list", tmp_path).stdout


def test_a_taken_directory_is_refused_before_work(table: Path, tmp_path: Path) -> None:
    """Nobody waits for a fit that cannot be kept; --replace says it is meant."""
    out = tmp_path / "world"
    run("build", "csv", table, "--out", out, *STARS)
    assert "--replace" in failing("build", "csv", tmp_path / "missing.csv", "--out", out).hint
    run("build", "csv", table, "--out", out, "--replace", "--name", "second", *STARS)
    assert load(out).head.name == "second"


def test_an_unknown_format_suggests_one(table: Path, tmp_path: Path) -> None:
    """The nearest name is offered."""
    error = failing("build", "cvs", table, "--out", tmp_path / "world")
    assert isinstance(error, ConfigError)
    assert "did you mean csv?" in error.hint


def test_bad_input_leaves_nothing_behind(table: Path, tmp_path: Path) -> None:
    """A wrong line ends the build with its place, and nothing is written."""
    with table.open("a") as file:
        file.write("u1,i99,many\n")
    error = failing("build", "csv", table, "--rating", "stars", "--out", tmp_path / "world")
    assert isinstance(error, DataError)
    assert str(error).startswith(f"{table}:642: ")
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]
