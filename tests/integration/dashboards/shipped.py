"""The dashboards as they are shipped: their panels and questions, read back from the JSON in the chart."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.machine import ROOT

FOLDER = ROOT / "charts" / "blockyard" / "files" / "dashboards"

Json = dict[str, Any]


class Question(NamedTuple):
    """One query of one panel, or of a variable."""

    where: str
    source: str
    """The plug-in of its data source."""
    text: str
    is_series: bool
    """Answers over the time shown, not at its end."""


def dashboards() -> dict[str, Json]:
    """By name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def questions() -> Iterator[Question]:
    """Of all panels of all dashboards."""
    for name, dashboard in dashboards().items():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                where = f"{name}: {panel['title']}, {target['refId']}"
                source = target["datasource"]["type"]
                if source == "prometheus":
                    yield Question(where, source, target["expr"], target.get("range", False))
                else:
                    yield Question(where, source, target["rawSql"], target["format"] == "time_series")


def filled_in(text: str, values: dict[str, str]) -> str:
    """A question as Grafana asks it. Fails when a variable is left."""
    for name in sorted(values, key=len, reverse=True):
        text = text.replace(f"${name}", values[name])
    assert "$" not in text, f"Grafana would be asked for a variable that is not known here: {text}"
    return text
