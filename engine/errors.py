"""Every exception of ours.

::

    BillpError
    ├── ConfigError              a setting, option or name that cannot be used
    ├── DataError                a source or environment that cannot be read
    ├── FileError                a file of a run: `path:line: reason`
    │   ├── TraceError           trace.jsonl
    │   ├── JournalError         calls.jsonl
    │   └── RunDirectoryError    the directory of a run
    ├── LawError                 a handler that broke a law of the kernel
    ├── ModelError               a model call that got no usable reply
    │   ├── CallFailedError      one call, after its retries: its episode fails
    │   └── ServiceError         no call can succeed: the run stops, resumable
    │       └── BudgetError      what the run may spend is spent
    ├── UnreadableReplyError     a reply outside the grammar that was asked for
    ├── InterruptedRunError      a run stopped before its end; what was done is on disk
    ├── FailedEpisodesError      a run that came to its end, but without some of its episodes
    ├── LeakError                an experiment whose test users were learned from
    ├── TransferError            what cannot be sent to an address, or fetched from one
    ├── OutputError              standard output that takes nothing any more
    └── DivergenceError          a replay that differs from the recorded run

An error's text is one sentence; its *hint* says what to do about it. *exit_status* is what the
command line returns:

====  ==============================================================================
0     all is well
1     something differs, is damaged or breaks a law: what was looked for was found
2     what was asked cannot be done, or a service stopped the run, which can go on
3     the run came to its end, but episodes failed
4     what the run may spend is spent; it can go on
130   interrupted; it can go on
====  ==============================================================================
"""


class BillpError(Exception):
    """Raised when billp cannot go on; the ancestor of all errors here."""

    exit_status = 2

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(BillpError):
    """Raised when a setting, an option or a name cannot be used."""


class DataError(BillpError):
    """Raised when a source or an environment is missing, malformed or empty."""


class FileError(BillpError):
    """Raised when a file of a run cannot be read or written."""


class TraceError(FileError):
    """Raised when a line of a trace is not what it should be."""


class JournalError(FileError):
    """Raised when a line of a journal is not what it should be."""


class RunDirectoryError(FileError):
    """Raised when a run directory is missing, taken or in use."""


class LawError(BillpError):
    """Raised when a handler breaks a law of the kernel; names the handler and stops the run."""

    exit_status = 1


class ModelError(BillpError):
    """Raised when a model call got no usable reply."""

    exit_status = 1


class CallFailedError(ModelError):
    """Raised when a call failed for good; *kind* is a stable word for why.

    *said* is what the service said of it. Raised again in the handler that asked: its episode
    fails, the others go on.
    """

    def __init__(self, message: str, *, kind: str, said: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.said = said


class ServiceError(ModelError):
    """Raised when no further call can succeed; the run stops and can be resumed."""

    exit_status = 2


class BudgetError(ServiceError):
    """Raised when what a run may spend is spent; *setting* is what to raise before resuming it."""

    exit_status = 4

    def __init__(self, message: str, *, setting: str) -> None:
        super().__init__(f"{setting} is reached: {message}")
        self.setting = setting


class FailedEpisodesError(BillpError):
    """Raised when a run has told what came of it, and episodes of it failed."""

    exit_status = 3


class LeakError(BillpError):
    """Raised when what an agent learned may have come from the users that it is tested on."""

    exit_status = 1


class UnreadableReplyError(BillpError):
    """Raised when a reply is outside the grammar that was asked for."""

    exit_status = 1


class TransferError(BillpError):
    """Raised when files cannot be sent to object storage or fetched from it; both can go on."""


class OutputError(BillpError):
    """Raised when standard output cannot be written; what was done before stays done."""

    exit_status = 1


class InterruptedRunError(BillpError):
    """Raised when a run stopped before its end."""

    exit_status = 130


class DivergenceError(BillpError):
    """Raised when a replay differs from the recorded run."""

    exit_status = 1


class StopAtOnce(KeyboardInterrupt):
    """Raised by Ctrl-C in a run that one has begun to stop: it passes through whatever is there.

    No error of ours, and no listener's either: who waits for a listener must not take it for one.
    """
