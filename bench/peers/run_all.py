"""Runs the neighbours, each in a virtual environment that is made for it and thrown away; writes one JSON file each.

`results/bench/peers/NAME.json` is what the benchmarks of `bench/` compare with. A neighbour that does not install or
does not end is reported with the end of its own output, and makes the exit status 1; the others still run.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import harness

HERE = Path(__file__).resolve().parent
PACKAGES = {"stdlib": ["numpy"], "parsl": ["parsl", "numpy"], "dask": ["distributed", "numpy"], "ray": ["ray", "numpy"]}
INSTALL_TIMEOUT = 900
RUN_TIMEOUT = 900


class PeerFailed(Exception):
    """A neighbour could not be installed or measured; the message ends with the last lines it wrote."""


def command(argv: list[str], timeout: float, **environment: str) -> str:
    """Run a program without a terminal and return its standard output; raise PeerFailed with the end of its errors."""
    try:
        done = subprocess.run(
            argv,
            cwd=harness.ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as expired:
        raise PeerFailed(f"{argv[-1]} did not end within {timeout:.0f} s") from expired
    if done.returncode != 0:
        raise PeerFailed(f"{' '.join(argv)} exited with {done.returncode}:\n{(done.stderr or done.stdout)[-1500:]}")
    return done.stdout


def measured(name: str, given: argparse.Namespace) -> dict[str, object]:
    """Install and measure one neighbour; return what its file printed."""
    with tempfile.TemporaryDirectory(prefix=f"blockyard-peer-{name}-") as folder:
        python = str(Path(folder) / "bin" / "python")
        command([sys.executable, "-m", "venv", folder], INSTALL_TIMEOUT)
        command([python, "-m", "pip", "install", "--quiet", *PACKAGES[name]], INSTALL_TIMEOUT)
        small = ["--small"] if given.small else []
        printed = command(
            [python, "-m", f"bench.peers.run_{name}", *small],
            RUN_TIMEOUT,
            PYTHONPATH=str(harness.ROOT),
            PATH=f"{Path(folder) / 'bin'}{os.pathsep}{os.environ['PATH']}",
        )
    found: dict[str, object] = json.loads(printed.strip().splitlines()[-1])
    return {**found, "machine": harness.machine(given)}


def show(found: dict[str, dict[str, object]]) -> None:
    table = Table(title="Neighbours on this machine, two workers each; medians", title_justify="left")
    table.add_column("figure")
    for name, report in found.items():
        table.add_column(f"{name} {report['version']}", justify="right")
    columns = [report["figures"] for report in found.values()]
    for figure in columns[0] if isinstance(columns[0], dict) else ():
        table.add_row(figure, *(harness.plain(column[figure]) for column in columns if isinstance(column, dict)))
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="shows that they run, not how fast")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(PACKAGES)} (default: all)")
    given = parser.parse_args()
    unknown = set(given.names) - set(PACKAGES)
    if unknown:
        parser.error(f"no such neighbour: {', '.join(sorted(unknown))}; there are {', '.join(PACKAGES)}")
    found: dict[str, dict[str, object]] = {}
    failed = False
    folder = harness.RESULTS / "peers"
    folder.mkdir(parents=True, exist_ok=True)
    for name in given.names or PACKAGES:
        print(f"--- {name}", flush=True)
        try:
            found[name] = measured(name, given)
        except PeerFailed as failure:
            failed = True
            print(f"{name}: {failure}", file=sys.stderr)
            continue
        (folder / f"{name}{'.small' if given.small else ''}.json").write_text(json.dumps(found[name], indent=2) + "\n")
    if found:
        show(found)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
