"""What is said of a managed task beside its reason, which is one word also of those that were lost."""

from alembic import op
from sqlalchemy import Column, Text

from blockyard_monitoring.sinks.sql.migrations.versions import v0007_tries as seventh

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_LOST = "CASE WHEN c.ended_us = 0 AND t.state >= 0 THEN"


def upgrade() -> None:
    """Add the column, and show it."""
    op.add_column("configs", Column("message", Text, nullable=False, server_default=""))
    view = _before().replace(f"{_LOST} t.message ELSE", f"{_LOST} 'NoEnd' ELSE")
    said = f"{_LOST} t.message ELSE c.message END AS message"
    seventh._look_again("config", view.replace("c.record\n", f"c.record, {said}\n"))


def downgrade() -> None:
    """Take it away. Who might read the view may not any more: a column less makes it another one in PostgreSQL."""
    op.execute('DROP VIEW "config"')
    op.drop_column("configs", "message")
    op.execute(_before())


def _before() -> str:
    return seventh._counted(seventh._as_before()[4], "c")
