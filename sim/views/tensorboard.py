"""A run in TensorBoard: event files in its directory, in the folder tensorboard.

`tensorboard --logdir traces/runs` shows all runs. The step is the episode.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary as Scalars
from tensorboard.plugins.text.metadata import create_summary_metadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util.tensor_util import make_tensor_proto

from sim.metrics.summary import Summary
from sim.views.tracking import About, Point, TrackingView, final_values


@dataclass(eq=False)
class TensorBoard:
    """Writes event files."""

    _writer: EventFileWriter = field(init=False)

    def begin(self, about: About) -> None:
        """Write the settings as texts."""
        self._writer = EventFileWriter(str(about.directory / "tensorboard"))
        # A run that is resumed tells all again: what stood there from step 0 on counts no more.
        self._add(Event(step=0, session_log=SessionLog(status=SessionLog.START)))
        for name, value in about.parameters.items():
            self._text(f"config/{name}", str(value))
        for name, value in about.tags.items():
            self._text(f"run/{name}", value)

    def point(self, point: Point) -> None:
        """Write the values of an episode."""
        self._scalars(point.episode, point.values)

    def end(self, summary: Summary | None) -> None:
        """Write the summary and the digest, and close the file."""
        if summary is not None:
            self._scalars(0, final_values(summary))
            self._text("run/digest", summary.digest)
        self._writer.close()

    def _scalars(self, step: int, values: Mapping[str, float]) -> None:
        told = [Scalars.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._add(Event(step=step, summary=Scalars(value=told)))

    def _text(self, name: str, text: str) -> None:
        told = Scalars.Value(
            tag=name,
            metadata=create_summary_metadata(display_name=name, description=""),
            tensor=make_tensor_proto([text.encode()]),
        )
        self._add(Event(step=0, summary=Scalars(value=[told])))

    def _add(self, event: Event) -> None:
        event.wall_time = time.time()
        self._writer.add_event(event)


def tensorboard_view() -> TrackingView:
    """Return a view that writes event files."""
    return TrackingView(TensorBoard())
