"""The command line where nothing is running: help, usage, exit codes, and what it says without a traceback."""

import io
import re
import sys
from pathlib import Path

import click
import pytest

from blockyard.cli import commands, kubectl, rim
from blockyard.cli.exits import MEANINGS, Exit

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who never used Blockyard, in an empty folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def all_commands() -> list[tuple[str, click.Command]]:
    context = click.Context(commands.blockyard, info_name="blockyard")
    found: list[tuple[str, click.Command]] = []
    for name in commands.blockyard.list_commands(context):
        command = commands.blockyard.get_command(context, name)
        assert command is not None
        found.append((name, command))
        if isinstance(command, click.Group):
            found += [(f"{name} {below}", one) for below, one in command.commands.items()]
    return found


@pytest.mark.parametrize("name, command", all_commands(), ids=[name for name, _ in all_commands()])
def test_every_command_has_help_with_an_example(
    name: str, command: click.Command, capsys: pytest.CaptureFixture[str]
) -> None:
    help_option = "-h" if name == "worker" else "--help"
    assert rim.run([*name.split(), help_option]) == Exit.DONE
    shown = capsys.readouterr().out
    assert "xample" in shown or name == "completion", shown
    assert f"blockyard {name}" in shown


@pytest.mark.parametrize("name, command", all_commands(), ids=[name for name, _ in all_commands()])
def test_every_command_is_in_the_page_on_the_command_line(name: str, command: click.Command) -> None:
    page = (DOCS / "cli.md").read_text()
    assert f"`blockyard {name}" in page
    for parameter in command.params:
        for option in parameter.opts if isinstance(parameter, click.Option) else ():
            if option.startswith("--"):
                assert option in page, f"{name} {option}"


def test_the_help_shows_each_command_once_with_its_whole_first_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    groups = [[], *([name] for name, one in all_commands() if isinstance(one, click.Group))]
    for words in groups:
        assert rim.run([*words, "--help"]) == Exit.DONE
        shown = capsys.readouterr().out
        assert "..." not in shown.partition("\n")[2]
        for name in (name.split()[-1] for name, _ in all_commands() if name.split()[:-1] == words):
            assert len(re.findall(rf"^  {name} ", shown, re.MULTILINE)) == 1, name


def kubectl_commands() -> list[tuple[str, click.Command]]:
    return sorted(kubectl.kubectl_blockyard.commands.items())


@pytest.mark.parametrize("name, command", kubectl_commands(), ids=[name for name, _ in kubectl_commands()])
def test_every_command_of_the_plug_in_has_help_with_an_example_and_is_in_the_page(
    name: str, command: click.Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rim.run([name, "--help"], "kubectl blockyard") == Exit.DONE
    shown = capsys.readouterr().out
    assert f"kubectl blockyard {name}" in shown
    assert "xample" in shown
    page = (DOCS / "cli.md").read_text().partition("## In a cluster")[2]
    assert f"`kubectl blockyard {name}" in page
    for parameter in command.params:
        for option in parameter.opts if isinstance(parameter, click.Option) else ():
            if option.startswith("--"):
                assert option in page, f"{name} {option}"


def test_every_exit_code_is_in_the_page_on_the_command_line() -> None:
    page = (DOCS / "cli.md").read_text()
    assert set(MEANINGS) == set(Exit)
    for code, meaning in MEANINGS.items():
        assert re.search(rf"^\| {int(code)} \| {re.escape(meaning)} \|$", page, re.MULTILINE), code


def test_the_package_does_not_import_the_deployables() -> None:
    for path in (Path(rim.__file__).parent).glob("*.py"):
        assert not re.search(r"^\s*(import|from) blockyard_", path.read_text(), re.MULTILINE), path


@pytest.mark.parametrize(
    "words, code, sentence",
    [
        (["statsu"], Exit.USAGE, "no command 'statsu'; did you mean 'status'?"),
        (["task", "nonsense"], Exit.USAGE, "a task is written session-number"),
        (["cancel"], Exit.USAGE, "give the tasks to cancel, or --pool, or --run"),
        (["cancel", "1-1", "--run", "x"], Exit.USAGE, "give the tasks to cancel, or --pool, or --run"),
        (["status"], Exit.USAGE, "profile 'local' is unknown; there is none yet. Start one"),
        (["-p", "/nowhere", "status"], Exit.USAGE, "no interchange was ever started there"),
        (["local", "down"], Exit.NOT_FOUND, "system 'local' does not exist"),
        (["local", "status", "--name", "lab"], Exit.NOT_FOUND, "system 'lab' does not exist"),
        (["local", "up", "--pool", "gpu"], Exit.USAGE, "write NAME=8 or NAME=workers=8,max_blocks=4"),
        (["local", "up", "--pool", "gpu=wrkers=2"], Exit.USAGE, "'wrkers' is unknown; did you mean 'workers'?"),
        (["local", "up", "--pool", "my gpu=2"], Exit.USAGE, "'my gpu' is no name for a pool"),
        (["local", "up", "--pool", "gpu=workers=0"], Exit.USAGE, "workers_per_node: is 0; give a number above 0"),
        (["local", "up", "--workers", "2", "--pool", "a=1"], Exit.USAGE, "use one of the two"),
        (["local", "up", "--metrics", "9300"], Exit.USAGE, "give HOST:PORT"),
        (["journal", "check", "mysql://x"], Exit.USAGE, "'mysql' does not begin a known journal URL"),
        (["keys", "list"], Exit.USAGE, "profile 'local' is unknown"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_done_is_said_in_a_sentence_with_its_code(
    words: list[str], code: Exit, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rim.run(words) == code
    shown = capsys.readouterr()
    assert sentence in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""


def test_a_faulty_setting_is_said_before_anything_is_asked(
    empty_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (empty_home / "blockyard.toml").write_text("profiel = 'x'")
    assert rim.run(["status"]) == Exit.USAGE
    assert "unknown key 'profiel'; did you mean 'profile'?" in capsys.readouterr().err


def test_no_systems_is_an_answer_and_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert rim.run(["local", "status"]) == Exit.DONE
    assert rim.run(["local", "status", "-o", "json"]) == Exit.DONE
    assert capsys.readouterr().out == "no systems here; 'blockyard local up' starts one\n[]\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_calls_this_program(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert rim.run(["completion", shell]) == Exit.DONE
    assert f"_BLOCKYARD_COMPLETE={shell}_complete" in capsys.readouterr().out


def test_an_unexpected_error_is_a_sentence_with_its_own_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("impossible")

    monkeypatch.setattr("blockyard.cli.local.config.systems", fail)
    assert rim.run(["local", "status"]) == Exit.BUG
    assert "RuntimeError: impossible; BLOCKYARD_DEBUG=1 shows where" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["local", "status", "--name", "x" * 5000], "no file has so long a name"),
        (["config", "x" * 5000], "no file has so long a name"),
        (["task", "show", "ffffffffffffffff-1"], "not a task: 'ffffffffffffffff-1'"),
        (["-p", "", "status"], "profile (from flags) is ''; give a name, a state folder or a URL, or leave it out"),
        (["local", "down", "--grace", "nan"], "'nan' is no number"),
        (["local", "down", "--grace", "1e999"], "'--grace': inf is not in the range"),
        (["top", "--interval", "nan"], "'nan' is no number"),
        (["doctor", "--wait", "nan"], "'nan' is no number"),
        (["report", "x", "--database", "tcp://127.0.0.1:1#key"], "url is no database URL"),
    ],
)
def test_words_that_can_name_nothing_are_wrong_usage(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = rim.run(words)
    said = capsys.readouterr().err
    assert sentence in said
    assert code in (Exit.USAGE, Exit.NOT_FOUND), said


def test_ctrl_c_is_a_code_and_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("blockyard.cli.local.config.systems", interrupt)
    assert rim.run(["local", "status"]) == Exit.INTERRUPTED
    assert "Traceback" not in capsys.readouterr().err


def test_a_missing_deployable_is_an_error_with_the_pip_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "blockyard_interchange.journal.opening", None)
    assert rim.run(["journal", "check", "memory:"]) == Exit.NOT_INSTALLED
    assert "pip install 'blockyard[interchange]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, extra",
    [(["lint", "FILE"], "workflow"), (["run", "FILE"], "workflow"), (["task", "run", "-c", "FILE"], "managed")],
)
def test_a_missing_package_has_a_code_of_its_own(
    words: list[str],
    extra: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "grid.yaml"
    file.write_text("a: 1")
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert rim.run([str(file) if word == "FILE" else word for word in words]) == Exit.NOT_INSTALLED
    assert f"pip install 'blockyard[{extra}]'" in capsys.readouterr().err


def test_who_cancels_a_run_by_its_name_is_told_how(capsys: pytest.CaptureFixture[str]) -> None:
    assert rim.run(["cancel", "flow"]) == Exit.USAGE
    assert "if that is a run, write --run flow" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--execute"], ["--scale", "2"]])
def test_what_is_for_traces_is_refused_without_one(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("flow.yaml").touch()
    assert rim.run(["run", "flow.yaml", *option]) == Exit.USAGE
    assert "say --wfformat, too" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["status"], ["drain", "b1"]])
def test_kubectl_blockyard_says_which_extra_it_needs(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("blockyard.kube.")]:
        monkeypatch.delitem(sys.modules, name)
    for package in ("kubernetes", "aiohttp"):
        monkeypatch.setitem(sys.modules, package, None)
    assert rim.run(words, "kubectl blockyard") == Exit.NOT_INSTALLED
    assert "pip install 'blockyard[kubernetes]'" in capsys.readouterr().err


def test_letters_that_the_output_lacks_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar of `blockyard top`, or a task's name, on a terminal or in a file of an old encoding."""
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding="latin-1"))
    assert rim.run(["--version"]) == Exit.DONE
    click.echo("2 ██░░ é")
    sys.stdout.flush()
    assert out.getvalue().decode("latin-1").splitlines()[-1] == "2 ???? é"
