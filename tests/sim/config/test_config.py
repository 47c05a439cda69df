"""The configuration: layers, names, bounds, and what of it decides a run."""

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.settings import (
    ActorSettings,
    BillpSettings,
    CriticSettings,
    PlannerSettings,
    ReflectorSettings,
)
from engine.errors import ConfigError
from sim.config.layers import configured, merged, parse_set, read_config
from sim.config.run import AT_ONCE, RunConfig
from sim.world.quitting.quantile import QuantileSettings
from storage.runs import RunDirectory
from tests.support.drawn import TEXTS

OPERATIONAL = {
    "api",
    "attempts",
    "azure_version",
    "base_url",
    "batch_poll",
    "batch_size",
    "batch_wait",
    "cache",
    "certificate",
    "cluster",
    "concurrency",
    "embedding_tier",
    "fsync",
    "key_file",
    "local",
    "max_calls",
    "max_cost",
    "max_tokens_total",
    "metrics",
    "patience",
    "prices",
    "prompts",
    "requests_per_minute",
    "running",
    "service",
    "share_limits",
    "tokens_per_minute",
    "unreleased",
    "workers",
}
NAMED = {"environment", "agent", "model", "seed"}

counts = st.integers(1, 10**9)
durations = st.floats(0, 1e9)
ordered = st.tuples(durations, durations).map(lambda pair: (min(pair), max(pair)))
drawn = {"model": TEXTS, "temperature": st.floats(0, 2), "max_tokens": counts}
recalling = drawn | {"recall_count": counts, "within": st.floats(0, 2)}
configs = st.builds(
    RunConfig,
    environment=TEXTS,
    model=TEXTS,
    seed=st.integers(-(2**63), 2**63 - 1),
    episodes=st.integers(1, 10_000),
    users=st.sampled_from(["train", "test", "all"]),
    arrivals=st.sampled_from(["all", "poisson:2.5"]),
    publication_delay=durations,
    sessions=st.integers(1, 1_000),
    return_gap=ordered,
    repeats=st.sampled_from(["forbid", "avoid", "allow"]),
    dwell=ordered,
    embeddings=st.sampled_from(["hashing", "openai/some"]),
    quit=st.builds(QuantileSettings, window=counts, quantile=st.floats(0, 1), tolerance=ordered),
    agent_settings=st.builds(
        BillpSettings,
        planner=st.builds(PlannerSettings, **recalling, prompt_tokens=counts),
        actor=st.builds(ActorSettings, **recalling, candidates=st.integers(0, 10_000)),
        critic=st.builds(
            CriticSettings, **recalling, discount=st.floats(0, 1), reward_in_advantage=st.booleans()
        ),
        reflector=st.builds(ReflectorSettings, **drawn, prompt_tokens=counts),
    ),
    base_url=st.sampled_from(["", "http://localhost:1/v1"]),
    key_file=TEXTS,
    patience=st.floats(0.001, 1e9),
    fsync=st.sampled_from(["none", "interval", "call"]),
    prompts=st.booleans(),
)


def failing(settings: dict[str, Any]) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        configured(settings)
    assert "\n" not in str(caught.value)
    return caught.value


def test_nothing_said_means_the_defaults() -> None:
    assert configured() == configured({}, {}) == RunConfig()


def test_later_layers_win() -> None:
    """Defaults, then a file, then the command line: each says only what it changes."""
    config = configured(
        {"seed": 1, "limit": 9, "episodes": 5}, {"seed": 2, "limit": 8}, {"seed": 3}
    )
    assert (config.seed, config.limit, config.episodes) == (3, 8, 5)


def test_tables_are_merged_by_name() -> None:
    """A layer that changes one setting of a role leaves the others of it alone."""
    config = configured({"quit": {"window": 2, "quantile": 0.5}}, {"quit": {"window": 9}})
    assert config.quit == QuantileSettings(window=9, quantile=0.5, tolerance=(1.0, 1.0))


def test_merging_leaves_the_layers_alone() -> None:
    file = {"quit": {"window": 2}}
    assert merged(file, {"quit": {"window": 3}}, {"seed": 1}) == {"quit": {"window": 3}, "seed": 1}
    assert file == {"quit": {"window": 2}}


@pytest.mark.parametrize(
    ("settings", "name", "hint"),
    [
        ({"episode": 3}, "'episode'", "did you mean episodes?"),
        ({"concurency": 3}, "'concurency'", "did you mean concurrency?"),
        ({"quit": {"windows": 3}}, "'quit.windows'", "did you mean quit.window?"),
        ({"planner": {"temprature": 1}}, "'planner.temprature'", "mean planner.temperature?"),
        ({"quit": {"xyz": 3}}, "'quit.xyz'", "there are window, quantile, tolerance"),
    ],
)
def test_an_unknown_setting_suggests_the_nearest(
    settings: dict[str, Any], name: str, hint: str
) -> None:
    """Whatever the depth; where nothing is near, all that exist are named."""
    error = failing(settings)
    assert str(error) == f"there is no setting {name}"
    assert hint in error.hint


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"episodes": "many"}, "episodes: expected int, got 'many'"),
        ({"episodes": 1.5}, "episodes: expected int, got 1.5"),
        ({"prompts": "perhaps"}, "prompts: expected bool, got 'perhaps'"),
        ({"users": "both"}, "users: expected one of train, test, all, got 'both'"),
        ({"dwell": [5]}, "dwell: expected array of length 2, got [5]"),
        ({"dwell": ["long", 9]}, "dwell[0]: expected float, got 'long'"),
        ({"quit": {"window": "wide"}}, "quit.window: expected int, got 'wide'"),
        ({"quit": 3}, "'quit' is a table of settings, got 3"),
        ({"episodes": {"quit": 3}}, "episodes: expected int, got {'quit': 3}"),
    ],
)
def test_a_value_of_another_type_is_named(settings: dict[str, Any], sentence: str) -> None:
    """The sentence says which setting, what was expected and what came."""
    assert str(failing(settings)) == sentence


LEAST: dict[str, float] = {
    **dict.fromkeys(("episodes", "sessions", "limit", "history"), 1),
    **dict.fromkeys(("concurrency", "attempts", "unreleased"), 1),
    **{"running": 0, "publication_delay": 0, "patience": 0.001},
}


@pytest.mark.parametrize(("name", "least"), LEAST.items())
def test_numbers_have_a_least_value(name: str, least: float) -> None:
    """The least one is taken, the next below it is refused."""
    assert getattr(configured({name: least}), name) == least
    whole = isinstance(getattr(RunConfig(), name), int)
    below = least - 1 if whole else math.nextafter(least, -math.inf)
    kind = "int" if whole else "float"
    bound = least if whole else float(least)
    assert str(failing({name: below})).startswith(f"{name}: expected {kind} >= {bound}, got ")


@pytest.mark.parametrize(
    ("dwell", "sentence"),
    [
        ([60, 5], "dwell must be two durations, the least first, got (60.0, 5.0)"),
        ([-1, 5], "dwell[0]: expected float >= 0.0, got -1"),
        ([5, math.nan], "dwell[1]: expected float >= 0.0, got nan"),
    ],
)
def test_dwelling_goes_from_least_to_most(dwell: list[float], sentence: str) -> None:
    assert str(failing({"dwell": dwell})) == sentence


def test_dwelling_may_take_always_the_same_time() -> None:
    assert configured({"dwell": [3, 3]}).dwell == (3.0, 3.0)


def test_returning_users_do_not_come_in_batches() -> None:
    """Nobody knows when a batch would be over; the hint says what to use."""
    assert "--arrivals poisson:RATE" in failing({"sessions": 2}).hint
    assert configured({"sessions": 2, "arrivals": "all"}).sessions == 2


def test_embeddings_are_built_in_or_of_a_service() -> None:
    assert str(failing({"embeddings": "word2vec"})) == "there are no embeddings 'word2vec'"
    assert configured({"embeddings": "openai/any"}).embeddings == "openai/any"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed=7", {"seed": 7}),
        ("publication_delay=2.5", {"publication_delay": 2.5}),
        ("prompts=false", {"prompts": False}),
        ("dwell=[1, 2.5]", {"dwell": [1, 2.5]}),
        ("model=openai/gpt-4o-mini", {"model": "openai/gpt-4o-mini"}),
        ('model="7"', {"model": "7"}),
        ("base_url=http://localhost:1/v1?a=b", {"base_url": "http://localhost:1/v1?a=b"}),
        ("base_url=", {"base_url": ""}),
        ("quit.window=2", {"quit": {"window": 2}}),
        ("a.b.c=true", {"a": {"b": {"c": True}}}),
        (" quit.lowest = 1 ", {"quit": {"lowest": 1}}),
    ],
)
def test_a_setting_can_be_said_in_a_word(text: str, expected: dict[str, Any]) -> None:
    """Numbers, booleans and lists are what they look like, all else is a text."""
    found = parse_set(text)
    assert found == expected
    assert repr(found) == repr(expected)  # true is not 1


@pytest.mark.parametrize("text", ["seed", "=7", " = 7", ""])
def test_a_word_without_key_or_value_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected key=value, got "):
        parse_set(text)


@given(name=st.sampled_from(["model", "environment", "key_file"]), text=TEXTS)
@settings(deadline=None)
def test_any_text_can_be_said_in_quotes(name: str, text: str) -> None:
    """JSON's quotes will do."""
    quoted = msgspec.json.encode(text).decode().replace("\x7f", r"\u007f")
    assert getattr(configured(parse_set(f"{name}={quoted}")), name) == text


def test_a_file_is_a_layer(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text("seed = 3\ndwell = [1, 2]\n[quit]\nwindow = 1\n", encoding="utf-8")
    config = configured(read_config(path), parse_set("quit.quantile=1"))
    assert (config.seed, config.dwell) == (3, (1.0, 2.0))
    assert config.quit == QuantileSettings(window=1, quantile=1.0)


@pytest.mark.parametrize("content", [b"seed = ", b"\xff\xfe", b"seed = 1\nseed = 2"])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "my.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"my\.toml: not a configuration: "):
        read_config(tmp_path / "my.toml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"my\.toml: there is no such configuration"):
        read_config(tmp_path / "my.toml")


@given(config=configs)
@settings(max_examples=60, deadline=None)
def test_a_run_can_be_run_again(
    tmp_path_factory: pytest.TempPathFactory, config: RunConfig
) -> None:
    """What run.toml says is the whole configuration: reading it gives an equal one."""
    run = RunDirectory(tmp_path_factory.mktemp("run"))
    run.write_config(config.settings())
    again = configured(run.read_config())
    assert again == config
    assert again.deciding() == config.deciding()


def test_all_but_the_operational_settings_decide() -> None:
    """Each setting is named by the head itself, or in its settings, or leaves no mark."""
    names = {name.split(".")[0] for name, _ in RunConfig().deciding()}
    roles = {"planner", "actor", "critic", "reflector"}
    # These are named where they are not as at first.
    brought = {"agent_settings", "dwell_by_reward", "retention"}
    assert names == (set(RunConfig.__struct_fields__) | roles) - OPERATIONAL - NAMED - brought
    deciding = dict(RunConfig().deciding())
    assert (deciding["dwell"], deciding["quit.window"]) == ("5.0,60.0", 4)
    assert (deciding["quit_rule"], deciding["rewards.satiation"]) == ("quantile", "0.0,0.6")
    assert deciding["planner.model"] == ""


def test_effort_is_named_where_it_is_set() -> None:
    """A head of before there was one says the same; room for it alone decides as well."""
    plain = dict(configured({"actor": {"effort": "", "reasoning_tokens": 4_000}}).deciding())
    told = dict(configured({"actor": {"effort": "low", "reasoning_tokens": 0}}).deciding())
    assert told == {**plain, "actor.effort": "low", "actor.reasoning_tokens": 0}


def test_operational_settings_leave_no_mark() -> None:
    """Where, how fast and how safely a run is run is not said in its trace."""
    other = configured(
        {
            "api": "responses",
            "attempts": 1,
            "azure_version": "2024-10-21",
            "base_url": "http://localhost",
            "batch_poll": 1,
            "batch_size": 10,
            "batch_wait": 1,
            "cache": "replies",
            "certificate": "found.json",
            "cluster": "local",
            "concurrency": 1,
            "critic": {"tier": "batch"},
            "embedding_tier": "batch",
            "fsync": "call",
            "key_file": "key",
            "local": {"deterministic": True},
            "max_calls": 1,
            "max_cost": 1,
            "max_tokens_total": 1,
            "metrics": ["tests.support.outside.acme:SPREAD"],
            "patience": 1,
            "planner": {"base_url": "http://localhost", "concurrency": 3, "tokens_per_minute": 9},
            "prices": {"gpt-4.1": {"prompt": 2, "completion": 8}},
            "prompts": False,
            "requests_per_minute": 1,
            "running": 1,
            "share_limits": "leases",
            "service": "vllm",
            "tokens_per_minute": 1,
            "unreleased": 1,
            "workers": 2,
        }
    )
    changed = {
        n for n in RunConfig.__struct_fields__ if getattr(other, n) != getattr(RunConfig(), n)
    }
    assert changed == OPERATIONAL | {"agent_settings"}
    assert other.deciding() == RunConfig().deciding()


def test_many_visit_at_once_where_calls_go_in_batches() -> None:
    """Else batches would be small; and nobody is told every few minutes that they wait."""
    plain, batched = configured({}), configured({"critic": {"tier": "batch"}})
    assert (plain.at_once, batched.at_once) == (32, AT_ONCE)
    assert configured({"critic": {"tier": "batch"}, "running": 5}).at_once == 5
    assert (plain.longest_wait, batched.longest_wait > 86_400) == (300.0, True)


def test_agents_are_told_their_part() -> None:
    """Agents get their settings, and nothing of the run."""
    told = configured({"repeats": "allow", "critic": {"discount": 0.9}}).agent_settings
    assert told == BillpSettings(critic=CriticSettings(discount=0.9))


def test_an_address_must_not_hold_a_password() -> None:
    """It would stand in run.toml."""
    for layer in (
        {"base_url": "http://me:secret@host/v1"},
        {"actor": {"base_url": "http://k@h"}},
    ):
        with pytest.raises(ConfigError, match="no user and no password") as caught:
            configured(layer)
        assert "secret" not in str(caught.value)
    with pytest.raises(ConfigError, match="not an address"):
        configured({"base_url": "http://[x"})


def test_a_price_of_the_wrong_kind_is_said() -> None:
    with pytest.raises(ConfigError, match="prices"):
        configured({"prices": {"x": {"prompt": "dear", "completion": 1.0}}})


def test_a_run_has_no_more_episodes_than_memory_holds() -> None:
    """Who visits when is drawn beforehand."""
    assert str(failing({"episodes": 10**9})) == (
        "episodes: expected int <= 10000000, got 1000000000"
    )
    many = failing({"episodes": 10**7, "sessions": 2, "arrivals": "all"})
    assert str(many).startswith("a run has at most 10,000,000 episodes")


@pytest.mark.parametrize(
    ("text", "plain"),
    [("batches:010", "batches:10"), ("poisson:2.50", "poisson:2.5"), ("poisson:2.0", "poisson:2")],
)
def test_a_rule_of_arrivals_has_one_spelling(text: str, plain: str) -> None:
    """Two of them would give two digests."""
    assert configured({"arrivals": text}) == configured({"arrivals": plain})


def test_what_differs_is_told_once_and_for_all() -> None:
    """By dotted name, both values; what leaves no mark is no difference."""
    one = configured({"seed": 1, "quit": {"window": 2}, "concurrency": 3})
    other = configured({"agent": "linucb", "linucb": {"alpha": 2}, "model": "openai/x"})
    assert one.differences(configured({"seed": 1, "quit": {"window": 2}})) == {}
    assert one.differences(other) == {
        "agent": ("billp", "linucb"),
        "model": ("embedded", "x"),
        "seed": (1, 0),
        "quit.window": (2, 4),
        "linucb.alpha": (None, 2.0),
    }


def test_an_agents_own_settings_are_of_the_agent() -> None:
    """Nobody else takes them; what they are by default leaves no mark, as before there were any."""
    plain = configured({"agent": "linucb"})
    assert "linucb.alpha" not in dict(plain.deciding())
    assert plain.settings()["linucb"] == {"alpha": 1.0}
    assert "there is no setting 'linucb'" in str(failing({"linucb": {"alpha": 2.0}}))


@pytest.mark.parametrize("name", ["gpt-4.1", "vendor/model-3.5", "gpt-4o-mini", '"gpt-4.1"'])
def test_a_price_is_set_by_a_name_with_dots(name: str) -> None:
    """As other settings are: neither dots nor slashes of a model have to be quoted."""
    sets = (f"prices.{name}.prompt=2", f"prices.{name}.completion=8")
    (price,) = configured(*map(parse_set, sets)).prices.items()
    assert (price[0], price[1].prompt) == (name.strip('"'), 2)
    whole = parse_set(f"prices.{name}={{prompt = 2, completion = 8}}")
    assert dict([price]) == configured(whole).prices


def test_a_file_names_a_model_with_a_dot(tmp_path: Path) -> None:
    """TOML takes it for a table within a table."""
    (tmp_path / "run.toml").write_text("[prices.gpt-4.1]\nprompt = 2\ncompletion = 8\n")
    assert [*configured(read_config(tmp_path / "run.toml")).prices] == ["gpt-4.1"]
