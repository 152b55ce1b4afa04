"""The CustomResourceDefinitions. `python -m blockyard_operator.resources.crds FOLDER` writes them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from blockyard.workflow.spec import Cron, Workflow
from blockyard_operator.resources.block import BlockSpec, BlockStatus
from blockyard_operator.resources.cron import CronStatus
from blockyard_operator.resources.fields import GROUP, VERSION
from blockyard_operator.resources.pool import PoolSpec, PoolStatus
from blockyard_operator.resources.run import RunStatus
from blockyard_operator.resources.schema import Schema, default_of, schema_of

LONGEST_NAME: Final = 50
"""Names become labels, host names and parts of longer names: 'NAME-XXXXX-INDEX' must fit into 63 characters."""
HEADER: Final = "# Generated from operator/blockyard_operator/resources; change it there, then: make crds\n"


class Column(msgspec.Struct, frozen=True):
    """A column of `kubectl get`; those of priority 1 are shown with `-o wide`."""

    name: str
    path: str
    kind: str = "string"
    priority: int = 0

    def manifest(self) -> dict[str, Any]:
        column = {"name": self.name, "jsonPath": self.path, "type": self.kind}
        return column | ({"priority": self.priority} if self.priority else {})


def _condition(kind: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


POOL_COLUMNS: Final = (
    Column("Ready", _condition("Ready", "status")),
    Column("Reason", _condition("Ready", "reason")),
    Column("Desired", ".status.blocks.desired", "integer"),
    Column("Blocks", ".status.blocks.ready", "integer"),
    Column("Pending", ".status.blocks.pending", "integer"),
    Column("Busy", ".status.workers.busy", "integer"),
    Column("Idle", ".status.workers.idle", "integer"),
    Column("Waiting", ".status.tasks.waiting", "integer"),
    Column("Age", ".metadata.creationTimestamp", "date"),
    Column("Outdated", ".status.blocks.outdated", "integer", 1),
    Column("Max", ".spec.blocks.max", "integer", 1),
    Column("Queue", ".spec.queueName", "string", 1),
    Column("Message", _condition("Ready", "message"), "string", 1),
)

BLOCK_COLUMNS: Final = (
    Column("State", ".status.jobStatus.state"),
    Column("Reason", ".status.jobStatus.reason"),
    Column("Managers", ".status.managers", "integer"),
    Column("Nodes", ".spec.nodes", "integer"),
    Column("Busy", ".status.workers.busy", "integer"),
    Column("Drain", ".spec.drain", "boolean"),
    Column("Age", ".metadata.creationTimestamp", "date"),
    Column("Pool", ".spec.pool", "string", 1),
    Column("Node", ".status.jobStatus.node", "string", 1),
    Column("Message", ".status.jobStatus.message", "string", 1),
)


RUN_COLUMNS: Final = (
    Column("Phase", ".status.phase"),
    Column("Steps", ".status.steps.total", "integer"),
    Column("Succeeded", ".status.steps.succeeded", "integer"),
    Column("Running", ".status.steps.running", "integer"),
    Column("Failed", ".status.steps.failed", "integer"),
    Column("Age", ".metadata.creationTimestamp", "date"),
    Column("Pool", ".spec.pool", "string", 1),
    Column("Run", ".status.run", "string", 1),
    Column("Message", _condition("Complete", "message"), "string", 1),
)

CRON_COLUMNS: Final = (
    Column("Schedule", ".spec.schedule"),
    Column("Zone", ".spec.timeZone"),
    Column("Suspend", ".spec.suspend", "boolean"),
    Column("Last", ".status.lastScheduleTime", "date"),
    Column("Reason", _condition("OnTime", "reason")),
    Column("Age", ".metadata.creationTimestamp", "date"),
    Column("Active", ".status.active", "string", 1),
    Column("Next", ".status.nextScheduleTime", "string", 1),
    Column("Message", _condition("OnTime", "message"), "string", 1),
)

TEMPLATE_COLUMNS: Final = (
    Column("Pool", ".spec.pool"),
    Column("Age", ".metadata.creationTimestamp", "date"),
)


def pool_crd() -> dict[str, Any]:
    """`workerpools.blockyard.dev`."""
    scale = {
        "specReplicasPath": ".spec.blocks.replicas",
        "statusReplicasPath": ".status.blocks.living",
        "labelSelectorPath": ".status.selector",
    }
    what = "A pool of blocks of workers."
    schema = _root(what, schema_of(PoolSpec), default_of(PoolSpec), schema_of(PoolStatus))
    return _crd("WorkerPool", "wp", schema, POOL_COLUMNS, scale=scale)


def block_crd() -> dict[str, Any]:
    """`workerblocks.blockyard.dev`."""
    what = "One block of workers: pods that are made and lost together."
    schema = _root(what, schema_of(BlockSpec), default_of(BlockSpec), schema_of(BlockStatus))
    return _crd("WorkerBlock", "wb", schema, BLOCK_COLUMNS)


def run_crd() -> dict[str, Any]:
    """`workflowruns.blockyard.dev`."""
    what = "One run of a workflow: steps that become tasks of a pool's workers."
    schema = _root(what, schema_of(Workflow), default_of(Workflow), schema_of(RunStatus))
    return _crd("WorkflowRun", "wfr", schema, RUN_COLUMNS)


def cron_crd() -> dict[str, Any]:
    """`cronworkflowruns.blockyard.dev`. A run's name has the minutes since 1970 behind its own."""
    what = "A WorkflowRun at each time of a schedule."
    schema = _root(what, schema_of(Cron), None, schema_of(CronStatus), longest=LONGEST_NAME - len("-12345678"))
    return _crd("CronWorkflowRun", "cwfr", schema, CRON_COLUMNS)


def template_crd() -> dict[str, Any]:
    """`workflowtemplates.blockyard.dev`."""
    schema = _root("Steps that WorkflowRuns take from here.", schema_of(Workflow), default_of(Workflow), None)
    return _crd("WorkflowTemplate", "wft", schema, TEMPLATE_COLUMNS)


def render() -> dict[str, str]:
    """File names and texts of all that belongs into `crds/`."""
    return {
        f"{crd['spec']['names']['plural']}.yaml": HEADER + yaml.safe_dump(crd, sort_keys=False, width=120)
        for crd in (pool_crd(), block_crd(), run_crd(), cron_crd(), template_crd())
    }


def _root(
    description: str, spec: Schema, default: Schema | None, status: Schema | None, longest: int = LONGEST_NAME
) -> Schema:
    """`default` None: a spec is required."""
    name = {
        "rule": f"size(self.metadata.name) <= {longest}",
        "message": f"metadata.name is longer than {longest} characters",
    }
    return {
        "type": "object",
        "description": description,
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec | ({"default": default} if default is not None else {}),
        }
        | ({"status": status} if status is not None else {}),
        "x-kubernetes-validations": [name],
    } | ({"required": ["spec"]} if default is None else {})


def _crd(
    kind: str, short: str, schema: Schema, columns: tuple[Column, ...], scale: dict[str, str] | None = None
) -> dict[str, Any]:
    plural = f"{kind.lower()}s"
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": ({"status": {}} if "status" in schema["properties"] else {})
        | ({"scale": scale} if scale else {}),
        "additionalPrinterColumns": [column.manifest() for column in columns],
    }
    if kind == "WorkerBlock":
        version["selectableFields"] = [{"jsonPath": ".spec.pool"}, {"jsonPath": ".status.jobStatus.state"}]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short],
                "categories": ["blockyard"],
            },
            "versions": [version],
        },
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(exist_ok=True)
    for name, text in render().items():
        (folder / name).write_text(text)
