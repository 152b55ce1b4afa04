"""Cgroups of nodes, in folders that stand for the kernel's."""

from pathlib import Path

import pytest

from tests.cluster import cgroups


def test_what_runc_made_in_the_tree_beside_goes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "ROOT", tmp_path)
    for tree, file in (("memory", "tasks"), ("unified", "cgroup.controllers")):
        (tmp_path / tree).mkdir()
        (tmp_path / tree / file).touch()
    cgroups.make("/by1-node1")
    made_by_runc = tmp_path / "unified" / "by1-node1" / "kubepods" / "pod1"
    made_by_runc.mkdir(parents=True)
    assert cgroups.with_prefix("by1") == {"/by1-node1"}
    cgroups.remove("/by1-node1")
    assert cgroups.with_prefix("by1") == set()
    assert [one.name for one in (tmp_path / "unified").iterdir()] == ["cgroup.controllers"]
