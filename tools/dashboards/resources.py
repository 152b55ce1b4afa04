"""Resources and efficiency: what tries used, what of it was for nothing, and how busy workers were."""

from typing import Final

from tools.dashboards.records import Dashboard, Look, Panel, Promql, Row, Sql
from tools.dashboards.tasks import CHOSEN, FUNCTION, NAME, SHOWN

_EFFICIENCY: Final = Row(
    "Efficiency",
    (
        Panel(
            title="Workers kept busy by functions",
            asks=(
                Promql(
                    "sum by (pool) "
                    '(rate(blockyard_stage_seconds_sum{pool=~"$pool", stage="running"}[$__rate_interval])) '
                    '/ (sum by (pool) (blockyard_workers{pool=~"$pool"}) > 0)',
                    "{{pool}}",
                ),
            ),
            unit="percentunit",
            note="1 is all workers all the time.",
        ),
        Panel(
            title="CPU used of the time that tries ran",
            asks=(
                Promql(
                    'sum by (pool) (rate(blockyard_history_tries_cpu_seconds_total{pool=~"$pool"}[$__rate_interval])) '
                    "/ (sum by (pool) "
                    '(rate(blockyard_history_tries_ran_seconds_sum{pool=~"$pool"}[$__rate_interval])) > 0)',
                    "{{pool}}",
                ),
            ),
            unit="percentunit",
            note="Above 1 with several threads; far below it when tries wait for something.",
        ),
        Panel(
            title="CPU of tries",
            asks=(
                Promql(
                    "sum by (pool, mode) "
                    '(rate(blockyard_history_tries_cpu_seconds_total{pool=~"$pool"}[$__rate_interval]))',
                    "{{pool}} {{mode}}",
                ),
            ),
            look=Look.STACK,
            note="Cores, counted when a try ends.",
        ),
        Panel(
            title="Where tries' time went",
            asks=(
                Sql(
                    f"""
SELECT s.pool, sum(greatest(0, x.assigned_us - x.queued_us)) / 1e6 AS queued,
  sum(greatest(0, x.began_us - x.assigned_us)) / 1e6 AS sent,
  sum(greatest(0, x.ended_us - x.began_us)) / 1e6 AS ran,
  sum(greatest(0, x.returned_us - x.ended_us)) / 1e6 AS returning
FROM try_times x JOIN tries t ON t.task = x.task AND t.epoch = x.epoch JOIN submissions s ON s.first = t.submission
WHERE {CHOSEN} AND {SHOWN} AND t.epoch > 0 AND x.began_us > 0 GROUP BY s.pool ORDER BY s.pool
"""
                ),
            ),
            look=Look.TABLE,
            units={"queued": "s", "sent": "s", "ran": "s", "returning": "s"},
        ),
        Panel(
            title="Time that tries ran, by what came of it",
            asks=(
                Sql(
                    f"""
SELECT CASE WHEN t.state IN (0, 2) THEN 'of use' WHEN t.state = 7 THEN 'lost with worker or block'
  WHEN t.is_last = 0 THEN 'tried again' ELSE 'failed' END AS outcome,
  sum(CASE WHEN t.state = 7 THEN greatest(0, t.returned_us - t.assigned_us) ELSE t.ran_us END) / 1e6 AS seconds
FROM tries t JOIN submissions s ON s.first = t.submission WHERE {CHOSEN} AND {SHOWN} AND t.epoch > 0
GROUP BY 1 ORDER BY 2 DESC
"""
                ),
            ),
            look=Look.BARS,
            unit="s",
            note="What was lost is counted from when it was assigned: nobody knows how long it ran.",
        ),
        Panel(
            title="Output of tasks that was not kept",
            asks=(
                Promql(
                    'sum by (pool) (rate(blockyard_output_dropped_bytes_total{pool=~"$pool"}[$__rate_interval]))',
                    "{{pool}}",
                ),
            ),
            unit="Bps",
        ),
    ),
)

_MEMORY: Final = Row(
    "Memory and CPU",
    (
        Panel(
            title="Peaks of tries",
            asks=tuple(
                Promql(
                    f"histogram_quantile({part}, sum by (pool, le) "
                    '(rate(blockyard_history_tries_peak_bytes_bucket{pool=~"$pool"}[$__rate_interval])))',
                    f"{{{{pool}}}} {word}",
                )
                for part, word in ((0.5, "median"), (0.99, "99 %"))
            ),
            unit="bytes",
        ),
        Panel(
            title="Memory of workers, and of running tries",
            asks=(
                Promql('sum by (pool) (blockyard_workers_resident_bytes{pool=~"$pool"})', "{{pool}} workers"),
                Promql('sum by (pool) (blockyard_history_running_resident_bytes{pool=~"$pool"})', "{{pool}} tries"),
            ),
            unit="bytes",
            note="The former without what workers started, the latter with it.",
        ),
        Panel(
            title="Largest of each point",
            asks=(
                Sql(
                    """
SELECT to_timestamp(m.at_us / 1000 / $__interval_ms * $__interval_ms / 1000.0) AS time, s.pool AS metric,
  max(m.resident_bytes) AS bytes
FROM samples m JOIN tries t ON t.task = m.task AND t.epoch = m.epoch JOIN submissions s ON s.first = t.submission
WHERE s.pool IN ($pool) AND s.run IN ($run) AND m.at_us BETWEEN $__from * 1000 AND $__to * 1000
GROUP BY 1, 2 ORDER BY 1
"""
                ),
            ),
            unit="bytes",
            note="Most memory of one running try, from samples.",
        ),
        Panel(
            title="What functions used",
            asks=(
                Sql(
                    f"""
SELECT {FUNCTION} AS function, count(*) AS tries, sum(w.cpu_user_us + w.cpu_system_us) / 1e6 AS cpu,
  sum(w.cpu_user_us + w.cpu_system_us)::float8 / nullif(sum(w.ended_us - w.began_us), 0) AS share,
  max(w.peak_bytes) AS peak, percentile_cont(0.95) WITHIN GROUP (ORDER BY w.peak_bytes) AS peak95,
  sum(w.read_bytes) AS read, sum(w.written_bytes) AS written,
  sum(w.switches_involuntary) AS "involuntary switches", sum(w.page_faults) AS "page faults"
FROM worker_tasks w JOIN tries t ON t.task = w.task AND t.epoch = w.epoch JOIN submissions s ON s.first = t.submission
WHERE {CHOSEN} AND {SHOWN} GROUP BY 1 ORDER BY cpu DESC LIMIT 100
"""
                ),
            ),
            look=Look.TABLE,
            width=16,
            units={"cpu": "s", "share": "percentunit", "peak": "bytes", "peak95": "bytes", "read": "bytes",
                   "written": "bytes"},
        ),
        Panel(
            title="Hungriest tries",
            asks=(
                Sql(
                    f"""
SELECT {NAME} AS task, {FUNCTION} AS function, w.peak_bytes AS peak, (w.cpu_user_us + w.cpu_system_us) / 1e6 AS cpu,
  w.manager, w.worker
FROM worker_tasks w JOIN tries t ON t.task = w.task AND t.epoch = w.epoch JOIN submissions s ON s.first = t.submission
WHERE {CHOSEN} AND {SHOWN} ORDER BY w.peak_bytes DESC LIMIT 50
"""
                ),
            ),
            look=Look.TABLE,
            units={"peak": "bytes", "cpu": "s"},
        ),
    ),
)  # fmt: skip

DASHBOARD: Final = Dashboard(
    name="resources",
    title="Blockyard / Resources and efficiency",
    about="What tries used, what of it was for nothing, how busy workers were.",
    rows=(_EFFICIENCY, _MEMORY),
    has_runs=True,
)
