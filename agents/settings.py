"""The settings of agents, with the defaults of BiLLP (arXiv 2403.00843) but for the actor's recall.

BiLLP's actor recalls 1 experience within 0.01; of states that a catalog of hundreds makes, such a
one is known for few.
"""

from typing import Annotated, Literal, TypeAlias

import msgspec

Repeats = Literal["forbid", "avoid", "allow"]

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
Positive: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]
Rate: TypeAlias = Annotated[float, msgspec.Meta(ge=0)]
Distance: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=2)]
Share: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)]
Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh"]
"""How long a model is to reason; services take some of these, by model."""

ROOM = 4_000
"""Tokens that a model has for reasoning, unless told."""

Temperature: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=2)]


class RoleSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a role's replies are drawn; an empty *model* stands for the run's.

    A reply takes at most *max_tokens*: one that runs on costs time, and says nothing any more.
    *instructions* are added to the role's system prompt. The way to the model, by *base_url* and
    *key_file*, and the role's own limits leave no mark on a trace; what is empty or 0 is the run's.
    Nor does the *tier* in which a service is to answer: sooner or later, and at what price. `batch`
    collects calls and sends many at once; where there is no run to wait for them they go alone.
    *effort* is how long a model that reasons does so, empty for what it does of itself, and
    *reasoning_tokens* are what it may take for that, beside *max_tokens*.
    """

    model: str = ""
    instructions: str = ""
    base_url: str = ""
    key_file: str = ""
    tier: Literal["default", "flex", "priority", "batch"] = "default"
    concurrency: Count = 0
    requests_per_minute: Rate = 0.0
    tokens_per_minute: Rate = 0.0
    temperature: Temperature = 0.5
    max_tokens: Positive = 400
    effort: Effort | Literal[""] = ""
    reasoning_tokens: Count = ROOM


class PlannerSettings(RoleSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """*recall_count* reflections no further than *within*; a prompt of at most *prompt_tokens*.

    *taste* tells the user's taste.
    """

    recall_count: Count = 2
    within: Distance = 2.0
    prompt_tokens: Positive = 3_000
    taste: bool = True
    max_tokens: Positive = 200


class ActorSettings(RoleSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """*recall_count* states no further than *within*, and so many *candidates*.

    All experiences of these states count, *pooled* by item, and at most *hints* items of each sign
    are told that can be recommended. Not pooled, *recall_count* experiences are recalled, the
    oldest first of one state. *taste* tells the user's taste and what others rated the candidates;
    *surprises* how these surprised whoever met them before.
    """

    recall_count: Count = 10
    within: Distance = 0.4
    pooled: bool = True
    hints: Count = 10
    candidates: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 20
    taste: bool = True
    surprises: bool = True
    max_tokens: Positive = 100


class CriticSettings(RoleSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """*discount* γ; *reward_in_advantage* false is what the authors' recorded runs had.

    *left* is the value of having left, by default the least that there is. The critic *learns* from
    the values that it gave itself, or from outcomes: the targets r + γ·V(s′).
    """

    recall_count: Count = 1
    within: Distance = 0.1
    discount: Share = 0.5
    reward_in_advantage: bool = True
    left: Annotated[float, msgspec.Meta(ge=-5, le=5)] = -5.0
    learns: Literal["values", "outcomes"] = "values"
    max_tokens: Positive = 50


class PaperActorSettings(ActorSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As in arXiv 2403.00843: one state, all but the same, and no candidates from the catalog."""

    recall_count: Count = 1
    within: Distance = 0.01
    hints: Count = 1_000
    candidates: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0
    taste: bool = False
    surprises: bool = False


class PaperPlannerSettings(PlannerSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As in arXiv 2403.00843: who thinks is told no taste."""

    taste: bool = False


class PaperCriticSettings(CriticSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As in the authors' code: what is kept of a state is what came of it."""

    learns: Literal["values", "outcomes"] = "outcomes"


class ReflectorSettings(RoleSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A prompt of at most *prompt_tokens*."""

    prompt_tokens: Positive = 3_000
    max_tokens: Positive = 300


class LocalSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How models of this machine are loaded; nothing of it leaves a mark on a trace.

    So many *slots* compute at once, 0 for as many as calls are in flight, at most four a thread;
    each has a *context* in tokens, 0 for what the model was trained for, at most 8,192. *threads* 0
    are all processors but one. *template* is the text of a chat template, or the name of one that
    llama.cpp knows, empty for the model's own. What it has read and no slot holds any more it keeps
    in *kept* MiB of memory. *deterministic* is one slot that remembers no prompt: the same bytes
    each time. *digests* are those that the models' files must have,
    `NAME=SHA256`; a run notes them.
    """

    slots: Count = 0
    threads: Count = 0
    context: Count = 0
    template: str = ""
    kept: Count = 1_024
    deterministic: bool = False
    digests: tuple[str, ...] = ()


class BillpSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What BiLLP's roles are told; all of ours take it: an experiment sets it for all at once."""

    planner: PlannerSettings = PlannerSettings()
    actor: ActorSettings = ActorSettings()
    critic: CriticSettings = CriticSettings()
    reflector: ReflectorSettings = ReflectorSettings()


class PaperSettings(BillpSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """BiLLP's with the defaults of the paper and its code, as far as ours differ."""

    planner: PaperPlannerSettings = PaperPlannerSettings()
    actor: PaperActorSettings = PaperActorSettings()
    critic: PaperCriticSettings = PaperCriticSettings()
