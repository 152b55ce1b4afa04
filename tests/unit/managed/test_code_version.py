"""Which commit is written down for a program: of what its words name, or of where it was told to work."""

from pathlib import Path

from blockyard.managed.code_version import code_version, folder_of_module, folder_of_program
from tests import repositories


def test_commit_and_changes_of_the_folder(tmp_path: Path) -> None:
    top = tmp_path / "code"
    sha = repositories.make(top / "bin" / "look.sh", top=top)
    found = code_version(str(top / "bin"))
    assert (found.folder, found.git_sha, found.is_clipped) == (str(top), sha, False)
    assert "-echo one\n+echo two\n" in found.git_diff
    outside = code_version(str(tmp_path))
    assert (outside.folder, outside.git_sha, outside.git_diff) == (str(tmp_path), "", "")


def test_a_repository_names_no_program_that_is_run_for_its_diff(tmp_path: Path) -> None:
    repositories.make(tmp_path / "look.sh")
    (tmp_path / ".gitattributes").write_text("*.sh diff=evil\n")
    repositories.git(str(tmp_path), "config", "diff.evil.textconv", f"touch {tmp_path}/ran; cat")
    assert "+echo two" in code_version(str(tmp_path)).git_diff
    assert not (tmp_path / "ran").exists()


def test_the_program_or_else_a_word_that_names_something_in_a_repository(tmp_path: Path) -> None:
    code, other = tmp_path / "code", tmp_path / "other"
    script = code / "bin" / "look.sh"
    for one in (code, other):
        repositories.make(one / "bin" / "look.sh", top=one)

    def found(*words: object, directory: Path = tmp_path, path: str = "/bin:/usr/bin") -> str:
        return folder_of_program([str(one) for one in words], str(directory), path)

    where = str(code / "bin")
    assert found(script, other / "bin" / "look.sh") == where, "the program comes first"
    assert found("sh", "-e", script, other) == where, "then what it is given, in this order"
    assert found("make", "-C", other) == str(other), "a folder, too"
    assert found("look.sh", path=f"/bin:{where}") == where, "the PATH is the program's"
    assert found("./bin/look.sh", directory=code) == where, "words are read where it works"
    (tmp_path / "link").symlink_to(script)
    assert found(tmp_path / "link") == where, "a link leads to where the file is"
    assert found("true") == found("sh", "-c", f". {script}") == found("x" * 5000) == found("a\0b") == found() == ""


def test_a_module_is_found_without_being_imported(tmp_path: Path) -> None:
    for package in ("plain/inner", "space/inner"):
        (tmp_path / package).mkdir(parents=True)
        (tmp_path / package / "work.py").write_text("raise SystemExit\n")
    (tmp_path / "plain" / "__init__.py").write_text("raise SystemExit\n")
    (tmp_path / "one.py").write_text("raise SystemExit\n")

    def found(name: str) -> str:
        return folder_of_module(name, ["/nonexistent", str(tmp_path)]).removeprefix(str(tmp_path))

    assert found("plain.inner.work").startswith("/plain")
    assert found("space.inner.work").startswith("/space"), "a namespace"
    assert folder_of_module("one", [str(tmp_path)]) == str(tmp_path)
    assert found("nowhere") == found("") == found("sys") == ""


def test_what_a_repository_ignores_comes_last(tmp_path: Path) -> None:
    python, code = tmp_path / "pyenv" / "versions" / "python", tmp_path / "code" / "look.sh"
    for script, top in ((python, tmp_path / "pyenv"), (code, tmp_path / "code")):
        repositories.make(script, top=top)
    (tmp_path / "pyenv" / ".gitignore").write_text("versions\n")
    repositories.git(str(tmp_path / "pyenv"), "rm", "-q", "--cached", "versions/python")
    there = str(code.parent)
    assert folder_of_program([str(python), str(code)], str(tmp_path), "") == there
    assert folder_of_program([str(python), "-m", "look"], str(tmp_path), "", there) == there
    assert folder_of_program([str(python)], str(tmp_path), "") == str(python.parent), "built from what is there"
