"""Canonical order: a tree of causes, walked in preorder, whatever order it grew in."""

import random
from collections.abc import Iterator

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from engine.messages import Envelope, EpisodeSettled, Message, PlanRequested, StateValued
from engine.tree import LAST, Node, encode, encode_tree, walk
from tests.support.kernel import decoded

Children = dict[tuple[int, int], "Children"]
"""A tree as it should be: under each place the children of what stands there."""

places = st.tuples(st.integers(0, 5), st.integers(1, 3) | st.just(LAST))
trees: st.SearchStrategy[Children] = st.recursive(
    st.just({}), lambda inner: st.dictionaries(places, inner, max_size=5), max_leaves=30
)


def root() -> Node[None]:
    return Node(PlanRequested(step=0), 0, None, (0, 0))


def grown(tree: Children, order: random.Random) -> Node[None]:
    """Return *tree*, grown in a random order in which only causes come before effects."""
    steps = iter(range(1, 1_000))
    first = root()
    waiting = [(first, place, inner, next(steps)) for place, inner in sorted(tree.items())]
    while waiting:
        cause, place, tree, step = waiting.pop(order.randrange(len(waiting)))
        node = Node[None](PlanRequested(step=sum(place) % 97), cause.time + 1, cause, place)
        cause.add(node)
        waiting += [(node, place, inner, step) for place, inner in tree.items()]
    return first


def preorder(tree: Children) -> Iterator[tuple[int, int]]:
    for place, inner in sorted(tree.items()):
        yield place
        yield from preorder(inner)


@given(tree=trees, seed=st.integers(0, 1_000))
def test_the_order_of_growing_leaves_no_mark(tree: Children, seed: int) -> None:
    once, again = grown(tree, random.Random(seed)), grown(tree, random.Random(seed + 1))
    assert encode_tree(3, once) == encode_tree(3, again)


@given(tree=trees, seed=st.integers(0, 1_000))
def test_the_walk_is_preorder_by_cause(tree: Children, seed: int) -> None:
    """Children stand under their cause, by (order of subscription, order of publishing)."""
    walked = [node.place for node, _ in walk(grown(tree, random.Random(seed)))]
    assert walked == [(0, 0), *preorder(tree)]


@given(tree=trees, seed=st.integers(0, 1_000))
def test_a_cause_is_the_number_of_what_led_here(tree: Children, seed: int) -> None:
    walked = list(walk(grown(tree, random.Random(seed))))
    nodes = [node for node, _ in walked]
    for node, cause in walked:
        assert (None if cause is None else nodes[cause]) is node.cause


@given(tree=trees, seed=st.integers(0, 1_000))
def test_lines_are_numbered_envelopes(tree: Children, seed: int) -> None:
    tall = grown(tree, random.Random(seed))
    lines = encode_tree(3, tall)
    assert lines.endswith(b"\n")
    assert decoded(lines) == [
        Envelope(episode=3, n=n, cause=cause, time=node.time, message=node.message)
        for n, (node, cause) in enumerate(walk(tall))
    ]


def test_the_handler_that_subscribed_first_goes_first() -> None:
    """Then what it published first; what the kernel adds on quiet stands after all else."""
    first = root()
    places = [(0, 1), (0, 2), (0, LAST), (2, 1), (10, 1), (LAST, 0), (LAST, 1)]
    for place in sorted(places, key=lambda place: (place[1], -place[0])):
        first.add(Node(EpisodeSettled(), 0, first, place))
    assert [node.place for node, _ in walk(first)][1:] == places


def test_a_chain_may_be_longer_than_pythons_stack() -> None:
    node = first = root()
    for step in range(5_000):
        child = Node[None](PlanRequested(step=step), 0, node, (0, 1))
        node.add(child)
        node = child
    assert node.depth == 5_000
    assert [cause for _, cause in walk(first)] == [None, *range(5_000)]


def test_a_line_of_a_trace_stays_as_it_is() -> None:
    """The format is a promise: digests of old traces rely on every byte."""
    message = StateValued(state=1, value=-2.0)
    envelope = Envelope[Message](episode=0, n=4, cause=2, time=1500, message=message)
    assert encode(envelope) == (
        b'{"episode":0,"n":4,"cause":2,"time":1500,'
        b'"message":{"type":"StateValued","state":1,"value":-2.0,"recalled":[]}}'
    )
    assert msgspec.json.decode(encode(envelope), type=Envelope[Message]) == envelope
