"""Make the parts of a cluster and keep them in the cache folder; the first time takes minutes, then nothing."""

import json
import os
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.cluster import cache, images, parts
from tests.cluster.layout import cache_folder
from tests.cluster.mounts import unmount_below
from tests.cluster.shell import CommandFailed, run

BUILD_SECONDS = 5400.0
FALLBACK_MIRROR = "http://deb.debian.org/debian/"


class Workshop:
    """The cache folder and how each of its entries is made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = images.Store(folder / "storage")

    def module(self, module: parts.Module) -> Path:
        """The program of a published Go module."""

        def make(target: Path) -> None:
            _need_go()
            run(module.install, env={"CGO_ENABLED": "0", "GOBIN": str(target)}, timeout=BUILD_SECONDS)

        return cache.entry(self.folder / "programs", f"{module.name}-{module.key}", make) / module.name

    def source(self, source: parts.Source) -> Path:
        """The folder with a program of ours, under each of its names."""

        def make(target: Path) -> None:
            _need_go()
            argv = source.build(target / source.name)
            run(argv, cwd=source.folder, env={"CGO_ENABLED": "0"}, timeout=BUILD_SECONDS)
            for link in source.links:
                (target / link).symlink_to(source.name)

        return cache.entry(self.folder / "programs", f"{source.name}-{source.key}", make)

    def kube(self, name: str) -> Path:
        """One of Kubernetes' programs, or etcd."""
        return self.source(parts.KUBE) / name

    def program(self, name: str) -> Path:
        """Any program by its name; KeyError lists those that there are."""
        sources = {name: source for source in parts.SOURCES for name in (source.links or (source.name,))}
        if name in sources:
            return self.source(sources[name]) / name
        modules = {module.name: module for module in parts.MODULES}
        if name in modules:
            return self.module(modules[name])
        raise KeyError(f"{name} is none of {', '.join(sorted([*sources, *modules]))}")

    def python_image(self) -> Path:
        """An OCI archive of Debian with Python, the base of all images of ours in tests."""

        def make(target: Path) -> None:
            root = target / "root"
            run(parts.debootstrap(root, _mirror()), timeout=BUILD_SECONDS)
            unmount_below(root)  # /proc, where debootstrap leaves it
            for package in (root / "var/cache/apt/archives").glob("*.deb"):
                package.unlink()
            self.store.commit_tree(root, parts.PYTHON_IMAGE, command=["/bin/bash"])
            self.store.save(parts.PYTHON_IMAGE, target / "image.tar")
            shutil.rmtree(root)

        return self._archive(f"python-{parts.python_image_key()}", make)

    def program_image(self, image: str, program: Path, key: str) -> Path:
        """An OCI archive that holds nothing but one static program."""

        def make(target: Path) -> None:
            self.store.commit_program(program, image)
            self.store.save(image, target / "image.tar")

        name = re.sub(r"[^a-z0-9.]+", "-", image.removeprefix("localhost/"))
        return self._archive(f"{name}-{key}", make)

    def pause_image(self) -> Path:
        program = self.source(parts.PAUSE) / parts.PAUSE.name
        return self.program_image(parts.PAUSE_IMAGE, program, parts.program_image_key(parts.PAUSE_IMAGE, parts.PAUSE))

    def coredns_image(self) -> Path:
        key = parts.program_image_key(parts.COREDNS_IMAGE, parts.COREDNS)
        return self.program_image(parts.COREDNS_IMAGE, self.module(parts.COREDNS), key)

    def kwok_stages(self) -> Path:
        """What kwok's own release has its nodes and pods do: ready at once, gone when deleted, done when of a Job."""

        def make(target: Path) -> None:
            _need_go()
            found = run(["go", "mod", "download", "-json", parts.KWOK_MODULE], timeout=BUILD_SECONDS)
            stages = Path(json.loads(found)["Dir"]) / "kustomize" / "stage"
            files = [path for name in parts.KWOK_STAGES for path in sorted((stages / name).glob("*.yaml"))]
            texts = [path.read_text() for path in files if path.name != "kustomization.yaml"]
            (target / "stages.yaml").write_text("---\n".join(texts))

        name = f"kwok-stages-{parts.digest(parts.KWOK_MODULE, *parts.KWOK_STAGES)}"
        return cache.entry(self.folder / "programs", name, make) / "stages.yaml"

    def everything(self) -> None:
        """All parts, those of tests beside the cluster too: Go's on one thread, Debian's on another."""
        self._build(self.programs)

    def for_cluster(self) -> None:
        """What a cluster cannot start without."""
        self._build(lambda: self.source(parts.KUBE))

    def base_in_store(self) -> str:
        """The base image's name, by which Dockerfiles find it in the store."""
        if not self.store.has(parts.PYTHON_IMAGE):  # the archive may outlive the store
            self.store.load(self.python_image(), parts.PYTHON_IMAGE)
        return parts.PYTHON_IMAGE

    def _build(self, programs: Callable[[], object]) -> None:
        with ThreadPoolExecutor(2) as pool:
            image, built = pool.submit(self.python_image), pool.submit(programs)
            image.result()
            built.result()
        self.pause_image()
        self.coredns_image()
        self.base_in_store()

    def programs(self) -> None:
        """All that Go builds."""
        for source in parts.SOURCES:
            self.source(source)
        for module in parts.MODULES:
            self.module(module)
        self.kwok_stages()

    def _archive(self, name: str, make: cache.Make) -> Path:
        return cache.entry(self.folder / "images", name, make) / "image.tar"


def workshop() -> Workshop:
    """Of the cache folder that the environment names."""
    return Workshop(cache_folder(os.environ))


def _need_go() -> None:
    if shutil.which("go") is None:
        raise CommandFailed("go is not on PATH; install Go 1.25 or newer (https://go.dev/dl), it builds Kubernetes")


def _mirror() -> str:
    """The Debian mirror that this machine's apt uses."""
    try:
        targets = run(["apt-get", "indextargets", "--format", "$(REPO_URI)"])
    except CommandFailed:
        return FALLBACK_MIRROR
    return next((line for line in targets.splitlines() if line.endswith("/debian/")), FALLBACK_MIRROR)
