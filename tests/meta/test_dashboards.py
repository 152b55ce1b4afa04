"""The dashboards in the chart are those of the code, and whole: `tests/integration/dashboards` asks their questions."""

import json

from tests.integration.dashboards.shipped import FOLDER, dashboards
from tools.dashboards.__main__ import files


def test_the_files_are_what_the_code_says() -> None:
    shipped = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    assert shipped == files(), "run `make dashboards`"


def test_panels_have_numbers_and_places_of_their_own_and_sources_that_are_chosen() -> None:
    for name, dashboard in dashboards().items():
        numbers = [panel["id"] for panel in dashboard["panels"]]
        assert len(set(numbers)) == len(numbers), name
        taken: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert place["x"] + place["w"] <= 24, (name, panel["title"])
            assert not cells & taken, (name, panel["title"])
            taken |= cells
        assert _sources(json.dumps(dashboard)) == {"${prometheus}", "${history}"}, name


def _sources(text: str) -> set[str]:
    """Every data source that is named."""
    return {part.partition('"')[0] for part in text.split('"uid": "')[1:] if not part.startswith("blockyard-")}
