"""``python3 -m blockyard_worker.install FOLDER``: what a worker needs, from our image into a volume.

The init container of a pod whose own image knows nothing of Blockyard. Afterwards FOLDER holds ``start.py`` and
``lib/``, and ``python3 FOLDER/start.py`` in any container that mounts it is a worker, see `start`. Run again on a
FOLDER that is complete, it changes nothing; on one that a killed run left behind, it starts over.
"""

import shutil
import sys
from pathlib import Path

LAYOUT = ("lib", "start.py")
"""In this order: the last one is there when all is."""


def install(source: Path, target: Path) -> bool:
    """Copy the layout from one folder to another; False when it was there.

    Raises FileNotFoundError when `source` is no folder of a worker image, OSError when `target` cannot be written.
    """
    for name in LAYOUT:
        if not (source / name).exists():
            raise FileNotFoundError(
                f"{source / name} does not exist: this program copies what a worker image holds, and runs only there"
            )
    if (target / LAYOUT[-1]).exists():
        return False
    draft = target / ".new"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    shutil.copytree(source / "lib", draft / "lib")
    shutil.copyfile(source / "start.py", draft / "start.py")
    shutil.rmtree(target / "lib", ignore_errors=True)
    for name in LAYOUT:
        (draft / name).rename(target / name)
    draft.rmdir()
    return True


def main(arguments: list[str]) -> int:
    """Run the program; 0 when FOLDER is complete, 2 when it was called wrongly, 1 when it cannot be filled."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.stderr.write("usage: python3 -m blockyard_worker.install FOLDER\n")
        return 2
    source = Path(__file__).resolve().parents[3]  # SOURCE/lib/any/blockyard_worker/install.py
    try:
        install(source, Path(arguments[0]))
    except OSError as error:
        sys.stderr.write(
            f"blockyard_worker.install: {error}; {arguments[0]} must be a volume that this user can write\n"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
