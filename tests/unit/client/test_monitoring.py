"""What a user says about monitoring, and what is refused at once."""

from pathlib import Path

import pytest

from blockyard import monitoring
from blockyard.errors import ConfigError


def test_a_database_whose_folder_is_not_there_is_refused(tmp_path: Path) -> None:
    """Its hub would go on trying, and the system would wait for it when it is to end."""
    with pytest.raises(ConfigError, match=f"there is no folder {tmp_path}/nowhere"):
        monitoring.of_word(f"sqlite:///{tmp_path}/nowhere/history.db")
    found = monitoring.of_word(f"sqlite:///{tmp_path}/history.db?timeout=3")
    assert found is not None
    assert found.database.endswith("history.db?timeout=3")


@pytest.mark.parametrize("word", ["sqlite:///history.db", "mysql://here/history", "maybe"])
def test_what_names_no_database_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match=r"give sqlite:////path/file\.db"):
        monitoring.of_word(word)
