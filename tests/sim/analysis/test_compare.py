"""Comparisons: the same users under the same seeds, counted by hand."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from engine.errors import ConfigError
from engine.messages import (
    Envelope,
    EpisodeEnded,
    EpisodeFailed,
    EpisodeSettled,
    EpisodeStarted,
    Message,
    Phase,
    RunStarted,
    UserResponded,
)
from engine.tree import encode
from sim.analysis.compare import compare
from sim.analysis.comparison import Comparison
from sim.analysis.curves import curves
from sim.analysis.outcomes import Outcome, read_outcomes
from sim.analysis.statistics import Interval, holm
from sim.config.layers import configured
from sim.views.comparison import as_latex, as_markdown, comparison_page
from sim.views.curve import curve_tables
from tests.support.shell import Shell

Visit = tuple[int, int, float] | tuple[int, int, float, int]
"""(user, length, reward, steps without a reward); a length of 0 stands for a failed episode."""


class Runs:
    """Writes runs that never ran: heads and visits are all a comparison reads."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.count = 0

    def add(
        self,
        agent: str,
        seed: int,
        *parts: tuple[Phase, Sequence[Visit]],
        environment: str = "world",
        **settings: Any,
    ) -> Path:
        path = self.place / f"run{self.count}"
        self.count += 1
        path.mkdir()
        (path / "run.toml").touch()
        known = {"repeats": "forbid", "limit": 50, **settings}
        head = RunStarted(
            schema=1,
            agent=agent,
            model="scripted",
            environment=environment,
            seed=seed,
            settings=tuple(known.items()),
        )
        envelopes: list[Envelope[Any]] = [
            Envelope(episode=None, n=0, cause=None, time=0, message=head)
        ]
        sessions: dict[int, int] = {}
        told = [(phase, visit) for phase, visits in parts for visit in visits]
        for episode, (phase, visit) in enumerate(told):
            session = sessions[visit[0]] = sessions.get(visit[0], -1) + 1
            envelopes += [
                Envelope(episode=episode, n=0, cause=None, time=0, message=message)
                for message in _episode(session, phase, *visit)
            ]
        (path / "trace.jsonl").write_bytes(b"".join(encode(e) + b"\n" for e in envelopes))
        return path


def _episode(
    session: int, phase: Phase, user: int, length: int, reward: float, unrewarded: int = 0
) -> list[Message]:
    started = EpisodeStarted(
        user=user, session=session, arrival=0, history=(), memories=(), phase=phase
    )
    if not length:
        return [started, EpisodeFailed(why="it failed")]
    steps = [
        UserResponded(step=step, reward=reward / (length - unrewarded), left=False)
        for step in range(length - unrewarded)
    ]
    ended = EpisodeEnded(length=length, reward=reward, reason="quit")
    return [started, *steps, ended, EpisodeSettled()]


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def two(runs: Runs) -> list[Path]:
    """Two agents, two seeds: one gets 2 more from each user under seed 1, and 4 under seed 2."""
    return [
        runs.add("one", 1, ("train", [(0, 2, 8.0), (1, 4, 12.0)])),
        runs.add("one", 2, ("train", [(0, 3, 9.0), (1, 5, 15.0)])),
        runs.add("two", 1, ("train", [(0, 2, 6.0), (1, 2, 10.0)])),
        runs.add("two", 2, ("train", [(0, 1, 5.0), (1, 3, 11.0)])),
    ]


def test_means_are_over_users_and_seeds(runs: Runs) -> None:
    one, other = compare(two(runs)).groups
    assert (one.label, one.seeds, one.visits) == ("one", (1, 2), 4)
    assert (one.means["r_traj"].mean, other.means["r_traj"].mean) == (11.0, 8.0)
    assert (one.means["len"].mean, other.means["len"].mean) == (3.5, 2.0)
    assert [(m.seed, m.value) for m in one.means["r_traj"].by_seed] == [(1, 10.0), (2, 12.0)]
    assert one.means["r_each"].mean == pytest.approx((20 / 6 + 24 / 8) / 2, rel=1e-5)


def test_steps_without_a_reward_are_not_divided_by(runs: Runs) -> None:
    """6 + 4 over two steps and one; of visits alone, as in pairs, 3 and 4."""
    one = runs.add("one", 1, ("train", [(0, 3, 6.0, 1), (1, 2, 4.0, 1)]))
    other = runs.add("two", 1, ("train", [(0, 1, 0.0, 1), (1, 1, 0.0, 1)]))
    found = compare([one, other], measure="r_each")
    mean, nothing = (group.means["r_each"] for group in found.groups)
    assert mean.mean == pytest.approx(10 / 3, rel=1e-5)
    assert mean.users == Interval(3.0, 4.0)
    assert (nothing.mean, nothing.users) == (0.0, Interval(0.0, 0.0))
    assert found.pairs[0].difference.mean == 3.5


def test_who_comes_again_is_one_user(runs: Runs) -> None:
    """Visits are averaged before anything is said of users: they make nothing surer."""
    once: list[Visit] = [(0, 1, 4.0), (1, 2, 8.0)]
    again: list[Visit] = [(0, 3, 2.0), (0, 1, 6.0), (1, 1, 9.0), (1, 3, 7.0)]
    paths = [
        runs.add("one", 1, ("train", again)),
        runs.add("two", 1, ("train", [(user, 1, 1.0) for user, *_ in again])),
    ]
    found = compare(paths)
    (group, _), (pair,) = found.groups, found.pairs
    (whole,) = compare([runs.add("one", 1, ("train", once))]).groups
    assert group.means["r_traj"] == whole.means["r_traj"]
    assert group.means["r_each"].mean == 3.0
    assert (group.visits, pair.visits, pair.difference.mean, pair.p_users) == (4, 4, 5.0, 0.5)
    assert found.notes[1] == "2 of 2 users came more than once: their visits are averaged"


def test_averages_that_are_equal_on_paper_are_a_tie(runs: Runs) -> None:
    """(0.1 + 0.2) ÷ 2 is (0.3 + 0) ÷ 2."""
    one = runs.add("one", 1, ("train", [(0, 1, 0.1), (0, 1, 0.2), (1, 1, 5.0)]))
    other = runs.add("two", 1, ("train", [(0, 1, 0.3), (0, 1, 0.0), (1, 1, 4.0)]))
    assert compare([one, other]).pairs[0].better == 0.75


def test_visits_in_one_run_only_are_left_out_of_a_users_mean(runs: Runs) -> None:
    """The second visit of user 0 failed in one run: it does not count in the other."""
    paths = [
        runs.add("one", 1, ("train", [(0, 1, 4.0), (0, 0, 0.0), (1, 1, 6.0)])),
        runs.add("two", 1, ("train", [(0, 1, 3.0), (0, 1, 99.0), (1, 1, 3.0)])),
    ]
    found = compare(paths)
    (pair,) = found.pairs
    assert (pair.visits, pair.missing, pair.difference.mean) == (2, 1, 2.0)
    assert "up to 1 of 2 users came more than once: their visits are averaged" in found.notes


def test_differences_are_of_the_same_user_under_the_same_seed(runs: Runs) -> None:
    (pair,) = compare(two(runs)).pairs
    assert (pair.one, pair.other, pair.visits, pair.missing) == ("one", "two", 4, 0)
    assert pair.difference.mean == 3.0
    assert pair.difference.users == Interval(3.0, 3.0)
    assert pair.better == 1.0
    assert pair.p_users == 0.5  # two users: of four signs two are as extreme


def test_what_is_concluded_of_training_is_concluded_from_seeds(runs: Runs) -> None:
    """2 more under one seed and 4 under the other, whatever the users: t is 3, of one degree."""
    found = compare(two(runs))
    (pair,) = found.pairs
    assert [(m.seed, m.value) for m in pair.difference.by_seed] == [(1, 2.0), (2, 4.0)]
    theirs = stats.ttest_1samp([2.0, 4.0], 0.0)
    assert pair.p == pytest.approx(theirs.pvalue, rel=1e-5)
    interval = (pair.difference.low, pair.difference.high)
    assert interval == pytest.approx(tuple(theirs.confidence_interval()), rel=1e-5)
    assert pair.p_signs == 0.5  # two seeds: of four signs two are as extreme
    assert "nothing can be concluded about training from 2 seeds" in found.notes[0]


def test_one_seed_says_nothing_of_others(runs: Runs) -> None:
    """No interval and no p over seeds, and why; users have theirs."""
    found = compare(two(runs)[::2])
    (pair,) = found.pairs
    assert (pair.difference.low, pair.p, pair.p_holm, pair.p_signs) == (None, None, None, None)
    assert pair.difference.users == Interval(2.0, 2.0)
    assert found.notes[0].startswith("one seed is one training")
    assert "| one − two | 2.0 | – | – | – | 1 |" in as_markdown(found)


def test_five_seeds_are_not_warned_of(runs: Runs) -> None:
    paths = [
        runs.add(name, seed, ("train", [(0, 1, 1.0 * seed)])) for seed in range(5) for name in "ab"
    ]
    assert not any("seed" in note for note in compare(paths).notes)


def test_pairs_have_an_adjusted_p_each_for_itself(runs: Runs) -> None:
    """A pair with one seed in common has none over seeds, and does not count for the others."""
    paths = [runs.add("a", seed, ("train", [(0, 1, 5.0 * seed)])) for seed in (1, 2)]
    paths += [runs.add("b", seed, ("train", [(0, 1, 1.0)])) for seed in (1, 2)]
    with_two, with_one = compare([*paths, runs.add("c", 1, ("train", [(0, 1, 1.0)]))]).pairs
    assert with_two.p_holm == with_two.p
    assert with_one.p_holm is None


@pytest.mark.parametrize(("measure", "mean"), [("len", 1.5), ("r_each", -11 / 12)])
def test_other_measures_can_be_compared(runs: Runs, measure: Any, mean: float) -> None:
    (pair,) = compare(two(runs), measure=measure).pairs
    assert pair.difference.mean == pytest.approx(mean, rel=1e-5)


def test_every_group_is_compared_with_the_reference(runs: Runs) -> None:
    paths = [runs.add(name, 1, ("train", [(0, 1, 1.0), (1, 1, 2.0)])) for name in "abc"]
    assert [(p.one, p.other) for p in compare(paths).pairs] == [("a", "b"), ("a", "c")]
    assert [p.one for p in compare(paths, reference="b").pairs] == ["b", "b"]
    assert len(compare(paths, every_pair=True).pairs) == 3


def test_ps_are_adjusted_for_all_pairs(runs: Runs) -> None:
    """Never below what they were, and times their number for the smallest."""
    many = [(user, 1, 1.0 + user % 3) for user in range(40)]
    better = [(user, 1, 2.0 + user % 3) for user in range(40)]
    paths = [
        runs.add("a", 1, ("train", better)),
        runs.add("b", 1, ("train", many)),
        runs.add("c", 1, ("train", better[:20] + many[20:])),
    ]
    pairs = compare(paths).pairs
    alone = [compare([paths[0], path]).pairs[0].p_users for path in paths[1:]]
    assert [pair.p_users for pair in pairs] == pytest.approx(holm(alone), rel=1e-4)


def test_runs_are_judged_by_their_last_test(runs: Runs) -> None:
    """Training counts for nothing, nor do earlier tests; those make the learning curve."""
    path = runs.add(
        "one",
        1,
        ("test", [(8, 1, 1.0), (9, 1, 2.0)]),
        ("train", [(0, 9, 90.0), (1, 9, 90.0)]),
        ("test", [(8, 1, 5.0), (9, 3, 7.0)]),
        test_episodes=2,
    )
    read = read_outcomes(path)
    assert read.judged == {
        (8, 1): Outcome(length=1, reward=5.0),
        (9, 1): Outcome(length=3, reward=7.0),
    }
    (group,) = compare([path]).groups
    assert (group.visits, group.means["r_traj"].mean) == (2, 6.0)
    (curve,) = curves([read], "r_traj")
    assert [(p.trained, p.value.mean) for p in curve.points] == [(0, 1.5), (2, 6.0)]


def test_failed_episodes_are_left_out_of_both_and_said(runs: Runs) -> None:
    paths = [
        runs.add("one", 1, ("train", [(0, 1, 4.0), (1, 0, 0.0), (2, 1, 6.0)])),
        runs.add("two", 1, ("train", [(0, 1, 3.0), (1, 1, 99.0), (2, 1, 3.0)])),
    ]
    found = compare(paths)
    (pair,) = found.pairs
    assert (pair.visits, pair.missing, pair.difference.mean) == (2, 1, 2.0)
    assert any("1 episode failed" in note for note in found.notes)
    assert any("1 visit is in one of them only" in note for note in found.notes)


def test_what_else_differs_is_part_of_the_name(runs: Runs) -> None:
    """Settings that are swept make groups; the seed does not."""
    visits: tuple[Phase, list[Visit]] = ("train", [(0, 1, 1.0)])
    paths = [
        runs.add("one", seed, visits, environment="world", **{"actor.recall_count": count})
        for count in (1, 5)
        for seed in (1, 2)
    ]
    groups = compare(paths).groups
    assert [g.label for g in groups] == ["one actor.recall_count=1", "one actor.recall_count=5"]
    assert [g.seeds for g in groups] == [(1, 2), (1, 2)]


def test_what_suits_an_agent_is_no_part_of_its_name(runs: Runs) -> None:
    """The name of `billp:paper` says in what it differs; what is set stands beside a name."""
    visits: tuple[Phase, list[Visit]] = ("train", [(0, 1, 1.0)])
    usual: dict[str, dict[str, Any]] = {
        name: dict(configured({"agent": name}).deciding()) for name in ("billp", "billp:paper")
    }
    paths = [runs.add(name, 1, visits, **settings) for name, settings in usual.items()]
    assert [group.label for group in compare(paths).groups] == ["billp", "billp:paper"]
    paths += [runs.add("billp", 1, visits, **{**usual["billp"], "actor.hints": 5})]
    assert [group.label for group in compare(paths).groups] == [
        "billp actor.hints=10",
        "billp:paper",
        "billp actor.hints=5",
    ]


def test_the_mode_is_what_all_runs_have_in_common(runs: Runs) -> None:
    visits: tuple[Phase, list[Visit]] = ("train", [(0, 1, 1.0)])
    mode = compare([runs.add("a", 1, visits), runs.add("b", 1, visits, limit=10)]).mode
    assert mode == {"repeats": "forbid"}
    satiated = {"quit_rule": "quantile", "rewards.satiation": "0.0,0.6"}
    found = compare([runs.add(name, 2, visits, **satiated) for name in "ab"])
    assert found.mode.items() >= satiated.items()
    said = "Items shown before: forbid, users leave by quantile, satiation 0.0,0.6"
    assert said in as_markdown(found)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda r: r.add("b", 1, ("train", [(0, 1, 1.0)]), environment="other"), "different env"),
        (lambda r: r.add("b", 1, ("test", [(0, 1, 1.0)])), "test users"),
        (lambda r: r.add("a", 1, ("train", [(0, 1, 1.0)])), "seed 1 is there twice"),
        (lambda r: r.add("b", 2, ("train", [(0, 1, 1.0)])), "no seed in common"),
        (lambda r: r.add("b", 1, ("train", [(7, 1, 1.0)])), "no visit in common"),
        (lambda r: r.add("b", 1), "no episode of it has ended"),
        (lambda r: r.add("b", 1, ("train", [(7, 0, 1.0)])), "all episodes by which it would be"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    runs: Runs, spoil: Callable[[Runs], Path], sentence: str
) -> None:
    first = runs.add("a", 1, ("train", [(0, 1, 1.0)]))
    with pytest.raises(ConfigError, match=sentence):
        compare([first, spoil(runs)])


def test_nothing_and_nobody_are_refused(runs: Runs) -> None:
    with pytest.raises(ConfigError, match="nothing to compare"):
        compare([])
    with pytest.raises(ConfigError, match="there is no group 'x'"):
        compare(two(runs), reference="x")


def test_a_last_test_in_which_all_failed_is_not_passed_over(runs: Runs) -> None:
    """Neither an earlier test nor the training stands in for it; a curve ends before it."""
    tests: list[tuple[Phase, Sequence[Visit]]] = [
        ("test", [(7, 2, 6.0)]),
        ("train", [(0, 1, 1.0)]),
        ("test", [(7, 1, 5.0)]),
    ]
    lost: tuple[Phase, Sequence[Visit]] = ("test", [(7, 0, 0.0)])
    whole = runs.add("a", 1, *tests)
    spoilt = runs.add("b", 1, *tests, ("train", [(1, 1, 1.0)]), lost)
    with pytest.raises(ConfigError, match="all episodes by which it would be") as caught:
        compare([whole, spoilt])
    assert caught.value.hint == f"billp resume {spoilt} --retry-failed"
    (curve,) = curves([read_outcomes(spoilt)], "r_traj")
    assert [point.trained for point in curve.points] == [0, 1]


def test_a_curve_shows_every_seed(runs: Runs) -> None:
    """And its interval over seeds, if there is one."""
    parts: list[tuple[Phase, Sequence[Visit]]] = [
        *(("test", [(8, 1, 1.0)]), ("train", [(0, 1, 1.0)]), ("test", [(8, 1, 5.0)])),
    ]
    read = [read_outcomes(runs.add("one", seed, *parts, test_episodes=1)) for seed in (1, 2)]
    for several, expected in ((read, "5.0 5.0"), (read[:1], "5.0")):
        (table,) = curve_tables(curves(several, "r_traj"))
        *_, by_seed = table.columns
        assert [*by_seed.cells][-1] == expected


# -- as people read it


@pytest.fixture
def found(runs: Runs) -> Comparison:
    return compare(two(runs))


def test_markdown_is_a_table(found: Comparison) -> None:
    lines = as_markdown(found).splitlines()
    assert lines[2] == "| agent | Len | R_each | R_traj | seeds |"
    assert lines[4].startswith("| one | 3.5 [")
    assert any(line.startswith("| one − two | 3.0 | [-9.7, 15.7] |") for line in lines)


def test_every_seed_is_shown_in_one_format(found: Comparison) -> None:
    """For people, in JSON and as a table to reckon with."""
    shown = as_markdown(found)
    assert "| R_traj | seed 1 | seed 2 |" in shown
    assert "| one | 10.0 | 12.0 |" in shown
    assert "| one − two | 2.0 | 4.0 |" in shown
    rows = found.frame().explode("by_seed").unnest("by_seed").to_dicts()
    assert {(r["label"], r["seed"]): r["value"] for r in rows if r["measure"] == "r_traj"} == {
        **{("one", 1): 10.0, ("one", 2): 12.0},
        **{("two", 1): 8.0, ("two", 2): 8.0},
    }


def test_latex_escapes_what_it_must(found: Comparison) -> None:
    text = as_latex(found)
    assert "\\begin{tabular}{lrrrr}\n\\toprule\n" in text
    assert "100\\%" in text
    assert "R\\_traj" in text
    assert "−" not in text.split("\\end{tabular}")[0]


LONG = "billp:no-macro actor.recall_count=5 critic.discount=0.5 memory_size=1000"


@pytest.mark.parametrize("width", [20, 80, 200])
def test_long_labels_fold_and_no_digit_is_lost(
    runs: Runs, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    """Whatever the width: numbers stand whole in a line, and labels can be put together again."""
    visits = [(user, 1234, 98765.4321 * (1 + user)) for user in range(3)]
    paths = [runs.add(name, 1, ("train", visits)) for name in (LONG, f"{LONG},other")]
    rows = [line.strip("| ").split(" | ") for line in as_markdown(compare(paths)).splitlines()]
    groups = rows[4:6]
    pair = next(row for row in rows if row[0].count(LONG) == 2)
    lines = Shell(capsys, width).fine("compare", *paths).splitlines()
    for numbers in (groups[0][1:], pair[1:]):
        assert any(line.split() == " ".join(numbers).split() for line in map(unlabelled, lines))
    labels = "".join("".join(line[: -len(unlabelled(line)) or None].split()) for line in lines)
    assert all(row[0].replace(" ", "") in labels for row in (*groups, pair))


def unlabelled(line: str) -> str:
    """Return what stands right of the first column of a table: after two spaces."""
    return line.strip().partition("  ")[2]


@pytest.mark.parametrize("seed", ["-1", "x"])
def test_a_seed_of_resampling_is_a_whole_number(
    runs: Runs, capsys: pytest.CaptureFixture[str], seed: str
) -> None:
    said = Shell(capsys).billp("compare", *two(runs), f"--seed={seed}")
    assert said.status == 2
    assert "'--seed'" in said.err


def test_the_command_says_the_same_in_every_form(
    runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    shell, paths = Shell(capsys), two(runs)
    assert json.loads(shell.fine("compare", *paths, "--json"))["pairs"][0]["difference"][
        "by_seed"
    ] == [
        {"seed": 1, "value": 2.0},
        {"seed": 2, "value": 4.0},
    ]
    assert "one − two" in shell.fine("compare", *paths)
    assert shell.fine("compare", *paths, "--markdown") == as_markdown(compare(paths))
    assert shell.fine("compare", *paths, "--latex") == as_latex(compare(paths))
    assert "choose one of" in shell.refusal("compare", *paths, "--latex", "--json")[0]
    assert comparison_page(compare(paths)) is not None
