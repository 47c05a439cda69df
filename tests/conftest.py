"""What all tests share: above all a place for what billp keeps of its user."""

import gc
import os
import signal
from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

# The same examples on every machine, however busy it is: who changes a law changes its examples.
# Hypothesis takes some of them from constants of the modules of ours that are loaded by then.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")

# Files, and tests of others, that run the same lines hundreds of times: to count them takes
# long, and finds next to none that is new (`pytest --cov --cov-context=test` tells what each test
# reaches alone).
AGAIN = {
    "test_advice", "test_alterations", "test_altered", "test_bounded", "test_damage",
    "test_determinism", "test_diversity", "test_docstrings", "test_embedding_costs",
    "test_embeddings", "test_estimate", "test_faults", "test_followers", "test_fork",
    "test_hostile_files", "test_interrupt", "test_kills", "test_linucb", "test_output",
    "test_power", "test_predictions", "test_replay", "test_tree", "test_utilization",
    "test_visitors", "test_worlds",
    "test_a_cache_serves_any_concurrency", "test_a_critique_is_the_same_every_time",
    "test_a_key_from_a_file_is_nowhere", "test_a_ratio_to_visits_is_a_mean",
    "test_a_role_elsewhere_gets_no_key_of_the_runs_service",
    "test_a_service_that_says_later_stops_a_run", "test_every_agent_replays_to_the_same_bytes",
    "test_faults_leave_no_mark_on_replies", "test_finds_what_the_service_can_take",
    "test_keys_of_roles_are_nowhere", "test_large_ceiling_is_reached_within_seconds",
    "test_listeners_leave_no_mark", "test_other_shapes_seldom_stop_it_falsely",
    "test_quota_is_used_and_kept", "test_real_time_and_limits_leave_no_mark",
    "test_rollouts_differ", "test_rollouts_that_fail_are_left_out",
    "test_run_toml_suffices_to_run_again", "test_runs_that_begin_alike_share",
    "test_the_runs_own_seed_makes_what_is_recorded",
    "test_what_an_episode_sees_is_a_function_of_virtual_time", "test_what_passes_leaves_no_mark",
    "test_what_was_found_holds_in_runs", "test_whatever_comes_is_a_reply_or_may_pass",
    "test_who_has_a_memory_learns", "test_with_more_the_run_goes_on",
}  # fmt: skip


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """Let one more work than usual: some tests wait for real time, and leave a processor idle."""
    return (yield) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Let libraries compute on one thread: others would wait for a processor that a test keeps."""
    for threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(threads, "1")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for garbage among what tests make only: thousands of tests that wait are none."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


MARKS = frozenset({"slow", "digests"})
"""The marks by which tests are chosen; a file that has tests of one names it."""


@cache
def _text(file: Path) -> str:
    return file.read_text()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave files unread that hold no test of a mark, where only those of some marks run.

    Each worker would else import all of them first, and rewrite their assertions.
    """
    chosen = config.option.markexpr.split(" or ")
    if not MARKS.issuperset(chosen) or not collection_path.match("test_*.py"):
        return None
    return None if any(mark in _text(collection_path) for mark in chosen) else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out of coverage what costs more than it shows; see that no mark is overlooked."""
    for item in items:
        for mark in MARKS:
            if item.get_closest_marker(mark) and mark not in _text(item.path):
                what = f"it is {mark} by a mark that its file does not name"
                raise pytest.UsageError(
                    f"{item.nodeid}: {what}: pytest -m {mark} would not read it"
                )
        if not AGAIN.isdisjoint({item.path.stem, item.name.partition("[")[0]}):
            item.add_marker("no_cover")


@pytest.fixture(autouse=True, scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the secret by which runs are known away from that of who runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True, scope="session")
def hangups() -> None:
    """Let what tests begin hear SIGHUP, also after `nohup`: who is begun ignores what we do."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """What a test lets be logged, as commands do that it calls, holds for no other test."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
