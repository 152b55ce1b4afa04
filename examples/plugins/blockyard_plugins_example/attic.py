"""A stager: ``attic://SHELF/path`` keeps files compressed, below the folder that `BLOCKYARD_ATTIC` names."""

import gzip
import os
import secrets
import shutil
from pathlib import Path
from typing import BinaryIO

from blockyard.files import urls
from blockyard.files.port import Found


class AtticStager:
    """How large a file is when it is unpacked, nobody knows before; it is another one when its archive has changed."""

    writes = True

    def place(self, url: str) -> Path | None:
        """See `Stager`."""
        return None

    def look(self, url: str) -> Found:
        """See `Stager`."""
        state = self._archive(url).stat()
        return Found(validator=f"{state.st_ino} {state.st_mtime_ns} {state.st_size}")

    def fetch(self, url: str, into: BinaryIO) -> None:
        """See `Stager`."""
        with gzip.open(self._archive(url), "rb") as source:
            shutil.copyfileobj(source, into)

    def store(self, path: Path, url: str) -> None:
        """See `Stager`."""
        archive = self._archive(url)
        archive.parent.mkdir(parents=True, exist_ok=True)
        draft = archive.with_name(f".{secrets.token_hex(8)}.part")
        try:
            with path.open("rb") as source, gzip.open(draft, "wb") as target:
                shutil.copyfileobj(source, target)
            draft.replace(archive)
        finally:
            draft.unlink(missing_ok=True)

    def _archive(self, url: str) -> Path:
        shelf, path = urls.host_and_path(url)
        return Path(os.environ["BLOCKYARD_ATTIC"], shelf, f"{path[1:]}.gz")
