"""The files among the arguments that are being unpickled: how a worker learns of them without looking for them.

A `File` says so itself when it is rebuilt. So a call without files costs the setting of two attributes.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blockyard.files.file import File


class Arrivals:
    """Of one process. `files` is a fresh list while arguments of a try are loaded in the main thread, else None."""

    __slots__ = ("files",)

    def __init__(self) -> None:
        self.files: list[File] | None = None

    def note(self, file: File) -> None:
        """A file has been rebuilt."""
        if self.files is not None and threading.current_thread() is threading.main_thread():
            self.files.append(file)


arrivals = Arrivals()
