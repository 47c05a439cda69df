"""Training: updates, checkpoints, a curve, and a policy in the end; what was stopped goes on.

Who learns from a log goes on as if nothing had happened. Who learns in a world keeps what was
learned and begins new visits: a world is no part of a checkpoint.
"""

import io
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from shlex import quote
from typing import Any

import msgspec
import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from agents.policies.learned.saved import PolicyHead, read_policy, write_policy
from engine.errors import InterruptedRunError, RunDirectoryError
from engine.text import counted
from sim.config.run import RunConfig
from sim.gym.crowd import Crowd
from sim.training.evaluation import Evaluation, evaluate
from sim.training.imagined import MODELS, Imagined, fit, variety
from sim.training.lessons import Lesson, Student
from sim.training.logged import Transitions, log
from sim.training.place import Place
from sim.training.plan import Training, offline, recipe
from sim.training.readers import READERS
from sim.training.results import CurvePoint, Told, Trained
from sim.training.sight import Items, Sight, sight
from sim.training.students import a2c, dqn
from storage.datasets.draws import order, words
from storage.environments import Environment
from storage.files import AppendOnly, remove
from storage.reading import open_regular
from storage.runs import write_whole

_LOOKED_AT = 100
"""Training users by whom the curve is drawn; nobody looks at test users before the end."""


@dataclass(eq=False)
class Trainer:
    """Trains by a *plan* in the world of *config*, at a *place*; *told* hears how it goes."""

    plan: Training
    config: RunConfig
    environment: Environment
    place: Place
    told: Told
    sight: Sight = field(init=False)
    crowd: Crowd = field(init=False)
    judging: Crowd = field(init=False)
    student: Student = field(init=False)
    logged: int = field(default=0, init=False)
    _began: float = field(default_factory=time.monotonic, init=False)

    def __post_init__(self) -> None:
        torch.set_num_threads(self.plan.threads)
        self._draw_by("beginning")
        self.sight = sight(
            self.environment,
            history=self.config.history,
            limit=self.config.limit,
            window=self.plan.window,
            told="pair" in self.plan.privileged,
        )
        self.crowd = Crowd(self.environment, self.config)
        self.judging = Crowd(self.environment, self.config, range(len(self.environment.users)))
        self.student = self._student()
        inertia = get_ema_multi_avg_fn(self.plan.inertia)
        played = self.student.played
        self.averaged = AveragedModel(played.scorer, multi_avg_fn=inertia)
        self.likely = AveragedModel(played.likely, multi_avg_fn=inertia) if played.likely else None

    def run(self) -> Trained:
        """Train from where the place stands to the end, and return what it came to.

        Raises InterruptedRunError after Ctrl-C, with a checkpoint in the place.
        """
        done = self._restored()
        curve = AppendOnly(self.place.curve, start=_lines_until(self.place.curve, done))
        try:
            with asked_to_stop() as stop:
                for update in range(done, self.plan.updates):
                    losses = self._update(update)
                    at_checkpoint = (update + 1) % self.plan.checkpoint == 0
                    if at_checkpoint or stop() or update + 1 == self.plan.updates:
                        self._look(update + 1, losses, curve)
                    if stop():
                        raise _interrupted(self.place.path, update + 1)
                    self.told(update + 1, None)
        finally:
            curve.close()
        return self._end()

    def _update(self, update: int) -> Mapping[str, float]:
        self._draw_by(f"update {update}")
        losses = self.student.learn(update)
        self.averaged.update_parameters(self.student.played.scorer)
        if self.likely is not None:
            self.likely.update_parameters(self.student.played.likely)
        return losses

    def _draw_by(self, name: str) -> None:
        """Let torch, and what tianshou draws by NumPy's own stream, go on from a *name*."""
        drawn = int(words(self.plan.seed, name, 1)[0])
        torch.manual_seed(drawn >> 1)
        np.random.seed(drawn % 2**32)

    def _look(self, updates: int, losses: Mapping[str, float], curve: AppendOnly) -> None:
        """Write a checkpoint, the policy as it stands, and a line of the curve."""
        users = self.environment.train_users
        chosen = users[order(0, "looked at", len(users))[:_LOOKED_AT]]
        self._write_policy()
        point = CurvePoint(
            updates=updates,
            steps=self.student.steps,
            users=self._evaluated(chosen),
            losses=dict(losses),
        )
        curve.write(msgspec.json.encode(point) + b"\n")
        self._save(updates)
        self.told(updates, point)

    def _write_policy(self) -> str:
        """Write the policy as it stands, and return its digest."""
        played = self.student.played
        head = PolicyHead(
            algorithm=self.plan.algorithm,
            seed=self.plan.seed,
            recipe=recipe(self.plan, self.config, self.environment),
            environment=self.environment.head.digest,
            privileged=self.plan.privileged,
            window=self.plan.window,
            limit=self.config.limit,
            threshold=played.threshold,
        )
        parts: dict[str, object] = {
            "folding": self.sight.folding,
            "network": self.averaged.module.network(played.shares),
        }
        if self.likely is not None:
            parts["likely"] = self.likely.module.network(played.shares)
        return write_policy(self.place.policy, head, parts)

    def _evaluated(self, users: Items) -> Evaluation:
        return evaluate(read_policy(self.place.policy), self.judging, self.sight, users)

    def _end(self) -> Trained:
        """Write what the training came to; the checkpoint has done its service."""
        test = self.environment.test_users
        trained = Trained(
            policy=str(self.place.policy),
            digest=self._write_policy(),
            algorithm=self.plan.algorithm,
            seed=self.plan.seed,
            privileged=self.plan.privileged,
            environment=self.config.environment,
            updates=self.plan.updates,
            episodes=self.plan.episodes,
            logged=self.logged,
            steps=self.student.steps,
            seconds=round(time.monotonic() - self._began, 1),
            test=self._evaluated(test) if len(test) else None,
        )
        write_whole(self.place.result, msgspec.json.encode(trained) + b"\n")
        remove(self.place.checkpoint)
        return trained

    def _student(self) -> Student:
        """Return who learns; what is learned from a log is logged now."""
        lesson = Lesson(self.sight, self.plan, self.environment.train_users)
        scale = 1 / self.environment.factors.high
        if not offline(self.plan):
            crowd = self.crowd
            return a2c(lesson, crowd, scale) if self.plan.algorithm == "a2c" else dqn(lesson, crowd)
        logged = log(
            self.crowd,
            self.sight,
            lesson.users,
            episodes=self.plan.episodes,
            seed=self.plan.seed,
        )
        self.logged = len(logged)
        if self.plan.algorithm in READERS:
            return READERS[self.plan.algorithm](lesson, logged)
        return a2c(lesson, self._imagined(lesson, logged), scale)

    def _imagined(self, lesson: Lesson, logged: Transitions) -> Imagined:
        """Return a model of the world, fitted to a log."""
        models = nn.ModuleList(lesson.scorer(heads=2) for _ in range(MODELS))
        for position, model in enumerate(models):
            fit(model, logged, self.plan.fits, f"{self.plan.seed} {position}")
        factors, name = self.environment.factors, f"{self.plan.seed}"
        various = variety(logged, self.sight)
        return Imagined(models, various, self.sight, factors.low, factors.high, name)

    def _save(self, done: int) -> None:
        """Write a checkpoint: the old one is there until the new one is whole."""
        buffer = io.BytesIO()
        torch.save({"done": done, **self._state()}, buffer)
        write_whole(self.place.checkpoint, buffer.getvalue())

    def _state(self) -> dict[str, Any]:
        algorithm = self.student.algorithm
        state = {
            "algorithm": algorithm.state_dict(),
            "averaged": self.averaged.state_dict(),
            "steps": self.student.steps,
        }
        return state if self.likely is None else {**state, "likely": self.likely.state_dict()}

    def _restored(self) -> int:
        """Go back to the checkpoint, if there is one, and return how many updates are done."""
        path = self.place.checkpoint
        if not path.exists():
            return 0
        try:
            with open_regular(path) as file:
                state = torch.load(file, weights_only=True)
            done = int(state["done"])
            self._restore(state, done)
        except (OSError, EOFError, KeyError, RuntimeError, UnpicklingError, ValueError) as error:
            what = f"{path}: is no checkpoint of this training"
            raise RunDirectoryError(what, hint="remove it to train from the beginning") from error
        return done

    def _restore(self, state: dict[str, Any], done: int) -> None:
        algorithm = self.student.algorithm
        algorithm.load_state_dict(state["algorithm"])
        for rate in algorithm.lr_schedulers:
            rate.last_epoch = done
        self.averaged.load_state_dict(state["averaged"])
        if self.likely is not None:
            self.likely.load_state_dict(state["likely"])
        self.student.steps = int(state["steps"])
        # When targets are next refreshed is nothing that tianshou keeps in its state.
        if "_iter" in vars(algorithm):
            vars(algorithm)["_iter"] = done


def _lines_until(path: Path, updates: int) -> int:
    """Return the size of the lines of a curve up to so many *updates*."""
    size = 0
    if path.exists():
        for line in path.read_bytes().splitlines(keepends=True):
            if msgspec.json.decode(line, type=CurvePoint).updates > updates:
                break
            size += len(line)
    return size


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Yield what tells whether Ctrl-C was pressed; pressed twice, it stops at once."""
    pressed: list[int] = []

    def press(number: int, frame: object) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)

    before = signal.signal(signal.SIGINT, press)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)


def _interrupted(path: Path, updates: int) -> InterruptedRunError:
    what = f"interrupted after {counted(updates, 'update')}; all that was learned is in {path}"
    return InterruptedRunError(what, hint=f"go on with: billp train --resume {quote(str(path))}")
