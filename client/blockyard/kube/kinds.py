"""The kinds of objects that Blockyard handles, where the API has them, and what they may be called."""

from __future__ import annotations

from typing import Final

import msgspec

LABEL: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
"""A name without dots, of a namespace or a pool for instance; 63 letters at most."""

OBJECT_NAME: Final = rf"{LABEL}(\.{LABEL})*"
"""That of most objects, which may have dots; 253 letters at most."""


class Kind(msgspec.Struct, frozen=True):
    """A kind of object. `group` is '' for the core API."""

    group: str
    version: str
    plural: str
    name: str

    @property
    def api_version(self) -> str:
        """As in an object's `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None, name: str | None = None, subresource: str = "") -> str:
        """The path of a collection, an object, or a part of one. `namespace` None: of all namespaces."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        within = f"/namespaces/{namespace}" if namespace else ""
        one = f"/{name}" if name else ""
        part = f"/{subresource}" if subresource else ""
        return f"{root}{within}/{self.plural}{one}{part}"


POD: Final = Kind("", "v1", "pods", "Pod")
SERVICE: Final = Kind("", "v1", "services", "Service")
SECRET: Final = Kind("", "v1", "secrets", "Secret")
CONFIG_MAP: Final = Kind("", "v1", "configmaps", "ConfigMap")
EVENT: Final = Kind("events.k8s.io", "v1", "events", "Event")
LEASE: Final = Kind("coordination.k8s.io", "v1", "leases", "Lease")
POD_GROUP: Final = Kind("scheduling.k8s.io", "v1beta1", "podgroups", "PodGroup")
POOL: Final = Kind("blockyard.dev", "v1alpha1", "workerpools", "WorkerPool")
BLOCK: Final = Kind("blockyard.dev", "v1alpha1", "workerblocks", "WorkerBlock")
RUN: Final = Kind("blockyard.dev", "v1alpha1", "workflowruns", "WorkflowRun")
TEMPLATE: Final = Kind("blockyard.dev", "v1alpha1", "workflowtemplates", "WorkflowTemplate")
CRON: Final = Kind("blockyard.dev", "v1alpha1", "cronworkflowruns", "CronWorkflowRun")
