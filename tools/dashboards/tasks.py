"""Tasks and functions: how fast, how long, how often they fail and why; the slowest and the latest failures by name."""

from typing import Final

from tools.dashboards.records import Dashboard, Look, Panel, Promql, Row, Sql, quantiles

STATE: Final = """
CASE t.state WHEN -2 THEN 'assigned' WHEN -1 THEN 'running' WHEN 0 THEN 'done' WHEN 1 THEN 'raised' WHEN 2 THEN 'join'
  WHEN 3 THEN 'cancelled' WHEN 4 THEN 'timeout' WHEN 5 THEN 'deadline' WHEN 6 THEN 'out of memory' WHEN 7 THEN 'lost'
  WHEN 8 THEN 'dependency' WHEN 9 THEN 'refused' END
""".strip()
NAME: Final = "to_hex((t.task >> 32) & 4294967295) || '-' || (t.task & 4294967295)"
"""A task as people write it."""
FUNCTION: Final = "CASE WHEN s.name <> '' THEN s.name ELSE s.function END"
CHOSEN: Final = "s.pool IN ($pool) AND s.run IN ($run)"
SHOWN: Final = "t.returned_us BETWEEN $__from * 1000 AND $__to * 1000 AND t.state >= 0"
POINT: Final = "to_timestamp(t.returned_us / 1000 / $__interval_ms * $__interval_ms / 1000.0)"
_SELECTED: Final = f"FROM tries t JOIN submissions s ON s.first = t.submission WHERE {CHOSEN} AND {SHOWN}"


_STAGES: Final = Row(
    "Where the time goes",
    tuple(
        Panel(title=title, asks=quantiles("blockyard_stage_seconds", f'pool=~"$pool", stage="{stage}"'), unit="s",
              width=6, note=note)
        for stage, title, note in (
            ("queued", "Queued", "From ready to given to a manager."),
            ("assigned", "In a manager's hands", "From given to a manager to its outcome."),
            ("running", "Running", "The function itself, by the worker's clock."),
            ("recording", "Recording", "Until the journal holds the outcome."),
        )
    ),
)  # fmt: skip

_FUNCTIONS: Final = Row(
    "Functions",
    (
        Panel(
            title="Tasks that end, per second",
            asks=(
                Promql(
                    'sum by (function) (rate(blockyard_history_tasks_ended_total{pool=~"$pool"}[$__rate_interval]))',
                    "{{function}}",
                ),
            ),
            look=Look.STACK,
            unit="cps",
        ),
        Panel(
            title="How long they run, 99 %",
            asks=(
                Promql(
                    "histogram_quantile(0.99, sum by (function, le) "
                    '(rate(blockyard_history_tries_ran_seconds_bucket{pool=~"$pool"}[$__rate_interval])))',
                    "{{function}}",
                    exemplars=True,
                ),
            ),
            unit="s",
        ),
        Panel(
            title="Tries that did not succeed, by why",
            asks=(
                Promql(
                    'sum by (reason) (increase(blockyard_history_tries_failed_total{pool=~"$pool"}[$__rate_interval]))',
                    "{{reason}}",
                ),
            ),
            look=Look.STACK,
        ),
        Panel(
            title="Functions",
            asks=(
                Sql(
                    f"""
SELECT {FUNCTION} AS function, count(*) FILTER (WHERE t.is_last = 1) AS tasks, count(*) AS tries,
  count(*) FILTER (WHERE t.state IN (1, 4, 5, 6, 8, 9)) AS failed, count(*) FILTER (WHERE t.state = 7) AS lost,
  avg(t.ran_us) / 1e6 AS mean, percentile_cont(0.5) WITHIN GROUP (ORDER BY t.ran_us) / 1e6 AS median,
  percentile_cont(0.95) WITHIN GROUP (ORDER BY t.ran_us) / 1e6 AS p95, max(t.ran_us) / 1e6 AS longest,
  sum(t.ran_us) / 1e6 AS total
{_SELECTED} AND t.epoch > 0
GROUP BY 1 ORDER BY total DESC LIMIT 100
"""
                ),
            ),
            look=Look.TABLE,
            width=24,
            units={"mean": "s", "median": "s", "p95": "s", "longest": "s", "total": "s"},
        ),
    ),
)

_TASKS: Final = Row(
    "Tasks",
    (
        Panel(
            title="Tasks that ended, by state",
            asks=(
                Sql(
                    f"""
SELECT {POINT} AS time, {STATE} AS metric, count(*) AS tasks
{_SELECTED} AND t.is_last = 1 GROUP BY 1, 2 ORDER BY 1
"""
                ),
            ),
            look=Look.STACK,
            width=12,
        ),
        Panel(
            title="Submissions and how far they are",
            asks=(
                Sql(
                    f"""
WITH latest AS (
  SELECT s.* FROM submissions s
  WHERE {CHOSEN} AND s.submitted_us BETWEEN $__from * 1000 AND $__to * 1000 ORDER BY s.submitted_us DESC LIMIT 50
)
SELECT to_timestamp(s.submitted_us / 1e6) AS submitted, s.run, {FUNCTION} AS function, s.count AS tasks,
  count(t.task) AS ended, count(t.task) FILTER (WHERE t.state = 0) AS done,
  count(t.task)::float8 / s.count AS progress
FROM latest s LEFT JOIN tries t ON t.submission = s.first AND t.is_last = 1
GROUP BY s.first, s.submitted_us, s.run, s.name, s.function, s.count ORDER BY s.submitted_us DESC
"""
                ),
            ),
            look=Look.TABLE,
            width=12,
            units={"progress": "percentunit"},
        ),
        Panel(
            title="Latest failures",
            asks=(
                Sql(
                    f"""
SELECT to_timestamp(t.returned_us / 1e6) AS at, {NAME} AS task, {FUNCTION} AS function, {STATE} AS state, t.kind,
  t.message, t.manager, t.is_last = 1 AS final
{_SELECTED} AND (t.state = 1 OR t.state > 3) ORDER BY t.returned_us DESC LIMIT 100
"""
                ),
            ),
            look=Look.TABLE,
            width=12,
        ),
        Panel(
            title="Longest tries",
            asks=(
                Sql(
                    f"""
SELECT to_timestamp(t.returned_us / 1e6) AS at, {NAME} AS task, {FUNCTION} AS function, {STATE} AS state,
  t.ran_us / 1e6 AS ran, greatest(0, t.assigned_us - t.queued_us) / 1e6 AS queued, t.manager
{_SELECTED} AND t.epoch > 0 ORDER BY t.ran_us DESC LIMIT 50
"""
                ),
            ),
            look=Look.TABLE,
            width=12,
            units={"ran": "s", "queued": "s"},
        ),
        Panel(
            title="Failures by cause",
            asks=(
                Sql(
                    f"""
SELECT CASE WHEN t.kind <> '' THEN t.kind ELSE {STATE} END AS cause, count(*) AS tries
{_SELECTED} AND (t.state = 1 OR t.state > 3) GROUP BY 1 ORDER BY 2 DESC LIMIT 30
"""
                ),
            ),
            look=Look.BARS,
            width=12,
        ),
        Panel(
            title="Running now",
            asks=(
                Sql(
                    f"""
SELECT {NAME} AS task, {FUNCTION} AS function, {STATE} AS state, to_timestamp(t.assigned_us / 1e6) AS since,
  extract(epoch FROM now()) - t.assigned_us / 1e6 AS age, t.manager
FROM tries t JOIN submissions s ON s.first = t.submission
WHERE {CHOSEN} AND t.state < 0 ORDER BY t.assigned_us LIMIT 100
"""
                ),
            ),
            look=Look.TABLE,
            width=12,
            units={"age": "s"},
            note="Tries that have been running for longer than a heartbeat.",
        ),
    ),
)

DASHBOARD: Final = Dashboard(
    name="tasks",
    title="Blockyard / Tasks and functions",
    about="How fast tasks are, how long they take, how often they fail and why.",
    rows=(_STAGES, _FUNCTIONS, _TASKS),
    has_runs=True,
)
