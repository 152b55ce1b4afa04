"""Which code a task runs: the commit of its folder, and what differs from it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from importlib.machinery import PathFinder
from typing import Final

from blockyard.managed.records import CodeVersion

MOST_DIFF: Final = 200_000
"""Letters of a diff that are kept."""
_SECONDS: Final = 10.0
_PLAIN: Final = ("--no-color", "--no-ext-diff", "--no-textconv")


def code_version(folder: str) -> CodeVersion:
    """Of the repository that `folder` is in; empty when it is in none, or git is not installed."""
    top = _top(os.path.abspath(folder))
    if not top:
        return CodeVersion(folder=folder)
    # Beside each other, for a program waits for both.
    asked = [_ask(top, "rev-parse", "HEAD"), _ask(top, "diff", "HEAD", *_PLAIN)]
    sha, diff = (_said(one) for one in asked)
    if not sha:
        return CodeVersion(folder=folder)
    return CodeVersion(folder=top, git_sha=sha.strip(), git_diff=diff[:MOST_DIFF], is_clipped=len(diff) > MOST_DIFF)


def code_of_program(words: Sequence[str], directory: str, path: str, told: str = "") -> CodeVersion:
    """Of the repository that `folder_of_program` leads to; empty when it is none."""
    folder = folder_of_program(words, directory, path, told)
    found = code_version(folder) if folder else CodeVersion()
    return found if found.git_sha else CodeVersion()


def folder_of_program(words: Sequence[str], directory: str, path: str, told: str = "") -> str:
    """The folder of the first word of a command that names a file or folder in a repository; '' when none does.

    So it is the program's own, or else that of the script which it is given, or else `told`. `directory`: where it
    works; `path`: its PATH. A link leads to what it names: the interpreter of a virtual environment is not the code of
    the repository. What a repository ignores comes last: it may have been built from it, but an interpreter that pyenv
    has installed in its own has not.
    """
    program = words[0] if words else ""
    if program and os.sep not in program:
        program = shutil.which(program, path=path) or ""
    folders: dict[str, None] = {}
    for word in (program, *words[1:]):
        if word and (found := _named_by(os.path.join(directory, word))):
            folders[found] = None
    known = [folder for folder in (*folders, told) if folder and _top(folder)]
    if len({_top(folder) for folder in known}) > 1:
        known.sort(key=_is_ignored)
    return known[0] if known else ""


def folder_of_module(name: str, path: Sequence[str]) -> str:
    """Where a module's source is, as far as that can be said without importing what it is in; '' when it is not there.

    `path`: the sys.path of the process that imports it.
    """
    found, where, known = "", list(path), ""
    for part in name.split("."):
        known = f"{known}.{part}" if known else part
        try:
            spec = PathFinder.find_spec(known, where)
        except (ImportError, KeyError, ValueError):  # a namespace in one: its parent would have to be imported
            break
        if spec is None:
            break
        where = list(spec.submodule_search_locations or ())
        found = os.path.dirname(spec.origin) if spec.origin and spec.has_location else next(iter(where), found)
        if not where:
            break
    return os.path.abspath(found) if found else ""


@lru_cache(maxsize=256)
def code_version_once(folder: str, importer: int) -> CodeVersion:
    """`code_version`, as it was when first asked of the process with this pid, which has imported what is there."""
    return code_version(folder)


@lru_cache(maxsize=256)
def _is_ignored(folder: str) -> bool:
    asked = _ask(_top(folder), "check-ignore", folder)
    return bool(_said(asked))


def _named_by(path: str) -> str:
    """The folder that this is, or is in; '' when there is no such thing."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # a word may be anything: too long, with a NUL
        return ""
    found = os.path.realpath(path)
    return found if stat.S_ISDIR(mode) else os.path.dirname(found)


def _top(folder: str) -> str:
    """Without starting git where there is nothing for it."""
    while folder != os.path.dirname(folder):
        if os.path.exists(os.path.join(folder, ".git")):
            return folder
        folder = os.path.dirname(folder)
    return ""


def _ask(folder: str, *arguments: str) -> subprocess.Popen[bytes] | None:
    # A repository's own settings must not make git start programs of its choice.
    command = ["git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-C", folder, *arguments]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except OSError:
        return None


def _said(asked: subprocess.Popen[bytes] | None) -> str:
    """What it prints; '' when it fails, or takes too long."""
    if asked is None:
        return ""
    with asked:
        try:
            printed, _ = asked.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            asked.kill()
            return ""
    return printed.decode(errors="replace") if asked.returncode == 0 else ""
