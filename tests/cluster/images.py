"""Images without a registry: made by buildah in a store of our own, carried as OCI archives.

Users' own builds (`bud`) use the same store, so `FROM localhost/python:bookworm` finds the base image and an unchanged
layer is not built again.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.cluster.shell import run

IMAGE_SECONDS = 900.0


class Store:
    """Buildah's storage in one folder, on a real disk. Safe for several processes at once; buildah locks it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def argv(self, *words: str | Path) -> list[str]:
        """A call of buildah that works on this store."""
        places = ["--root", str(self.folder / "root"), "--runroot", str(self.folder / "run")]
        return ["buildah", *places, "--storage-driver", "overlay", *(str(word) for word in words)]

    def commit_tree(self, root: Path, image: str, command: Sequence[str]) -> None:
        """Make `image` of the folder `root`, to run `command` unless told otherwise."""
        self._commit(root, "/", image, ["--cmd", " ".join(command), "--env", "LANG=C.UTF-8"])

    def commit_program(self, program: Path, image: str) -> None:
        """Make `image` of one static program, which is its entry point."""
        self._commit(program, f"/{program.name}", image, ["--entrypoint", f'["/{program.name}"]'])

    def build(self, context: Path, dockerfile: Path, image: str, arguments: Mapping[str, str]) -> None:
        """Build a Dockerfile. There is no package index inside; `arguments` are its ARGs."""
        argv = self.argv("bud", "--isolation", "chroot", "--layers", "--pull-never", "-f", dockerfile, "-t", image)
        for name, value in arguments.items():
            argv += ["--build-arg", f"{name}={value}"]
        run([*argv, context], timeout=IMAGE_SECONDS)

    def has(self, image: str) -> bool:
        listed = run(self.argv("images", "--format", "{{.Name}}:{{.Tag}}"))
        return image in listed.split()

    def load(self, archive: Path, image: str) -> None:
        """Take an image from an OCI archive."""
        run(self.argv("pull", "--quiet", f"oci-archive:{archive}:{image}"), timeout=IMAGE_SECONDS)

    def save(self, image: str, archive: Path) -> None:
        """Write an image as an OCI archive, which must not exist yet."""
        push = self.argv("push", "--quiet", "--disable-compression", image)  # compressing takes longer than building
        run([*push, f"oci-archive:{archive}:{image}"], timeout=IMAGE_SECONDS)

    def _commit(self, what: Path, where: str, image: str, config: Sequence[str]) -> None:
        container = run(self.argv("from", "scratch")).strip()
        try:
            run(self.argv("add", "--quiet", container, what, where), timeout=IMAGE_SECONDS)
            run(self.argv("config", *config, container))
            run(self.argv("commit", "--quiet", container, image), timeout=IMAGE_SECONDS)
        finally:
            run(self.argv("rm", container))
