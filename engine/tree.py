"""An episode as it grows: a tree of messages, each under the message that caused it."""

from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

import msgspec

from engine.messages import Envelope, Message
from engine.records import Record

T = TypeVar("T")

LAST = 1 << 30
"""The place of what the kernel itself publishes when an episode is quiet: after all else."""

_encode = msgspec.json.Encoder().encode


class Node(Generic[T]):
    """A published message; it has no *n* before its episode is closed.

    *place* orders it among its siblings: (subscription order of the handler, order of publishing or
    asking in that handler). *trajectory* is the fold of the chain of causes down to this message.
    """

    __slots__ = ("cause", "children", "depth", "message", "place", "records", "time", "trajectory")

    def __init__(
        self, message: Message, time: int, cause: "Node[T] | None", place: tuple[int, int]
    ) -> None:
        self.message = message
        self.time = time
        self.cause = cause
        self.place = place
        self.depth: int = 0 if cause is None else cause.depth + 1
        self.children: list[Node[T]] = []
        self.records: tuple[tuple[str, Record[Any]], ...] = ()
        self.trajectory: T

    def add(self, child: "Node[T]") -> None:
        """Take *child* among the messages that this one caused."""
        self.children.append(child)


def _place(node: Node[Any]) -> tuple[int, int]:
    return node.place


def walk(root: Node[T]) -> Iterator[tuple[Node[T], int | None]]:
    """Yield the nodes in canonical order (preorder), each with the position of its cause."""
    stack: list[tuple[Node[T], int | None]] = [(root, None)]
    position = 0
    while stack:
        node, cause = stack.pop()
        yield node, cause
        # Preorder with an explicit stack: chains of causes are longer than Python's stack is deep.
        children = node.children
        if len(children) > 1:
            children = sorted(children, key=_place, reverse=True)
        stack.extend([(child, position) for child in children])
        position += 1


def encode(envelope: Envelope[Any]) -> bytes:
    """Return the line of a trace, without its end."""
    return _encode(envelope)


def encode_tree(episode: int, root: Node[Any]) -> bytes:
    """Return the lines of an episode in canonical order."""
    return encode_nodes(episode, walk(root))


def encode_nodes(episode: int, nodes: Iterable[tuple[Node[Any], int | None]]) -> bytes:
    """Return the lines of an episode's *nodes*, each with the position of its cause."""
    lines = [
        _encode(Envelope(episode=episode, n=n, cause=cause, time=node.time, message=node.message))
        for n, (node, cause) in enumerate(nodes)
    ]
    # For the end of the last line.
    lines.append(b"")
    return b"\n".join(lines)
