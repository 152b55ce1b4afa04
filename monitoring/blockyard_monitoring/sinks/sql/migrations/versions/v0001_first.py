"""The first schema: our tables, views of them for people, and views named as Parsl's tables for Parsl's queries."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, SmallInteger, Text

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TRIES = """
submission! state# is_last# queued_us! assigned_us! returned_us! ran_us! manager kind message evidence
"""
_USES = """
manager worker! pid! accelerators began_us! ended_us! cpu_user_us! cpu_system_us! peak_bytes! read_bytes! written_bytes!
switches_voluntary! switches_involuntary! page_faults!
"""
_SAMPLES = """
manager interval_us! worker! pid! cpu_user_us! cpu_system_us! resident_bytes! peak_bytes! virtual_bytes! read_bytes!
written_bytes! threads! children! switches_voluntary! switches_involuntary! cpu! status gpu_bytes!
"""
_TABLES = {
    "sessions": ("session!", "run user_name name python began_us! ended_us!"),
    "submissions": (
        "first!",
        (
            "count! session! run pool function function_hash submitted_us! name tags priority! retries! timeout_us! "
            "parent!"
        ),
    ),
    "needs": ("task! need!", ""),
    "tries": ("task! epoch!", _TRIES),
    "worker_tasks": ("task! epoch!", _USES),
    "samples": ("task! epoch! at_us!", _SAMPLES),
    "nodes": (
        "manager at_us! state",
        "pool block node reason python workers! millicores! memory_bytes! accelerators! pid!",
    ),
    "blocks": ("pool block at_us!", "state reason message exit_code? signal? started_us! ended_us! node"),
    "files": ("task! epoch! kind path", "size_bytes! at_us!"),
    "events": ("at_us! kind subject", "text"),
    "quarantine": ("source number!", "radio at_us! reason packet"),
}
"""Name to key and other columns. A mark says what is in it: ``!`` 64-bit number, ``#`` small number, ``?`` number or
NULL, none: text."""
_INDEXES = (
    ("sessions_by_run", "sessions", "run"),
    ("submissions_by_time", "submissions", "submitted_us"),
    ("submissions_by_session", "submissions", "session"),
    ("submissions_by_function", "submissions", "function"),
    ("tries_by_time", "tries", "returned_us"),
    ("tries_by_submission", "tries", "submission"),
    ("samples_by_time", "samples", "at_us"),
    ("nodes_by_time", "nodes", "at_us"),
    ("blocks_by_time", "blocks", "at_us"),
)
_VIEWS = (
    "resource",
    "block",
    "node",
    "status",
    "try",
    "task",
    "workflow",
    "orphans",
    "submission_progress",
    "try_times",
)
"""In an order in which they can be dropped."""


def upgrade() -> None:
    """Make everything."""
    for name, (key, others) in _TABLES.items():
        columns = [_column(word, is_key=True) for word in key.split()]
        columns += [_column(word, is_key=False) for word in others.split()]
        op.create_table(name, *columns)
    for name, table, column in _INDEXES:
        op.create_index(name, table, [column])
    is_postgres = op.get_bind().dialect.name == "postgresql"
    for statement in _views(_Postgres() if is_postgres else _Sqlite()):
        op.execute(statement)


def downgrade() -> None:
    """Leave nothing."""
    for name in _VIEWS:
        op.execute(f'DROP VIEW "{name}"')
    for name in reversed(_TABLES):
        op.drop_table(name)


def _column(word: str, *, is_key: bool) -> "Column[object]":
    name = word.rstrip("!#?")
    if word[-1] == "?":
        return Column(name, Integer)
    kind = {"!": BigInteger, "#": SmallInteger}.get(word[-1], Text)
    default = None if is_key else ("" if kind is Text else "0")
    return Column(name, kind, primary_key=is_key, nullable=False, server_default=default, autoincrement=False)


class _Sqlite:
    """How SQLite says what differs."""

    @staticmethod
    def time(us: str) -> str:
        """Text, ``2026-11-26 10:00:00.123456`` UTC, as SQLAlchemy keeps times in SQLite; NULL for 0."""
        return f"CASE WHEN {us} > 0 THEN datetime({us} / 1000000, 'unixepoch') || printf('.%06d', {us} % 1000000) END"

    @staticmethod
    def task_name(task: str) -> str:
        """As people write it."""
        return f"printf('%x-%d', ({task} >> 32) & 4294967295, {task} & 4294967295)"

    @staticmethod
    def list_of(value: str) -> str:
        """An aggregate: values with commas between."""
        return f"group_concat({value}, ',')"


class _Postgres:
    """How PostgreSQL says it."""

    @staticmethod
    def time(us: str) -> str:
        return f"CASE WHEN {us} > 0 THEN (timestamptz 'epoch' + {us} * interval '1 microsecond') AT TIME ZONE 'UTC' END"

    @staticmethod
    def task_name(task: str) -> str:
        return f"to_hex(({task} >> 32) & 4294967295) || '-' || ({task} & 4294967295)"

    @staticmethod
    def list_of(value: str) -> str:
        return f"string_agg({value}::text, ',')"


def _views(say: _Sqlite | _Postgres) -> list[str]:
    return [
        # The times of a try, made to follow one another: the worker's clock may differ from the interchange's.
        """
        CREATE VIEW "try_times" AS
        SELECT t.task, t.epoch, t.submission, t.state, t.is_last, t.manager, t.queued_us, t.assigned_us,
          CASE WHEN t.assigned_us = 0 OR t.state = -2 THEN 0
               WHEN w.began_us IS NOT NULL AND w.began_us > t.assigned_us
                 AND (t.state < 0 OR w.began_us <= t.returned_us) THEN w.began_us
               WHEN w.began_us IS NOT NULL AND w.began_us <= t.assigned_us THEN t.assigned_us
               WHEN t.returned_us - t.ran_us < t.assigned_us THEN t.assigned_us
               ELSE t.returned_us - t.ran_us END AS began_us,
          CASE WHEN t.assigned_us = 0 OR t.state < 0 THEN 0
               WHEN w.ended_us IS NOT NULL AND w.ended_us < t.returned_us AND w.ended_us >= t.assigned_us
                 THEN w.ended_us
               ELSE t.returned_us END AS ended_us,
          CASE WHEN t.state < 0 THEN 0 ELSE t.returned_us END AS returned_us
        FROM tries t LEFT JOIN worker_tasks w ON w.task = t.task AND w.epoch = t.epoch
        """,
        """
        CREATE VIEW "submission_progress" AS
        SELECT s.first, s.count, s.run, s.pool, s.function, s.submitted_us,
          (SELECT count(*) FROM tries t WHERE t.submission = s.first AND t.is_last = 1) AS ended,
          (SELECT count(*) FROM tries t WHERE t.submission = s.first AND t.is_last = 1 AND t.state = 0) AS done
        FROM submissions s
        """,
        """
        CREATE VIEW "orphans" AS
        SELECT 'tries without a submission' AS what, count(*) AS count FROM tries t
          WHERE NOT EXISTS (SELECT 1 FROM submissions s WHERE s.first = t.submission)
        UNION ALL SELECT 'worker tasks without a try', count(*) FROM worker_tasks w
          WHERE NOT EXISTS (SELECT 1 FROM tries t WHERE t.task = w.task AND t.epoch = w.epoch)
        UNION ALL SELECT 'samples without a try', count(*) FROM samples r
          WHERE NOT EXISTS (SELECT 1 FROM tries t WHERE t.task = r.task AND t.epoch = r.epoch)
        UNION ALL SELECT 'submissions without a session', count(*) FROM submissions s
          WHERE NOT EXISTS (SELECT 1 FROM sessions e WHERE e.session = s.session)
          AND s.parent = 0
        """,
        f"""
        CREATE VIEW "workflow" AS
        SELECT e.run AS run_id, e.run AS workflow_name, '' AS workflow_version,
          {say.time("min(NULLIF(e.began_us, 0))")} AS time_began,
          CASE WHEN min(e.ended_us) > 0 THEN {say.time("max(e.ended_us)")} END AS time_completed,
          max(e.name) AS host, max(e.user_name) AS "user", '' AS rundir,
          (SELECT count(*) FROM tries t JOIN submissions s ON s.first = t.submission
            WHERE s.run = e.run AND t.is_last = 1 AND t.state <> 0) AS tasks_failed_count,
          (SELECT count(*) FROM tries t JOIN submissions s ON s.first = t.submission
            WHERE s.run = e.run AND t.is_last = 1 AND t.state = 0) AS tasks_completed_count
        FROM sessions e GROUP BY e.run
        """,
        f"""
        CREATE VIEW "task" AS
        SELECT {say.task_name("t.task")} AS task_id, s.run AS run_id,
          (SELECT {say.list_of(say.task_name("n.need"))} FROM needs n WHERE n.task = t.task) AS task_depends,
          CASE WHEN s.name <> '' THEN s.name ELSE s.function END AS task_func_name,
          'False' AS task_memoize, s.function_hash AS task_hashsum,
          (SELECT {say.list_of("f.path")} FROM files f WHERE f.task = t.task AND f.kind = 'input') AS task_inputs,
          (SELECT {say.list_of("f.path")} FROM files f WHERE f.task = t.task AND f.kind = 'output') AS task_outputs,
          '' AS task_stdin,
          (SELECT max(f.path) FROM files f WHERE f.task = t.task AND f.kind = 'stdout') AS task_stdout,
          (SELECT max(f.path) FROM files f WHERE f.task = t.task AND f.kind = 'stderr') AS task_stderr,
          {say.time("s.submitted_us")} AS task_time_invoked,
          CASE WHEN t.is_last = 1 THEN {say.time("t.returned_us")} END AS task_time_returned,
          (SELECT count(*) FROM tries o WHERE o.task = t.task AND o.is_last = 0 AND o.state IN (1, 4, 6, 7))
            + CASE WHEN t.is_last = 1 AND t.state NOT IN (0, 3) THEN 1 ELSE 0 END AS task_fail_count,
          (SELECT count(*) FROM tries o WHERE o.task = t.task AND o.is_last = 0 AND o.state IN (1, 4, 6)) * 1.0
            AS task_fail_cost
        FROM tries t JOIN submissions s ON s.first = t.submission
        WHERE t.is_last = 1
          OR (t.state < 0 AND NOT EXISTS (SELECT 1 FROM tries o WHERE o.task = t.task AND o.is_last = 1)
              AND NOT EXISTS (SELECT 1 FROM tries o WHERE o.task = t.task AND o.epoch > t.epoch))
        """,
        f"""
        CREATE VIEW "try" AS
        SELECT (SELECT count(*) FROM tries o WHERE o.task = t.task AND o.epoch < t.epoch AND o.epoch > 0) AS try_id,
          {say.task_name("t.task")} AS task_id, s.run AS run_id,
          (SELECT max(n.block) FROM nodes n WHERE n.manager = t.manager) AS block_id,
          (SELECT max(n.node) FROM nodes n WHERE n.manager = t.manager) AS hostname,
          s.pool AS task_executor,
          {say.time("t.assigned_us")} AS task_try_time_launched,
          {say.time("x.began_us")} AS task_try_time_running,
          {say.time("x.returned_us")} AS task_try_time_returned,
          CASE WHEN t.state IN (0, 2) OR t.state < 0 THEN '' ELSE t.kind || ': ' || t.message END AS task_fail_history,
          (SELECT {say.list_of(say.task_name("c.first"))} FROM submissions c WHERE c.parent = t.task) AS task_joins
        FROM tries t JOIN submissions s ON s.first = t.submission
          JOIN try_times x ON x.task = t.task AND x.epoch = t.epoch
        WHERE t.epoch > 0
        """,
        f"""
        CREATE VIEW "status" AS
        SELECT {say.task_name("t.task")} AS task_id, s.run AS run_id, 'pending' AS task_status_name,
          {say.time("t.queued_us")} AS timestamp, t.epoch AS try_id
          FROM tries t JOIN submissions s ON s.first = t.submission WHERE t.queued_us > 0
        UNION ALL SELECT {say.task_name("t.task")}, s.run, 'launched', {say.time("t.assigned_us")}, t.epoch
          FROM tries t JOIN submissions s ON s.first = t.submission WHERE t.assigned_us > 0
        UNION ALL SELECT {say.task_name("t.task")}, s.run, 'running', {say.time("t.began_us")}, t.epoch
          FROM try_times t JOIN submissions s ON s.first = t.submission WHERE t.began_us > 0
        UNION ALL SELECT {say.task_name("t.task")}, s.run, 'running_ended', {say.time("t.ended_us")}, t.epoch
          FROM try_times t JOIN submissions s ON s.first = t.submission WHERE t.ended_us > 0
        UNION ALL SELECT {say.task_name("t.task")}, s.run,
          CASE WHEN t.is_last = 0 AND t.state = 2 THEN 'joining' WHEN t.is_last = 0 THEN 'fail_retryable'
               WHEN t.state = 0 THEN 'exec_done' WHEN t.state = 8 THEN 'dep_fail' ELSE 'failed' END,
          {say.time("t.returned_us")}, t.epoch
          FROM tries t JOIN submissions s ON s.first = t.submission WHERE t.state >= 0
        """,
        f"""
        CREATE VIEW "node" AS
        SELECT n.manager || '/' || n.state AS id, b.run AS run_id, n.node AS hostname, n.manager AS uid,
          n.block AS block_id, n.millicores / 1000 AS cpu_count, n.memory_bytes AS total_memory,
          n.state = 'joined' AS active, n.workers AS worker_count, n.python AS python_v,
          {say.time("n.at_us")} AS timestamp, {say.time("n.at_us")} AS last_heartbeat
        FROM nodes n JOIN (SELECT DISTINCT run, pool FROM submissions) b ON b.pool = n.pool
        """,
        f"""
        CREATE VIEW "block" AS
        SELECT r.run AS run_id, b.block AS block_id, b.pool AS executor_label, {say.time("b.at_us")} AS timestamp,
          b.block AS job_id, b.state AS status
        FROM blocks b JOIN (SELECT DISTINCT run, pool FROM submissions) r ON r.pool = b.pool
        """,
        f"""
        CREATE VIEW "resource" AS
        SELECT m.epoch AS try_id, {say.task_name("m.task")} AS task_id, s.run AS run_id,
          {say.time("m.at_us")} AS timestamp, m.interval_us / 1000000.0 AS resource_monitoring_interval,
          m.pid AS psutil_process_pid, 0.0 AS psutil_process_memory_percent,
          m.children AS psutil_process_children_count, m.cpu_user_us / 1000000.0 AS psutil_process_time_user,
          m.cpu_system_us / 1000000.0 AS psutil_process_time_system, m.virtual_bytes AS psutil_process_memory_virtual,
          m.resident_bytes AS psutil_process_memory_resident, m.read_bytes AS psutil_process_disk_read,
          m.written_bytes AS psutil_process_disk_write, m.status AS psutil_process_status,
          m.switches_voluntary AS psutil_process_num_ctx_switches_voluntary,
          m.switches_involuntary AS psutil_process_num_ctx_switches_involuntary, m.cpu AS psutil_cpu_num
        FROM samples m JOIN tries t ON t.task = m.task AND t.epoch = m.epoch
          JOIN submissions s ON s.first = t.submission
        """,
    ]
