"""Who visits in a run: training users, and test users after them or in between."""

from collections.abc import Iterable, Sequence

from engine.arrivals import ONCE, Arrivals, Part, Returns, arrivals
from engine.chance import chance
from engine.errors import ConfigError
from sim.config.run import RunConfig
from sim.world.retention import coming_back
from sim.world.users import Users
from storage.environments import Environment, Head

_SECOND = 1000


def users_of(config: RunConfig, environment: Environment) -> Users:
    """Return the users of *environment*, who respond and leave as *config* says."""
    return Users(
        environment=environment,
        rule=config.rule,
        quitting=config.quit,
        rewards=config.rewards,
        limit=config.limit,
        history=config.history,
        least_dwell=round(config.dwell[0] * _SECOND),
        most_dwell=round(config.dwell[1] * _SECOND),
        dwell_by_reward=config.dwell_by_reward,
    )


def delay_of(config: RunConfig) -> int:
    """Return the publication delay in milliseconds."""
    return round(config.publication_delay * _SECOND)


def returns_of(config: RunConfig, head: Head) -> Returns:
    """Return how users come back in the environment that *head* describes."""
    if config.sessions == 1:
        return ONCE
    least, mean = (round(seconds * _SECOND) for seconds in config.return_gap)
    retention = coming_back(config.retention, head.rating_low, head.rating_high)
    return Returns(config.sessions, least, mean, retention)


def arrivals_of(config: RunConfig, environment: Environment) -> Arrivals:
    """Return who arrives when; raises ConfigError for users that there are not."""
    return arrivals(
        parts(config, environment),
        delay=delay_of(config),
        stream=chance(config.seed, 0, 0, 0, "arrivals"),
    )


def numbered(config: RunConfig, environment: Environment) -> list[tuple[int, int]] | None:
    """Return who visits in which episode, as (user, session) by its number.

    None where users come back: then it depends on how visits end. Raises ConfigError for users that
    there are not.
    """
    if config.sessions > 1:
        return None
    coming, found = arrivals_of(config, environment), list[tuple[int, int]]()
    # Ends decide when a batch or a part begins, never who comes in it or in which order.
    while (visit := coming.upcoming()) is not None:
        coming.started()
        coming.closed(visit.arrival)
        found.append((visit.user, visit.session))
    return found


def parts(config: RunConfig, environment: Environment) -> list[Part]:
    """Return the parts of a run, in order: training, and every test of what was learned so far."""
    visits = visitors(config, environment)
    if not config.test_episodes:
        return [Part(config.arrivals, visits)]
    found: list[Part] = []
    before = 0
    for number, after in enumerate(config.tested_after):
        if after > before:
            found.append(Part(config.arrivals, visits[before:after]))
        found.append(_test(config, environment, number))
        before = after
    return found


def _test(config: RunConfig, environment: Environment, number: int) -> Part:
    """Return test *number*: always the same users, as new sessions of theirs."""
    users = _drawn(config, _checked(environment.test_users, "test"), "test visitors")
    again = -(-config.test_episodes // len(users))
    who = [
        (users[visit % len(users)], number * again + visit // len(users))
        for visit in range(config.test_episodes)
    ]
    learning = config.test_memory == "learning"
    # Who teaches nobody need not wait for anybody.
    rule = config.arrivals if learning else "all"
    return Part(rule, who, phase="test", teaching=learning)


def visitors(config: RunConfig, environment: Environment) -> list[tuple[int, int]]:
    """Return who visits in training, as (user, first session), in an order drawn from the seed.

    When there are more episodes than users, everybody comes again in the same order.
    """
    users = _drawn(config, audience(config, environment), "visitors")
    return [
        (users[visit % len(users)], visit // len(users) * config.sessions)
        for visit in range(config.episodes)
    ]


def check_visitors(config: RunConfig, environment: Environment) -> None:
    """Raise ConfigError for users that there are not."""
    _checked(audience(config, environment), config.users)
    if config.test_episodes:
        _checked(environment.test_users, "test")


def audience(config: RunConfig, environment: Environment) -> Sequence[int]:
    """Return the users who may visit in training; raises ConfigError if there are none."""
    known: dict[str, Iterable[int]] = {
        "train": environment.train_users,
        "test": environment.test_users,
        "all": [*environment.train_users, *environment.test_users],
    }
    return _checked(known[config.users], config.users)


def _checked(users: Iterable[int], part: str) -> Sequence[int]:
    known = [int(user) for user in users]
    if not known:
        hint = "build the environment with another --test-share, or set users"
        raise ConfigError(f"the environment has no {part} users", hint=hint)
    return known


def _drawn(config: RunConfig, users: Sequence[int], purpose: str) -> Sequence[int]:
    return chance(config.seed, 0, 0, 0, purpose).shuffled(users)
