"""What managed tasks ran with, what they left, and a view that says which of them were lost."""

from alembic import op

from blockyard_monitoring.sinks.sql.migrations.versions import v0001_first as first

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TABLES = {
    "configs": (
        "id",
        "task! epoch! name run step status reason started_us! ended_us! exit_code? signal? record",
    ),
    "artefacts": ("config name", "task! epoch! kind media path size_bytes! sha256 parts! at_us!"),
    "artefact_parts": ("sha256 part!", "at_us! base64"),
}
"""As in the first schema."""
_INDEXES = (
    ("configs_by_task", "configs", ("task",)),
    ("configs_by_run", "configs", ("run", "step")),
    ("artefacts_by_task", "artefacts", ("task",)),
    ("artefacts_by_content", "artefacts", ("sha256",)),
    ("artefact_parts_by_time", "artefact_parts", ("at_us",)),
)


def upgrade() -> None:
    """Make them."""
    for name, (key, others) in _TABLES.items():
        columns = [first._column(word, is_key=True) for word in key.split()]
        columns += [first._column(word, is_key=False) for word in others.split()]
        op.create_table(name, *columns)
    for name, table, columns_of_it in _INDEXES:
        op.create_index(name, table, list(columns_of_it))
    is_postgres = op.get_bind().dialect.name == "postgresql"
    op.execute(_view(first._Postgres() if is_postgres else first._Sqlite()))


def downgrade() -> None:
    """Take them away, with what is in them."""
    op.execute('DROP VIEW "config"')
    for name in reversed(_TABLES):
        op.drop_table(name)


def _view(say: "first._Sqlite | first._Postgres") -> str:
    is_lost = "c.ended_us = 0 AND t.state >= 0"
    return f"""
    CREATE VIEW "config" AS
    SELECT c.id AS config_id, {say.task_name("c.task")} AS task_id, c.task, c.epoch AS try_id, c.name,
      CASE WHEN c.run <> '' THEN c.run ELSE coalesce(s.run, '') END AS run_id,
      CASE WHEN c.step <> '' THEN c.step WHEN s.name <> '' THEN s.name ELSE c.name END AS step,
      CASE WHEN {is_lost} THEN 'LOST' ELSE c.status END AS status,
      CASE WHEN {is_lost} THEN t.message ELSE c.reason END AS reason,
      {say.time("c.started_us")} AS time_started,
      CASE WHEN {is_lost} THEN {say.time("t.returned_us")} ELSE {say.time("c.ended_us")} END AS time_ended,
      c.started_us, c.exit_code, c.signal, c.record
    FROM configs c LEFT JOIN tries t ON t.task = c.task AND t.epoch = c.epoch
      LEFT JOIN submissions s ON s.first = t.submission
    """
