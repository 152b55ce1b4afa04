"""What managed tasks left to be looked at, and its content as far as it is kept."""

import base64
import hashlib
from contextlib import closing
from typing import Final

import msgspec
from sqlalchemy import Connection, select

from blockyard.errors import BlockyardError
from blockyard_monitoring.history.configs import view as configs
from blockyard_monitoring.history.reading import History
from blockyard_monitoring.sinks.sql import tables

_MOST: Final = 1000
"""That are listed at once: the last."""
_left = tables.artefacts


class ArtefactLine(msgspec.Struct, frozen=True, kw_only=True):
    """One of them. `parts`: of its content; 0: it is not kept."""

    config: str
    name: str
    step: str
    task_id: str
    kind: str
    media: str
    path: str
    size_bytes: int
    sha256: str
    parts: int
    at_us: int

    @property
    def is_kept(self) -> bool:
        """Whether its content can be had."""
        return self.parts > 0

    @property
    def is_image(self) -> bool:
        """Whether it can be shown among other things."""
        return self.is_kept and self.media.startswith("image/")


class NotWhole(BlockyardError):
    """The content of an artefact is not, or not wholly, in the history."""


def lines(connection: Connection, *, run: str = "", task: int = 0, config: str = "") -> list[ArtefactLine]:
    """Those of a run, of a task by its number in the database, or of one record; oldest first."""
    names = [name for name in ArtefactLine.__struct_fields__ if name not in ("step", "task_id")]
    query = select(*(_left.c[name] for name in names), configs.c.step, configs.c.task_id).join(
        configs, configs.c.config_id == _left.c.config
    )
    where = _left.c.config == config if config else _left.c.task == task if task else configs.c.run_id == run
    query = query.where(where).order_by(_left.c.at_us.desc(), _left.c.config, _left.c.name.desc()).limit(_MOST)
    return [ArtefactLine(**row._mapping) for row in connection.execute(query)][::-1]


def content(connection: Connection, one: ArtefactLine) -> bytes:
    """What it holds. Raises NotWhole."""
    parts = tables.artefact_parts
    query = select(parts.c.base64).where(parts.c.sha256 == one.sha256).order_by(parts.c.part)
    data = b"".join(base64.b64decode(row[0]) for row in connection.execute(query))
    if not one.is_kept or hashlib.sha256(data).hexdigest() != one.sha256:
        where = f"; it was {one.path} on its machine" if one.path else ""
        raise NotWhole(f"artefact {one.name!r} of {one.step}: {one.size_bytes} bytes, which are not kept here{where}")
    return data


def images(connection: Connection, left: list[ArtefactLine], most: int) -> dict[str, str]:
    """Images among them as ``data:`` addresses, by hash, for a page that holds all it shows; up to `most` bytes."""
    found: dict[str, str] = {}
    for one in left:
        if one.is_image and one.sha256 not in found and one.size_bytes <= most:
            most -= one.size_bytes
            encoded = base64.b64encode(content(connection, one)).decode()
            found[one.sha256] = f"data:{one.media};base64,{encoded}"
    return found


def of_run(url: str, run: str) -> list[ArtefactLine]:
    """Those of a run. Raises HistoryAway."""
    with closing(History(url, connections=1)) as history, history.connection() as connection:
        return lines(connection, run=run)


def read(url: str, one: ArtefactLine) -> bytes:
    """The content of one. Raises HistoryAway, NotWhole."""
    with closing(History(url, connections=1)) as history, history.connection() as connection:
        return content(connection, one)
