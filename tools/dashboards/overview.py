"""How everything fares at a glance: what waits, what runs, what fails, and the latest runs."""

from typing import Final

from tools.dashboards.records import Dashboard, Look, Panel, Promql, Row, Sql, number, quantiles

_NOW: Final = Row(
    "Now",
    (
        number("Queued", Promql('sum(blockyard_tasks{pool=~"$pool", state="queued"})')),
        number("In workers' hands", Promql('sum(blockyard_tasks{pool=~"$pool", state="assigned"})')),
        number(
            "Oldest queued", Promql('max(blockyard_oldest_queued_seconds{pool=~"$pool"})'), "s",
            "How long the first of the queued tasks has been queued.",
        ),
        number(
            "Tasks per second", Promql('sum(rate(blockyard_tasks_ended_total{pool=~"$pool"}[$__rate_interval]))'), "cps"
        ),
        number(
            "Failed",
            Promql(
                'sum(increase(blockyard_tasks_ended_total{pool=~"$pool", outcome="failed"}[$__range])) '
                '/ sum(increase(blockyard_tasks_ended_total{pool=~"$pool"}[$__range]))'
            ),
            "percentunit",
            "Of the tasks that ended in the time shown.",
        ),
        number("Workers", Promql('sum(blockyard_workers{pool=~"$pool"})')),
        number(
            "Busy",
            Promql('sum(blockyard_workers{pool=~"$pool", state="busy"}) / sum(blockyard_workers{pool=~"$pool"})'),
            "percentunit",
        ),
        number("Running blocks", Promql('sum(blockyard_blocks{pool=~"$pool", state="RUNNING"})')),
    ),
)  # fmt: skip

_FLOW: Final = Row(
    "Flow",
    (
        Panel(
            title="Tasks that end, per second",
            asks=(
                Promql(
                    'sum by (outcome) (rate(blockyard_tasks_ended_total{pool=~"$pool"}[$__rate_interval]))',
                    "{{outcome}}",
                ),
            ),
            look=Look.STACK,
            unit="cps",
        ),
        Panel(
            title="Tasks that have not ended",
            asks=(Promql('sum by (state) (blockyard_tasks{pool=~"$pool"})', "{{state}}"),),
            look=Look.STACK,
        ),
        Panel(
            title="From submission to the end",
            asks=quantiles("blockyard_stage_seconds", 'pool=~"$pool", stage="total"'),
            unit="s",
        ),
        Panel(
            title="Workers",
            asks=(Promql('sum by (state) (blockyard_workers{pool=~"$pool"})', "{{state}}"),),
            look=Look.STACK,
        ),
        Panel(
            title="Tries lost with their worker or block",
            asks=(
                Promql(
                    'sum by (reason) (increase(blockyard_tries_lost_total{pool=~"$pool"}[$__rate_interval]))',
                    "{{reason}}",
                ),
            ),
            look=Look.STACK,
            note="Infrastructure losses: they cost no retry.",
        ),
        Panel(
            title="What waits, at this rate",
            asks=(
                Promql(
                    'sum by (pool) (blockyard_tasks{pool=~"$pool"}) '
                    '/ (sum by (pool) (rate(blockyard_tasks_ended_total{pool=~"$pool"}[$__rate_interval])) > 0)',
                    "{{pool}}",
                ),
            ),
            unit="s",
        ),
    ),
)

_RUNS: Final = Row(
    "Runs",
    (
        Panel(
            title="Latest runs",
            asks=(
                Sql(
                    """
WITH latest AS (
  SELECT run, max(user_name) AS "user", min(NULLIF(began_us, 0)) AS began_us,
    CASE WHEN min(ended_us) > 0 THEN max(ended_us) END AS ended_us
  FROM sessions e WHERE EXISTS (SELECT 1 FROM submissions s WHERE s.session = e.session)
  GROUP BY run ORDER BY max(began_us) DESC LIMIT 50
)
SELECT l.run, l."user", to_timestamp(l.began_us / 1e6) AS began, to_timestamp(l.ended_us / 1e6) AS ended,
  (SELECT sum(s.count) FROM submissions s WHERE s.run = l.run) AS tasks,
  count(t.task) FILTER (WHERE t.state = 0) AS done,
  count(t.task) FILTER (WHERE t.state = 3) AS cancelled,
  count(t.task) FILTER (WHERE t.state NOT IN (0, 3)) AS failed
FROM latest l LEFT JOIN submissions s ON s.run = l.run
  LEFT JOIN tries t ON t.submission = s.first AND t.is_last = 1
GROUP BY l.run, l."user", l.began_us, l.ended_us ORDER BY l.began_us DESC
"""
                ),
            ),
            look=Look.TABLE,
            width=24,
            note="The history's word, with tasks that have not ended yet counted in `tasks` only.",
        ),
    ),
)

DASHBOARD: Final = Dashboard(
    name="overview",
    title="Blockyard / Overview",
    about="What waits, what runs, what fails.",
    rows=(_NOW, _FLOW, _RUNS),
)
