"""What the settings of the interchange's process may not be."""

import json
from pathlib import Path

import pytest

from blockyard.errors import ConfigError
from blockyard_interchange import settings


@pytest.mark.parametrize("heartbeat", [0.0, -1.0])
def test_a_time_that_means_nothing_is_refused_by_name(tmp_path: Path, heartbeat: float) -> None:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"folder": str(tmp_path), "core": {"heartbeat": heartbeat}}))
    with pytest.raises(ConfigError, match=r"settings\.json: core\.heartbeat=-?[01]\.0; seconds above 0"):
        settings.read(file, {})
