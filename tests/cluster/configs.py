"""The configuration files of a cluster's processes, as text. Pure.

JSON wherever a program reads YAML, which includes JSON. Each setting that is not a default has its reason beside it;
most were found by what fails without them on a machine with cgroup v1 and root without CAP_SYS_RESOURCE.
"""

import base64
import json
from pathlib import Path

from tests.cluster.kubectl import Json
from tests.cluster.layout import Layout, Node
from tests.cluster.parts import COREDNS_IMAGE, PAUSE_IMAGE

STORAGE_CLASS = "local"

CNI_PLUGINS = "/usr/lib/cni"
"""Where Debian's containernetworking-plugins puts them."""


def kubeconfig(server: str, authority: bytes, certificate: bytes, key: bytes) -> str:
    """With everything inside, so that it can be copied. The three are PEM texts."""
    named = {"name": "blockyard-test"}
    return _json(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{**named, "cluster": {"server": server, "certificate-authority-data": _base64(authority)}}],
            "users": [
                {
                    **named,
                    "user": {"client-certificate-data": _base64(certificate), "client-key-data": _base64(key)},
                }
            ],
            "contexts": [{**named, "context": {"cluster": named["name"], "user": named["name"]}}],
            "current-context": named["name"],
        }
    )


def containerd(node: Node) -> str:
    """Root, state and sockets of a node's own, so that nodes of one machine do not see one another's containers."""
    folder = node.folder
    return f"""\
version = 2
root = "{folder}/containerd/root"
state = "{folder}/containerd/state"
# the optional-packages plugin would make /opt/containerd
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]

[grpc]
address = "{node.socket}"

[ttrpc]
address = "{folder}/containerd.ttrpc.sock"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
# root without CAP_SYS_RESOURCE cannot lower an oom_score_adj; runc fails with "can't get final child's PID" otherwise
restrict_oom_score_adj = true
# network namespaces of pods below our folder, where `down` finds them
netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
Root = "{folder}/runc"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{CNI_PLUGINS}"
conf_dir = "{folder}/cni"
max_conf_num = 1
"""


def cni(node: Node) -> str:
    """Pods on a bridge inside the node's namespace; the network's name is in what libcni keeps in /var/lib/cni."""
    return _json(
        {
            "cniVersion": "1.0.0",
            "name": node.full_name,
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": "cni0",
                    "isGateway": True,
                    "ipMasq": False,  # pods reach one another under their own addresses, as Kubernetes promises
                    "hairpinMode": True,
                    "ipam": {
                        "type": "host-local",
                        "dataDir": str(node.folder / "ipam"),
                        "ranges": [[{"subnet": str(node.pods)}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                },
                {"type": "portmap", "capabilities": {"portMappings": True}},
            ],
        }
    )


def kubelet(node: Node, authority: Path) -> str:
    """Limits that let two nodes share one machine, and reports fast enough for tests of lost nodes."""
    folder = node.folder
    return _json(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": str(node.address),
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(authority)},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(folder / "kubelet.crt"),
            "tlsPrivateKeyFile": str(folder / "kubelet.key"),
            "containerRuntimeEndpoint": f"unix://{node.socket}",
            "clusterDNS": [str(node.cluster.dns)],
            "clusterDomain": "cluster.local",
            "resolvConf": str(folder / "resolv.conf"),
            "podLogsDir": str(folder / "pod-logs"),
            "volumePluginDir": str(folder / "volume-plugins"),
            # with a shared root each kubelet kills the other's pods as orphans
            "cgroupRoot": node.cgroup,
            "cgroupDriver": "cgroupfs",
            "failCgroupV1": False,
            "failSwapOn": False,
            "enforceNodeAllocatable": [],
            "nodeStatusUpdateFrequency": "2s",
            "nodeLeaseDurationSeconds": 8,
            # the machine's disk is shared with much else
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "serializeImagePulls": False,
            "registerNode": True,
            "maxPods": 200,
            "logging": {"verbosity": 2},
        }
    )


def kube_proxy(node: Node) -> str:
    return _json(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clusterCIDR": str(node.cluster.pods),
            "hostnameOverride": node.name,
            "clientConnection": {"kubeconfig": str(node.folder / "proxy.kubeconfig")},
            # these sysctls belong to the machine's namespace and cannot be set in a node's
            "conntrack": {"maxPerCore": 0, "min": 0},
        }
    )


def audit_policy() -> str:
    """Who asked for what, without bodies: tests compare it with what RBAC grants."""
    return _json(
        {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [
                {"level": "None", "userGroups": ["system:nodes", "system:masters"]},
                {"level": "None", "users": ["system:kube-scheduler", "system:kube-controller-manager"]},
                {"level": "None", "users": ["system:kube-proxy", "system:apiserver", "system:anonymous"]},
                {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
                {"level": "Metadata"},
            ],
        }
    )


def node_object(node: Node) -> str:
    """Made before its kubelet registers, so that its pods' range is ours to say."""
    return _json(
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": node.name, "labels": {"kubernetes.io/hostname": node.name}},
            "spec": {"podCIDR": str(node.pods), "podCIDRs": [str(node.pods)]},
        }
    )


def volume(node: Node, ordinal: int) -> Json:
    """A static volume in a folder of the node's, for claims of StorageClass ``local``."""
    name = f"{node.name}-{ordinal}"
    on_node = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node.name]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "16Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": STORAGE_CLASS,
            "local": {"path": str(node.folder / "volumes" / str(ordinal))},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_node]}]}},
        },
    }


def substitutions(cluster: Layout) -> dict[str, str]:
    """What the files in manifests/ leave open, as ``${NAME}``."""
    return {"DNS_ADDRESS": str(cluster.dns), "COREDNS_IMAGE": COREDNS_IMAGE, "STORAGE_CLASS": STORAGE_CLASS}


def _base64(text: bytes) -> str:
    return base64.b64encode(text).decode()


def _json(value: object) -> str:
    return json.dumps(value, indent=1) + "\n"
