"""Which code a task runs: the commit of its folder, and what differs from it."""

from __future__ import annotations

import os
import subprocess
from functools import lru_cache
from typing import Final

from blockyard.managed.records import CodeVersion

MOST_DIFF: Final = 200_000
"""Letters of a diff that are kept."""
_SECONDS: Final = 10.0


def code_version(folder: str) -> CodeVersion:
    """Of the repository that `folder` is in; empty when it is in none, or git is not installed."""
    top = _top(os.path.abspath(folder))
    sha = _git(top, "rev-parse", "HEAD") if top else ""
    if not sha:
        return CodeVersion(folder=folder)
    diff = _git(top, "diff", "HEAD", "--no-color", "--no-ext-diff") or ""
    return CodeVersion(folder=top, git_sha=sha.strip(), git_diff=diff[:MOST_DIFF], is_clipped=len(diff) > MOST_DIFF)


@lru_cache(maxsize=256)
def code_version_once(folder: str, importer: int) -> CodeVersion:
    """The same, as it was when this was first asked of the process with this pid, which has imported it."""
    return code_version(folder)


@lru_cache(maxsize=256)
def _top(folder: str) -> str:
    """Without starting git where there is nothing for it."""
    while folder != os.path.dirname(folder):
        if os.path.exists(os.path.join(folder, ".git")):
            return folder
        folder = os.path.dirname(folder)
    return ""


def _git(folder: str, *arguments: str) -> str:
    # A repository's own settings must not make git start programs of its choice.
    command = ["git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-C", folder, *arguments]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""
