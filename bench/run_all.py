"""Runs benchmarks, one after the other, each in an interpreter of its own, and prints their tables.

Without `--scale` those about speed, with it those about size, each of which takes minutes and much of the machine.
Other arguments are handed on (`--small`, `--rounds N`). The exit status tells whether all of them ran, not how fast.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCALE = ("flat", "managers", "offered", "queue_memory", "restart")
"""Questions about size; a round of each is enough to see whether it holds."""


def chosen(*, is_scale: bool) -> list[Path]:
    """The files of the questions about size, or of all others."""
    return [path for path in sorted(HERE.glob("bench_*.py")) if (path.stem.removeprefix("bench_") in SCALE) == is_scale]


def main() -> int:
    failed = []
    handed_on = [word for word in sys.argv[1:] if word != "--scale"]
    for path in chosen(is_scale="--scale" in sys.argv):
        print(f"--- {path.stem}", flush=True)
        argv = [sys.executable, "-m", f"bench.{path.stem}", *handed_on]
        if subprocess.run(argv, check=False, cwd=HERE.parent).returncode != 0:
            failed.append(path.stem)
    for name in failed:
        print(f"did not run to its end: {name}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
