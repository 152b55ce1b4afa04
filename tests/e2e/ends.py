"""Ways in which a block ends, or waits in vain: what to make so that it really happens, and what its status must say.

`docs/states.md` has the table that these prove row by row. Each block is a WorkerBlock applied by hand, with one pod.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tests.cluster.kubectl import Json

TINY: Final = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}}
SLOT: Final = "test.blockyard.dev/slot"
SEAT: Final = "test.blockyard.dev/seat"
"""Extended resources of which node1 has one each, so that who takes one from another harms nobody else."""
DEAR: Final = "test.blockyard.dev/dear"
"""One of which a quota allows none."""
MAINTENANCE: Final = {"key": "test.blockyard.dev/maintenance", "operator": "Exists", "effect": "NoExecute"}
GHOST: Final = "ghost"
"""A Node that is nothing but an object."""

WAIT = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: exit()); time.sleep(3600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(3600)"
EAT = "b'x' * (1 << 30)"
SEGFAULT = "import ctypes; ctypes.string_at(0)"
DIRECTED = """
import select, subprocess, sys
manager = subprocess.Popen([sys.executable, "-m", "blockyard_worker"], stdin=subprocess.DEVNULL)
while manager.poll() is None and not select.select([sys.stdin], [], [], 0.2)[0]:
    pass
exec("sys.exit(manager.returncode)" if manager.poll() is not None else sys.stdin.readline())
"""
"""A manager below a program of the user's, which does what a line says that it is sent by `kubectl attach`.

By `kubectl exec` a file could be left for it. But where the machine of the tests is a chroot, runc enters a container's
mount namespace at its root, which is the root of the machine around it, and the file is left there.
"""


class End(msgspec.Struct, frozen=True, kw_only=True):
    """A block, and what its `status.jobStatus` must come to. `says` is a pattern for message and log tail together."""

    name: str
    state: str
    reason: str
    says: str = ""
    spec: dict[str, Any] = {}

    def manifest(self, namespace: str) -> Json:
        """The WorkerBlock."""
        metadata = {"name": self.name, "namespace": namespace}
        return {"apiVersion": "blockyard.dev/v1alpha1", "kind": "WorkerBlock", "metadata": metadata, "spec": self.spec}


def spec(
    program: str | Sequence[str] | None = WAIT,
    *,
    node: str | None = "node1",
    pod: dict[str, Any] | None = None,
    container: dict[str, Any] | None = None,
    **block: Any,
) -> dict[str, Any]:
    """A block's spec. `program`: Python text, a whole command, or None for the manager; `node` None: anywhere."""
    command = ["python3", "-c", program] if isinstance(program, str) else program
    worker = {"name": "worker", "resources": TINY, **({"command": command} if command else {}), **(container or {})}
    where = {"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}
    template = {"spec": {**where, "containers": [worker], **(pod or {})}}
    return {"workersPerNode": 1, "drainTimeout": "1s", "registerTimeout": "20m", "template": template, **block}


def init(program: str, **container: Any) -> dict[str, Any]:
    """An init container beside the usual ones. `image` is ours, which every node has."""
    locked = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return {"name": "first", "command": ["python3", "-c", program], "resources": TINY, "securityContext": locked,
            "terminationMessagePolicy": "FallbackToLogsOnError", **container}  # fmt: skip


def with_one(resource: str) -> dict[str, Any]:
    """What a container is given that wants one of an extended resource."""
    return {"resources": {**TINY, "limits": {**TINY["limits"], resource: "1"}}}


def by_themselves(image: str) -> list[End]:
    """Blocks that need nobody to do anything. `image`: the worker's."""
    scratch = {"volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "1Mi"}}]}
    mounted = {"volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]}
    overrun = f"open('/scratch/much', 'wb').write(bytes(30 << 20)); {DEAF}"
    sidecar = init("import time; time.sleep(3); raise SystemExit('no more')", image=image, restartPolicy="Always")
    return [
        End(name="oom", state="FAILED", reason="OOMKilled", says="ran out of memory", spec=spec(EAT)),
        End(name="segfault", state="FAILED", reason="SIGSEGV", says="SIGSEGV", spec=spec(SEGFAULT)),
        End(
            name="never-registered", state="MISSING", reason="NeverRegistered", says="exit code 7",
            spec=spec("raise SystemExit(7)"),
        ),
        End(
            name="wrong-command", state="FAILED", reason="StartError", says="/no/such/program",
            spec=spec(["/no/such/program"]),
        ),
        End(
            name="unfit", state="FAILED", reason="WorkerUnfit", says="no_such_module",
            spec=spec(None, workerInit="no_such_module:begin"),
        ),
        End(
            name="bad-image", state="PENDING", reason="ErrImagePull|ImagePullBackOff", says="no-such-image",
            spec=spec(container={"image": "localhost:1/no-such-image:1"}),
        ),
        End(
            name="bad-image-name", state="PENDING", reason="InvalidImageName", says="Not A Name",
            spec=spec(container={"image": "Not A Name"}),
        ),
        End(
            name="init-failed", state="FAILED", reason="InitFailed", says="(?s)first.*no data",
            spec=spec(pod={"initContainers": [init("raise SystemExit('no data')", image=image)]}),
        ),
        End(
            name="sidecar", state="RUNNING", reason="CrashLoopBackOff", says="first ended",
            spec=spec(pod={"initContainers": [sidecar]}),
        ),
        End(
            name="unschedulable", state="PENDING", reason="Unschedulable", says="node affinity",
            spec=spec(node="nowhere"),
        ),
        End(
            name="pending-deadline", state="FAILED", reason="PendingDeadline", says="10s: Unschedulable",
            spec=spec(node="nowhere", pendingDeadline="10s"),
        ),
        End(
            name="gated", state="HELD", reason="SchedulingGated", says="",
            spec=spec(pod={"schedulingGates": [{"name": "test.blockyard.dev/gate"}]}),
        ),
        End(
            name="no-configuration", state="PENDING", reason="CreateContainerConfigError", says="no-such-map",
            spec=spec(container={"envFrom": [{"configMapRef": {"name": "no-such-map"}}]}),
        ),
        End(name="over-quota", state="PENDING", reason="QuotaExceeded", says=DEAR, spec=spec(container=with_one(DEAR))),
        End(
            name="no-account", state="PENDING", reason="NoServiceAccount", says="nobody",
            spec=spec(pod={"serviceAccountName": "nobody"}),
        ),
        End(
            name="not-admitted", state="FAILED", reason="AdmissionRefused", says="hostNetwork",
            spec=spec(pod={"hostNetwork": True}),
        ),
        End(
            name="invalid-pod", state="FAILED", reason="InvalidPod", says="imagePullPolicy",
            spec=spec(container={"imagePullPolicy": "Sometimes"}),
        ),
        End(name="name-taken", state="FAILED", reason="NameTaken", says="name-taken-0", spec=spec()),
        End(
            name="refused-by-node", state="FAILED", reason="NodeAffinity", says="affinity",
            spec=spec(node="nowhere", pod={"nodeName": "node1", "nodeSelector": {"kubernetes.io/hostname": "nowhere"}}),
        ),
        End(
            name="volume-overrun", state="FAILED", reason="Evicted", says="scratch",
            spec=spec(overrun, pod=scratch, container=mounted),
        ),
        End(name="walltime", state="TIMEOUT", reason="Walltime", spec=spec(walltime="5s")),
        End(
            name="deadline", state="TIMEOUT", reason="Walltime", says="deadline",
            spec=spec(pod={"activeDeadlineSeconds": 3}),
        ),
        End(name="no-manager", state="MISSING", reason="NoManager", spec=spec(registerTimeout="3s")),
    ]  # fmt: skip


def deeds(image: str) -> list[End]:
    """Blocks that run until somebody does something; what, is in the test."""
    lasting = [{"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": 10} for what in ("not-ready", "unreachable")]  # fmt: skip
    calm = {"tolerations": [MAINTENANCE, *lasting]}
    ghost = {"tolerations": [{"operator": "Exists"}], "nodeName": GHOST}
    told = {"resources": {**TINY, "limits": {"memory": "256Mi"}}, "stdin": True}
    return [
        End(
            name="other-code", state="FAILED", reason="ExitCode", says="exit code 7",
            spec=spec(DIRECTED, container=told),
        ),
        End(
            name="in-order", state="COMPLETED", reason="Completed", says="killed for memory",
            spec=spec(DIRECTED, container=told),
        ),
        End(name="evicted", state="CANCELLED", reason="EvictedByAPI", says="[Ee]viction", spec=spec()),
        End(name="deleted", state="CANCELLED", reason="PodDeleted", says="deleted", spec=spec()),
        End(
            name="forced", state="CANCELLED", reason="PodDeleted", says="not seen to end|without grace",
            spec=spec(DEAF, drainTimeout="5m"),
        ),
        End(name="drained", state="CANCELLED", reason="Drained", says="on request", spec=spec()),
        End(
            name="preempted", state="TIMEOUT", reason="Preempted", says="preempt", spec=spec(container=with_one(SLOT)),
        ),
        End(
            name="preempted-by-node", state="TIMEOUT", reason="Preempted", says="critical",
            spec=spec(container=with_one(SEAT)),
        ),
        End(name="tainted", state="CANCELLED", reason="NodeTainted", says="[Tt]aint", spec=spec(node="node2")),
        End(name="node-lost", state="MISSING", reason="NodeLost", spec=spec(node="node2", pod=calm)),
        End(
            name="deletion-not-done", state="MISSING", reason="NodeLost", says="does not carry out the deletion",
            spec=spec(node="node2", pod={"tolerations": [MAINTENANCE, {"operator": "Exists"}]}),
        ),
        End(name="node-removed", state="MISSING", reason="NodeLost", spec=spec(node=None, pod=ghost)),
    ]  # fmt: skip


def text_of(job: Json) -> str:
    """Message and log of a jobStatus."""
    return f"{job.get('message', '')}\n{job.get('logTail', '')}" if job else json.dumps(job)
