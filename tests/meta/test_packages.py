"""The folders at the top level, the packages in them, and what a wheel carries.

Out of scope: what the packages do.
"""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.machine import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = [Path(folder) for folder in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]]
DEPLOYABLES = ("operator", "worker_image", "interchange", "monitoring", "client")


def test_the_standard_librarys_operator_is_found_from_the_top_of_the_project() -> None:
    """A fresh interpreter in the root, whose folder comes first on its path, as with `python -m`."""
    program = "import collections, operator; print(operator.__file__)"
    found = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, '.'); {program}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == sys.modules["operator"].__file__


@pytest.mark.parametrize("folder", DEPLOYABLES)
def test_a_deployables_folder_holds_packages_and_is_none(folder: str) -> None:
    loose = sorted(path.name for path in (ROOT / folder).glob("*.py"))
    assert loose == [], f"{folder}/ is put on sys.path, where these would hide modules of the same name"


@pytest.mark.parametrize("package", PACKAGES, ids=str)
def test_a_package_is_typed_and_importable(package: Path) -> None:
    assert (ROOT / package / "py.typed").is_file()
    assert (ROOT / package / "__init__.py").is_file()


def test_every_package_of_a_deployable_is_in_the_wheel() -> None:
    here = {path.parent.relative_to(ROOT) for folder in DEPLOYABLES for path in (ROOT / folder).glob("*/__init__.py")}
    assert here == set(PACKAGES)


def test_every_folder_with_modules_below_a_package_is_a_package() -> None:
    modules = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    bare = {str(path.parent.relative_to(ROOT)) for path in modules if not (path.parent / "__init__.py").exists()}
    assert bare == set()


def test_a_wheel_carries_all_packages_and_nothing_else(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {package.name for package in PACKAGES}
    assert {f"{package.name}/py.typed" for package in PACKAGES} <= set(names)
    page = "blockyard_monitoring/page"
    assert {f"{page}/html/layout.html", f"{page}/static/page.js", f"{page}/static/vendor/htmx.LICENSE"} <= set(names)
