"""Views of tries, their states and samples join by ``try_id``, a sample says how much of the memory it has, and a task
where what it printed is. Sessions that submitted nothing, as those of commands, are no workflows."""

from alembic import op
from sqlalchemy import text

from blockyard_monitoring.sinks.sql.migrations.versions import v0001_first as first
from blockyard_monitoring.sinks.sql.migrations.versions import v0002_retention as second
from blockyard_monitoring.sinks.sql.migrations.versions import v0003_configs as third

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_PERCENT = (
    "round(m.resident_bytes * 100.0 / "
    "(SELECT NULLIF(max(n.memory_bytes), 0) FROM nodes n WHERE n.manager = m.manager), 3)"
)


def upgrade() -> None:
    """Count tries in all views as `try` does."""
    workflow, task, resource, status, config = _as_before()
    busy = "FROM sessions e WHERE EXISTS (SELECT 1 FROM submissions u WHERE u.session = e.session) GROUP BY"
    _look_again("workflow", workflow.replace("FROM sessions e GROUP BY", busy))
    _look_again("task", _printed(task))
    _look_again("resource", _counted(resource, "m").replace(" 0.0 AS", f" {_PERCENT} AS"))
    _look_again("status", _counted(status, "t"))
    _look_again("config", _counted(config, "c"))


def downgrade() -> None:
    """Show epochs again, and what they did not show before no more."""
    for name, view in zip(("workflow", "task", "resource", "status", "config"), _as_before(), strict=True):
        _look_again(name, view)


def _counted(view: str, row: str) -> str:
    """With a number from 0 on in place of the epoch. What ended without a try of its own ended with the one before."""
    before = f"(SELECT count(*) FROM tries o WHERE o.task = {row}.task AND o.epoch > 0"
    last = f"{before} AND EXISTS (SELECT 1 FROM tries p WHERE p.task = o.task AND p.epoch > o.epoch))"
    number = f"CASE WHEN {row}.epoch = 0 THEN {last} ELSE {before} AND o.epoch < {row}.epoch) END"
    named = f"{row}.epoch AS try_id"
    return view.replace(named, f"{number} AS try_id").replace(f", {row}.epoch\n", f", {number}\n")


def _printed(view: str) -> str:
    """What has no file of its own, a worker's manager keeps for both streams together."""
    for stream in ("stdout", "stderr"):
        ask = "(SELECT max(f.path) FROM files f WHERE f.task = t.task AND f.kind = '{}')"
        view = view.replace(ask.format(stream), f"coalesce({ask.format(stream)}, {ask.format('printed')})")
    return view


def _as_before() -> tuple[str, str, str, str, str]:
    """`workflow`, `task`, `resource`, `status` and `config`, as the last migration that made each has them."""
    say = first._Postgres() if op.get_bind().dialect.name == "postgresql" else first._Sqlite()
    views = first._views(say)
    workflow, task, status = (
        next(view for view in views if f'CREATE VIEW "{name}"' in view) for name in ("workflow", "task", "status")
    )
    return workflow, task, second._clocked_resource(), status, third._view(say)


def _look_again(name: str, view: str) -> None:
    """Put a view in the place of the one with its name; who might read that may read it."""
    if op.get_bind().dialect.name == "postgresql":
        view = view.replace("CREATE VIEW", "CREATE OR REPLACE VIEW")
    else:
        op.execute(f'DROP VIEW "{name}"')
    op.execute(text(view.replace(":", "\\:")))
