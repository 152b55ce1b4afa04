"""Pools and blocks: how many there are, in which state, why they ended, and what the operator does about it."""

from typing import Final

from tools.dashboards.records import Dashboard, Look, Panel, Promql, Row, Sql

_BLOCKS: Final = Row(
    "Blocks, managers, workers",
    (
        Panel(
            title="Blocks by state",
            asks=(Promql('sum by (state) (blockyard_blocks{pool=~"$pool"}) > 0', "{{state}}"),),
            look=Look.STACK,
            note="The living ones, and of those that ended the last 100 of a pool.",
        ),
        Panel(
            title="Running blocks by pool",
            asks=(Promql('sum by (pool) (blockyard_blocks{pool=~"$pool", state="RUNNING"})', "{{pool}}"),),
        ),
        Panel(
            title="Managers",
            asks=(Promql('sum by (pool, state) (blockyard_managers{pool=~"$pool"})', "{{pool}} {{state}}"),),
        ),
        Panel(
            title="Workers",
            asks=(Promql('sum by (pool, state) (blockyard_workers{pool=~"$pool"})', "{{pool}} {{state}}"),),
            look=Look.STACK,
        ),
        Panel(
            title="Quietest manager",
            asks=(Promql('max by (pool) (blockyard_manager_silence_seconds{pool=~"$pool"})', "{{pool}}"),),
            unit="s",
            note="Since when it was not heard of; three heartbeats end its leases.",
        ),
        Panel(
            title="Workers started again, tries out of memory",
            asks=(
                Promql(
                    'sum by (pool) (increase(blockyard_worker_restarts_total{pool=~"$pool"}[$__rate_interval]))',
                    "{{pool}} restarts",
                ),
                Promql(
                    'sum by (pool) (increase(blockyard_tries_out_of_memory_total{pool=~"$pool"}[$__rate_interval]))',
                    "{{pool}} out of memory",
                ),
            ),
        ),
    ),
)

_HISTORY: Final = Row(
    "What became of blocks",
    (
        Panel(
            title="Blocks, the latest first",
            asks=(
                Sql(
                    """
SELECT DISTINCT ON (b.pool, b.block) b.pool, b.block, b.state, b.reason, to_timestamp(b.at_us / 1e6) AS since,
  b.node, b.exit_code, b.signal, b.message
FROM blocks b WHERE b.pool IN ($pool) AND b.at_us >= $__from * 1000
ORDER BY b.pool, b.block, b.at_us DESC LIMIT 500
"""
                ),
            ),
            look=Look.TABLE,
            width=16,
        ),
        Panel(
            title="Why blocks ended",
            asks=(
                Sql(
                    """
SELECT b.state || CASE WHEN b.reason <> '' THEN ': ' || b.reason ELSE '' END AS why, count(*) AS blocks
FROM blocks b WHERE b.pool IN ($pool) AND b.at_us BETWEEN $__from * 1000 AND $__to * 1000
  AND b.state IN ('CANCELLED', 'COMPLETED', 'FAILED', 'TIMEOUT', 'MISSING', 'SCALED_IN')
GROUP BY 1 ORDER BY 2 DESC LIMIT 30
"""
                ),
            ),
            look=Look.BARS,
        ),
        Panel(
            title="From request to running",
            asks=(
                Sql(
                    """
SELECT to_timestamp(max(r.at_us) / 1e6) AS time, r.pool AS metric, avg(r.at_us - p.at_us) / 1e6 AS seconds
FROM blocks r JOIN LATERAL (
  SELECT min(o.at_us) AS at_us FROM blocks o WHERE o.pool = r.pool AND o.block = r.block
) p ON true
WHERE r.state = 'RUNNING' AND r.pool IN ($pool) AND r.at_us BETWEEN $__from * 1000 AND $__to * 1000
GROUP BY r.pool, r.at_us / ($__interval_ms * 1000) ORDER BY 1
"""
                ),
            ),
            unit="s",
            width=12,
            note="The mean of each point: from the first word of a block until it was running.",
        ),
        Panel(
            title="Managers that joined and went",
            asks=(
                Sql(
                    """
SELECT to_timestamp(n.at_us / 1e6) AS at, n.pool, n.block, n.node, n.manager, n.state, n.reason, n.workers,
  n.millicores / 1000.0 AS cores, n.memory_bytes, n.python
FROM nodes n WHERE n.pool IN ($pool) AND n.at_us BETWEEN $__from * 1000 AND $__to * 1000
ORDER BY n.at_us DESC LIMIT 200
"""
                ),
            ),
            look=Look.TABLE,
            width=12,
            units={"memory_bytes": "bytes"},
        ),
    ),
)

_OPERATOR: Final = Row(
    "Operator",
    (
        Panel(
            title="Pools, blocks and pods it knows",
            asks=(
                Promql("max(blockyard_operator_pools)", "pools"),
                Promql("max(blockyard_operator_blocks)", "blocks"),
                Promql("max(blockyard_operator_pods)", "pods"),
            ),
        ),
        Panel(
            title="Ends of blocks",
            asks=(
                Promql("sum by (state) (increase(blockyard_operator_block_ends_total[$__rate_interval]))", "{{state}}"),
            ),
            look=Look.STACK,
        ),
        Panel(
            title="Pods that could not be made",
            asks=(
                Promql("sum by (reason) (increase(blockyard_operator_refusals_total[$__rate_interval]))", "{{reason}}"),
            ),
            look=Look.STACK,
        ),
        Panel(
            title="Reconciles per second",
            asks=(
                Promql(
                    "sum by (kind, result) (rate(blockyard_operator_reconciles_total[$__rate_interval]))",
                    "{{kind}} {{result}}",
                ),
            ),
            unit="cps",
        ),
        Panel(
            title="Reconciles, 99 %",
            asks=(
                Promql(
                    "histogram_quantile(0.99, sum by (kind, le) "
                    "(rate(blockyard_operator_reconcile_seconds_bucket[$__rate_interval])))",
                    "{{kind}} done",
                ),
                Promql(
                    "histogram_quantile(0.99, sum by (kind, le) "
                    "(rate(blockyard_operator_queue_wait_seconds_bucket[$__rate_interval])))",
                    "{{kind}} waits",
                ),
            ),
            unit="s",
        ),
        Panel(
            title="Requests to the API server that failed, per second",
            asks=(
                Promql(
                    "sum by (verb, resource, code) "
                    '(rate(blockyard_operator_api_requests_total{code!~"2..|404|409"}[$__rate_interval]))',
                    "{{verb}} {{resource}} {{code}}",
                ),
            ),
            unit="cps",
            note="404 and 409 are answers that it reckons with.",
        ),
    ),
)

DASHBOARD: Final = Dashboard(
    name="pools",
    title="Blockyard / Pools and blocks",
    about="Blocks, managers and workers; why blocks ended; what the operator does.",
    rows=(_BLOCKS, _HISTORY, _OPERATOR),
)
