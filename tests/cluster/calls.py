"""A request to the API server, read as what it asks for: verb, resource, name. Pure."""

from urllib.parse import parse_qs, urlsplit

import msgspec

WRITES = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Call(msgspec.Struct, frozen=True):
    """What one request asks for, in the words of RBAC. Empty strings where a request has no such part."""

    verb: str
    """get, list, watch, create, update, patch, delete or deletecollection."""
    resource: str
    """With its subresource, as in ``pods/log``; for what is no resource, the path."""
    group: str = ""
    namespace: str = ""
    name: str = ""
    target: str = ""
    """Path and query as they were sent."""

    @property
    def is_write(self) -> bool:
        return self.verb not in {"get", "list", "watch"}


def call_of(method: str, target: str) -> Call:
    """Read an HTTP request line's method and target."""
    url = urlsplit(target)
    words = [word for word in url.path.split("/") if word]
    rest, group = _after_version(words)
    if not rest:
        return Call("get" if method == "GET" else method.lower(), url.path, target=target)
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in {"status", "finalize"}:
        namespace, rest = rest[1], rest[2:]
    resource, name, subresource = rest[0], "".join(rest[1:2]), "/".join(rest[2:])
    watches = parse_qs(url.query).get("watch", ["0"])[0] in {"1", "true"}
    full = f"{resource}/{subresource}" if subresource else resource
    return Call(_verb(method, name, watches=watches), full, group, namespace, name, target)


def _after_version(words: list[str]) -> tuple[list[str], str]:
    """What follows /api/VERSION or /apis/GROUP/VERSION, and the group."""
    if words[:1] == ["api"]:
        return words[2:], ""
    if words[:1] == ["apis"] and len(words) > 2:
        return words[3:], words[1]
    return [], ""


def _verb(method: str, name: str, *, watches: bool) -> str:
    if method in {"GET", "HEAD"}:
        if watches:
            return "watch"
        return "get" if name else "list"
    if method == "DELETE" and not name:
        return "deletecollection"
    return WRITES[method]
