"""What a call of a model that replies at once costs: the whole way of access, and nothing else."""

import tempfile
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from agents.models.access import Access, note_attempt
from agents.models.chain import Chain, ModelSettings, RoleModel, linked, one_door
from agents.models.guards.budget import Allowances
from agents.models.guards.limiter import Limits
from agents.models.model import ChatReply, ChatRequest, Prompt, Sampling
from engine.calls import Call
from sim.bench.cost import Cost, cost_of
from sim.runs.loop import in_event_loop
from storage.journal import Journal

ROLE = "planner"
_MUCH = 1e12  # of whatever is limited: every guard looks, and none holds anything back
_REPLY = ChatReply(text="Take Portal 2. " * 6, prompt_tokens=300, completion_tokens=40)
_LINES = "- Half-Life 2 | Action, Shooter | 4.5\n" * 30


class Instant:
    """A model that replies at once, and always the same."""

    async def reply(self, request: ChatRequest) -> ChatReply:
        """Return the reply."""
        return _REPLY


def through_access(calls: int, *, cache: bool = False) -> Cost:
    """Ask so many calls, one after the other: identity, digest, guards, journal, and a *cache*.

    Guards are budget, retries, and a limiter that has paces; the journal is forced to the disk
    every second, as in runs.
    """
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        settings = _settings(calls, place / "cache" if cache else None)
        with (
            closing(Journal(place / "calls.jsonl")) as journal,
            linked(one_door(Instant(), [ROLE]), settings, partial(note_attempt, journal)) as chain,
        ):
            access = _access(chain, journal)
            prompts = [_prompt(call) for call in range(calls)]

            def work() -> int:
                in_event_loop(partial(_ask, access, prompts))
                return calls

            return cost_of(work)


def _access(chain: Chain, journal: Journal) -> Access:
    sampling = Sampling(model="m")
    return Access(chain, lambda _: sampling, 0, journal=journal, keep=chain.keep)


def _settings(calls: int, cache: Path | None) -> ModelSettings:
    return ModelSettings(
        roles={ROLE: RoleModel(model="embedded")},
        limits=Limits(in_flight=64, requests_per_minute=_MUCH, tokens_per_minute=_MUCH),
        allowances=Allowances(calls=2 * calls, tokens=int(_MUCH)),
        cache=cache,
    )


def _prompt(call: int) -> Prompt:
    text = f"User {call} was shown:\n{_LINES}"
    return Prompt(role=ROLE, step=0, system="You plan recommendations.", text=text)


async def _ask(access: Access, prompts: Sequence[Prompt]) -> None:
    for number, prompt in enumerate(prompts):
        await access.answer(Call(number, number, 0, 0, ROLE, 0), prompt)
