"""How plug-ins are found: built in or registered by others, and never skipped in silence."""

from collections.abc import Sequence
from importlib.metadata import EntryPoint

import pytest

from blockyard.blocks import plugins
from blockyard.blocks.faults import PluginError


def register(monkeypatch: pytest.MonkeyPatch, points: Sequence[EntryPoint]) -> None:
    """Let other distributions have registered these."""
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point for point in points if point.group == group])


def strategy(name: str, value: str) -> EntryPoint:
    return EntryPoint(name=name, value=value, group=plugins.STRATEGIES)


def test_every_built_in_plugin_loads() -> None:
    for group, names in plugins.BUILT_IN.items():
        for name in names:
            assert callable(plugins.load(group, name)), f"{group} {name}"


def test_a_third_party_is_found_beside_the_built_in_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, [strategy("seesaw", "os.path:join")])
    assert list(plugins.registered(plugins.STRATEGIES)) == ["auto", "none", "seesaw", "simple"]
    assert plugins.load(plugins.STRATEGIES, "seesaw") is __import__("os").path.join


def test_a_name_that_is_taken_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, [strategy("auto", "my_package:auto")])
    with pytest.raises(PluginError, match=r"two plug-ins .* are called 'auto': .*blockyard.* and my_package:auto"):
        plugins.registered(plugins.STRATEGIES)


def test_our_own_entry_points_are_no_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, [strategy("auto", "blockyard.blocks.scaling:auto")])
    assert list(plugins.registered(plugins.STRATEGIES)) == ["auto", "none", "simple"]


@pytest.mark.parametrize("value", ["nonesuch_package:f", "os.path:nonesuch"])
def test_a_plugin_that_does_not_load_says_why(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    register(monkeypatch, [strategy("broken", value)])
    with pytest.raises(PluginError, match=f"'broken' .* does not load from {value}: .*nonesuch"):
        plugins.load(plugins.STRATEGIES, "broken")


def test_an_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(PluginError, match=r"no plug-in 'autoo' .*did you mean 'auto'.* there are: auto, none, simple"):
        plugins.load(plugins.STRATEGIES, "autoo")
