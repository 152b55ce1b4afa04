"""The tables, as they are at the newest migration. What each column means is in ``docs/schema.md``.

Instants are whole microseconds UTC, durations microseconds, and 0 or '' stands for what is not known: so a row is cheap
to write and the same in both databases. Views turn them into times and NULL, see the migrations. Tables of what happens
have no foreign keys: rows arrive in whatever order, and a view counts those without company instead.
"""

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, SmallInteger, Table, Text, text

metadata = MetaData()


def _text(name: str, *, key: bool = False) -> "Column[str]":
    return Column(name, Text, primary_key=key, nullable=False, server_default=None if key else "")


def _number(name: str, *, key: bool = False) -> "Column[int]":
    return Column(
        name, BigInteger, primary_key=key, nullable=False, server_default=None if key else "0", autoincrement=False
    )


def _small(name: str) -> "Column[int]":
    return Column(name, SmallInteger, nullable=False, server_default="0")


def _index(name: str, column: str, which: str) -> Index:
    """Of some rows only."""
    return Index(name, column, postgresql_where=text(which), sqlite_where=text(which))


sessions = Table(
    "sessions", metadata,
    _number("session", key=True), _text("run"), _text("user_name"), _text("name"), _text("python"),
    _number("began_us"), _number("ended_us"),
    Index("sessions_by_run", "run"),
)  # fmt: skip

submissions = Table(
    "submissions", metadata,
    _number("first", key=True), _number("count"), _number("session"), _text("run"), _text("pool"), _text("function"),
    _text("function_hash"), _number("submitted_us"), _text("name"), _text("tags"), _number("priority"),
    _number("retries"), _number("timeout_us"), _number("parent"),
    Index("submissions_by_time", "submitted_us"), Index("submissions_by_session", "session"),
    Index("submissions_by_function", "function"), Index("submissions_by_run", "run"),
    _index("submissions_by_parent", "parent", "parent <> 0"),
)  # fmt: skip

needs = Table(
    "needs", metadata,
    _number("task", key=True), _number("need", key=True),
    Index("needs_by_need", "need"),
)  # fmt: skip

tries = Table(
    "tries", metadata,
    _number("task", key=True), _number("epoch", key=True), _number("submission"), _small("state"), _small("is_last"),
    _number("queued_us"), _number("assigned_us"), _number("returned_us"), _number("ran_us"), _text("manager"),
    _text("kind"), _text("message"), _text("evidence"),
    Index("tries_by_time", "returned_us"), Index("tries_by_submission", "submission"),
    _index("tries_running", "assigned_us", "state < 0"),
    _index("tries_failed", "returned_us", "state = 1 OR state > 3"),
)  # fmt: skip

worker_tasks = Table(
    "worker_tasks", metadata,
    _number("task", key=True), _number("epoch", key=True), _text("manager"), _number("worker"), _number("pid"),
    _text("accelerators"), _number("began_us"), _number("ended_us"), _number("cpu_user_us"), _number("cpu_system_us"),
    _number("peak_bytes"), _number("read_bytes"), _number("written_bytes"), _number("switches_voluntary"),
    _number("switches_involuntary"), _number("page_faults"), _number("clock_us"),
)  # fmt: skip

samples = Table(
    "samples", metadata,
    _number("task", key=True), _number("epoch", key=True), _number("at_us", key=True), _text("manager"),
    _number("interval_us"), _number("worker"), _number("pid"), _number("cpu_user_us"), _number("cpu_system_us"),
    _number("resident_bytes"), _number("peak_bytes"), _number("virtual_bytes"), _number("read_bytes"),
    _number("written_bytes"), _number("threads"), _number("children"), _number("switches_voluntary"),
    _number("switches_involuntary"), _number("cpu"), _text("status"), _number("gpu_bytes"),
    Index("samples_by_time", "at_us"),
)  # fmt: skip

nodes = Table(
    "nodes", metadata,
    _text("manager", key=True), _number("at_us", key=True), _text("state", key=True), _text("pool"), _text("block"),
    _text("node"), _text("reason"), _text("python"), _number("workers"), _number("millicores"),
    _number("memory_bytes"), _number("accelerators"), _number("pid"),
    Index("nodes_by_time", "at_us"), Index("nodes_by_block", "pool", "block"),
)  # fmt: skip

blocks = Table(
    "blocks", metadata,
    _text("pool", key=True), _text("block", key=True), _number("at_us", key=True), _text("state"), _text("reason"),
    _text("message"), Column("exit_code", Integer), Column("signal", Integer), _number("started_us"),
    _number("ended_us"), _text("node"),
    Index("blocks_by_time", "at_us"),
)  # fmt: skip

files = Table(
    "files", metadata,
    _number("task", key=True), _number("epoch", key=True), _text("kind", key=True), _text("path", key=True),
    _number("size_bytes"), _number("at_us"), _text("sha256"), _text("way"), _number("took_us"),
    Index("files_by_path", "path"),
)  # fmt: skip

configs = Table(
    "configs", metadata,
    _text("id", key=True), _number("task"), _number("epoch"), _text("name"), _text("run"), _text("step"),
    _text("status"), _text("reason"), _number("started_us"), _number("ended_us"), Column("exit_code", Integer),
    Column("signal", Integer), _text("record"), _text("message"),
    Index("configs_by_task", "task"), Index("configs_by_run", "run", "step"),
)  # fmt: skip

artefacts = Table(
    "artefacts", metadata,
    _text("config", key=True), _text("name", key=True), _number("task"), _number("epoch"), _text("kind"),
    _text("media"), _text("path"), _number("size_bytes"), _text("sha256"), _number("parts"), _number("at_us"),
    Index("artefacts_by_task", "task"), Index("artefacts_by_content", "sha256"),
)  # fmt: skip

artefact_parts = Table(
    "artefact_parts", metadata,
    _text("sha256", key=True), _number("part", key=True), _number("at_us"), _text("base64"),
    Index("artefact_parts_by_time", "at_us"),
)  # fmt: skip

events = Table(
    "events", metadata,
    _number("at_us", key=True), _text("kind", key=True), _text("subject", key=True), _text("text"),
)  # fmt: skip

quarantine = Table(
    "quarantine", metadata,
    _text("source", key=True), _number("number", key=True), _text("radio"), _number("at_us"), _text("reason"),
    _text("packet"),
)  # fmt: skip

leaving = Table("leaving", metadata, _number("first", key=True), _number("next_task"))

KEYS: Final = {table.name: len(table.primary_key.columns) for table in metadata.tables.values()}
"""How many columns at the beginning of each table's rows are its key."""
