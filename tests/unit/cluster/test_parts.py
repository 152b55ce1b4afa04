"""What is built is named by all that goes into it."""

from pathlib import Path

import pytest

from tests.cluster import parts


def test_a_key_changes_with_the_version() -> None:
    assert parts.HELM.key != parts.Module("helm", parts.HELM.path, "v4.3.0").key


def test_a_key_changes_with_source_and_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "GO", tmp_path)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "main.go").write_text("package main")
    source = parts.Source("one")
    before = source.key
    assert source.key == before
    assert parts.Source("one", ldflags="-s").key != before
    (tmp_path / "one" / "main.go").write_text("package  main")
    assert source.key != before


def test_parts_of_a_digest_do_not_run_together() -> None:
    assert parts.digest("ab", "c") != parts.digest("a", "bc")


def test_the_program_says_the_version_that_its_modules_have() -> None:
    required = (parts.GO / "kube" / "go.mod").read_text()
    assert f"k8s.io/kubernetes v{parts.KUBERNETES}\n" in required
    assert f"gitVersion=v{parts.KUBERNETES}" in parts.KUBE.ldflags
    minor = parts.KUBERNETES.removeprefix("1.")
    replaced = [line for line in required.splitlines() if " => k8s.io/" in line]
    assert len(replaced) == 31
    assert all(line.endswith(f" v0.{minor}") for line in replaced)


def test_every_name_of_the_program_is_in_its_source() -> None:
    source = (parts.GO / "kube" / "main.go").read_text()
    assert [name for name in parts.KUBE_NAMES if f'"{name}"' not in source] == []
