"""A repository of git with one script in it, as code that is worked on: changed since its last commit."""

import subprocess
from pathlib import Path


def make(script: Path, *, top: Path | None = None) -> str:
    """Make it of `top`, or else of the script's own folder; the script prints "two", and at the commit, which is
    returned, "one"."""
    folder = str(top or script.parent)
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text("#!/bin/sh\necho one\n")
    script.chmod(0o755)
    git(folder, "init", "-q")
    git(folder, "add", ".")
    settings = ("user.name=A", "user.email=a@example.org", "commit.gpgsign=false")
    git(folder, *(word for one in settings for word in ("-c", one)), "commit", "-q", "-m", "Say one")
    script.write_text("#!/bin/sh\necho two\n")
    return git(folder, "rev-parse", "HEAD")


def git(folder: str, *words: str) -> str:
    """What it prints. Raises CalledProcessError."""
    done = subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()
