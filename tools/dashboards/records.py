"""What a dashboard is made of: rows of panels, and the questions that they ask of Prometheus or of the history.

In questions, Grafana replaces ``$pool`` and ``$run`` by what was chosen (the former in both languages, each in its own
way), ``$__rate_interval`` and ``$__range`` by durations, ``$__from`` and ``$__to`` by the ends of the time shown, in
milliseconds since 1970, and ``$__interval_ms`` by the width of a point.
"""

import enum

import msgspec


class Look(enum.Enum):
    """How a panel shows its answers."""

    LINES = "lines"
    STACK = "stack"
    NUMBER = "number"
    TABLE = "table"
    BARS = "bars"


class Promql(msgspec.Struct, frozen=True):
    """A question to Prometheus."""

    text: str
    legend: str = ""
    """The name of each series; ``{{label}}`` stands for a label's value."""
    exemplars: bool = False
    """Show single tasks beside the series; their labels name them."""


class Sql(msgspec.Struct, frozen=True):
    """A question to the history in PostgreSQL, see ``docs/schema.md``. For lines and stacks its columns are ``time``,
    perhaps ``metric`` (the name of the series), and numbers."""

    text: str


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """One panel. `unit` is Grafana's name of it; `note` is what the question mark beside the title says."""

    title: str
    asks: tuple[Promql | Sql, ...]
    look: Look = Look.LINES
    unit: str = "short"
    width: int = 8
    """Of 24."""
    height: int = 8
    note: str = ""
    units: dict[str, str] = {}
    """Of columns of a table that have one of their own."""


class Row(msgspec.Struct, frozen=True):
    """Panels side by side, below a heading."""

    title: str
    panels: tuple[Panel, ...]


class Dashboard(msgspec.Struct, frozen=True, kw_only=True):
    """One dashboard. `name` is its file's, and with ``blockyard-`` before it the identity that links keep."""

    name: str
    title: str
    about: str
    rows: tuple[Row, ...]
    has_runs: bool = False
    """Runs can be chosen, besides pools."""


def number(title: str, ask: Promql | Sql, unit: str = "short", note: str = "") -> Panel:
    """A single number."""
    return Panel(title=title, asks=(ask,), look=Look.NUMBER, unit=unit, width=3, height=4, note=note)


def quantiles(metric: str, labels: str, by: str = "", legend: str = "") -> tuple[Promql, ...]:
    """The median and the 99th percentile of a histogram, by labels."""
    group = f"{by}, le" if by else "le"
    name = f"{legend} " if legend else ""
    return tuple(
        Promql(
            f"histogram_quantile({part}, sum by ({group}) (rate({metric}_bucket{{{labels}}}[$__rate_interval])))",
            f"{name}{word}",
        )
        for part, word in ((0.5, "median"), (0.99, "99 %"))
    )
