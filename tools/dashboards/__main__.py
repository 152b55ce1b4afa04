"""``python -m tools.dashboards FOLDER``: write all dashboards, ``NAME.json`` each."""

import sys
from pathlib import Path

from tools.dashboards import monitoring, overview, pools, resources, tasks
from tools.dashboards.grafana import text_of

DASHBOARDS = (overview.DASHBOARD, pools.DASHBOARD, tasks.DASHBOARD, resources.DASHBOARD, monitoring.DASHBOARD)


def files() -> dict[str, str]:
    """All of them: names of files and what is in them."""
    return {f"{dashboard.name}.json": text_of(dashboard) for dashboard in DASHBOARDS}


def main(arguments: list[str]) -> int:
    """Run the program."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m tools.dashboards FOLDER\n")
        return 2
    for name, text in files().items():
        path = Path(arguments[0]) / name
        path.write_text(text)
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
