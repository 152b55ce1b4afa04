"""The state of a block that is several pods: they live and die together. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec

from blockyard.blocks.states import JobState, JobStatus
from blockyard.kube.evidence import status_of
from blockyard.kube.pods import Pod

NEARNESS: Final = (JobState.HELD, JobState.PENDING, JobState.UNKNOWN, JobState.RUNNING)
"""Of living states, the one to tell first: a gang works when all of it runs."""


def state_of(pods: Collection[Pod], nodes: int, now: float) -> tuple[Pod, JobStatus]:
    """The pod that speaks for a block, and the block's status: the first to end, else the one that is least far.

    A pod that ended in order does not speak while another failed. `nodes`: how many pods the block has when it is
    whole; of several, the message names the one that speaks. `now` in epoch seconds. There is at least one pod.
    """
    read = [(pod, status_of(pod, now)) for pod in pods]
    ends = [(pod, one) for pod, one in read if one.terminal]
    if ends:
        pod, status = min(ends, key=lambda found: (found[1].state is JobState.COMPLETED, found[1].ended_at or now))
    else:
        pod, status = min(read, key=lambda found: NEARNESS.index(found[1].state))
    if nodes > 1:
        status = msgspec.structs.replace(status, message=f"pod {pod.name}: {status.message}")
    return pod, status
