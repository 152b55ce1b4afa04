"""Follows what happens as it happens: the hub's stream, for programs and for ``blockyard watch``.

`follow` asks over a connection to the interchange, which is ZeroMQ; `follow_http` is for where there is none: threads
of one process, the page. A follower that loses its connection goes on where it was; what it missed meanwhile comes
first, or is told as `lost`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import msgspec

from blockyard.errors import BlockyardError, BrokenBlockyard, ConfigError
from blockyard.wire import control
from blockyard.wire.monitoring import unknown_kinds

_RETRY_SECONDS: Final = 0.5
_SILENT_SECONDS: Final = 30.0
"""The hub says something every ten."""
_MOST_LINE: Final = 16 * 1024 * 1024
_PATIENCE: Final = 10.0
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class Where(NamedTuple):
    """A Unix socket, or a host and a port with a token."""

    path: Path | None = None
    host: str = ""
    port: int = 0
    token: str = ""

    def __str__(self) -> str:
        return str(self.path) if self.path is not None else f"{self.host}:{self.port}"


async def follow(
    ask: Callable[[control.Question], Future[control.Answer]],
    *,
    kinds: Iterable[str] = (),
    pools: Iterable[str] = (),
    runs: Iterable[str] = (),
    after: str = "",
    patience: float = _PATIENCE,
) -> AsyncIterator[dict[str, Any]]:
    """Events from now on, or from behind `after` (an event's ``id``), as dictionaries with ``record`` and ``id``.

    `ask`: of the connection, `RemoteEngine.begin`. `kinds`: types of records of `wire.monitoring`; empty: all, as for
    `pools` and `runs`. An event ``lost`` says how many were missed (None: unknown). Seen is what this client's key may
    see. Raises ConfigError for a kind that there is not, BrokenBlockyard when there is nobody to tell of events for
    `patience` seconds, and what asking raises.
    """
    asked = _checked(kinds, pools, runs, after)
    question = control.Follow(asked["kinds"], asked["pools"], asked["runs"], after)
    loop = asyncio.get_running_loop()
    heard_at = loop.time()
    while True:
        try:
            answer = await asyncio.wait_for(asyncio.wrap_future(ask(question)), question.wait + patience)
        except TimeoutError:
            raise BrokenBlockyard(f"events: no answer within {question.wait + patience:g} s") from None
        match answer:
            case control.EventsAre(events, place):
                heard_at = loop.time()
                question = msgspec.structs.replace(question, after=place)
                for one in events:
                    yield {"record": one.kind, **_decode(one.data), "id": one.id}
            case control.Unknown(words) if loop.time() - heard_at > patience:
                raise BrokenBlockyard(words)
            case control.Unknown():
                await asyncio.sleep(_RETRY_SECONDS)
            case _:
                raise BlockyardError(f"events: {answer!r} is no answer to that")


async def follow_http(
    where: Where,
    *,
    kinds: Iterable[str] = (),
    pools: Iterable[str] = (),
    runs: Iterable[str] = (),
    after: str = "",
    patience: float = _PATIENCE,
) -> AsyncIterator[dict[str, Any]]:
    """The same, by the HTTP door of sink ``stream``, whose followers see everything.

    Raises BrokenBlockyard when nobody is there for `patience` seconds, or refuses this.
    """
    asked = _checked(kinds, pools, runs, after)
    query = "&".join(f"{name}={quote(','.join(values))}" for name, values in asked.items() if values)
    loop = asyncio.get_running_loop()
    lost_at = loop.time()
    while True:
        try:
            async for event in _connection(where, query, after):
                lost_at = loop.time()
                if event:
                    after = event["id"]
                    yield event
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            if loop.time() - lost_at > patience:
                raise BrokenBlockyard(f"stream of the hub at {where}: {str(error) or 'nobody answers'}") from error
        else:
            if loop.time() - lost_at > patience:
                raise BrokenBlockyard(f"stream of the hub at {where} has ended")
        await asyncio.sleep(_RETRY_SECONDS)


def _checked(kinds: object, pools: object, runs: object, after: object) -> dict[str, list[str]]:
    """The names of each; one that stands alone is one, and not its letters."""
    found: dict[str, list[str]] = {}
    for field, given in (("kinds", kinds), ("pools", pools), ("runs", runs)):
        names = [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
        found[field] = [name for name in names if isinstance(name, str)]
        if len(found[field]) != len(names):
            raise ConfigError(f"events: {field}={given!r}; give names")
    if not isinstance(after, str):
        raise ConfigError(f"events: after={after!r}; give the id of an event, or '' for what comes from now on")
    if fault := unknown_kinds(found["kinds"]):
        raise ConfigError(f"events: {fault}")
    return found


async def _connection(where: Where, query: str, after: str) -> AsyncIterator[dict[str, Any]]:
    """Events of one connection; an empty one for each sign of life."""
    if where.path is not None:
        reader, writer = await asyncio.open_unix_connection(where.path, limit=_MOST_LINE)
    else:
        reader, writer = await asyncio.open_connection(where.host, where.port, limit=_MOST_LINE)
    try:
        lines = [f"GET /events?{query} HTTP/1.1", "Host: blockyard", "Connection: close"]
        lines += [f"Last-Event-ID: {after}"] if after else []
        lines += [f"Authorization: Bearer {where.token}"] if where.token else []
        writer.write("\r\n".join([*lines, "", ""]).encode())
        await writer.drain()
        status = (await reader.readline()).split()
        if len(status) < 2 or status[1] != b"200":
            words = b" ".join(status[2:]).decode(errors="replace")
            raise BrokenBlockyard(f"stream of the hub at {where}: {words or 'it closed the connection'}")
        while await reader.readline() not in (b"\r\n", b"\n", b""):
            pass
        fields: dict[str, str] = {}
        while line := await asyncio.wait_for(reader.readline(), _SILENT_SECONDS):
            text = line.decode().rstrip("\r\n")
            if text:
                name, _, value = text.partition(": ")
                fields[name] = value
            elif "data" in fields:
                yield {"record": fields["event"], **_decode(fields["data"]), "id": fields["id"]}
                fields = {}
            else:
                fields = {}
                yield {}
    finally:
        writer.close()
