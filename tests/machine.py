"""What the tests may find, or miss, on the machine they run on.

Nothing is installed here (`tools/system-packages` does that); a part that is absent is named with the Debian package
that brings it.
"""

import os
import re
import shutil
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from tests.cluster import machine_state

ROOT = Path(__file__).resolve().parent.parent
"""The top of the project."""

S3_PYTHON = ROOT / ".venv-s3" / "bin" / "python"
"""Of an environment with s3fs and an S3 to test it with."""


class Size(StrEnum):
    """How large the long proofs are: `BLOCKYARD_SIZE`, small unless told."""

    SMALL = "small"
    FULL = "full"


def import_path() -> str:
    """PYTHONPATH of a process that is to import the tests, and the project from where this one has it."""
    return os.pathsep.join([str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))])


class Part(NamedTuple):
    """Something that a layer of tests needs from the machine."""

    marker: str
    is_there: Callable[[], bool]
    remedy: str


def size() -> Size:
    """Read `BLOCKYARD_SIZE`; a value that is neither `small` nor `full` raises."""
    asked = os.environ.get("BLOCKYARD_SIZE", Size.SMALL)
    try:
        return Size(asked)
    except ValueError:
        known = " or ".join(Size)
        raise ValueError(f"BLOCKYARD_SIZE is {asked!r}; it can be {known}") from None


def postgres_programs() -> Path | None:
    """The folder with `initdb` and `postgres` of the newest PostgreSQL here, Debian's first, or None."""
    debian = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: major_version(path.parent.parent)
    )
    if debian:
        return debian[-1].parent
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def major_version(folder: Path) -> int:
    digits = re.match(r"\d+", folder.name)
    return int(digits.group()) if digits else 0


def sshd_program() -> Path | None:
    """OpenSSH's server, which must be called by its full path, or None."""
    path = Path("/usr/sbin/sshd")
    return path if path.exists() else None


def cluster_is_there() -> bool:
    """Whether tests may have a Kubernetes with nodes: somebody's, or one of our own making."""
    return "KUBECONFIG" in os.environ or not machine_state.missing()


PARTS = (
    Part("needs_postgres", lambda: postgres_programs() is not None, "apt-get install postgresql"),
    Part("needs_sshd", lambda: sshd_program() is not None, "apt-get install openssh-server"),
    Part("needs_cluster", cluster_is_there, "be root on Debian with Go 1.25, and run `make cluster-parts`"),
    Part("needs_api_server", lambda: shutil.which("go") is not None, "install Go 1.25 or newer (https://go.dev/dl)"),
    Part("needs_prometheus", lambda: shutil.which("prometheus") is not None, "apt-get install prometheus"),
    Part("needs_s3", lambda: any((ROOT / ".venv-s3").glob(".stamp-*")), "make s3-environment"),
    Part("needs_mpi", lambda: shutil.which("mpirun") is not None, "apt-get install openmpi-bin"),
    Part(
        "needs_chromium",
        lambda: (shutil.which("chromium") or shutil.which("google-chrome")) is not None,
        "apt-get install chromium",
    ),
    Part("needs_root", lambda: os.geteuid() == 0, "run `make test` as root"),
)
