"""Wheels that a run brings: what is imported from them, and that no other run's is."""

import hashlib
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from blockyard.errors import ConfigError, StagingError
from blockyard.workflow.checking.specs import check_spec
from blockyard.workflow.compiling import compile_run
from blockyard.workflow.plans import Code, Plan
from blockyard.workflow.step_code import with_code
from blockyard.workflow.steps import run_step


@pytest.fixture(autouse=True)
def as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("BLOCKYARD_FILES_CACHE", str(tmp_path / "cache"))
    before, path = dict(sys.modules), list(sys.path)
    yield
    with_code((), lambda: None, lambda: None)
    assert sys.path == path
    sys.modules.update(before)


def wheel(folder: Path, says: object, package: str = "brought6") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{package}-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{package}/__init__.py", "")
        file.writestr(f"{package}/inner.py", f"SAYS = {says!r}\n")
        file.writestr(f"{package}/steps.py", f"from {package}.inner import SAYS\ndef say():\n    return SAYS\n")
        file.writestr(f"{package}-1.dist-info/METADATA", "")
    return path


def code_of(path: Path, *, hashed: bool = True) -> Code:
    return Code(f"file://{path}", hashlib.sha256(path.read_bytes()).hexdigest() if hashed else "")


def said(*code: Code, **what: str) -> Any:
    what = what or {"function": "brought6.steps:say"}
    return run_step(msgspec.json.encode(Plan(step="s", run="r", code=list(code), **what)))  # type: ignore[arg-type]


@pytest.mark.parametrize("hashed", [True, False])
def test_each_run_imports_from_its_own(tmp_path: Path, *, hashed: bool) -> None:
    one, two = (code_of(wheel(tmp_path / name, name), hashed=hashed) for name in ("one", "two"))
    assert [said(one), said(one), said(two), said(one)] == ["one", "one", "two", "one"]
    source = "def main():\n    from brought6.inner import SAYS\n    return SAYS.upper()\n"
    assert said(two, source=source) == "TWO"
    with pytest.raises(ModuleNotFoundError, match="brought6"):
        said()


def test_it_comes_before_what_the_worker_has(tmp_path: Path) -> None:
    image = tmp_path / "image"
    (image / "brought6").mkdir(parents=True)
    (image / "brought6" / "__init__.py").write_text("")
    (image / "brought6" / "steps.py").write_text("def say():\n    return 'of the image'\n")
    sys.path.append(str(image))
    try:
        brought = code_of(wheel(tmp_path / "one", "of the run"))
        assert [said(), said(brought), said()] == ["of the image", "of the run", "of the image"]
    finally:
        sys.path.remove(str(image))


def test_what_is_changed_under_its_address_is_imported_anew_unless_a_hash_forbids_it(tmp_path: Path) -> None:
    path = wheel(tmp_path / "one", "before")
    loose, strict = code_of(path, hashed=False), code_of(path)
    assert said(loose) == said(strict) == "before"
    wheel(tmp_path / "one", "and now it is longer")
    assert said(loose) == "and now it is longer"
    with pytest.raises(StagingError, match="sha256"):
        said(strict)


def test_what_is_no_wheel_or_brings_blockyard_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x-1-py3-none-any.whl").write_text("no zip")
    with pytest.raises(ConfigError, match="is no wheel"):
        said(code_of(tmp_path / "x-1-py3-none-any.whl"))
    with pytest.raises(ConfigError, match="brings the package 'blockyard'"):
        said(code_of(wheel(tmp_path / "one", 1, "blockyard")))


def test_functions_are_given_it_and_programs_are_not() -> None:
    steps: list[dict[str, Any]] = [{"name": "a", "function": "m:f"}, {"name": "b", "binary": ["true"]}]
    spec, faults = check_spec({"steps": steps, "code": [{"file": "s3://b/x-1-py3-none-any.whl"}]})
    assert spec is not None, faults
    order = compile_run(spec, "r")
    bodies = {function.id: function.body for function in order.functions}
    tasks = [repr((bodies[group.spec.function], group.bodies)) for group in order.groups]
    assert ["x-1-py3-none-any.whl" in task for task in tasks] == [True, False]
    _, faults = check_spec({"steps": [{**steps[0], "cache": True}], "code": [{"file": "s3://b/x-1-py3-none-any.whl"}]})
    assert [fault.path for fault in faults] == ["spec.code[0].sha256"]
