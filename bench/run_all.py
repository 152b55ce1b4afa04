"""Runs every benchmark, one after the other, each in an interpreter of its own, and prints its table.

Arguments are handed on (`--small`, `--rounds N`). The exit status tells whether all of them ran, not how fast.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    failed = []
    for path in sorted(HERE.glob("bench_*.py")):
        print(f"--- {path.stem}", flush=True)
        argv = [sys.executable, "-m", f"bench.{path.stem}", *sys.argv[1:]]
        if subprocess.run(argv, check=False, cwd=HERE.parent).returncode != 0:
            failed.append(path.stem)
    for name in failed:
        print(f"did not run to its end: {name}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
