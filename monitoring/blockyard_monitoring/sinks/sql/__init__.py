"""The sql sink: history in PostgreSQL or SQLite. `tables` says what is there, `rows` what a record becomes.

Tables and migrations are SQLAlchemy's and alembic's; rows are written past them: COPY, or many rows a statement.
"""

from blockyard_monitoring.sinks.sql.sink import SqlSink

__all__ = ["SqlSink"]
