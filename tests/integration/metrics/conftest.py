"""The metrics of a running interchange, read as Prometheus does."""

import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.ports import free_port

Key = tuple[str, tuple[tuple[str, str], ...]]


class Scraped(dict[Key, float]):
    """Samples by name and labels."""

    def of(self, name: str, **labels: str) -> float:
        """The sum of all samples of this name with these labels, among others."""
        found = [value for (one, its), value in self.items() if one == name and labels.items() <= set(its)]
        assert found, f"no sample {name} with {labels}"
        return sum(found)


def scrape(address: str) -> Scraped:
    """Everything that is exported now."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=30.0) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version="), answer.headers
        text = answer.read().decode()
    return Scraped(
        ((sample.name, tuple(sorted(sample.labels.items()))), sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    )


@pytest.fixture
def address() -> str:
    """HOST:PORT that nobody uses."""
    return f"127.0.0.1:{free_port()}"
