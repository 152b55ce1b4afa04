"""How to take part in a run is checked before anybody is asked for it."""

import pytest

from blockyard import Client
from blockyard.errors import ConfigError


def test_what_to_do_at_the_limits_is_one_of_two() -> None:
    with pytest.raises(ConfigError, match="on_full='rais': expected 'wait' or 'raise'"):
        Client.local(workers=1, on_full="rais")
