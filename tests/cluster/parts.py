"""What a test cluster is made of: programs from Go modules, images from those programs and from Debian packages.

Pure: versions, names of cache entries, argument lists. Each entry is named by a hash of all that goes into it, so a
changed version or source is built anew and an unchanged one never again.
"""

import hashlib
from pathlib import Path

import msgspec

KUBERNETES = "1.35.4"
"""The last minor that takes containerd 1.x, which is what Debian 12 has."""

GO = Path(__file__).parent / "go"
KUBE_NAMES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet")
"""What the one binary of go/kube can be called as."""

DEBIAN_SUITE = "bookworm"
DEBIAN_INCLUDE = ("python3", "python3-venv", "python3-pip", "ca-certificates")

PYTHON_IMAGE = "localhost/python:bookworm"
PAUSE_IMAGE = "localhost/pause:1"
COREDNS_IMAGE = "localhost/coredns:1.15.0"

PACKAGES = (
    "containerd",
    "runc",
    "containernetworking-plugins",
    "iptables",
    "conntrack",
    "ethtool",
    "socat",
    "iproute2",
    "buildah",
    "debootstrap",
    "prometheus",
)
"""Debian packages; `tools/system-packages` installs them."""

# What proves that a package is there, for those that a cluster cannot do without.
NEEDED_FILES = (
    ("/usr/bin/containerd", "containerd"),
    ("/usr/sbin/runc", "runc"),
    ("/usr/lib/cni/bridge", "containernetworking-plugins"),
    ("/usr/sbin/iptables", "iptables"),
    ("/usr/sbin/conntrack", "conntrack"),
    ("/usr/bin/buildah", "buildah"),
    ("/usr/sbin/debootstrap", "debootstrap"),
)


class Module(msgspec.Struct, frozen=True):
    """A program that `go install PATH@VERSION` builds as it is published."""

    name: str
    path: str
    version: str

    @property
    def key(self) -> str:
        return digest(self.path, self.version)

    @property
    def install(self) -> list[str]:
        return ["go", "install", "-trimpath", "-ldflags", "-s -w", f"{self.path}@{self.version}"]


HELM = Module("helm", "helm.sh/helm/v4/cmd/helm", "v4.3.1")
COREDNS = Module("coredns", "github.com/coredns/coredns", "v1.15.0")
KWOK = Module("kwok", "sigs.k8s.io/kwok/cmd/kwok", "v0.8.0")
KWOK_MODULE = f"sigs.k8s.io/kwok@{KWOK.version}"
KWOK_STAGES = ("node/fast", "pod/fast")
"""Folders of kwok's module with what its nodes and pods do."""
KUBECONFORM = Module("kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform", "v0.8.0")
KUBE_SCORE = Module("kube-score", "github.com/zegl/kube-score/cmd/kube-score", "v1.20.0")
MODULES = (HELM, COREDNS, KWOK, KUBECONFORM, KUBE_SCORE)


class Source(msgspec.Struct, frozen=True):
    """A program whose source is in go/NAME."""

    name: str
    links: tuple[str, ...] = ()
    """Names it is called by; its own when empty."""
    ldflags: str = "-s -w"

    @property
    def folder(self) -> Path:
        return GO / self.name

    @property
    def key(self) -> str:
        files = sorted(path for path in self.folder.iterdir() if path.is_file())
        return digest(self.ldflags, *self.links, *(f"{path.name}\n{path.read_text()}" for path in files))

    def build(self, target: Path) -> list[str]:
        return ["go", "build", "-trimpath", "-ldflags", self.ldflags, "-o", str(target), "."]


def version_flags(version: str) -> str:
    """What the linker writes into Kubernetes' programs, so that they know their own version."""
    major, minor, _ = version.split(".")
    facts = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    homes = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(
        ["-s -w -buildid=", *(f"-X {home}.{name}={value}" for name, value in facts.items() for home in homes)]
    )


KUBE = Source("kube", KUBE_NAMES, version_flags(KUBERNETES))
PAUSE = Source("pause")
KINDCHECK = Source("kindcheck")
SOURCES = (KUBE, PAUSE, KINDCHECK)


def debootstrap(target: Path, mirror: str) -> list[str]:
    """Make the root file system that the base image holds."""
    include = f"--include={','.join(DEBIAN_INCLUDE)}"
    return ["debootstrap", "--variant=minbase", include, DEBIAN_SUITE, str(target), mirror]


def python_image_key() -> str:
    return digest(PYTHON_IMAGE, DEBIAN_SUITE, *DEBIAN_INCLUDE)


def program_image_key(image: str, program: Module | Source) -> str:
    """Of an image that holds nothing but one program."""
    return digest(image, program.key)


def digest(*parts: str) -> str:
    """16 hexadecimal digits that change with any of `parts`."""
    total = hashlib.sha256()
    for part in parts:
        total.update(f"{len(part)}:{part}".encode())
    return total.hexdigest()[:16]
