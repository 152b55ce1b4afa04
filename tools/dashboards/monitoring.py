"""Monitoring itself: what reaches the hub and what does not, its sinks, the database, and the interchange's journal."""

from typing import Final

from tools.dashboards.records import Dashboard, Look, Panel, Promql, Row, Sql


def _zero_when_none(text: str, by: str, always: str) -> str:
    """A rate of something that may never happen: 0 until it does, for each `by` that `always` has."""
    return f"{text} or 0 * sum by ({by}) ({always})"


_HUB: Final = Row(
    "Hub",
    (
        Panel(
            title="Records that come, per second",
            asks=(Promql("sum by (radio) (rate(blockyard_hub_records_total[$__rate_interval]))", "{{radio}}"),),
            look=Look.STACK,
            unit="cps",
        ),
        Panel(
            title="Messages missing, late, doubled",
            asks=(
                Promql("sum by (radio) (blockyard_hub_lost)", "{{radio}} missing"),
                Promql("sum by (radio) (increase(blockyard_hub_late_total[$__rate_interval]))", "{{radio}} late"),
                Promql("sum by (radio) (increase(blockyard_hub_doubled_total[$__rate_interval]))", "{{radio}} doubled"),
            ),
            note="Missing is 0 on radios that confirm. Doubled is what was sent again after a restart.",
        ),
        Panel(
            title="What was no message",
            asks=(
                Promql(
                    _zero_when_none(
                        "sum by (radio, reason) (increase(blockyard_hub_refused_total[$__rate_interval]))",
                        "radio",
                        "blockyard_hub_packets_total",
                    ),
                    "{{radio}} {{reason}}",
                ),
            ),
            look=Look.STACK,
        ),
    ),
)

_SINKS: Final = Row(
    "Sinks",
    (
        Panel(
            title="Messages written, per second",
            asks=(Promql("sum by (sink) (rate(blockyard_hub_sink_written_total[$__rate_interval]))", "{{sink}}"),),
            unit="cps",
        ),
        Panel(
            title="Rows that wait",
            asks=(Promql("sum by (sink) (blockyard_hub_sink_waiting)", "{{sink}}"),),
            note="For sql: what the database is behind.",
        ),
        Panel(
            title="Available",
            asks=(Promql("min by (sink) (blockyard_hub_sink_available)", "{{sink}}"),),
        ),
        Panel(
            title="Failures and messages put aside",
            asks=(
                Promql(
                    "sum by (sink) (increase(blockyard_hub_sink_failures_total[$__rate_interval]))", "{{sink}} failures"
                ),
                Promql(
                    "sum by (sink) (increase(blockyard_hub_sink_quarantined_total[$__rate_interval]))",
                    "{{sink}} put aside",
                ),
            ),
        ),
        Panel(
            title="Records that did not fit",
            asks=(
                Promql(
                    _zero_when_none(
                        "sum by (sink, kind) (increase(blockyard_hub_sink_dropped_total[$__rate_interval]))",
                        "sink",
                        "blockyard_hub_sink_written_total",
                    ),
                    "{{sink}} {{kind}}",
                ),
            ),
            look=Look.STACK,
            note="Only samples, log lines, and what sinks that merely show things were too slow for.",
        ),
        Panel(
            title="CPU of hub and interchange",
            asks=(
                Promql("sum by (instance) (rate(hub_process_cpu_seconds_total[$__rate_interval]))", "hub {{instance}}"),
                Promql(
                    "sum by (instance) (rate(process_cpu_seconds_total[$__rate_interval]) "
                    "and on (job, instance) blockyard_opening)",
                    "interchange {{instance}}",
                ),
            ),
            note="Cores.",
        ),
    ),
)

_HISTORY: Final = Row(
    "History",
    (
        Panel(
            title="Size of the tables",
            asks=(
                Sql(
                    """
SELECT coalesce(p.relname, c.relname) AS table, sum(greatest(c.reltuples, 0))::bigint AS "rows, about",
  sum(pg_table_size(c.oid))::bigint AS data, sum(pg_indexes_size(c.oid))::bigint AS indexes
FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid LEFT JOIN pg_class p ON p.oid = i.inhparent
WHERE c.relnamespace = to_regnamespace('public') AND c.relkind = 'r' GROUP BY 1 ORDER BY data DESC
"""
                ),
            ),
            look=Look.TABLE,
            units={"data": "bytes", "indexes": "bytes"},
        ),
        Panel(
            title="Rows without company",
            asks=(Sql("SELECT what, count FROM orphans ORDER BY count DESC"),),
            look=Look.BARS,
            note="0 when the system is idle, on radios that confirm. Reads whole tables.",
        ),
        Panel(
            title="Rows that went because of their age",
            asks=(
                Promql(
                    _zero_when_none(
                        "sum by (sink, table) (increase(blockyard_hub_sink_expired_total[$__rate_interval]))",
                        "sink",
                        'blockyard_hub_sink_written_total{sink=~"sql.*"}',
                    ),
                    "{{sink}} {{table}}",
                ),
            ),
            look=Look.STACK,
            width=12,
        ),
        Panel(
            title="Put aside",
            asks=(
                Sql(
                    """
SELECT to_timestamp(at_us / 1e6) AS at, radio, source, number, reason, left(packet, 200) AS packet
FROM quarantine WHERE at_us BETWEEN $__from * 1000 AND $__to * 1000 ORDER BY at_us DESC LIMIT 100
"""
                ),
            ),
            look=Look.TABLE,
            width=12,
        ),
    ),
)

_JOURNAL: Final = Row(
    "Journal",
    (
        Panel(
            title="Commits",
            asks=(
                Promql(
                    "histogram_quantile(0.99, sum by (instance, le) "
                    "(rate(blockyard_journal_commit_seconds_bucket[$__rate_interval])))",
                    "{{instance}} 99 %",
                ),
            ),
            unit="s",
        ),
        Panel(
            title="What must be kept",
            asks=(
                Promql("sum by (instance) (blockyard_journal_live_bytes)", "{{instance}} journal"),
                Promql("sum by (instance) (blockyard_body_bytes)", "{{instance}} arguments and results"),
            ),
            unit="bytes",
            note="What the hub has not confirmed is kept there, too.",
        ),
        Panel(
            title="Scrapes",
            asks=(
                Promql(
                    "max by (instance) (scrape_duration_seconds and on (job, instance) blockyard_opening)",
                    "interchange {{instance}}",
                ),
                Promql(
                    "max by (instance) (scrape_duration_seconds and on (job, instance) hub_process_cpu_seconds_total)",
                    "hub {{instance}}",
                ),
            ),
            unit="s",
        ),
    ),
)

DASHBOARD: Final = Dashboard(
    name="monitoring",
    title="Blockyard / Monitoring itself",
    about="What reaches the hub and what does not, its sinks, the history, the journal.",
    rows=(_HUB, _SINKS, _HISTORY, _JOURNAL),
)
