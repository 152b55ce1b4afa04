"""kubectl, as Python calls it: words in, text or parsed JSON out."""

import json
from pathlib import Path
from typing import Any

from tests.cluster.shell import run

Json = Any
"""A parsed JSON document of a shape that only its reader knows."""


class Kubectl:
    """Talks to one API server as the user of one kubeconfig.

    What it learns of the server is kept beside a kubeconfig of our own making (`own`), else where kubectl likes.
    """

    def __init__(self, program: Path, kubeconfig: Path, *, own: bool) -> None:
        self.program = program
        self.kubeconfig = kubeconfig
        self._cache = [f"--cache-dir={kubeconfig.with_name('kubectl-cache')}"] if own else []

    def run(self, *words: str, given: str | None = None, timeout: float = 60.0) -> str:
        """Run kubectl with `words` and `given` as standard input; what it printed. CommandFailed names the cause."""
        return run(self.argv(*words), given=given, timeout=timeout)

    def argv(self, *words: str) -> list[str]:
        """The whole command line of a call, for who runs it by other means."""
        return [str(self.program), f"--kubeconfig={self.kubeconfig}", *self._cache, *words]

    def json(self, *words: str, given: str | None = None, timeout: float = 60.0) -> Json:
        """The same with ``--output=json``, parsed."""
        return json.loads(self.run(*words, "--output=json", given=given, timeout=timeout))

    def apply(self, manifest: str | Json) -> Json:
        """Apply a manifest: YAML or JSON text, or a parsed document."""
        text = manifest if isinstance(manifest, str) else json.dumps(manifest)
        return self.json("apply", "--filename=-", given=text)
