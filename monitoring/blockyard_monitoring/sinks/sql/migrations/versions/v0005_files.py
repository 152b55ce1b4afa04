"""How files were staged: which way, how long it took, and what was verified."""

from alembic import op
from sqlalchemy import BigInteger, Column, Text

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TEXTS = ("sha256", "way")


def upgrade() -> None:
    """Add it."""
    for name in _TEXTS:
        op.add_column("files", Column(name, Text, nullable=False, server_default=""))
    op.add_column("files", Column("took_us", BigInteger, nullable=False, server_default="0"))


def downgrade() -> None:
    """Take it away."""
    for name in ("took_us", *reversed(_TEXTS)):
        op.drop_column("files", name)
