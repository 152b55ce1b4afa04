"""What retention needs, indexes for more of what people ask, and what was added to the times that a worker told."""

from alembic import op
from sqlalchemy import BigInteger, Column, text

from blockyard_monitoring.sinks.sql.migrations.versions import v0001_first as first

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_INDEXES = (
    ("submissions_by_run", "submissions", "run", ""),
    ("submissions_by_parent", "submissions", "parent", "parent <> 0"),
    ("tries_running", "tries", "assigned_us", "state < 0"),
    ("tries_failed", "tries", "returned_us", "state = 1 OR state > 3"),
)
"""Name, table, column, and which rows, '' for all."""


def upgrade() -> None:
    """Add it all."""
    op.create_table(
        "leaving",
        Column("first", BigInteger, primary_key=True, nullable=False, autoincrement=False),
        Column("next_task", BigInteger, nullable=False, server_default="0"),
    )
    op.add_column("worker_tasks", Column("clock_us", BigInteger, nullable=False, server_default="0"))
    for name, table, column, which in _INDEXES:
        where = text(which) if which else None
        op.create_index(name, table, [column], postgresql_where=where, sqlite_where=where)
    op.execute('DROP VIEW "resource"')
    op.execute(_clocked_resource())


def downgrade() -> None:
    """Take it away. What was going stays as it is, without the tasks that went."""
    op.execute('DROP VIEW "resource"')
    for name, table, _, _ in reversed(_INDEXES):
        op.drop_index(name, table)
    op.drop_column("worker_tasks", "clock_us")
    op.drop_table("leaving")
    op.execute(_resource())


def _clocked_resource() -> str:
    """The view with the clock of the machine put right."""
    return (
        _resource()
        .replace("m.at_us", "(m.at_us + coalesce(w.clock_us, 0))")
        .replace(
            "JOIN submissions s",
            "LEFT JOIN worker_tasks w ON w.task = m.task AND w.epoch = m.epoch JOIN submissions s",
        )
    )


def _resource() -> str:
    """The view as the first schema has it."""
    is_postgres = op.get_bind().dialect.name == "postgresql"
    views = first._views(first._Postgres() if is_postgres else first._Sqlite())
    (found,) = [view for view in views if 'CREATE VIEW "resource"' in view]
    return found
