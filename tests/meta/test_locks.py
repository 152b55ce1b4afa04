"""The lock files of the images hold what pyproject.toml asks for, by hash; a wheel is chosen by its name."""

import re
from pathlib import Path

import pytest

from tests.machine import ROOT
from tools import wheels


@pytest.mark.parametrize("image", wheels.LOCKS)
def test_a_lock_has_a_release_that_will_do_of_each_requirement(image: str) -> None:
    pins = dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (ROOT / wheels.LOCKS[image]).read_text(), re.MULTILINE))
    releases = {re.sub(r"[-_.]+", "-", name).lower(): release for name, release in pins.items()}
    for requirement in wheels.requirements(image):
        name, least = re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[\w+\])?>=([0-9.]+)(?:,<\d+)?", requirement).groups()  # type: ignore[union-attr]
        assert name in releases, f"{requirement}: run python -m tools.wheels --lock"
        assert _numbers(releases[name]) >= _numbers(least), f"{requirement}: run python -m tools.wheels --lock"


@pytest.mark.parametrize("image", wheels.LOCKS)
def test_every_pin_has_hashes(image: str) -> None:
    for pin in re.split(r"\n(?=\S)", (ROOT / wheels.LOCKS[image]).read_text().strip()):
        assert pin.startswith("#") or "--hash=sha256:" in pin, pin


def test_a_wheel_serves_its_own_minor_an_abi3_wheel_later_ones_too_and_a_pure_one_all() -> None:
    names = [
        "a-1-cp311-cp311-manylinux.whl",
        "a-1-cp312-abi3-manylinux.whl",
        "b-1-py3-none-any.whl",
        "c-1-cp313-cp313-linux.whl",
    ]
    chosen = {
        minor: [path.name[:7] for path in wheels.for_minor([Path(name) for name in names], minor)]
        for minor in wheels.MINORS
    }
    assert chosen == {
        "3.11": ["a-1-cp3", "b-1-py3"],
        "3.12": ["a-1-cp3", "b-1-py3"],
        "3.13": ["a-1-cp3", "b-1-py3", "c-1-cp3"],
        "3.14": ["a-1-cp3", "b-1-py3"],
    }


def _numbers(release: str) -> list[int]:
    return [int(part) for part in release.split(".") if part.isdigit()]
