"""How to take part in a run is checked before anybody is asked for it."""

from typing import Any

import pytest

from blockyard import Client
from blockyard.errors import ConfigError
from blockyard.remote import RemoteSettings
from blockyard.session import LinkSettings
from blockyard.transport import KeyPair


def test_what_to_do_at_the_limits_is_one_of_two() -> None:
    with pytest.raises(ConfigError, match="on_full='rais': expected 'wait' or 'raise'"):
        Client.local(workers=1, on_full="rais")


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan"), "soon"])
def test_patience_is_a_time(timeout: Any) -> None:
    with pytest.raises(ConfigError, match=f"timeout={timeout!r}: give seconds above 0"):
        RemoteSettings(LinkSettings("ipc:///nowhere", b"", KeyPair.new()), patience=timeout)
