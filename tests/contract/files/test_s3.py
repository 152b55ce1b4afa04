"""The stager of S3 passes its suite, in the environment that `make s3-environment` makes."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.machine import ROOT, S3_PYTHON


@pytest.mark.needs_s3
@pytest.mark.timeout(300)
def test_the_stager_of_s3_passes_the_suite(tmp_path: Path) -> None:
    done = subprocess.run(
        [S3_PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--noconftest", "--rootdir", str(tmp_path),
         "-c", os.devnull, str(ROOT / "tests" / "contract" / "files" / "s3_suite.py")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'client'}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout
