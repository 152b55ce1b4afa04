"""Indexes for what people ask from the other end: what needs a task, who touched a file, a block's managers."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_INDEXES = (
    ("needs_by_need", "needs", ("need",)),
    ("files_by_path", "files", ("path",)),
    ("nodes_by_block", "nodes", ("pool", "block")),
)


def upgrade() -> None:
    """Make them."""
    for name, table, columns in _INDEXES:
        op.create_index(name, table, list(columns))


def downgrade() -> None:
    """Take them away."""
    for name, table, _ in reversed(_INDEXES):
        op.drop_index(name, table)
