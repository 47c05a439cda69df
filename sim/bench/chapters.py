"""The chapters of the book: what is measured beside what."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec

from sim.bench.children import Job, Measurer, job
from sim.bench.cost import Cost, times, typical
from sim.bench.figures import Chapter, Figure, exponent, micros, rate, room, spent
from sim.bench.processors import experiments, workers

_MESSAGE = "a bare message"
_BARE = "A bare message goes through one asyncio.Queue, from a task to another."
_BATCHES = "batches:10"


def _start(measurer: Measurer) -> Chapter:
    codes = {
        "billp --help": "import sim.cli as c; c.main(['--help'])",
        "import sim": "import sim",
        "import numpy, msgspec": "import numpy, msgspec",
    }
    *ours, bare = measurer.turns(*(job("starts", "start", code=code) for code in codes.values()))
    *names, yardstick = codes
    return Chapter(
        name="start",
        title="To start",
        how="A Python that starts, does this, and ends.",
        figures=(
            *(
                spent(name, typical(own), times(own, bare), yardstick)
                for name, own in zip(names, ours, strict=True)
            ),
            spent(yardstick, typical(bare)),
        ),
    )


def _bus(measurer: Measurer) -> Chapter:
    names = {"through_bus": "bus, its trace written", "through_queues": "asyncio.Queue"}
    notes = []
    if find_spec("simpy") is not None:
        names["through_simpy"] = "simpy.Store"
    else:
        notes.append("simpy is not installed here: it was left out.")
    messages = measurer.sizes.messages
    costs = measurer.turns(*(job("messages", name, messages=messages) for name in names))
    ours, *others = costs
    yardsticks = zip([*names.values()][1:], others, strict=True)
    figures = [
        rate(
            names["through_bus"], "messages", typical(ours), 1 / times(ours, cost), f"that of {of}"
        )
        for of, cost in yardsticks
    ]
    figures += [
        rate(name, "messages", typical(cost))
        for name, cost in zip([*names.values()][1:], others, strict=True)
    ]
    return Chapter(
        name="bus",
        title="Messages with three hearers",
        how="On the bus three handlers hear each message, in episodes of 123 of which 32 run at a "
        "time; beside it three tasks hear it, a queue for each: no order, no cause, no file.",
        figures=tuple(figures),
        notes=tuple(notes),
    )


def _run(arrivals: str, episodes: int) -> Job:
    return job("runs", "embedded", episodes=episodes, arrivals=arrivals)


def _bare(measurer: Measurer) -> Job:
    return job("messages", "through_queues", messages=measurer.sizes.messages, hearers=1)


def _steps(measurer: Measurer, what: str, one: Job) -> tuple[Figure, Cost, list[Cost]]:
    ours, bare = measurer.turns(one, _bare(measurer))
    ratio = times(ours, bare)
    cost = typical(ours)
    return rate(what, "steps", cost, 1 / ratio, f"that of {_MESSAGE}"), cost, bare


def _kernel(measurer: Measurer) -> Chapter:
    episodes = measurer.sizes.episodes
    one = job("runs", "alone", episodes=episodes)
    figure, cost, _ = _steps(measurer, f"random, {episodes:,} episodes", one)
    return Chapter(
        name="kernel",
        title="The kernel, the world and files alone",
        how=f"A run of the agent random, which asks no model. {_BARE}",
        figures=(figure,),
        notes=(_per_step(cost),),
    )


def _per_step(cost: Cost) -> str:
    messages, line = cost.told["messages"] / cost.count, cost.told["line"]
    return (
        f"A step takes {1e6 * cost.each:,.0f} µs and {messages:.1f} messages, a line of the trace "
        f"{line:.0f} bytes."
    )


def _whole(name: str, arrivals: str) -> Callable[[Measurer], Chapter]:
    def chapter(measurer: Measurer) -> Chapter:
        sizes = measurer.sizes
        few = f"{arrivals}, {sizes.episodes:,} episodes"
        figure, cost, bare = _steps(measurer, few, _run(arrivals, sizes.episodes))
        figures = [figure]
        for episodes in sizes.many:
            many = measurer.once(_run(arrivals, episodes))
            ratio, what = times([many], [typical(bare)]), f"{arrivals}, {episodes:,} episodes"
            figures.append(rate(what, "steps", many, 1 / ratio, f"that of {_MESSAGE}"))
        return Chapter(
            name=name,
            title=f"Whole runs, arrivals {arrivals}",
            how=f"BiLLP with the stand-in, and all that a run writes. {_BARE}",
            figures=tuple(figures),
            notes=(_per_step(cost),),
        )

    return chapter


def _calls(measurer: Measurer) -> Chapter:
    calls = measurer.sizes.calls
    jobs = [job("calls", "through_access", calls=calls, cache=cache) for cache in (False, True)]
    plain, cached, bare = measurer.turns(*jobs, _bare(measurer))
    return Chapter(
        name="calls",
        title="A call of a model that replies at once",
        how="One after the other, through identity, digest, budget, retries, limiter (calls at "
        f"once, calls and tokens a minute) and journal. {_BARE}",
        figures=(
            micros(
                "all guards, and the journal", "call", typical(plain), times(plain, bare), _MESSAGE
            ),
            micros("and a cache", "call", typical(cached), times(cached, bare), _MESSAGE),
        ),
    )


def _http(measurer: Measurer) -> Chapter:
    flight = measurer.sizes.in_flight
    ways = ("chain", "aiohttp", "openai")
    jobs = [job("service", "calling", way=way, in_flight=flight, calls=2 * flight) for way in ways]
    whole = job("service", "whole", in_flight=flight, episodes=flight + flight // 2)
    run, chain, aiohttp, openai = measurer.turns(whole, *jobs, rounds=min(2, measurer.sizes.rounds))
    theirs, floor = "openai's client", "plain aiohttp"
    return Chapter(
        name="http",
        title=f"Calls over HTTP, {flight:,} in flight",
        how="A service on this machine answers after 200 ms; counted is the client alone, when "
        "its connections are open (in a run they open meanwhile).",
        figures=(
            micros("a whole run", "call", typical(run), times(run, openai), theirs),
            micros("a whole run", "call", typical(run), times(run, aiohttp), floor),
            micros("the way alone", "call", typical(chain), times(chain, openai), theirs),
            micros("the way alone", "call", typical(chain), times(chain, aiohttp), floor),
            micros(theirs, "call", typical(openai)),
            micros(floor, "call", typical(aiohttp)),
        ),
    )


def _again(measurer: Measurer) -> Chapter:
    episodes = max(2, measurer.sizes.episodes * 3 // 20)
    settings: dict[str, str | int] = {"episodes": episodes, "arrivals": _BATCHES}
    rows: list[list[Cost]] = []
    for turn in range(measurer.sizes.rounds):
        whole, half = (str(measurer.scratch / f"{name}-{turn}") for name in ("whole", "half"))
        live = measurer.once(job("runs", "live", out=whole, **settings))
        again = measurer.once(job("runs", "replayed", out=whole))
        calls = int(live.told["calls"]) // 2
        begun = measurer.once(job("runs", "stopped", out=half, calls=calls, **settings))
        resumed = measurer.once(job("runs", "resumed", out=half, calls=calls))
        rows.append([live, again, begun, resumed])
    live_, again_, begun_, resumed_ = ([*costs] for costs in zip(*rows, strict=True))
    whole_of, half_of = "the live run", "the live run to there"
    return Chapter(
        name="again",
        title="To replay and to resume",
        how=f"{episodes:,} episodes, arrivals {_BATCHES}: replayed whole; and resumed when half of "
        "the calls were spent, from the checkpoint to where the next call would be asked.",
        figures=(
            spent("replayed", typical(again_), _share(again_, live_), whole_of),
            spent("resumed", typical(resumed_), _share(resumed_, begun_), half_of),
            spent(whole_of, typical(live_)),
            spent(half_of, typical(begun_)),
        ),
    )


def _share(ours: list[Cost], theirs: list[Cost]) -> float:
    """Return the median of what the one took of the other, whatever either is counted in."""
    shares = [one.seconds / other.seconds for one, other in zip(ours, theirs, strict=True)]
    return sorted(shares)[len(shares) // 2]


def _points(measurer: Measurer) -> dict[str, dict[int, Cost]]:
    sizes = {"all": measurer.sizes.all_episodes, _BATCHES: measurer.sizes.batches_episodes}
    return {
        arrivals: {count: measurer.once(_run(arrivals, count)) for count in counts}
        for arrivals, counts in sizes.items()
    }


def _scale(measurer: Measurer) -> Chapter:
    figures, notes = list[Figure](), list[str]()
    for arrivals, costs in _points(measurer).items():
        few, *_ = costs
        of = f"a step of {few:,}"
        for episodes, cost in costs.items():
            ratio = cost.each / costs[few].each
            figures.append(micros(f"{arrivals}, {episodes:,} episodes", "step", cost, ratio, of))
        by_episodes = exponent([(episodes, cost.seconds) for episodes, cost in costs.items()])
        by_steps = exponent([(cost.count, cost.seconds) for cost in costs.values()])
        notes.append(
            f"{arrivals}: the whole cost grows as episodes to the {by_episodes:.2f}, as steps to "
            f"the {by_steps:.2f} (least squares in logarithms; the aim is 1.05 at most)."
        )
    return Chapter(
        name="scale",
        title="Cost against size",
        how="As in whole runs, each size once unless it was measured before. In batches visits "
        "grow longer as agents learn, so steps are what to go by.",
        figures=tuple(figures),
        notes=tuple(notes),
    )


def _memory(measurer: Measurer) -> Chapter:
    little = measurer.once(_run("all", 1))
    largest = {
        f"{arrivals}, {episodes:,} episodes": cost
        for arrivals, costs in _points(measurer).items()
        for episodes, cost in [*costs.items()][-2:]
    }
    figures = [
        room(name, cost, cost.peak / little.peak, "that of one episode")
        for name, cost in largest.items()
    ]
    return Chapter(
        name="memory",
        title="Memory at the peak",
        how="Of a process that does nothing else, everything that is imported included.",
        figures=(*figures, room("one episode", little)),
    )


CHAPTERS: Mapping[str, Callable[[Measurer], Chapter]] = {
    "start": _start,
    "bus": _bus,
    "kernel": _kernel,
    "all": _whole("all", "all"),
    "batches": _whole("batches", _BATCHES),
    "calls": _calls,
    "http": _http,
    "again": _again,
    "workers": workers,
    "experiments": experiments,
    "scale": _scale,
    "memory": _memory,
}
"""What measures each chapter, by its name, in order."""
