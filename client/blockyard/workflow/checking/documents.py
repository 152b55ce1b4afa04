"""An object of a file, or of the API server: its envelope, and what is around a spec. The spec is `specs`' to judge."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from blockyard.kube.kinds import OBJECT_NAME
from blockyard.suggestion import hint
from blockyard.workflow.addresses import Stagers, no_others
from blockyard.workflow.checking.specs import check_spec, faults_of
from blockyard.workflow.reading import Fault, nearest, read
from blockyard.workflow.schedules import BadSchedule, Schedule
from blockyard.workflow.spec import (
    API_VERSION,
    CRON_KIND,
    RUN_KIND,
    TEMPLATE_KIND,
    Concurrency,
    Cron,
    Document,
    Metadata,
    RunMetadata,
    Workflow,
)


def check_document(document: object, stagers: Stagers = no_others) -> tuple[Document | None, list[Fault]]:
    """An object of a file, and all that is wrong with it. `stagers`: who stages files besides ourselves."""
    if not isinstance(document, dict):
        return None, [Fault("", f"expected an object with apiVersion, kind, metadata and spec, found {document!r:.60}")]
    faults: list[Fault] = []
    if document.get("apiVersion") != API_VERSION:
        faults.append(Fault("apiVersion", f"{_found(document, 'apiVersion')}; expected {API_VERSION!r}"))
    kinds = (RUN_KIND, TEMPLATE_KIND, CRON_KIND)
    if document.get("kind") not in kinds:
        faults.append(Fault("kind", f"{_found(document, 'kind')}{nearest(str(document.get('kind')), kinds)}"))
    top = ("apiVersion", "kind", "metadata", "spec", "status")
    faults += [Fault(str(key), f"unknown field{nearest(str(key), top)}") for key in document if key not in top]
    metadata = document.get("metadata")
    names = metadata if isinstance(metadata, dict) else {}
    faults += _name_faults(names)
    if document.get("kind") == CRON_KIND:
        cron, own = check_cron(document.get("spec"), stagers)
        spec = cron.run_template.spec if cron is not None else None
    else:
        needs_arguments = document.get("kind") != TEMPLATE_KIND
        spec, own = check_spec(document.get("spec"), stagers, needs_arguments=needs_arguments)
        if spec is not None and document.get("kind") == RUN_KIND:
            own = concurrency_faults(spec, owned=bool(names.get("ownerReferences")))
    faults += own
    if faults or spec is None:
        return None, faults
    return Document(kind=document["kind"], metadata=msgspec.convert(metadata, Metadata), spec=spec), []


def _name_faults(metadata: dict[object, object]) -> Iterator[Fault]:
    key = "generateName" if metadata.get("generateName") and not metadata.get("name") else "name"
    name = metadata.get(key)
    if not name:
        meant = hint("name", map(str, metadata))
        yield Fault("metadata.name", f"is required; {meant}a name has up to 50 lower-case letters, digits, '-' and '.'")
        return
    known = name.rstrip("-") if key == "generateName" and isinstance(name, str) else name  # letters are put behind it
    if not isinstance(known, str) or not re.fullmatch(OBJECT_NAME, known) or len(known) > 50:
        reason = "a name has up to 50 lower-case letters, digits, '-' and '.', and a letter or digit around each '.'"
        yield Fault(f"metadata.{key}", f"is {name!r}; {reason}")


def _found(document: dict[object, object], key: str) -> str:
    return f"is {document[key]!r}" if key in document else "is required"


def check_cron(value: object, stagers: Stagers = no_others) -> tuple[Cron | None, list[Fault]]:
    """The spec of a CronWorkflowRun, and all that is wrong with it; whether a template is there is its runs' to say."""
    if value is None:
        return None, [Fault("spec", "is required")]
    faults: list[Fault] = []
    cron = read(value, Cron, "spec", faults)
    if cron is None:
        return None, sorted(faults)
    try:
        Schedule(cron.schedule, cron.time_zone)
    except BadSchedule as error:
        faults.append(Fault(f"spec.{error.field}", error.reason))
    faults += _label_faults("spec.runTemplate.metadata", cron.run_template.metadata)
    own = faults_of(cron.run_template.spec, stagers)
    faults += [Fault(f"spec.runTemplate.{one.path}", one.reason) for one in own]
    return (None if faults else cron), sorted(faults)


_LABEL_NAME: Final = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_LABEL_KEY: Final = re.compile(rf"({OBJECT_NAME}/)?{_LABEL_NAME}")
_LABEL_VALUE: Final = re.compile(rf"({_LABEL_NAME})?")


def _label_faults(path: str, metadata: RunMetadata) -> Iterator[Fault]:
    """What an API server would refuse, each time that a run is due."""
    for where, found in (("labels", metadata.labels), ("annotations", metadata.annotations)):
        for key, value in found.items():
            if not _LABEL_KEY.fullmatch(key):
                yield Fault(f"{path}.{where}.{key}", f"{key!r} is no name; write letters, digits, '-', '_' and '.'")
            elif where == "labels" and not _LABEL_VALUE.fullmatch(value):
                yield Fault(f"{path}.{where}.{key}", f"{value!r} is no label; write letters, digits, '-', '_' and '.'")


def concurrency_faults(spec: Workflow, *, owned: bool) -> list[Fault]:
    """A policy says something only of runs that are held against others: `owned`, of a template, or of one key."""
    if spec.concurrency_policy is Concurrency.ALLOW or owned or spec.concurrency_key or spec.template_ref is not None:
        return []
    return [Fault("spec.concurrencyPolicy", f"{spec.concurrency_policy} of which runs? Say concurrencyKey, too")]
