"""The words that the OpenSSH client is started with."""

import ast
import shlex
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from blockyard.blocks import remote_shim
from blockyard.blocks.ssh_command import BOOTSTRAP, SSHTarget, read_fault, ssh_argv


@pytest.fixture
def target(tmp_path: Path) -> SSHTarget:
    identity, known = tmp_path / "identity", tmp_path / "known hosts 100%"
    identity.touch()
    known.touch()
    return SSHTarget(host="node7", identity_file=identity, known_hosts=known, port=2222, user="me", python="/opt/my py")


def options(argv: tuple[str, ...]) -> dict[str, str]:
    return dict(word.split("=", 1) for flag, word in pairwise(argv) if flag == "-o")


def test_the_host_key_is_checked_and_nobody_is_asked(target: SSHTarget) -> None:
    given = options(ssh_argv(target))
    assert given["StrictHostKeyChecking"] == "yes"
    assert given["BatchMode"] == "yes"
    assert given["GlobalKnownHostsFile"] == "/dev/null"
    assert given["IdentityAgent"] == "none"
    assert given["ForwardAgent"] == "no"
    assert given["PasswordAuthentication"] == "no"


def test_a_path_with_blanks_and_per_cent_is_one_path(target: SSHTarget) -> None:
    assert options(ssh_argv(target))["UserKnownHostsFile"] == f'"{target.known_hosts}"'.replace("%", "%%")


def test_the_host_comes_last_behind_two_dashes_and_the_command_is_quoted_for_its_shell(target: SSHTarget) -> None:
    argv = ssh_argv(target)
    place = argv.index("--")
    assert argv[place + 1] == "node7"
    assert shlex.split(" ".join(argv[place + 2 :])) == ["/opt/my py", "-c", BOOTSTRAP]
    assert argv[argv.index("-p") + 1] == "2222"
    assert argv[argv.index("-l") + 1] == "me"


def test_no_configuration_is_read_unless_one_is_named(target: SSHTarget, tmp_path: Path) -> None:
    argv = ssh_argv(target)
    assert argv[argv.index("-F") + 1] == "none"
    config = tmp_path / "config"
    config.touch()
    argv = ssh_argv(
        SSHTarget(host="a", identity_file=target.identity_file, known_hosts=target.known_hosts, config_file=config)
    )
    assert argv[argv.index("-F") + 1] == str(config)


@pytest.mark.parametrize(
    "said, reason",
    [
        ("Host key verification failed.", "HostKeyRejected"),
        ("me@node7: Permission denied (publickey).", "AccessDenied"),
        ("ssh: connect to host node7 port 22: Connection refused", "ConnectionRefused"),
        ("ssh: connect to host node7 port 22: Connection timed out", "ConnectionTimedOut"),
        ("ssh: Could not resolve hostname node7: Name or service not known", "HostUnknown"),
        ("sh: 1: python3: not found", "PythonNotFound"),
        ("something new", "ConnectionFailed"),
    ],
)
def test_what_ssh_says_is_named_in_one_word(said: str, reason: str) -> None:
    assert read_fault(said) == reason


def test_what_is_sent_to_the_far_side_is_older_python_with_the_standard_library_alone() -> None:
    source = Path(remote_shim.__file__).read_text()
    tree = ast.parse(source, feature_version=(3, 8))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= sys.stdlib_module_names
