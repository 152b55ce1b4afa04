"""A stranger's radio, sink and stager: built, installed and tested as a package, and found by their entry points."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.machine import ROOT

PLUGINS = ROOT / "examples" / "plugins"


@pytest.mark.timeout(240)
def test_a_package_of_others_passes_the_suites(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=PLUGINS, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    own = [str(site), *(entry for entry in sys.path if entry and Path(entry) != PLUGINS)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:timeout",  # as who has pytest alone
         str(PLUGINS / "test_plugins.py")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(own)},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout
