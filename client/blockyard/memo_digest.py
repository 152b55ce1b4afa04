"""What memos are made with: one digest of everything that counts."""

from __future__ import annotations

import hashlib
from typing import Final

MEMO_BYTES: Final = 16


def digest(tag: str, *parts: bytes | memoryview) -> bytes:
    """Of a type's name and parts, each with its length, so that no two lists of parts read alike."""
    hashed = hashlib.blake2b(digest_size=MEMO_BYTES)
    for part in (tag.encode(), *parts):
        hashed.update(len(part).to_bytes(8, "big"))
        hashed.update(part)
    return hashed.digest()
