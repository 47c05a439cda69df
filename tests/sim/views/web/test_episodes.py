"""The list of a run's episodes: in pages, sorted, and only those that are wanted."""

from pathlib import Path

import anyio
import msgspec
import pytest

from engine.errors import ConfigError
from sim.analysis.choosing import Choice
from sim.config.layers import configured
from sim.runs.run import run
from sim.views.web.episodes import EpisodesFacts, episodes_page
from tests.support.pages import asked, got
from tests.support.small import SMALL


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "small"
    run(configured(SMALL), out=path)
    return path


def facts(recorded: Path, **query: object) -> EpisodesFacts:
    found = episodes_page(asked(recorded, **query)).facts
    assert isinstance(found, EpisodesFacts)
    return found


def test_a_page_has_the_rows_that_are_asked_for(recorded: Path) -> None:
    """Rows come from a place on, as many as are wanted; how many there are is said."""
    found = facts(recorded, **{"from": 2, "count": 3})
    assert [row.episode for row in found.rows] == [2, 3, 4]
    assert (found.first, found.matching, found.total) == (2, 6, 6)
    assert facts(recorded, **{"from": 99}).rows == ()


def test_rows_come_sorted_either_way(recorded: Path) -> None:
    """The lowest reward comes first, or the highest; of equal ones the lowest number."""
    rising = [row.reward for row in facts(recorded, sort="reward").rows]
    falling = facts(recorded, sort="reward", down=1)
    assert rising == sorted(rising) != rising[::-1]
    assert [row.reward for row in falling.rows] == rising[::-1]
    assert falling.highest == rising[-1]
    lengths = [(row.length, -row.episode) for row in facts(recorded, sort="length", down=1).rows]
    assert lengths == sorted(lengths, reverse=True)


def test_rows_are_those_of_a_user_or_a_reason(recorded: Path) -> None:
    """Whoever is named, and why visits ended; nothing else is there."""
    every = facts(recorded)
    one = every.rows[3]
    assert [row.episode for row in facts(recorded, user=one.user).rows] == [3]
    alike = facts(recorded, reason=one.reason)
    assert alike.rows == tuple(row for row in every.rows if row.reason == one.reason)
    assert facts(recorded, end="failed").rows == facts(recorded, phase="test").rows == ()


@pytest.mark.parametrize("query", [{"sort": "luck"}, {"end": "so"}, {"user": "me"}])
def test_what_cannot_be_chosen_is_refused(recorded: Path, query: dict[str, str]) -> None:
    """A word that names no order, and no user, is said to be none."""
    with pytest.raises(ConfigError):
        facts(recorded, **query)


def test_the_list_reads_without_scripts(recorded: Path) -> None:
    """Rows, filters and the way to the next page stand in the page itself."""
    address = "/episodes/small?count=2&sort=reward&down=1"
    status, text = anyio.run(got, recorded.parent, address)
    best = facts(recorded, sort="reward", down=1).rows[0]
    assert status == 200
    assert f'href="/episode/small?k={best.episode}"' in text
    assert 'href="/episodes/small?from=2&amp;count=2&amp;sort=reward&amp;down=1"' in text
    assert f'<option value="{best.reason}"' in text


def test_the_list_is_data_as_well(recorded: Path) -> None:
    """Scripts get the same rows."""
    _, text = anyio.run(got, recorded.parent, "/episodes/small?json&count=1")
    told = msgspec.json.decode(text, type=dict[str, object])
    assert told["total"] == 6
    assert told["choice"] == msgspec.to_builtins(Choice())


def test_the_page_of_a_run_holds_the_list(recorded: Path) -> None:
    """Its rows come by script; without, there is a way to the list itself."""
    status, text = anyio.run(got, recorded.parent, "/run/small")
    assert status == 200
    assert '<billp-episodes src="/episodes/small" episode="/episode/small">' in text
    assert '<a href="/episodes/small">All episodes</a>' in text
