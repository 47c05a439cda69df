"""Which file a name stands for, how it is to be loaded, and why it cannot be."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec
import pytest

from agents.models.chain import (
    ModelSettings,
    RoleModel,
    check_settings,
    linked,
    open_models,
)
from agents.models.embedded import EmbeddedModel
from agents.models.guards.limiter import Limits
from agents.models.local import engine
from agents.models.local.engine import Engine, Plan
from agents.models.local.opening import PROVIDER, found, planned
from agents.models.providers import Door, Opening, Way, plain_name, untold
from agents.settings import LocalSettings
from engine.errors import ConfigError
from tests.support.gguf import write_gguf


def plan(path: Path, in_flight: int = 16, **settings: int | str | bool) -> Plan:
    chosen = msgspec.convert({"threads": 1, **settings}, LocalSettings)
    return planned(str(path), chosen, in_flight)


def test_a_path_leaves_no_mark_on_a_name() -> None:
    """A trace names the model; where its file lies is nobody's business."""
    assert plain_name("local/smollm2") == "smollm2"
    assert plain_name("local//home/me/models/Qwen3-0.6B.Q8_0.gguf") == "Qwen3-0.6B.Q8_0"
    assert plain_name("openai/models/Qwen3.gguf") == "models/Qwen3.gguf"  # a service's own name


def test_names_of_models_are_guessed() -> None:
    """A slip of the pen is told from a package that is not there."""
    with pytest.raises(ConfigError, match="no local model 'smolm2'") as caught:
        found("smolm2")
    assert "smollm2" in caught.value.hint
    with pytest.raises(ConfigError, match="no file"):
        found("smollm2.gguf")


def test_slots_are_the_calls_in_flight_as_far_as_threads_are_worth_it(tmp_path: Path) -> None:
    """Unless told; who wants the same bytes each time gets one."""
    path = write_gguf(tmp_path / "m.gguf")
    assert (plan(path).slots, plan(path, 3).slots, plan(path, slots=9).slots) == (4, 3, 9)
    assert plan(path, deterministic=True).slots == 1
    assert (plan(path).context, plan(path, context=99).context) == (2_048, 99)


def test_a_model_that_cannot_chat_wants_a_template(tmp_path: Path) -> None:
    """A base model has none of its own."""
    path = write_gguf(tmp_path / "base.gguf", tokenizer_chat_template="")
    with pytest.raises(ConfigError, match=r"base\.gguf has no chat template") as caught:
        plan(path)
    assert "local.template" in caught.value.hint
    assert plan(path, template="chatml").name == "base"


def test_a_context_beyond_what_was_trained_is_refused(tmp_path: Path) -> None:
    """The model would read nonsense there."""
    with pytest.raises(ConfigError, match="trained for 2,048 tokens, not for 4,096"):
        plan(write_gguf(tmp_path / "m.gguf"), context=4_096)


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is there, and to load a model is to do nothing."""

    @asynccontextmanager
    async def loaded(plan: Plan, _: Opening) -> AsyncIterator[str]:
        yield plan.name

    monkeypatch.setattr("agents.models.local.opening.check_extra", lambda: None)
    monkeypatch.setattr("agents.models.local.opening._loaded", loaded)


def opened(*paths: Path, loading: list[int] | None = None, digests: tuple[str, ...] = ()) -> Door:
    """Return the door to the models at *paths*, told while *loading* how far it is."""
    way = Way(local=LocalSettings(threads=1, digests=digests))
    said = tuple(map(str, paths))
    told = untold if loading is None else lambda name, done, size: loading.append(done)

    async def main() -> Door:
        async with PROVIDER.opens(Opening((), way, 16, said=said, loading=told)) as door:
            return door

    return asyncio.run(main())


@pytest.mark.usefixtures("unloaded")
def test_a_file_is_known_by_its_bytes(tmp_path: Path) -> None:
    """Its digest is told; a run that goes on takes no other file of that name."""
    path, progress = write_gguf(tmp_path / "m.gguf"), list[int]()
    door = opened(path, loading=progress)
    assert progress == [0, path.stat().st_size]
    assert opened(path, digests=(f"m={door.digests['m']}",)).place == door.place
    write_gguf(path, general_architecture="other")
    with pytest.raises(ConfigError, match="not the file that this run began with"):
        opened(path, digests=(f"m={door.digests['m']}",))
    assert opened(path).place != door.place  # a cache of the one has nothing of the other


@pytest.mark.usefixtures("unloaded")
def test_loading_ends_when_it_is_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by Ctrl-C: no more of the file is read."""
    monkeypatch.setattr("agents.models.local.opening._PIECE", 64)
    path, progress = write_gguf(tmp_path / "m.gguf"), list[int]()

    async def main() -> None:
        with anyio.CancelScope() as scope:

            def cancel(name: str, done: int, size: int) -> None:
                progress.append(done)
                if done:
                    scope.cancel()

            async with PROVIDER.opens(Opening((), Way(), 1, said=(str(path),), loading=cancel)):
                raise AssertionError("it was opened")

    asyncio.run(main())
    assert progress == [0, 64]


@pytest.mark.usefixtures("unloaded")
def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    """A trace could not tell them apart."""
    (tmp_path / "other").mkdir()
    paths = [write_gguf(folder / "m.gguf") for folder in (tmp_path, tmp_path / "other")]
    with pytest.raises(ConfigError, match="both called m"):
        opened(*paths)


def test_a_missing_extra_is_told_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one line that README has."""

    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(engine, "import_module", missing)
    with pytest.raises(ConfigError, match="need the extra local") as caught:
        engine.check_extra()
    assert caught.value.hint == engine.INSTALL


def test_an_engine_shows_no_key() -> None:
    """It is drawn for one process, and for nobody's eyes."""
    assert "secret" not in repr(Engine("http://127.0.0.1:1/v1", "secret", None))


def test_no_more_calls_are_in_flight_than_there_are_slots() -> None:
    """Whatever the concurrency: the rest waits in our line, in which the oldest goes first."""
    settings = ModelSettings(roles={"actor": RoleModel()}, limits=Limits(in_flight=16))
    doors = {"actor": Door(EmbeddedModel(), slots=2)}
    with linked(doors, settings, lambda attempt: None) as chain:
        assert chain.statistics().ceiling == 2


@pytest.mark.usefixtures("unloaded")
def test_a_model_is_loaded_once_for_all_roles(tmp_path: Path) -> None:
    """Whatever service a role has an address of: it is none of this machine's."""
    path = write_gguf(tmp_path / "m.gguf")
    ways = (Way(), Way(url="http://127.0.0.1:1/v1"))
    roles = {way.url: RoleModel(model=f"local/{path}", way=way) for way in ways}

    async def main() -> None:
        async with open_models(ModelSettings(roles=roles)) as doors:
            assert doors[ways[0].url] is doors[ways[1].url]

    asyncio.run(main())


def test_a_model_of_this_machine_has_no_tiers() -> None:
    """It is no service that could be asked later, for less."""
    roles = {"critic": RoleModel(model="local/smollm2", way=Way(tier="batch"))}
    with pytest.raises(ConfigError, match="at no service that has tiers"):
        check_settings(ModelSettings(roles=roles))
