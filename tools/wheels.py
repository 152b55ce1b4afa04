"""The wheels that go into the images: ``python -m tools.wheels`` fetches them, ``--lock`` chooses them anew.

A build of an image has no package index. So the host downloads what each image's ``requirements.lock`` names, by
version and hash, for every Python that is supported, into ``build/wheels/IMAGE``; and builds our own wheel into
``build/wheels/ours``. What is there is not fetched again.
"""

import hashlib
import platform
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WHEELS = Path("build/wheels")
"""In a checkout; the others' names are in one, too."""
MINORS = ("3.11", "3.12", "3.13", "3.14")
ARCHITECTURES = ("x86_64", "aarch64")
TAGS = ("manylinux_2_28", "manylinux_2_26", "manylinux_2_17", "manylinux2014")
"""What a wheel may ask of the C library; `blockyard_worker.start` refuses images older than the first."""
LOCKS = {
    "worker": Path("worker_image/requirements.lock"),
    "interchange": Path("interchange/requirements.lock"),
    "operator": Path("operator/requirements.lock"),
}
EXTRAS = {"interchange": ("interchange", "monitoring")}
"""Whose image has more than the extra of its name: the hub runs beside the interchange, from its image."""
NOT_IN_WORKERS = ("click", "rich")
"""The command line's; a worker image that carried them would put them into every user's image, too."""


def main(arguments: list[str]) -> int:
    """Run the program."""
    if arguments == ["--lock"]:
        for image, path in LOCKS.items():
            (ROOT / path).write_text(lock(image))
            print(path)
        return 0
    if arguments:
        sys.stderr.write("usage: python -m tools.wheels [--lock]\n")
        return 2
    for image in LOCKS:
        fetch(image)
    print(build_ours().relative_to(ROOT))
    return 0


def requirements(image: str) -> list[str]:
    """What an image needs, as pyproject.toml says it: the library's own and those of the image's extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [one for extra in EXTRAS.get(image, (image,)) for one in _extra(project, extra)]
    wanted = [*project["dependencies"], *dict.fromkeys(extras)]
    return [one for one in wanted if image != "worker" or _name(one) not in NOT_IN_WORKERS]


def lock(image: str) -> str:
    """The text of a lock file: the newest releases that fit together, with the hashes of all wheels of theirs."""
    with tempfile.TemporaryDirectory() as folder:
        chosen = Path(folder) / "chosen"
        _download(chosen, MINORS[0], ARCHITECTURES[0], requirements(image))
        pins = sorted({"==".join(path.name.split("-")[:2]) for path in chosen.iterdir()}, key=str.lower)
        hashes: dict[str, set[str]] = {pin: set() for pin in pins}
        for architecture in ARCHITECTURES:
            for minor in MINORS:
                found = Path(folder) / architecture / minor
                _download(found, minor, architecture, ["--no-deps", *pins])
                for path in found.iterdir():
                    digest = hashlib.sha256(path.read_bytes()).hexdigest()
                    hashes["==".join(path.name.split("-")[:2])].add(digest)
    lines = [
        f"# Made by `python -m tools.wheels --lock`, for Python {', '.join(MINORS)} on {', '.join(ARCHITECTURES)}."
    ]
    for pin, digests in hashes.items():
        lines.append(" \\\n    ".join([pin, *(f"--hash=sha256:{digest}" for digest in sorted(digests))]))
    return "\n".join(lines) + "\n"


def fetch(image: str, root: Path = ROOT) -> Path:
    """Download the wheels of an image for this machine's processor, unless they are there; returns their folder."""
    folder = root / WHEELS / image
    lock_file = root / LOCKS[image]
    stamp = folder / f".{hashlib.sha256(lock_file.read_bytes()).hexdigest()[:16]}"
    if stamp.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for minor in MINORS:
        _download(folder, minor, platform.machine(), ["--no-deps", "--require-hashes", "-r", str(lock_file)])
    stamp.touch()
    return folder


def for_minor(packages: Iterable[Path], minor: str) -> list[Path]:
    """Those of some wheels that a Python takes; an ``abi3`` wheel serves its own minor and all later ones."""
    number = int(minor.partition(".")[2])

    def fits(path: Path) -> bool:
        python, abi = path.stem.split("-")[-3:-1]
        return (
            abi == "none" or python == f"cp3{number}" or (abi == "abi3" and int(python.removeprefix("cp3")) <= number)
        )

    return [path for path in packages if fits(path)]


def build_ours(root: Path = ROOT) -> Path:
    """Build the wheel of a checkout; its bytes follow from the sources alone."""
    folder = root / WHEELS / "ours"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], root)
    (wheel,) = folder.glob("*.whl")
    return wheel


def _download(folder: Path, minor: str, architecture: str, what: Iterable[str]) -> None:
    tags = [word for tag in TAGS for word in ("--platform", f"{tag}_{architecture}")]
    _run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input",
          "--only-binary=:all:", "--implementation", "cp", "--python-version", minor, *tags,
          "--dest", str(folder), *what])  # fmt: skip


def _run(command: list[str], folder: Path = ROOT) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        raise SystemExit(f"tools.wheels: exit code {done.returncode} of: {' '.join(command)}")


def _extra(project: dict[str, dict[str, list[str]]], extra: str) -> list[str]:
    found = []
    for one in project["optional-dependencies"].get(extra, []):
        nested = re.fullmatch(r"blockyard\[(.+)\]", one)
        found += [inner for name in nested.group(1).split(",") for inner in _extra(project, name)] if nested else [one]
    return found


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
