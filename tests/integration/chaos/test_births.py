"""Who starts others is killed while it does: no process stays that nobody knows of."""

import os
import random
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from tests.integration.processes import WITHIN, House, Process, kill, running, wait_until
from tests.machine import Size

pytestmark = [pytest.mark.soak, pytest.mark.timeout(300)]

POOL = "default=workers=3,min_blocks=2,init_blocks=2,max_blocks=2"


def _supervisors(house: House) -> list[Process]:
    return [one for one in running() if " -m blockyard.supervise " in one.command and str(house.folder) in one.command]


@pytest.mark.parametrize("victim", ["supervisor", "manager"])
def test_nothing_stays_of_a_block_whose_maker_is_killed_while_it_starts(
    run_house: House, victim: str, size: Size
) -> None:
    """A manager forks its template, and that one workers. Small: 4 times; full: 40, at other moments."""
    house = House(run_house.folder.parent.parent / "systems" / "lab")
    command = [str(Path(sys.executable).with_name("blockyard")), "local", "up", "--name", "lab", "--pool", POOL]
    config = {"XDG_CONFIG_HOME": os.environ["XDG_STATE_HOME"]}
    dice = random.Random(victim)
    for _ in range(40 if size is Size.FULL else 4):
        asked = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | config)
        try:
            manager = wait_until("a block starts", house.managers, lambda found: found)[0]
            time.sleep(dice.uniform(0.0, 0.15))
            if victim == "manager":
                assert kill(manager)
                wait_until("its block is gone", partial(house.block_of, manager), lambda left: not left)
                assert asked.wait(WITHIN) == 0, "the system has come up"
        finally:
            for supervisor in _supervisors(house):
                kill(supervisor)
            asked.wait(WITHIN)
        house.wait_until_empty()
