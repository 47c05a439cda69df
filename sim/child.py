"""billp in a process that another one began: when that one ends, however it does, so does this one.

The other one holds the writing end of our standard input and writes nothing to it. The system
closes it when that process is gone, killed or not, and then whoever reads it is told.
"""

import os
import signal
import time
from threading import Thread

from sim.cli import main

_MOMENT = 10.0  # seconds for a run to stop cleanly, so that it can be resumed


def child() -> None:
    """Run the command line as long as whoever began this process is there."""
    Thread(target=_end_with_parent, daemon=True).start()
    main()


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_MOMENT)
    os._exit(128 + signal.SIGTERM)
