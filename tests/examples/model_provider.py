"""A way to models of one's own: here to one that has read no book, and takes what comes first."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agents.models.model import ChatReply, ChatRequest
from agents.models.providers import Door, Opening, Provider
from agents.prompts import SEPARATOR, sections
from sim import RunConfig, replay, run

SAYINGS = {"planner": "Take what comes.", "critic": "0", "reflector": "It was a visit."}


class Simple:
    async def reply(self, request: ChatRequest) -> ChatReply:
        question = request.messages[-1].content
        text = SAYINGS.get(request.call.role) or first_candidate(question)
        return ChatReply(text=text, prompt_tokens=len(question) // 4, completion_tokens=4)


def first_candidate(question: str) -> str:
    line = sections(question)["Candidates"][0]
    return f"recommend[{line.removeprefix('- ').rsplit(SEPARATOR, 1)[0]}]"


@asynccontextmanager
async def opens(opening: Opening) -> AsyncIterator[Door]:
    yield Door(Simple(), account="simple", place="simple")


SIMPLE = Provider(opens, choosing=False)

summary = run(RunConfig(model="__main__:SIMPLE", episodes=10), out="simple")

print(f"{summary.model}: {summary.calls} calls, R_traj {summary.metrics.r_traj:.1f}")
assert replay("simple").agrees
