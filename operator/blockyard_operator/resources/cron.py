"""Status of a `CronWorkflowRun`; its spec is `blockyard.workflow.spec.Cron`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from blockyard_operator.resources.fields import MAX_ITEMS, Record, Time
from blockyard_operator.resources.shape import Conditions


class CronStatus(Record, frozen=True):
    """What its schedule has led to."""

    observed_generation: int = 0
    active: Annotated[list[Annotated[str, Meta(max_length=63)]], Meta(max_length=MAX_ITEMS)] = []
    """Runs of it that have not ended, at most 32 of them; the first were made first."""
    last_schedule_time: Time | None = None
    """The time for which a run was made last."""
    last_successful_time: Time | None = None
    """When one succeeded last."""
    next_schedule_time: Time | None = None
    """When the next one is due."""
    conditions: Conditions = []
