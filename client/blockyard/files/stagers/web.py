"""Files of web servers; they are read, not written."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Final

from blockyard.files import carrier
from blockyard.files.port import Found, Refused

_VALIDATORS: Final = ("ETag", "Digest", "Content-MD5", "Last-Modified")
"""What a server may say that changes with the content."""


class HttpStager:
    """``http://`` and ``https://``. A name and password may stand in the URL, or in ~/.netrc."""

    writes = False

    def __init__(self) -> None:
        """Raises ConfigError when what it needs is not installed."""
        self._files = carrier.http()

    def place(self, url: str) -> Path | None:
        """See `Stager`."""
        return None

    def look(self, url: str) -> Found:
        """See `Stager`."""
        with carrier.translated_http():
            info = carrier.look(self._files, url)
        return Found(info["size"], " ".join(f"{name}={info[name]}" for name in _VALIDATORS if info.get(name)))

    def fetch(self, url: str, into: BinaryIO) -> None:
        """See `Stager`."""
        with carrier.translated_http():
            carrier.fetch_http(self._files, url, into)

    def store(self, path: Path, url: str) -> None:
        """See `Stager`."""
        raise Refused("files of web servers can be read only")
