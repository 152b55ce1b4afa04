"""What pool and block have in common: the pod template, sizes of workers, times, and rules about failed pods."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final

import msgspec
from msgspec import Meta

from blockyard_operator.resources.fields import MAX_ITEMS, Open, Quantity, Record, Word, rule

_TEXTS: Final = {"maxProperties": MAX_ITEMS}


class TemplateMetadata(Record, frozen=True):
    """Labels and annotations for the pods; those below blockyard.dev/ are the operator's own."""

    labels: Annotated[dict[str, Annotated[str, Meta(max_length=63)]], Meta(extra_json_schema=_TEXTS)] = {}
    annotations: Annotated[dict[str, Annotated[str, Meta(max_length=16384)]], Meta(extra_json_schema=_TEXTS)] = {}


class PodTemplate(Record, frozen=True):
    """A pod, as far as it differs from the usual one: `spec` is merged into that by the strategic rules of Kubernetes.

    Containers, volumes, environment and mounts are matched by name; the container of the workers is called 'worker'.
    """

    metadata: TemplateMetadata = TemplateMetadata()
    spec: Annotated[Open, Meta(description="Any field of a PodSpec; a server-side dry run checks it.")] = {}


class WorkerSize(Record, frozen=True):
    """The share of a node that one worker gets; a pod then has as many workers as fit into its requests."""

    RULES: ClassVar = (
        rule(
            "has(self.cores) || has(self.memory) || has(self.accelerators)",
            "say at least one of cores, memory, accelerators",
        ),
    )

    cores: Quantity | None = None
    memory: Quantity | None = None
    accelerators: Annotated[int, Meta(ge=0, le=64)] | None = None


class LauncherName(StrEnum):
    """How the manager is started inside a block."""

    PER_NODE = "per-node"
    """In each pod, one."""


class Launcher(Record, frozen=True):
    """How the managers of a block are started."""

    name: LauncherName = LauncherName.PER_NODE


class FailureAction(StrEnum):
    """What a pod's failure means for its pool."""

    IGNORE = "Ignore"
    """Nothing: as if the block had been preempted."""
    COUNT = "Count"
    """A bad block for the error policy, even if it worked before."""
    HALT = "Halt"
    """No block is started any more until the pool's template changes or the failed block is deleted."""


class ExitCodes(Record, frozen=True, kw_only=True):
    """Exit codes of one container, or of any."""

    container_name: Word = ""
    operator: Annotated[str, Meta(extra_json_schema={"enum": ["In", "NotIn"]})] = "In"
    values: Annotated[list[Annotated[int, Meta(ge=0, le=255)]], Meta(min_length=1, max_length=MAX_ITEMS)]


class PodCondition(Record, frozen=True):
    """A condition of the pod, such as DisruptionTarget."""

    type: Annotated[str, Meta(min_length=1, max_length=316)]
    status: Annotated[str, Meta(extra_json_schema={"enum": ["True", "False", "Unknown"]})] = "True"


class FailureRule(Record, frozen=True, kw_only=True):
    """The first rule that fits the end of a block says what it means. All that a rule names must fit."""

    RULES: ClassVar = (
        rule(
            "has(self.onExitCodes) || has(self.onPodConditions) || has(self.onReasons)",
            "a rule needs something to match: onExitCodes, onPodConditions or onReasons",
        ),
    )

    action: FailureAction
    on_exit_codes: ExitCodes | None = None
    on_pod_conditions: Annotated[list[PodCondition], Meta(min_length=1, max_length=8)] | None = None
    on_reasons: Annotated[list[Word], Meta(min_length=1, max_length=MAX_ITEMS)] | None = None


class ConditionStatus(StrEnum):
    """Of a condition: the API has no other values."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Record, frozen=True, kw_only=True, omit_defaults=False):
    """One aspect of how an object fares, as in `metav1.Condition`."""

    type: Annotated[str, Meta(max_length=64)]
    status: ConditionStatus
    reason: Annotated[str, Meta(max_length=64)]
    message: Annotated[str, Meta(max_length=1024)] = ""
    observed_generation: int = 0
    last_transition_time: Annotated[str, Meta(extra_json_schema={"format": "date-time"})]


Conditions = Annotated[
    list[Condition],
    Meta(max_length=16, extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
]

WORKER: Final = "worker"
"""Name of the container that runs the manager."""


def containers(template: PodTemplate) -> list[dict[str, Any]]:
    """The containers that a template names; empty when it holds something else there."""
    found = template.spec.get("containers")
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def builtins(record: Record) -> dict[str, Any]:
    """A record as the API takes it."""
    plain: dict[str, Any] = msgspec.to_builtins(record)
    return plain
