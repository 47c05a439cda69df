"""What speaks against a world: nothing can be learned in it, or its rewards know nothing of people.

The bars: the reward model predicts ratings that it has not seen better than their mean does, and
errs at most `SLACK` more than biases whose ridge is the best for these very ratings. And chance
gets at most `NEAR` of what the bound gets, whose visits last at least `SHORT` of the limit; this is
asked of catalogs of up to `MOST_ITEMS` items.
"""

from dataclasses import dataclass

from engine.errors import DataError
from sim.config.run import RunConfig
from sim.experiments.span import Span, Trial
from sim.experiments.worlds import MOST_ITEMS
from storage.environments import Environment, Fit

SLACK = 0.01
NEAR = 0.5
SHORT = 0.2


@dataclass(frozen=True)
class Objection:
    """What is wrong with a world, with the figures, and what may be done about it."""

    what: str
    hint: str


def objections(environment: Environment, config: RunConfig) -> list[Objection]:
    """Return what speaks against *environment* under the rules of *config*, if anything does."""
    found: list[Objection] = []
    fit = environment.head.fit
    if fit is not None:
        found += of_model(fit)
    if len(environment.catalog) <= MOST_ITEMS:
        found += _of_span(Trial(environment, config).span())
    return found


def check_sound(found: list[Objection]) -> None:
    """Raise DataError if any objections were *found*."""
    if found:
        what = "; ".join(one.what for one in found)
        hint = "; ".join(dict.fromkeys(one.hint for one in found))
        raise DataError(f"nothing was written: {what}", hint=f"{hint}; --force writes it anyway")


def of_model(fit: Fit) -> list[Objection]:
    """Return what speaks against a reward model, by ratings that it has not seen."""
    model, biases, mean = fit.model.rmse, fit.tuned_biases.rmse, fit.global_mean.rmse
    if model < mean and model <= (1 + SLACK) * biases:
        return []
    what = (
        f"the reward model predicts {fit.held_out:,} held-out ratings no better than simpler ones,"
        f" RMSE {model:.3f} against {biases:.3f} of biases and {mean:.3f} of the mean rating"
    )
    hint = "give more ratings, or leave out who has few with --min-user and --min-item"
    return [Objection(what, hint)]


def _of_span(span: Span) -> list[Objection]:
    random, bound = span.random, span.bound
    lasts = bound.len >= SHORT * span.limit
    if random.r_traj <= NEAR * bound.r_traj and lasts:
        return []
    what = (
        f"nobody can do much better than chance in this world: diverse-greedy gets R_traj"
        f" {bound.r_traj:.1f} in {bound.len:.1f} of {span.limit} steps, random"
        f" {random.r_traj:.1f} in {random.len:.1f}"
    )
    return [Objection(what, "see that ratings are on their --scale, or lower --beta-quantile")]
