"""The images of this checkout, and what the tests run beside them: ``python -m tests.cluster.deployables``.

Built by the Dockerfiles as they are, on a base of Debian packages. Each image is named by a hash of all that goes into
it: a checkout that changed gets new images in seconds, an unchanged one the archives that are there, and a node never
has an old image under a new one's name.
"""

import hashlib
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from tests.cluster import cache, parts
from tests.cluster.building import Workshop, workshop
from tests.cluster.shell import run
from tests.machine import ROOT
from tools import wheels

DOCKERFILES = {
    "worker": Path("worker_image/Dockerfile"),
    "interchange": Path("interchange/Dockerfile"),
    "operator": Path("operator/Dockerfile"),
}
POSTGRESQL = "postgresql"
"""Debian's, in the place of the official image."""
POSTGRESQL_BIN = "/usr/lib/postgresql/15/bin"
SCIENCE = "science"
"""An image of somebody's who does science: Debian's Python with matplotlib, and MPI."""
PYPY = "pypy"
"""An image of somebody's whose Python is none that the worker comes for: Debian's PyPy."""
KEPT = 4
"""Of each image so many of the latest archives stay in the cache; they are 300 MB each."""


class Image(msgspec.Struct, frozen=True):
    """An image as pods name it, and as an OCI archive."""

    name: str
    tag: str
    archive: Path

    @property
    def repository(self) -> str:
        return f"localhost/blockyard-{self.name}"

    @property
    def reference(self) -> str:
        return f"{self.repository}:{self.tag}"


def images(shop: Workshop, names: Iterable[str] = tuple(DOCKERFILES), root: Path = ROOT) -> dict[str, Image]:
    """Build what is not there yet of the checkout at `root`, and return all that is asked for by name."""
    _have_base(shop)
    ours = wheels.build_ours(root)
    foreign = {POSTGRESQL: _postgresql, PYPY: _pypy, SCIENCE: _science}
    return {name: foreign[name](shop) if name in foreign else _product(shop, name, root, ours) for name in names}


def name_again(shop: Workshop, image: Image, name: str) -> None:
    """Give an image a second name in the store."""
    run(shop.store.argv("tag", image.reference, name))


def _product(shop: Workshop, name: str, root: Path, ours: Path) -> Image:
    dockerfile = root / DOCKERFILES[name]
    texts = [path.read_text() for path in (dockerfile, root / wheels.LOCKS[name], root / ".dockerignore")]
    tag = parts.digest(parts.python_image_key(), *texts, hashlib.sha256(ours.read_bytes()).hexdigest())
    image = Image(name, tag, _archive(shop, name, tag))

    def make(target: Path) -> None:
        wheels.fetch(name, root)
        arguments = {"BASE": parts.PYTHON_IMAGE, "REVISION": tag, "VERSION": ours.name.split("-")[1]}
        shop.store.build(root, dockerfile, image.reference, arguments)
        shop.store.save(image.reference, target / "image.tar")

    return _entry(shop, image, make)


def _postgresql(shop: Workshop) -> Image:
    # initdb wants its user to have a name; this is the number that the official image gives it
    user = (
        ["groupadd", "--system", "--gid", "999", "postgres"],
        ["useradd", "--system", "--uid", "999", "--gid", "999", "--home-dir", "/var/lib/postgresql", "postgres"],
    )
    return _debian(shop, POSTGRESQL, "postgresql", before=user, config=["--cmd", "postgres", "--stop-signal", "SIGINT"])


def _science(shop: Workshop) -> Image:
    return _debian(shop, SCIENCE, "python3-matplotlib python3-mpi4py openmpi-bin")


def _pypy(shop: Workshop) -> Image:
    return _debian(shop, PYPY, "pypy3", after=(["ln", "-s", "/usr/bin/pypy3", "/usr/local/bin/python3"],))


def _debian(
    shop: Workshop,
    name: str,
    packages: str,
    *,
    before: Sequence[list[str]] = (),
    after: Sequence[list[str]] = (),
    config: Sequence[str] = (),
) -> Image:
    """The base with more of Debian's packages."""
    tag = parts.digest(parts.python_image_key(), packages, repr((before, after, config)))
    image = Image(name, tag, _archive(shop, name, tag))

    def make(target: Path) -> None:
        container = run(shop.store.argv("from", "--pull-never", parts.PYTHON_IMAGE)).strip()
        apt = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root"]
        install = ([*apt, "update"], [*apt, "install", "-y", "--no-install-recommends", *packages.split()])
        try:
            for words in (*before, *install, *after):
                run(shop.store.argv("run", "--isolation", "chroot", container, "--", *words), timeout=1800.0)
            if config:
                run(shop.store.argv("config", *config, container))
            run(shop.store.argv("commit", "--quiet", container, image.reference), timeout=900.0)
        finally:
            run(shop.store.argv("rm", container))
        shop.store.save(image.reference, target / "image.tar")

    return _entry(shop, image, make)


def _archive(shop: Workshop, name: str, tag: str) -> Path:
    return shop.folder / "images" / f"blockyard-{name}-{tag}" / "image.tar"


def _entry(shop: Workshop, image: Image, make: cache.Make) -> Image:
    folder = shop.folder / "images"
    cache.entry(folder, image.archive.parent.name, make)
    if not shop.store.has(image.reference):  # the archive outlived the store
        shop.store.load(image.archive, image.reference)
    now = time.time()
    others = [path for path in folder.glob(f"blockyard-{image.name}-*") if path != image.archive.parent]
    for old in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT - 1 :]:
        if now - old.stat().st_mtime > 3600:  # another checkout may be about to load it
            shutil.rmtree(old, ignore_errors=True)
    return image


def _have_base(shop: Workshop) -> None:
    archive = shop.python_image()
    if not shop.store.has(parts.PYTHON_IMAGE):  # the archive outlived the store
        shop.store.load(archive, parts.PYTHON_IMAGE)


if __name__ == "__main__":
    for one in images(workshop(), sys.argv[1:] or tuple(DOCKERFILES)).values():
        print(one.reference, one.archive)
