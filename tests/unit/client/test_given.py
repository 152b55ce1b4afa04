"""What a caller gave is looked at before anything is begun with it; so nothing is started here."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from blockyard import Client, given
from blockyard.errors import ConfigError

_LOCAL, _CONNECT = partial(Client.local, workers=1), partial(Client.connect, "nowhere")
_KUBERNETES, _THREADS = Client.kubernetes, Client.threads


@pytest.mark.parametrize("value", [5, 3.5, b"x", [], {}, True, object()])
@pytest.mark.parametrize(
    "call, name, sentence",
    [
        (Client.connect, "where", "; give a text or a pathlib.Path"),
        (_CONNECT, "client_key", "; give a text or a pathlib.Path"),
        (_CONNECT, "server_key", "; give a text"),
        (_CONNECT, "run", "; give a text"),
        (_CONNECT, "name", "; give a text"),
        (_LOCAL, "folder", "; give a text or a pathlib.Path"),
        (_LOCAL, "run", "; give a text"),
        (_LOCAL, "journal", "; give a text"),
        (_LOCAL, "metrics", "; give a text"),
        (_LOCAL, "managers", "; give a text"),
        (_LOCAL, "limits", "; give blockyard.serving.Limits"),
        (_KUBERNETES, "pool", "; give a text"),
        (_KUBERNETES, "namespace", "; give a text"),
        (_KUBERNETES, "kubeconfig", "; give a text or a pathlib.Path"),
        (_THREADS, "run", "; give a text"),
    ],
)
def test_a_value_of_a_wrong_kind_is_named(call: Callable[..., object], name: str, sentence: str, value: Any) -> None:
    with pytest.raises(ConfigError) as raised:
        call(**{name: value})
    assert f"{name}={value!r}{sentence}" in str(raised.value)


@pytest.mark.parametrize("value", [5, b"x", "yes", ""])
@pytest.mark.parametrize(
    "call, name",
    [(_CONNECT, "keep"), (_CONNECT, "take_over"), (_KUBERNETES, "keep"), (_KUBERNETES, "take_over")],
)
def test_a_flag_is_one(call: Callable[..., object], name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{name}={value!r}; give True or False"):
        call(**{name: value})


@pytest.mark.parametrize("value", [5, b"x", [], 0])
@pytest.mark.parametrize("call", [_LOCAL, partial(_THREADS, 1)])
def test_monitoring_is_wanted_or_not_or_described(call: Callable[..., object], value: Any) -> None:
    with pytest.raises(ConfigError, match="; give True, the URL of a database, or a Monitoring"):
        call(monitoring=value)


@pytest.mark.parametrize("value", ["a\0b", "half \ud800"])
@pytest.mark.parametrize("call, name", [(Client.connect, "where"), (_CONNECT, "run"), (_LOCAL, "folder")])
def test_what_no_name_can_have_is_refused(call: Callable[..., object], name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: give a text without NUL, and without surrogates"):
        call(**{name: value})


def test_where_metrics_are_served_is_a_host_and_a_port() -> None:
    with pytest.raises(ConfigError, match="metrics='here'; give HOST:PORT, for example"):
        _LOCAL(metrics="here")


def test_a_file_may_have_any_name_that_a_system_gives_it() -> None:
    given.places("call", client_key=Path("caf\udce9.key"), folder=None)
