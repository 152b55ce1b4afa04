"""The README's first task runs as it stands there, and so do the examples of the client and of files."""

import re
import subprocess
import sys
from pathlib import Path

from tests.machine import ROOT


def test_the_first_task_prints_what_it_should(tmp_path: Path) -> None:
    program, _on_kubernetes = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    path = tmp_path / "first.py"
    path.write_text(program)
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1024", "1000000"]


def test_the_example_of_files_prints_what_it_should(tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "files.md").read_text(), re.DOTALL)
    (tmp_path / "count.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "count.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["3", "3"]


def test_the_example_of_the_client_prints_what_it_should(tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "client.md").read_text(), re.DOTALL)
    (tmp_path / "client.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "client.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["8", "[16, 16]"]
