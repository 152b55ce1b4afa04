"""Status of a `WorkflowRun`; its spec is `blockyard.workflow.spec.Workflow`, as in a file."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from blockyard_operator.resources.fields import Record, Time
from blockyard_operator.resources.shape import Conditions

PHASES: Final = ["Pending", "Invalid", "Running", "Suspended", "Succeeded", "Failed", "Cancelled", "Skipped"]
MOST_FAILURES: Final = 10


class StepCounts(Record, frozen=True):
    """Steps by state."""

    total: int = 0
    waiting: int = 0
    queued: int = 0
    running: int = 0
    stopped: int = 0
    """Their programs are, until the run goes on."""
    succeeded: int = 0
    skipped: int = 0
    failed: int = 0
    cancelled: int = 0


class StepFailure(Record, frozen=True):
    """A step that failed, and why."""

    step: Annotated[str, Meta(max_length=63)]
    message: Annotated[str, Meta(max_length=512)] = ""


class RunStatus(Record, frozen=True):
    """How a run stands. Everything about each step is the interchange's to say: `blockyard steps RUN`."""

    phase: Annotated[str, Meta(extra_json_schema={"enum": ["", *PHASES]})] = ""
    run: Annotated[str, Meta(max_length=320)] = ""
    """Its name to the interchange."""
    observed_generation: int = 0
    attempt: int = 0
    """The last one that was begun by `spec.attempt`; 0: only the first."""
    started_at: Time | None = None
    completed_at: Time | None = None
    steps: StepCounts = StepCounts()
    failures: Annotated[list[StepFailure], Meta(max_length=MOST_FAILURES)] = []
    """The first ones."""
    conditions: Conditions = []
