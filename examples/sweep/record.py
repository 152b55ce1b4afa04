"""Digests of earlier runs, so that a disturbed run can be held against an undisturbed one.

A digest holds for one set of libraries and one kind of processor: others may differ in a last bit.
"""

import json
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from threadpoolctl import threadpool_info


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the result is what it was; `sentence` is empty when there is nothing to say."""

    is_right: bool
    sentence: str


class Record:
    """A small JSON file: which digest an undisturbed run had, by environment."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def compare(self, digest: str, *, disturbed: bool) -> Verdict:
        """Hold a digest against the remembered one; an undisturbed run without one is remembered."""
        known = json.loads(self.path.read_text()) if self.path.exists() else {}
        before = known.get(environment())
        if before is None and disturbed:
            missing = "no undisturbed run of this environment to compare with: `make run` makes one"
            return Verdict(is_right=True, sentence=missing)
        if before is None:
            self.path.write_text(json.dumps({**known, environment(): digest}, indent=2) + "\n")
            return Verdict(is_right=True, sentence="")
        if before != digest:
            other = f"DIFFERENT from the undisturbed run before ({before[:16]}): please report this"
            return Verdict(is_right=False, sentence=other)
        which = "undisturbed run" if disturbed else "run"
        return Verdict(is_right=True, sentence=f"identical to the {which} before, to the last bit")


def environment() -> str:
    """What the last bits depend on: releases, and which of its kernels the linear algebra library has chosen here."""
    libraries = " ".join(f"{name}-{version(name)}" for name in ("scikit-learn", "numpy", "scipy"))
    kernels = sorted({str(library.get("architecture", "")) for library in threadpool_info()} - {""})
    return f"{platform.machine()} {' '.join(kernels)} Python-{platform.python_version()} {libraries}"
