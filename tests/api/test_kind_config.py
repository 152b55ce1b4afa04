"""kind-config.yaml, read with kind's own types."""

import json
from pathlib import Path

import pytest

from tests.cluster import parts
from tests.cluster.building import workshop
from tests.cluster.kubectl import Json
from tests.cluster.shell import CommandFailed, run
from tests.machine import ROOT

pytestmark = pytest.mark.needs_api_server


def read(path: Path) -> Json:
    return json.loads(run([workshop().source(parts.KINDCHECK) / parts.KINDCHECK.name, path]))


def test_kind_reads_three_nodes_with_ports() -> None:
    config = read(ROOT / "kind-config.yaml")
    assert [node["role"] for node in config["nodes"]] == ["control-plane", "worker", "worker"]
    mappings = config["nodes"][0]["extraPortMappings"]
    assert {mapping["listenAddress"] for mapping in mappings} == {"127.0.0.1"}


def test_a_field_that_kind_does_not_know_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text((ROOT / "kind-config.yaml").read_text().replace("podSubnet", "podSubnets"))
    with pytest.raises(CommandFailed, match="podSubnets"):
        read(wrong)
