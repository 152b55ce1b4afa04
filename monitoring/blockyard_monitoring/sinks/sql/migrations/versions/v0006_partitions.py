"""Samples and log lines by time: in PostgreSQL what there was becomes the rest, beside which there may be partitions.

No row is moved on the way up. SQLite has no partitions, so nothing changes there.
"""

from alembic import op
from sqlalchemy import text

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_KEYS = {"samples": "task, epoch, at_us", "events": "at_us, kind, subject"}
_VIEWS = ("resource", "orphans")
"""That look into them."""


def upgrade() -> None:
    """Put a table with partitions in the place of each."""
    if op.get_bind().dialect.name != "postgresql":
        return
    views = _views()
    for table, key in _KEYS.items():
        op.rename_table(table, f"{table}_rest")
        op.execute(f"ALTER INDEX {table}_pkey RENAME TO {table}_rest_pkey")
        op.execute(f"CREATE TABLE {table} (LIKE {table}_rest INCLUDING DEFAULTS) PARTITION BY RANGE (at_us)")
        op.execute(f"ALTER TABLE {table} ADD PRIMARY KEY ({key})")
    op.execute("ALTER INDEX samples_by_time RENAME TO samples_rest_by_time")
    op.create_index("samples_by_time", "samples", ["at_us"])
    for table in _KEYS:
        op.execute(f"ALTER TABLE {table} ATTACH PARTITION {table}_rest DEFAULT")
        _grant_again(f"{table}_rest", table)
    _look_again(views)


def downgrade() -> None:
    """Put all rows into one table again."""
    if op.get_bind().dialect.name != "postgresql":
        return
    views = _views()
    for table, key in _KEYS.items():
        op.rename_table(table, f"{table}_parts")
        op.execute(f"ALTER INDEX {table}_pkey RENAME TO {table}_parts_pkey")
        op.execute(f"CREATE TABLE {table} (LIKE {table}_parts INCLUDING DEFAULTS, PRIMARY KEY ({key}))")
        op.execute(f"INSERT INTO {table} SELECT * FROM {table}_parts")
        _grant_again(f"{table}_parts", table)
    _look_again(views)
    for table in _KEYS:
        op.drop_table(f"{table}_parts")
    op.create_index("samples_by_time", "samples", ["at_us"])


def _views() -> dict[str, str]:
    """What they ask, while their tables have their names."""
    ask = text("SELECT pg_get_viewdef(CAST(:name AS regclass))")
    return {name: op.get_bind().execute(ask, {"name": name}).scalar_one() for name in _VIEWS}


def _look_again(views: dict[str, str]) -> None:
    """A view follows the table that it was made for, not its name."""
    for name, question in views.items():
        op.execute(text(f'CREATE OR REPLACE VIEW "{name}" AS {question}'.replace(":", "\\:")))


def _grant_again(before: str, now: str) -> None:
    """Who might read the one may read the other."""
    ask = text(
        "SELECT quote_ident(r.rolname) FROM pg_class c, aclexplode(c.relacl) a JOIN pg_roles r ON r.oid = a.grantee "
        "WHERE c.oid = CAST(:name AS regclass) AND a.privilege_type = 'SELECT' AND a.grantee <> c.relowner"
    )
    for (role,) in op.get_bind().execute(ask, {"name": before}).fetchall():
        op.execute(f"GRANT SELECT ON {now} TO {role}")
