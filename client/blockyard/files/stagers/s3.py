"""Objects of S3 and of what speaks like it."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from blockyard.files import carrier
from blockyard.files.port import Found


class S3Stager:
    """``s3://BUCKET/key``; the key is taken as it stands there.

    Who asks is said by AWS's own variables (``AWS_ACCESS_KEY_ID`` …, ``AWS_ENDPOINT_URL`` for other servers than
    Amazon's), its files, or a pod's identity; ``FSSPEC_S3_ANON=true`` asks for public objects without any.
    """

    writes = True

    def __init__(self) -> None:
        """Raises ConfigError when what it needs is not installed."""
        self._files = carrier.s3()

    def place(self, url: str) -> Path | None:
        """See `Stager`."""
        return None

    def look(self, url: str) -> Found:
        """See `Stager`."""
        with carrier.translated_s3():
            info = carrier.look(self._files, url, refresh=True)
        if info["type"] == "directory":
            raise IsADirectoryError("it is a prefix of keys, and no object")
        return Found(info["size"], f"{info['ETag']} {info['LastModified']}")

    def fetch(self, url: str, into: BinaryIO) -> None:
        """See `Stager`."""
        with carrier.translated_s3():
            carrier.fetch_s3(self._files, url, into)

    def store(self, path: Path, url: str) -> None:
        """See `Stager`."""
        with carrier.translated_s3():
            carrier.store_s3(self._files, path, url)
