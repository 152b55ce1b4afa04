"""Files that a node has: below its own root, and on the volumes that are mounted in its pods."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from blockyard.errors import ConfigError
from blockyard.files import settings, urls
from blockyard.files.port import Found, Refused


class FileStager:
    """``file:///path``, and plain paths: of the node that the task runs on."""

    writes = True

    def place(self, url: str) -> Path | None:
        """See `Stager`."""
        return self._path(url)

    def look(self, url: str) -> Found:
        """See `Stager`."""
        path = self._path(url)
        state = path.stat()
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder; pack it into one file")
        return Found(state.st_size, f"{state.st_ino}-{state.st_mtime_ns}-{state.st_size}")

    def fetch(self, url: str, into: BinaryIO) -> None:
        """See `Stager`."""
        with self._path(url).open("rb") as source:
            shutil.copyfileobj(source, into, 1024 * 1024)

    def store(self, path: Path, url: str) -> None:
        """See `Stager`. Folders on the way are made, and a link is followed."""
        place = Path(os.path.realpath(self._path(url)))
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_dir():
            raise IsADirectoryError(f"{place} is a folder; name a file in it")
        if place.exists() and not place.is_file():
            raise Refused(f"{place} is a device, a pipe or a socket, which a file would replace")
        draft = place.with_name(f".blockyard-{secrets.token_hex(8)}.part")
        try:
            with path.open("rb") as source, draft.open("xb") as target:
                shutil.copyfileobj(source, target, 1024 * 1024)
                os.fsync(target.fileno())
            draft.replace(place)
        finally:
            draft.unlink(missing_ok=True)

    def _path(self, url: str) -> Path:
        return Path(urls.host_and_path(url)[1])


class PvcStager(FileStager):
    """``pvc://CLAIM/path``: of a claim that the pool's pod template mounts; `StagingSettings.claims` says where."""

    def _path(self, url: str) -> Path:
        claim, path = urls.host_and_path(url)
        inside = PurePosixPath(path.lstrip("/"))
        if ".." in inside.parts or claim in (".", ".."):
            raise ConfigError("'..' leads out of the claim")
        mount = settings.read().mount_of(claim)
        if not mount.is_dir():
            raise ConfigError(
                f"claim {claim!r} is not mounted at {mount} here; mount it in the pool's pod template, there or "
                f"where {settings.PREFIX}CLAIMS says, such as {claim}=/data"
            )
        return mount / inside
