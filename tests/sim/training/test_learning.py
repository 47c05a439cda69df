"""Training itself, on a small world: every algorithm, seeds, going on, and what is left behind."""

import os
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.policies.learned.saved import read_policy
from engine.errors import InterruptedRunError, RunDirectoryError
from sim.analysis.leaks import check_leaks
from sim.config.layers import configured
from sim.runs.run import run
from sim.training.place import Place, new_place
from sim.training.plan import ALGORITHMS, training, world_of
from sim.training.results import CurvePoint, Trained
from storage.datasets import open_environment
from storage.environments import Environment
from storage.runs import RunDirectory
from tests.sim.gym.played import OURS, SMALL
from tests.support.shell import Shell

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # those of torch and tianshou are theirs
]

FEW: dict[str, Any] = {
    **{"updates": 6, "visits": 8, "rollout": 3, "batch": 32, "checkpoint": 3, "hidden": 16},
    **{"width": 20, "fits": 20, "inertia": 0.5},
}
PLAIN = {"quit_rule": "billp", "rewards": {"satiation": [0.0, 0.0]}}


def trainer() -> Any:
    """Return what trains: to import it takes seconds, which only who trains is to wait for."""
    return pytest.importorskip("sim.training.trainer", reason="needs the extra rl")


def told(updates: int, point: CurvePoint | None) -> None:
    """Say nothing."""


def trained(
    out: Path,
    algorithm: str,
    environment: Environment = SMALL,
    *,
    world: dict[str, Any] = PLAIN,
    hear: Any = told,
    **how: Any,
) -> Trained:
    few = FEW | ({} if algorithm in {"dqn", "a2c"} else {"episodes": 60})
    plan, config = training(algorithm, few, how), world_of({"limit": 12}, world)
    place = new_place(out)
    place.write_settings(plan, config)
    found: Trained = trainer().Trainer(plan, config, environment, place, hear).run()
    return found


def goes_on(out: Path) -> Trained:
    place = Place(out)
    found: Trained = trainer().Trainer(*place.read_settings(), SMALL, place, told).run()
    return found


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_leaves_a_policy_that_a_run_plays(algorithm: str, tmp_path: Path) -> None:
    """And test users get by it what the training says; nothing of them leaked into it."""
    found = trained(tmp_path / "out", algorithm, privileged=["pair"])
    how = {"agent": f"rl:{found.policy}", "limit": 12, "episodes": 1, "arrivals": "all"}
    tests = {"test_episodes": len(SMALL.test_users)}
    summary = run(configured(PLAIN, how, tests), out=tmp_path / "run", environment=SMALL)
    assert found.test is not None
    assert summary.metrics.r_traj == pytest.approx(found.test.r_traj, rel=1e-5)
    assert check_leaks(RunDirectory(tmp_path / "run"), SMALL) == 0
    assert read_policy(Path(found.policy)).head.privileged == ("pair",)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_same_seed_gives_the_same_weights(algorithm: str, tmp_path: Path) -> None:
    """And another seed others."""
    digests = [
        trained(tmp_path / f"{n}", algorithm, seed=seed).digest for n, seed in enumerate((1, 1, 2))
    ]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("algorithm", ["sqn", "bcq", "cql", "crr"])
def test_who_learns_from_a_log_goes_on_as_if_nothing_had_happened(
    algorithm: str, tmp_path: Path
) -> None:
    """Stopped after a checkpoint and before one: the weights are those of an undisturbed one."""
    whole = trained(tmp_path / "whole", algorithm).digest
    for stop in (3, 4):
        out = tmp_path / f"stopped {stop}"
        with pytest.raises(InterruptedRunError):
            trained(out, algorithm, hear=_stopping(stop))
        assert goes_on(out).digest == whole


def _stopping(at: int) -> Any:
    """Return who presses Ctrl-C after so many updates: the one that follows is the last."""

    def hear(updates: int, point: CurvePoint | None) -> None:
        if updates == at - 1 and point is None:
            os.kill(os.getpid(), signal.SIGINT)

    return hear


@pytest.mark.parametrize("algorithm", ["dqn", "a2c", "dorl"])
def test_what_was_stopped_says_how_it_goes_on(algorithm: str, tmp_path: Path) -> None:
    """Ctrl-C leaves a checkpoint, a policy and a curve, and a sentence with the command."""
    out = tmp_path / "out"
    with pytest.raises(InterruptedRunError, match="interrupted after 2 updates") as stopped:
        trained(out, algorithm, hear=_stopping(2))
    assert stopped.value.hint == f"go on with: billp train --resume {out}"
    assert Place(out).checkpoint.exists()
    found = goes_on(out)
    assert not Place(out).checkpoint.exists()
    lines = Place(out).curve.read_bytes().splitlines()
    assert [msgspec.json.decode(line)["updates"] for line in lines] == [2, 3, 6]
    assert msgspec.json.decode(Place(out).result.read_bytes(), type=Trained) == found


def test_a_damaged_checkpoint_is_a_sentence(tmp_path: Path) -> None:
    """Whatever lies there in its place: nothing of it is run."""
    out = tmp_path / "out"
    with pytest.raises(InterruptedRunError):
        trained(out, "cql", hear=_stopping(2))
    content = Place(out).checkpoint.read_bytes()
    for damaged in (b"", content[: len(content) // 2], b"cos\nsystem\n(S'true'\ntR."):
        Place(out).checkpoint.write_bytes(damaged)
        with pytest.raises(RunDirectoryError, match="is no checkpoint of this training"):
            goes_on(out)


@pytest.mark.parametrize("algorithm", ["a2c", "sqn"])
def test_a_world_with_measures_of_its_own_is_learned_in(algorithm: str, tmp_path: Path) -> None:
    """Satiation, and users with thresholds of their own."""
    assert trained(tmp_path / "out", algorithm, world=OURS).test is not None


def test_an_actor_that_is_told_what_is_near_learns_to_stay_away_from_it(tmp_path: Path) -> None:
    """In the plain world it gets more than half of the bound's 223 from users it never met."""
    how: dict[str, Any] = {
        "updates": 40,
        "checkpoint": 40,
        "hidden": 128,
        "width": 32,
        "batch": 1_024,
    }
    how |= {"visits": 128, "rollout": 8, "inertia": 0.9, "rate": 3e-3}
    world = open_environment("synthetic:plain")
    found = trained(
        tmp_path / "out", "a2c", world, world=PLAIN | {"limit": 50}, privileged=["pair"], **how
    )
    assert found.test is not None
    assert found.test.r_traj > 120
    assert found.test.sequences > 50


def test_the_command_trains(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """It says what it came to, in a table and in JSON."""
    trainer()
    shell = Shell(capsys)
    few = [word for name, value in FEW.items() for word in ("--set", f"training.{name}={value}")]
    out = tmp_path / "out"
    said = shell.billp("train", "a2c", *few, "--privileged", "pair", "--out", out)
    assert said.status == 0
    assert "6 of 6 updates" in said.err
    assert "sequences" in said.out
    assert "privileged: it is told what no agent could know" in said.out
    again = shell.fine("train", "a2c", *few, "--json", "--out", tmp_path / "again")
    assert msgspec.json.decode(again, type=Trained).algorithm == "a2c"
