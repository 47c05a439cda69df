"""Learned policies: their file, what they see, and what they choose."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.policies.learned.learned import Learned
from agents.policies.learned.network import Network, Seen
from agents.policies.learned.observation import sight_of
from agents.policies.learned.saved import Saved, read_policy
from agents.trajectory import Step, Trajectory
from engine.chance import chance
from engine.errors import ConfigError
from engine.messages import Rated
from storage.factors import significant
from tests.support.policies import WINDOW, folding, network, policy, saved
from tests.support.small import synthetic

COUNT = len(synthetic().catalog)
RATED = ((3, 5.0), (700, 1.0))
CATALOG = synthetic().catalog


GIVEN = "2c2aa5a374d97efa69173b76103326e06cabe048d6e81b18be1661fb44687c82"


@dataclass(frozen=True)
class Asked:
    """An oracle to which items of even number are near everything; or one that nobody may ask."""

    silent: bool = False

    def near(self, item: int) -> NDArray[np.bool_]:
        assert not self.silent
        return np.asarray(np.arange(COUNT) % 2 == 0)

    def rewards(self, trajectory: Trajectory) -> NDArray[np.float64]:
        raise AssertionError("nobody asks for rewards")

    def bores(self, trajectory: Trajectory, item: int) -> bool:
        raise AssertionError("nobody asks what bores")


def visit(*steps: tuple[int, float]) -> Trajectory:
    """Return the visit of somebody who rated two items, after *steps*."""
    last = None
    for number, (item, reward) in enumerate(steps):
        last = Step(
            number=number,
            thought="",
            item=item,
            title=CATALOG.titles[item],
            categories=CATALOG.categories[item],
            reward=reward,
            left=False,
            previous=last,
        )
    history = tuple(Rated(item=i, title=CATALOG.titles[i], rating=r) for i, r in RATED)
    return Trajectory(user=0, session=0, history=history, step=len(steps), last=last)


def chosen(
    policy: Saved, *steps: tuple[int, float], shown: set[int] | None = None, silent: bool = True
) -> int:
    """Return what *policy* chooses after *steps*."""
    known = {item for item, _ in steps} if shown is None else shown
    stream = chance(0, 0, 0, 0, "policy")
    return Learned(policy, Asked(silent)).choose(visit(*steps), known, stream)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    return saved(tmp_path_factory.mktemp("policy") / "plain")


# -- the network


def by_hand(network: Network, seen: Seen, item: int) -> float:
    """Return the formula of the docstring, term by term, for the first row."""
    inputs = [*(seen.users[0] / network.scale)]
    for recent in seen.items[0]:
        inputs += [*(network.items[recent] if recent >= 0 else np.zeros(network.width))]
    known = [float(recent >= 0) for recent in seen.items[0]]
    inputs += [
        (reward - network.middle[0]) * there
        for reward, there in zip(seen.rewards[0], known, strict=True)
    ]
    inputs += [*known, seen.progress[0]]
    layer = [max(0.0, float(row @ inputs)) for row in network.first]
    layer = [max(0.0, float(row @ layer)) for row in network.second]
    state = network.last @ layer + network.last_bias
    wanted = state[: network.width] + network.skip @ seen.users[0]
    near = seen.near is not None and bool(seen.near[0, item])
    nearness = float(state[-1]) if network.told and near else 0.0
    return float(wanted @ network.items[item] + network.bias[item] + nearness)


@pytest.mark.parametrize("told", [False, True])
def test_a_network_gives_what_its_formula_says(told: bool) -> None:
    """f(s)·g(item) + bias(item), and what nearness is worth, to 6 digits."""
    own = folding(synthetic())
    seen = sight_of(own, visit((5, 4.0), (9, 2.0)), WINDOW, 50)
    seen = replace(seen, near=np.arange(COUNT)[None] % 3 == 0) if told else seen
    net = network(own, told=told)
    given = net.logits(seen)[0]
    for item in (0, 1, 5, 999, COUNT - 1):
        assert given[item] == pytest.approx(by_hand(net, seen, item), rel=1e-5)
        assert given[item] == significant(given[item])


def test_the_last_items_are_seen_newest_first() -> None:
    """With their rewards; where there is none yet, −1."""
    seen = sight_of(folding(synthetic()), visit((5, 4.0), (9, 2.0)), WINDOW, 50)
    assert seen.items.tolist() == [[9, 5, -1, -1]]
    assert seen.rewards.tolist() == [[2.0, 4.0, 0.0, 0.0]]
    assert seen.progress.tolist() == [2 / 50]


@pytest.mark.parametrize("threads", ["1", "2"])
def test_blas_leaves_no_mark_on_a_policy(threads: str, tmp_path: Path) -> None:
    """Sums of some dozens of numbers, rounded: what is chosen is the same in any order."""
    path = policy(tmp_path / "policy")
    code = (
        "import sys; import numpy as np; from pathlib import Path;"
        "from agents.policies.learned.network import Seen;"
        "from agents.policies.learned.saved import read_policy;"
        "s = read_policy(Path(sys.argv[1])); n = 64; i = np.arange(n * 4).reshape(n, 4);"
        "u = np.linspace(-1, 1, n * s.folding.width).reshape(n, -1);"
        "seen = Seen(u, i, i % 5 + 0.5, i[:, 0] / 300);"
        "print(s.network.logits(seen).tobytes().hex()[:100_000])"
    )
    chosen = {"OPENBLAS_NUM_THREADS": threads, "PYTHONHASHSEED": threads}
    command = [sys.executable, "-c", code, str(path)]
    said = subprocess.run(command, check=True, env=os.environ | chosen, capture_output=True)
    assert sha256(said.stdout).hexdigest() == GIVEN


# -- what is chosen


def test_what_is_given_most_is_taken(plain: Saved) -> None:
    given = plain.network.logits(sight_of(plain.folding, visit(), WINDOW, 50))
    assert chosen(plain) == int(np.argmax(given[0]))


def test_of_items_that_are_given_the_same_the_lower_is_taken(plain: Saved) -> None:
    flat = replace(
        plain.network, items=0 * plain.network.items, bias=np.repeat([1.0, 2.0], COUNT // 2)
    )
    assert chosen(replace(plain, network=flat)) == COUNT // 2


def test_nothing_comes_again_until_all_was_shown(plain: Saved) -> None:
    """Then the best comes again."""
    best = chosen(plain)
    assert chosen(plain, shown={best}) != best
    assert chosen(plain, shown={*range(COUNT)} - {17}) == 17
    assert chosen(plain, shown={*range(COUNT)}) == best


def test_only_a_policy_that_says_so_asks_the_oracle(plain: Saved, tmp_path: Path) -> None:
    """One that is told what is near stays away from it."""
    told = saved(tmp_path / "told", told=True)
    assert chosen(plain, (5, 4.0)) == chosen(plain, (5, 4.0))  # the oracle would complain
    assert chosen(told, (5, 4.0), silent=False) % 2 == 1


def test_what_is_unlikely_is_left_out(tmp_path: Path) -> None:
    """The best of what is at least three tenths as likely as the likeliest that is left."""
    filtered = saved(tmp_path / "likely", likely=True)
    assert filtered.likely is not None
    seen = sight_of(filtered.folding, visit(), WINDOW, 50)
    worth, likely = filtered.network.logits(seen)[0], filtered.likely.logits(seen)[0]
    for shown in (set[int](), {int(np.argmax(likely))}):
        left = [item for item in range(COUNT) if item not in shown]
        most = max(likely[left])
        allowed = [item for item in left if np.exp(likely[item] - most) >= 0.3]
        assert chosen(filtered, shown=shown) == max(allowed, key=lambda item: worth[item])


# -- the file


def test_a_policy_is_read_as_it_was_written(tmp_path: Path) -> None:
    """And its digest is the sha256 of its file."""
    path = policy(tmp_path / "policy", told=True)
    found, own = read_policy(path), folding(synthetic())
    assert found.digest == sha256(path.read_bytes()).hexdigest()
    for name, array in vars(network(own, told=True)).items():
        assert np.array_equal(getattr(found.network, name), array), name
    assert np.array_equal(found.folding.items, own.items)


def _cut(content: bytes) -> bytes:
    return content[:-8]


def _longer(content: bytes) -> bytes:
    return content + bytes(8)


def _otherwise(content: bytes) -> bytes:
    return b"PK\x03\x04" + content


def _not_a_number(content: bytes) -> bytes:
    return content[:-8] + np.array([np.nan], "<f8").tobytes()


def _of_other_shape(content: bytes) -> bytes:
    return content.replace(b'"network.last_bias":[20]', b'"network.last_bias":[4,5]')


def _without_a_part(content: bytes) -> bytes:
    return content.replace(b'"network.skip"', b'"network.hops"')


def _huge(content: bytes) -> bytes:
    return content.replace(b'"network.last_bias":[20]', b'"network.last_bias":[99999999,99999999]')


def _unknown(content: bytes) -> bytes:
    return content.replace(b'"algorithm"', b'"run_this":1,"algorithm"')


def _endless(content: bytes) -> bytes:
    first, _, rest = content.partition(b"\n")
    return first + b"\n" + b" " * (1 << 20) + rest


DAMAGE = (
    _cut,
    _longer,
    _otherwise,
    _not_a_number,
    _of_other_shape,
    _without_a_part,
    _huge,
    _unknown,
    _endless,
)


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_no_policy_is_refused_in_a_sentence(
    damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    """Whatever the bytes say: nothing of them is believed beyond what is there."""
    path = policy(tmp_path / "policy")
    content = path.read_bytes()
    assert damage(content) != content
    path.write_bytes(damage(content))
    with pytest.raises(ConfigError, match="is no policy of billp train: ") as refused:
        read_policy(path)
    assert "\n" not in str(refused.value)


def test_what_is_told_is_said_by_the_head(tmp_path: Path) -> None:
    """Weights that are told what is near, under a head that does not say it, are no policy."""
    path = policy(tmp_path / "policy", told=True, privileged=())
    with pytest.raises(ConfigError, match="is told what its head does not say"):
        read_policy(path)


def test_a_directory_is_no_policy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_policy(tmp_path)
