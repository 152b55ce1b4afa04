"""Workflow files: YAML or JSON, one object or several."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from blockyard import yaml_text
from blockyard.errors import ConfigError, NotInstalled
from blockyard.files import port
from blockyard.workflow.checking.documents import check_document
from blockyard.workflow.checking.specs import merged
from blockyard.workflow.nesting import expanded
from blockyard.workflow.reading import Fault
from blockyard.workflow.sources import Look, unread, without_cluster
from blockyard.workflow.spec import RUN_KIND, TEMPLATE_KIND, Document, Workflow


class Invalid(ConfigError):
    """A workflow is not in order; `faults` says all that is wrong."""

    def __init__(self, what: str, faults: list[Fault]) -> None:
        listed = "\n".join(f"  {fault}" for fault in faults)
        noun = "fault" if len(faults) == 1 else "faults"
        super().__init__(f"{what}: {len(faults)} {noun}\n{listed}")
        self.what = what
        self.faults = faults

    def __reduce__(self) -> tuple[type, tuple[str, list[Fault]]]:
        return Invalid, (self.what, self.faults)


def load(path: Path) -> list[Any]:
    """The objects in a file, unread. Raises ConfigError when it cannot be read at all."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if path.suffix == ".json":
        try:
            return [msgspec.json.decode(text)]
        except msgspec.DecodeError as error:
            raise ConfigError(f"{path} is no JSON: {error}") from error
    try:
        return yaml_text.objects(text, "workflow")
    except yaml_text.NoYaml as error:
        raise ConfigError(f"{path} is {error}") from error
    except NotInstalled as error:
        raise NotInstalled(f"{path}: {error}") from error


def check(path: Path, look: Look = unread) -> tuple[list[Document], list[Fault]]:
    """The objects of a file, and all that is wrong with them. `look`: what ConfigMaps hold that steps name."""
    documents: list[Document] = []
    faults: list[Fault] = []
    found = load(path)
    if not found:
        faults.append(Fault("", "there is no object in it"))
    for place, one in enumerate(found):
        prefix = f"[{place}] " if len(found) > 1 else ""
        document, own = check_document(one, port.schemes)
        faults += [Fault(prefix + fault.path, fault.reason) for fault in own]
        if document is not None:
            documents.append(document)
    templates = {name: spec for one in found for name, spec in _template(one)}
    whole: list[Document] = []
    for document in documents:
        spec: Workflow | None = document.spec
        if document.kind != TEMPLATE_KIND and document.spec.template_ref is not None:
            spec, wrong = merged(document.spec, templates, port.schemes)
            faults += wrong
        if document.kind != TEMPLATE_KIND and spec is not None:
            spec, wrong = expanded(spec, templates, port.schemes, look)
            faults += wrong
        if spec is not None:
            whole.append(msgspec.structs.replace(document, spec=spec))
    return whole, faults


def _template(document: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and spec of a template, in order or not, that others may name."""
    match document:
        case {"kind": "WorkflowTemplate", "metadata": {"name": str() as name}, "spec": dict() as spec}:
            yield name, spec


def read_run(path: Path) -> Document:
    """The one WorkflowRun of a file, or the one that a CronWorkflowRun would make now.

    Raises Invalid with all faults, ConfigError.
    """
    documents, faults = check(path, without_cluster)
    if faults:
        raise Invalid(str(path), faults)
    runs = [one for one in documents if one.kind != TEMPLATE_KIND]
    if len(runs) != 1:
        raise ConfigError(f"{path} has {len(runs)} objects of kind {RUN_KIND}; to be run it has exactly one")
    return runs[0]
