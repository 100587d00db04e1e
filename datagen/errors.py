"""What can go wrong, as one tree, each with the exit code the command line ends with.

    DatagenError                 1
    ├── UsageError               2   a flag, a recipe or a setting is wrong
    ├── InputError               3   a file or data set cannot be read, or lacks what is needed
    │   └── PromptError          3   a prompt file is missing, malformed or names an unknown variable
    ├── SettingsChanged          4   the run folder was made with other settings
    ├── RunLocked                5   another process works in the run folder
    ├── EngineUnavailable        6   the model cannot be loaded or its server does not answer
    ├── SandboxUnavailable       7   this machine cannot isolate programs well enough
    ├── HubError                 8   the Hub refused or dropped the upload
    ├── CanaryStopped            9   too little of the model's output could be parsed to go on
    ├── StorageError            10   the disk is full or a run file cannot be written
    ├── MissingDependency       11   an optional package is not installed
    ├── ContaminationFound      12   rows overlap a benchmark, or may, and --fail-on-contamination was given
    ├── ClusterUnavailable      13   a Ray cluster does not answer, or lost what it worked on
    ├── BudgetReached           14   --max-tokens-total, --max-hours or --max-cost is spent; what was finished is kept
    └── TrainingFailed          15   the processes that train ended without a model, or with one that diverged

    RequestFailed                    one request to an engine failed; never leaves the pipeline
    Interrupted                130   Ctrl-C; what was finished is kept

A `DatagenError` is one line: what happened, where, and what to type next. A program or a model that fails is not an
error: it is a value (a `Drop`, a `Verdict`).
"""

from __future__ import annotations


class DatagenError(Exception):
    """A user's problem, said in one line: `what`, `where` it happened and the `hint` to act on."""

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        self.what, self.where, self.hint = what, where, hint
        super().__init__(what)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return " ".join((f"{text}. {self.hint}" if self.hint else text).split())


class UsageError(DatagenError):
    """A flag, a recipe or a setting is wrong."""

    exit_code = 2


class InputError(DatagenError):
    """A file or data set cannot be read, or lacks what is needed."""

    exit_code = 3


class PromptError(InputError):
    """A prompt file is missing, malformed or names an unknown variable."""


class SettingsChanged(DatagenError):
    """The run folder was made with other settings."""

    exit_code = 4


class RunLocked(DatagenError):
    """Another process works in the run folder."""

    exit_code = 5


class EngineUnavailable(DatagenError):
    """The model cannot be loaded or its server does not answer."""

    exit_code = 6


class SandboxUnavailable(DatagenError):
    """This machine cannot isolate programs well enough."""

    exit_code = 7


class HubError(DatagenError):
    """The Hub refused or dropped the upload."""

    exit_code = 8


class CanaryStopped(DatagenError):
    """Too little of the model's output could be parsed to go on."""

    exit_code = 9


class StorageError(DatagenError):
    """The disk is full or a run file cannot be written."""

    exit_code = 10


class MissingDependency(DatagenError):
    """An optional package is not installed."""

    exit_code = 11


class ContaminationFound(DatagenError):
    """Rows overlap a benchmark, or may, and --fail-on-contamination was given."""

    exit_code = 12


class ClusterUnavailable(DatagenError):
    """A Ray cluster does not answer, or lost what it worked on."""

    exit_code = 13


class BudgetReached(DatagenError):
    """A budget of tokens, hours or money is spent; what was finished is kept.

    `flag` names the budget, `enough` is what it would have to be for the rest of the stage.
    """

    exit_code = 14

    def __init__(self, what: str, *, where: str = "", hint: str = "", flag: str, enough: float) -> None:
        super().__init__(what, where=where, hint=hint)
        self.flag, self.enough = flag, enough


class TrainingFailed(DatagenError):
    """The processes that train ended without a model, or with one that diverged."""

    exit_code = 15


class RequestFailed(Exception):
    """One request failed after all retries; the driver turns it into the drop reason `engine-failed`."""


class Interrupted(Exception):
    """The user asked to stop; everything finished is in the ledger."""

    exit_code = 130
