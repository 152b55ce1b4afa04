"""Addresses of files: read, checked, and shown without their secrets. Knows no network and no disk."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from blockyard.errors import ConfigError
from blockyard.suggestion import nearest

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_SLIPPED: Final = re.compile(r"(file|pvc|https?|ftp|s3):", re.IGNORECASE)
"""What begins so and is no URL was meant to be one."""
_USER: Final = re.compile(r"^([^/?#]*)@")
_WITHOUT_QUERY: Final = ("file", "pvc", "ftp")
"""In their paths a question mark is one."""
_WITH_PORT: Final = ("http", "https", "ftp")
OWN_SCHEMES: Final = {"file": True, "pvc": True, "http": False, "https": False, "ftp": True, "s3": True}
"""Those that have a stager of ours, and whether it writes."""
_HASH: Final = re.compile(r"[0-9a-fA-F]{64}")
MOST_NAME_BYTES: Final = 200
"""Of a copy's name; file systems take 255."""


def checked(where: str, folder: str) -> str:
    """A URL from a URL or a path, which is below `folder` if it is not absolute. Raises ConfigError for neither."""
    if not where or "\0" in where:
        raise ConfigError(f"file {where!r}: give a path, or a URL such as https://example.org/data.csv")
    match = _SCHEME.fullmatch(where)
    if match is None:
        if slip := _SLIPPED.match(where):
            raise ConfigError(f"file '{slip[0]}…': write {slip[0]}//…, or ./{slip[0]}… for a path")
        where = "file://" + quote(posixpath.normpath(posixpath.join(folder, where)))
        match = _SCHEME.fullmatch(where)
        assert match is not None
    if reason := fault(where):
        raise ConfigError(f"file {shown(where)!r}: {reason}")
    return f"{match[1].lower()}://{match[2]}"


def fault(url: str) -> str:
    """Why a text with ``://`` in it is no address of a file; '' when it is one."""
    match = _SCHEME.fullmatch(url)
    if match is None:
        return "what stands before :// is no scheme; give a URL such as https://example.org/data.csv"
    scheme, rest = match[1].lower(), match[2]
    host = _USER.sub("", rest).partition("/")[0]
    if scheme == "file" and host not in ("", "localhost"):
        return f"{host!r} stands where a host does; a path begins with file:///"
    if scheme != "file" and not host:
        return f"there is no host, bucket or claim after {scheme}://"
    if scheme in _WITH_PORT:
        try:
            _ = urlsplit(f"//{host}").port
        except ValueError as error:
            return f"{host!r}: {error}"
    return "" if name_of(url) else "it names no file; one file is staged, and no folder"


def scheme_fault(url: str, others: Callable[[], Collection[str]], *, writes: bool) -> str:
    """Why nobody stages a URL; '' when somebody does. `others`: schemes of plug-ins, asked for if need be."""
    scheme = scheme_of(url).lower()
    if scheme not in OWN_SCHEMES:
        known = {*OWN_SCHEMES, *others()}
        near = nearest(scheme, known, then="A plug-in of group 'blockyard.stagers' adds one")
        return "" if scheme in known else f"no stager for {scheme}://{near}"
    if writes and not OWN_SCHEMES[scheme]:
        able = ", ".join(f"{one}://" for one, can in OWN_SCHEMES.items() if can)
        return f"{scheme}:// can be read only; write to one of {able}"
    return ""


def is_sha256(text: str) -> bool:
    """Whether it is a hash as people write it."""
    return _HASH.fullmatch(text) is not None


def scheme_of(url: str) -> str:
    """In small letters."""
    return url.partition(":")[0]


def host_and_path(url: str) -> tuple[str, str]:
    """What stands before and after the first slash; the path begins with a slash and has its % escapes read."""
    host, _, path = url.partition("://")[2].partition("/")
    return host, "/" + unquote(path)


def name_of(url: str) -> str:
    """What a copy of it is called: the last part of its path, as a name that any file system takes; '' for none."""
    is_plain = scheme_of(url) == "s3"  # a key is what stands there, without escapes
    path = url.partition("://")[2].partition("/")[2] if is_plain else urlsplit(_without_query(url)).path
    name = path.rpartition("/")[2]
    name = name if is_plain else unquote(name).replace("/", "_")
    if name in ("", ".", "..") or "\0" in name:
        return ""
    stem, suffix = posixpath.splitext(name)
    room = MOST_NAME_BYTES - len(suffix.encode())
    if room < 1:
        return name.encode()[:MOST_NAME_BYTES].decode(errors="ignore")
    return stem.encode()[:room].decode(errors="ignore") + suffix


def _without_query(url: str) -> str:
    scheme = scheme_of(url)
    return url if scheme in ("http", "https") else f"{scheme}://{quote(url.partition('://')[2], safe='/@:%')}"


def shown(url: str) -> str:
    """The URL for people and records: a password becomes ``***``, and of a query only that there is one is left."""
    scheme, separator, rest = url.partition("://")
    user = _USER.match(rest)
    if user is not None:
        rest = (
            f"{user[1].partition(':')[0]}:***@{rest[user.end() :]}" if ":" in user[1] else f"***@{rest[user.end() :]}"
        )
    if scheme.lower() not in _WITHOUT_QUERY:
        rest = re.sub(r"\?.*", "?…", rest, flags=re.DOTALL)
    return f"{scheme}{separator}{rest}"


def redacted(text: str, url: str) -> str:
    """What another library said about a URL, without what is secret in it."""
    rest = url.partition("://")[2]
    secrets = [] if scheme_of(url) in _WITHOUT_QUERY else [rest.partition("?")[2]]
    if user := _USER.match(rest):
        secrets += [user[1], user[1].partition(":")[2]]
    for secret in secrets:
        for form in {secret, unquote(secret), quote(secret)}:
            if form:
                text = text.replace(form, "***")
    return text
