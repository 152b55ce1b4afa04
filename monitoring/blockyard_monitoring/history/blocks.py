"""Blocks and the managers of their nodes: how each stands, and what a block went through."""

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, and_, exists, or_, select

from blockyard_monitoring.history.shapes import Page, page_of
from blockyard_monitoring.sinks.sql import tables

_MOST = 500
"""States of one block, or its managers."""


class BlockLine(msgspec.Struct, frozen=True, kw_only=True):
    """A state of a block. Instants are microseconds UTC, 0: not yet."""

    pool: str
    block: str
    state: str
    reason: str
    message: str
    exit_code: int | None
    signal: int | None
    node: str
    at_us: int
    started_us: int
    ended_us: int


class ManagerLine(msgspec.Struct, frozen=True, kw_only=True):
    """A manager as it was heard of last."""

    manager: str
    pool: str
    block: str
    node: str
    state: str
    reason: str
    python: str
    workers: int
    cores: float
    memory_bytes: int
    accelerators: int
    at_us: int


def blocks(
    connection: Connection, pool: str = "", behind: tuple[int, str, str] | None = None, limit: int = 100
) -> Page[BlockLine]:
    """The latest state of each block, those that changed last first."""
    table, later = tables.blocks.alias("b"), tables.blocks.alias("later")
    key = (table.c.at_us, table.c.pool, table.c.block)
    has_later = exists(
        select(later.c.at_us).where(
            later.c.pool == table.c.pool, later.c.block == table.c.block, later.c.at_us > table.c.at_us
        )
    )
    query = select(table).where(~has_later).order_by(*(column.desc() for column in key)).limit(limit + 1)
    if pool:
        query = query.where(table.c.pool == pool)
    if behind is not None:
        at, of_pool, name = behind
        query = query.where(
            table.c.at_us <= at,
            or_(
                table.c.at_us < at,
                and_(table.c.pool == of_pool, table.c.block < name),
                table.c.pool < of_pool,
            ),
        )
    found = connection.execute(query).all()
    return page_of([_block(row) for row in found], limit, [(row.at_us, row.pool, row.block) for row in found])


def block(connection: Connection, pool: str, name: str) -> list[BlockLine]:
    """What a block went through, the first state first; empty: nothing is known of it."""
    table = tables.blocks
    query = select(table).where(table.c.pool == pool, table.c.block == name).order_by(table.c.at_us).limit(_MOST)
    return [_block(row) for row in connection.execute(query)]


def managers(
    connection: Connection, pool: str = "", block: str = "", *, only_there: bool = False, limit: int = 200
) -> list[ManagerLine]:
    """Managers as they were heard of last, the latest first. `only_there`: without those that are gone."""
    table, later = tables.nodes.alias("n"), tables.nodes.alias("later")
    has_later = exists(select(later.c.at_us).where(later.c.manager == table.c.manager, later.c.at_us > table.c.at_us))
    query = select(table).where(~has_later).order_by(table.c.at_us.desc(), table.c.manager).limit(limit)
    if pool:
        query = query.where(table.c.pool == pool)
    if block:
        query = query.where(table.c.block == block)
    if only_there:
        query = query.where(table.c.state != "gone")
    return [
        ManagerLine(
            manager=row.manager, pool=row.pool, block=row.block, node=row.node, state=row.state, reason=row.reason,
            python=row.python, workers=row.workers, cores=row.millicores / 1000, memory_bytes=row.memory_bytes,
            accelerators=row.accelerators, at_us=row.at_us,
        )
        for row in connection.execute(query)
    ]  # fmt: skip


def _block(row: Row[Any]) -> BlockLine:
    return BlockLine(
        pool=row.pool, block=row.block, state=row.state, reason=row.reason, message=row.message,
        exit_code=row.exit_code, signal=row.signal, node=row.node, at_us=row.at_us, started_us=row.started_us,
        ended_us=row.ended_us,
    )  # fmt: skip
