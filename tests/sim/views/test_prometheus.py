"""Prometheus scrapes a run while it runs, and can read what it gets."""

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import ClientSession
from structlog.testing import capture_logs

from engine.listeners import Live
from engine.messages import EpisodeSettled
from sim.config.layers import configured
from sim.runs.run import run
from sim.runs.watching import Underway
from tests.support.small import SMALL

parser = pytest.importorskip("prometheus_client.parser", reason="needs the extra prometheus")

views = pytest.importorskip("sim.views.prometheus", reason="needs the extra prometheus")

pytestmark = pytest.mark.slow


@dataclass(eq=False)
class Scraping:
    """Asks for the metrics when the third episode is over, as Prometheus does."""

    view: Any
    text: str = ""
    status: int = 0

    def attach(self, underway: Underway) -> None:
        underway.assembly.bus.listen(EpisodeSettled, self._hear)

    async def _hear(self, live: Live[EpisodeSettled]) -> None:
        if self.view.address and not self.text:
            async with ClientSession() as session, session.get(self.view.address) as answer:
                self.status, self.text = answer.status, await answer.text()

    async def show(self) -> None:
        await anyio.sleep_forever()


def test_prometheus_can_parse_what_it_scrapes(tmp_path: Path) -> None:
    """Over HTTP, while the run goes on; its numbers are of what has happened by then."""
    view = views.PrometheusView(port=0)
    scraping = Scraping(view)
    config = configured(SMALL)
    run(config, out=tmp_path / "run", views=[view, scraping])
    families = {one.name: one for one in parser.text_string_to_metric_families(scraping.text)}
    samples = {
        (one.name, *one.labels.values()): one.value
        for family in families.values()
        for one in family.samples
    }
    assert scraping.status == 200
    assert view.address.startswith("http://127.0.0.1:")
    assert samples["billp_episodes_planned",] == config.visits
    assert samples["billp_steps_total",] > 0
    assert families["billp_model_call_seconds"].type == "histogram"
    calls = families["billp_model_calls"].samples
    assert {one.labels["role"] for one in calls} <= {role.name for role in config.cast.roles}


def test_prometheus_counts_what_the_summary_says(tmp_path: Path) -> None:
    meters = views.PrometheusMeters()
    view = views.PrometheusView(port=0, _meters=meters)
    summary = run(configured(SMALL), out=tmp_path / "run", views=[view])
    value = meters.registry.get_sample_value
    quits = {why: value("billp_quits_total", {"reason": why}) for why in summary.metrics.quits}
    assert value("billp_steps_total") == summary.metrics.steps
    assert {**quits, "limit": value("billp_episodes_total", {"outcome": "limit"})} == {
        "limit": None,
        **quits,
        **summary.metrics.quits,
    }


def test_a_port_that_is_taken_hurts_no_run(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, capture_logs() as logs:
        view = views.PrometheusView(port=taken.getsockname()[1])
        summary = run(configured(SMALL), out=tmp_path / "run", views=[view])
    assert summary.metrics.episodes == 6
    (dropped,) = [entry for entry in logs if entry["event"] == "view dropped"]
    assert "cannot be listened at" in dropped["exception"]
