"""`File` and `Output`: what a program names a file by, and what the function is given in its place.

On the client they hold an address. In a task's arguments, at any depth, they arrive as the same with a local path, so
``open(file)`` works there. Pickled again, as a result for instance, they are addresses once more.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from blockyard.errors import ConfigError, StagingError
from blockyard.files import urls
from blockyard.files.arrivals import arrivals


class _Made:
    """Whether there has been a file in this process: where nothing is pickled, arguments need not be searched else."""

    any: bool = False


made = _Made()


class File(os.PathLike[str]):
    """A file that a task reads.

    `where`: a path, or a URL of ``file://``, ``pvc://CLAIM/path``, ``http(s)://``, ``ftp://``, ``s3://`` or another
    scheme that has a stager. `sha256`: of its content, 64 hexadecimal digits; it is verified then, and a copy that the
    node has is taken without asking where it came from.

    In a task it is a path-like of the local copy, which may be read only. Raises ConfigError for what is no address,
    and for a scheme that has no stager here.
    """

    __slots__ = ("_local", "sha256", "url")

    def __init__(self, where: str | os.PathLike[str], *, sha256: str = "") -> None:
        self.url = urls.checked(os.fspath(where), os.getcwd())
        self.sha256 = sha256.lower()
        if sha256 and not urls.is_sha256(sha256):
            raise ConfigError(f"file {urls.shown(self.url)}: sha256={sha256!r} are not 64 hexadecimal digits")
        self._local = ""
        self._check()
        made.any = True

    def _check(self) -> None:
        from blockyard.files.port import check_scheme

        check_scheme(self.url, writes=False)

    @property
    def name(self) -> str:
        """The last part of its address, which the local copy has, too."""
        return urls.name_of(self.url)

    @property
    def path(self) -> Path:
        """Where it is on this machine. Raises StagingError when it is not here."""
        return Path(os.fspath(self))

    def __fspath__(self) -> str:
        if self._local:
            return self._local
        if urls.scheme_of(self.url) == "file":
            return urls.host_and_path(self.url)[1]
        raise StagingError(
            f"{self!r} is not here: a file has a local path in the task that it is an argument of; a global or a "
            "closure variable of the function is none"
        )

    def copied(self) -> File:
        """Another of the same address, without a local path."""
        return _rebuilt(type(self), self.url, self.sha256)

    def released(self) -> File:
        """What it is to others once its task has succeeded: an address; of an output that was written, to be read."""
        return _rebuilt(File if self._local else type(self), self.url, self.sha256)

    def stage(self, local: str | os.PathLike[str]) -> None:
        """It is at this local path now."""
        self._local = os.fspath(local)

    def __reduce__(self) -> tuple[Any, ...]:
        # What is staged is released by its task, and an output exists then: see `released`.
        return _arrived, (File if self._local else type(self), self.url, self.sha256)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and (self.url, self.sha256) == (other.url, other.sha256)

    def __hash__(self) -> int:
        return hash((self.url, self.sha256))

    def __str__(self) -> str:
        return self._local or urls.shown(self.url)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({urls.shown(self.url)!r})"


class Output(File):
    """A file that a task writes: its function is given a path for it, and what it left there goes to the address.

    That happens after the function returned and before its result is recorded; without the file the task fails.
    Returned as a result, or given on by the task, it is the `File` that was written. Raises ConfigError as `File`, and
    for a scheme that cannot be written.
    """

    __slots__ = ()

    def __init__(self, where: str | os.PathLike[str]) -> None:
        super().__init__(where)

    def _check(self) -> None:
        from blockyard.files.port import check_scheme

        check_scheme(self.url, writes=True)


def _rebuilt(kind: type[File], url: str, sha256: str) -> File:
    file = kind.__new__(kind)
    file.url, file.sha256, file._local = url, sha256, ""
    return file


def _arrived(kind: type[File], url: str, sha256: str) -> File:
    """Rebuild one; called by the unpickler, by name."""
    file = _rebuilt(kind, url, sha256)
    made.any = True
    arrivals.note(file)
    return file
