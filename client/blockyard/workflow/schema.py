"""A JSON schema of workflow files, for editors: made from the records, so it says what `checking` says of types, and
of what a schema can say besides. Names and references are `blockyard lint`'s alone to judge.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from blockyard.kube.kinds import OBJECT_NAME
from blockyard.workflow.checking.kinds import FUNCTION, KINDS
from blockyard.workflow.references import PATTERN
from blockyard.workflow.spec import (
    API_VERSION,
    CRON_KIND,
    RUN_KIND,
    TEMPLATE_KIND,
    Cron,
    Kind,
    Parameter,
    Rule,
    Workflow,
)

_COLUMNS: Final = {"minProperties": 1, "additionalProperties": {"type": "array", "minItems": 1}}


def _tighten(parts: dict[str, Any]) -> None:
    """What `checking` asks of a part as a whole."""
    parts["Step"]["oneOf"] = [_has(kind) for kind in KINDS]
    parts["Step"]["properties"]["function"]["anyOf"][0]["pattern"] = f"^{FUNCTION.pattern}$"
    parts["Source"]["oneOf"] = [_has(kind) for kind in parts["Source"]["properties"]]
    sweep = parts["Sweep"]
    sweep["oneOf"] = [_has(kind) for kind in sweep["properties"]]
    for name in ("product", "zip"):
        sweep["properties"][name]["anyOf"][0] |= _COLUMNS
    sweep["properties"]["from"]["anyOf"][0]["pattern"] = f"^{PATTERN.pattern}$"
    has_steps = {"required": ["steps"], "properties": {"steps": {"minItems": 1}}}
    parts["Workflow"]["anyOf"] = [_has("templateRef"), has_steps]
    none = {"type": "null"}
    never = {
        "needs": {"maxItems": 0},
        "sweep": none,
        "template": none,
        "trigger": {"const": Rule.ALL_SUCCESS},
        "cache": {"const": False},
    }
    parts["Workflow"]["properties"]["onExit"]["allOf"] = [{"properties": never}]
    parts["Parameter"]["allOf"] = [_of_kind(kind) for kind in Kind]


def _of_kind(kind: Kind) -> dict[str, Any]:
    """What a parameter's values are when it is of this type, which it is of the default one by saying none."""
    is_it: dict[str, Any] = {"properties": {"type": {"const": kind}}}
    if kind is not Parameter(name="any").type:
        is_it["required"] = ["type"]
    value = "array" if kind is Kind.LIST else kind.value
    return {
        "if": is_it,
        "then": {"properties": {"default": {"type": [value, "null"]}, "choices": {"items": {"type": value}}}},
    }


def _has(name: str) -> dict[str, Any]:
    """That a field is there; null is as good as none."""
    return {"required": [name], "properties": {name: {"not": {"type": "null"}}}}


def json_schema() -> dict[str, Any]:
    """Of a WorkflowRun, WorkflowTemplate or CronWorkflowRun."""
    (spec, cron), parts = msgspec.json.schema_components([Workflow, Cron], ref_template="#/$defs/{name}")
    _tighten(parts)
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
                "anyOf": [{"required": ["name"]}, {"required": ["generateName"]}],
                "properties": {
                    "name": {"type": "string", "maxLength": 50, "pattern": f"^{OBJECT_NAME}$"},
                    "generateName": {"type": "string", "maxLength": 50, "pattern": f"^{OBJECT_NAME}-*$"},
                },
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
