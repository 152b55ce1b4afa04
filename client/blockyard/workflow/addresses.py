"""Files that a step's arguments name: ``{file: URL}``, maybe with ``sha256``, and ``{output: URL}``.

Found here for who stages them and for who looks at a workflow before anything runs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

import msgspec

from blockyard.files import urls
from blockyard.workflow.reading import Fault
from blockyard.workflow.references import OPENING, PATTERN, any_in, may_hold, may_hold_any

_MARKS: Final = (b"://", OPENING)
_KEYS: Final = ({"file"}, {"file", "sha256"}, {"output"})

Stagers = Callable[[], Collection[str]]
"""Schemes that plug-ins stage, besides our own; asked for only when one of them may be meant."""


def no_others() -> Collection[str]:
    """No plug-ins."""
    return ()


class Named(msgspec.Struct, frozen=True):
    """A file that is named somewhere in a value."""

    url: str
    sha256: Any = ""
    """As it stands there."""
    writes: bool = False


def named(value: Any) -> Named | None:
    """The file that this is; None for what is data of the step's own, as a path without a scheme is."""
    match value:
        case {"file": str() as url} | {"output": str() as url} if value.keys() in _KEYS and "://" in url:
            return Named(url, value.get("sha256", ""), "output" in value)
    return None


def files_in(value: Any, path: str = "") -> Iterator[tuple[str, Named]]:
    """All files in a value of JSON, with their paths."""
    if (found := named(value)) is not None:
        yield f"{path}.{'output' if found.writes else 'file'}", found
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from files_in(one, f"{path}.{key}")
    elif isinstance(value, list):
        for place, one in enumerate(value):
            yield from files_in(one, f"{path}[{place}]")


def is_all_own(arguments: Any) -> bool:
    """Whether there is surely neither a file's address nor a reference in these."""
    return not may_hold_any(_MARKS, arguments)


def is_all_own_text(encoded: bytes) -> bool:
    """The same of a record that holds them, as JSON."""
    return not any_in(_MARKS, encoded)


def file_faults(arguments: Any, path: str, stagers: Stagers) -> Iterator[Fault]:
    """What is wrong with the addresses, as far as that can be seen before their references are filled in."""
    for where, file in files_in(arguments, path) if may_hold(b"://", arguments) else ():
        reason = urls.fault(PATTERN.sub("x", file.url))
        if not reason and "${{" not in file.url.partition("://")[0]:
            reason = urls.scheme_fault(file.url, stagers, writes=file.writes)
        if reason:
            yield Fault(where, f"{urls.shown(file.url)!r}: {reason}")
        if file.sha256 and not (isinstance(file.sha256, str) and _is_hash(file.sha256)):
            yield Fault(f"{where.removesuffix('.file')}.sha256", f"{file.sha256!r:.80} are not 64 hexadecimal digits")


def _is_hash(text: str) -> bool:
    return PATTERN.search(text) is not None or urls.is_sha256(text)
