"""Questions and orders about runs that the interchange hosts, and its answers: the part of `control` for workflows.

Times are UTC seconds, durations seconds.
"""

from blockyard.wire.records import Function, Group, Record


class StepMark(Record, frozen=True, gc=False):
    """A step of a hosted run, and the task that it is."""

    name: str
    task: int
    decides: bool = True
    """The run succeeds when all steps that say so have succeeded, or were skipped."""
    is_exit: bool = False
    """It runs at the end, of a cancelled run too."""


class StartRun(Record, tag=30, frozen=True):
    """Host a run: its tasks are the interchange's own to keep, whoever goes away. A repeat changes nothing."""

    run: str
    digest: bytes
    """Of what it was made from: another run of the same name is refused."""
    functions: list[Function]
    groups: list[Group]
    """Numbered in `ids.hosted_session(run)`; a later run of this name has them in a session of its own."""
    steps: list[StepMark]
    held: bool = False
    """Hand nothing out until `HoldRun` says so."""
    again: bool = False
    """It is there; these are more tasks of it, and what its steps are from now on."""


class Runs(Record, tag=31, frozen=True):
    """Which hosted runs are there? The youngest `limit`, youngest first."""

    limit: int = 100


class Run(Record, tag=32, frozen=True):
    """How does a hosted run fare, and these of its steps?"""

    run: str
    states: list[str] = []
    """Of steps, in the words of `StepLine.state`; empty: all."""
    limit: int = 100
    patience: float = 0.0
    """The answer may wait so long for the run's end, seconds; at most a minute."""


class HoldRun(Record, tag=33, frozen=True):
    """Hand out nothing more of a hosted run, or go on with it; what runs goes on, unless `running`."""

    run: str
    held: bool
    running: bool = False
    """Stop the programs of its managed tasks, too, those that begin later as well; they go on when the run does."""


class EndRun(Record, tag=34, frozen=True):
    """Cancel a hosted run's tasks, but for those of its exit steps."""

    run: str
    exits: bool = False
    """Those, too."""


class ForgetRun(Record, tag=35, frozen=True):
    """Free a hosted run that has ended, and all its results."""

    run: str


RunQuestion = StartRun | Runs | Run | HoldRun | EndRun | ForgetRun


class RunLine(Record, frozen=True):
    """A hosted run in a listing."""

    run: str
    phase: str
    """'Running', 'Suspended', 'Succeeded', 'Failed' or 'Cancelled'."""
    at: float
    ended_at: float
    """0 while it goes on, and when that was before the interchange was restarted."""
    counts: dict[str, int]
    """Steps by `StepLine.state`."""
    next_number: int
    """From which on `StartRun` may number more tasks."""
    stops: bool = False
    """While it is suspended its running programs are to be stopped."""
    stopped: int = 0
    """Tasks whose programs are, parts of steps among them."""


class StepLine(Record, frozen=True):
    """A step of a hosted run."""

    name: str
    task: int
    state: str
    """'Waiting', 'Queued', 'Running', 'Stopped', 'Succeeded', 'Skipped', 'Failed' or 'Cancelled'."""
    seconds: float = 0.0
    """That its last try took, or has been with a worker's manager; 0 of a sweep whose parts run."""
    message: str = ""
    outputs: bytes = b""
    """JSON object, or nothing."""
    parts: int = 0
    """Tasks that it left to be done, while these run."""
    open_parts: int = 0


class RunsAre(Record, tag=30, frozen=True):
    """Answer to `Runs`."""

    runs: list[RunLine]


class RunIs(Record, tag=31, frozen=True):
    """Answer to `Run`."""

    line: RunLine
    steps: list[StepLine]


RunAnswer = RunsAre | RunIs
