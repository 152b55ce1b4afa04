"""Dashboards as Grafana's JSON, for Grafana 11 and later; the only module that knows its SDK.

Data sources are chosen on the dashboard, so that the same file works by import, by provisioning, and in the chart.
"""

from collections.abc import Iterator
from typing import Final

from grafana_foundation_sdk.builders import bargauge, common, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus as prometheus_builders
from grafana_foundation_sdk.cog import builder as cog
from grafana_foundation_sdk.cog import variants
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    VizOrientation,
)

from tools.dashboards.records import Dashboard, Look, Panel, Promql, Sql

TAG: Final = "blockyard"
_POSTGRESQL: Final = "grafana-postgresql-datasource"
_METRICS: Final = models.DataSourceRef(type_val="prometheus", uid="${prometheus}")
_HISTORY: Final = models.DataSourceRef(type_val=_POSTGRESQL, uid="${history}")
_WIDTH: Final = 24
_RUNS: Final = """
SELECT run FROM sessions e WHERE EXISTS (SELECT 1 FROM submissions s WHERE s.session = e.session)
  AND began_us <= $__to * 1000 AND (ended_us = 0 OR ended_us >= $__from * 1000)
GROUP BY run ORDER BY max(began_us) DESC LIMIT 500
"""

AnyPanel = stat.Panel | table.Panel | timeseries.Panel | bargauge.Panel


def text_of(dashboard: Dashboard) -> str:
    """The dashboard's JSON; the same for the same dashboard."""
    built = (
        builders.Dashboard(dashboard.title)
        .uid(f"{TAG}-{dashboard.name}")
        .description(dashboard.about)
        .tags([TAG])
        .timezone("browser")
        .time("now-1h", "now")
        .refresh("30s")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(
            builders.DashboardLink("Blockyard")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .keep_time(True)
            .include_vars(True)
        )
    )
    for variable in _variables(dashboard):
        built = built.with_variable(variable)
    for part in _placed(dashboard):
        built = built.with_row(part) if isinstance(part, builders.Row) else built.with_panel(part)
    return JSONEncoder(indent=1, sort_keys=True, ensure_ascii=False).encode(built.build()) + "\n"


def _variables(dashboard: Dashboard) -> Iterator[cog.Builder[models.VariableModel]]:
    yield builders.DatasourceVariable("prometheus").label("Prometheus").type("prometheus")
    yield builders.DatasourceVariable("history").label("History").type(_POSTGRESQL)
    every = models.VariableOption(selected=True, text=["All"], value=["$__all"])
    yield (
        builders.QueryVariable("pool")
        .label("Pool")
        .datasource(_METRICS)
        .query({"query": "label_values(blockyard_tasks, pool)", "refId": "pool"})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .current(every)
    )
    if dashboard.has_runs:
        yield (
            builders.QueryVariable("run")
            .label("Run")
            .datasource(_HISTORY)
            .query(_RUNS.strip())
            .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .multi(True)
            .include_all(True)
            .all_value("SELECT run FROM sessions")  # a list of thousands would be no better
            .current(every)
        )


def _placed(dashboard: Dashboard) -> Iterator[builders.Row | AnyPanel]:
    """Rows and panels from the top, each with its place and a number of its own."""
    number, y = 0, 0
    for row in dashboard.rows:
        number += 1
        yield builders.Row(row.title).id(number).grid_pos(models.GridPos(h=1, w=_WIDTH, x=0, y=y))
        y += 1
        x, height = 0, 0
        for panel in row.panels:
            if x + panel.width > _WIDTH:
                x, y, height = 0, y + height, 0
            number += 1
            place = models.GridPos(h=panel.height, w=panel.width, x=x, y=y)
            yield _panel(panel).id(number).grid_pos(place)
            x, height = x + panel.width, max(height, panel.height)
        y += height


def _panel(panel: Panel) -> AnyPanel:
    made = _look(panel).title(panel.title).unit(panel.unit)
    if panel.note:
        made = made.description(panel.note)
    made = made.datasource(_METRICS if isinstance(panel.asks[0], Promql) else _HISTORY)
    for place, ask in enumerate(panel.asks):
        made = made.with_target(_target(ask, chr(ord("A") + place), panel.look))
    for column, unit in panel.units.items():
        made = made.override_by_name(column, [models.DynamicConfigValue(id_val="unit", value=unit)])
    return made


def _look(panel: Panel) -> AnyPanel:
    match panel.look:
        case Look.NUMBER:
            return stat.Panel().color_mode(BigValueColorMode.NONE).reduce_options(_last())
        case Look.TABLE:
            return table.Panel()
        case Look.BARS:
            return bargauge.Panel().orientation(VizOrientation.HORIZONTAL).reduce_options(_last().values(True))
        case Look.LINES | Look.STACK:
            legend = (
                common.VizLegendOptions()
                .display_mode(LegendDisplayMode.LIST)
                .placement(LegendPlacement.BOTTOM)
                .show_legend(True)
            )
            made = timeseries.Panel().legend(legend).min(0)
            if panel.look is Look.STACK:
                made = made.fill_opacity(40).stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
            return made


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"])


def _target(ask: Promql | Sql, name: str, look: Look) -> cog.Builder[variants.Dataquery]:
    if isinstance(ask, Sql):
        return _SqlQuery(ask.text.strip(), name, "time_series" if look in (Look.LINES, Look.STACK) else "table")
    made = prometheus_builders.Dataquery().expr(ask.text).ref_id(name).datasource(_METRICS)
    if look in (Look.LINES, Look.STACK):
        return made.range().legend_format(ask.legend).exemplar(ask.exemplars)
    return made.instant().legend_format(ask.legend)


class _SqlQuery(variants.Dataquery, cog.Builder[variants.Dataquery]):
    """A query of the PostgreSQL data source, which the SDK does not know."""

    def __init__(self, text: str, name: str, form: str) -> None:
        self._text = text
        self._name = name
        self._form = form

    def build(self) -> variants.Dataquery:
        return self

    def to_json(self) -> dict[str, object]:
        """As Grafana keeps it."""
        return {
            "datasource": _HISTORY.to_json(),
            "editorMode": "code",
            "format": self._form,
            "rawQuery": True,
            "rawSql": self._text,
            "refId": self._name,
        }
