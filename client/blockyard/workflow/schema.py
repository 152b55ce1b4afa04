"""A JSON schema of workflow files, for editors: made from the records, so it says what `checking` says of types."""

from __future__ import annotations

from typing import Any

import msgspec

from blockyard.workflow.spec import API_VERSION, CRON_KIND, RUN_KIND, TEMPLATE_KIND, Cron, Workflow


def json_schema() -> dict[str, Any]:
    """Of a WorkflowRun, WorkflowTemplate or CronWorkflowRun."""
    (spec, cron), parts = msgspec.json.schema_components([Workflow, Cron], ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Blockyard workflow",
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": {"const": API_VERSION},
            "kind": {"enum": [RUN_KIND, TEMPLATE_KIND, CRON_KIND]},
            "metadata": {
                "type": "object",
                "properties": {"name": {"type": "string", "maxLength": 50}},
            },
            "spec": {},
            "status": {"type": "object"},
        },
        "if": {"properties": {"kind": {"const": CRON_KIND}}},
        "then": {"properties": {"spec": cron}},
        "else": {"properties": {"spec": spec}},
        "additionalProperties": False,
        "$defs": parts,
    }
