"""How plug-ins are found: built in or registered by others, and never skipped in silence."""

import os.path
from pathlib import Path

import pytest

from blockyard import plugins
from blockyard.blocks.pool import LocalPool
from blockyard.plugins import PluginError


def register(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Let another distribution have registered a strategy."""
    points = {plugins.STRATEGIES: [(name, value)]}
    monkeypatch.setattr(plugins, "_entry_points", lambda group: points.get(group, []))


def test_every_built_in_plugin_loads() -> None:
    for group, names in plugins.BUILT_IN.items():
        for name in names:
            assert callable(plugins.load(group, name)), f"{group} {name}"


def test_a_third_party_is_found_beside_the_built_in_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, "seesaw", "os.path:join")
    assert list(plugins.registered(plugins.STRATEGIES)) == ["auto", "none", "seesaw", "simple"]
    assert plugins.load(plugins.STRATEGIES, "seesaw") is os.path.join


def test_a_name_that_is_taken_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, "auto", "my_package:auto")
    with pytest.raises(PluginError, match=r"two plug-ins .* are called 'auto': .*blockyard.* and my_package:auto"):
        plugins.registered(plugins.STRATEGIES)


def test_our_own_entry_points_are_no_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, "auto", "blockyard.blocks.scaling:auto")
    assert list(plugins.registered(plugins.STRATEGIES)) == ["auto", "none", "simple"]


@pytest.mark.parametrize("value", ["nonesuch_package:f", "os.path:nonesuch"])
def test_a_plugin_that_does_not_load_says_why(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    register(monkeypatch, "broken", value)
    with pytest.raises(PluginError, match=f"'broken' .* does not load from {value}: .*nonesuch"):
        plugins.load(plugins.STRATEGIES, "broken")


def test_an_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(PluginError, match=r"no plug-in 'autoo' .*did you mean 'auto'.* there are: auto, none, simple"):
        plugins.load(plugins.STRATEGIES, "autoo")


def test_metadata_of_installed_distributions_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "seesaw-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: seesaw\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[blockyard.strategies]\nseesaw = os.path:join\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert plugins.registered(plugins.STRATEGIES)["seesaw"] == "os.path:join"
    assert plugins.is_known(plugins.STRATEGIES, "seesaw")


def test_a_plugin_of_our_own_costs_no_look_at_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_entry_points", lambda group: pytest.fail("it looked"))
    assert callable(plugins.load(plugins.STRATEGIES, "auto"))
    LocalPool()
