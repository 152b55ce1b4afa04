"""How strays are told from all other processes, on a made-up /proc; that they end is tested with real ones."""

import os
from pathlib import Path

import pytest

from blockyard.blocks.strays import PF_KTHREAD, Stray, find_strays
from blockyard.ids import BlockId


class Processes:
    """A made-up /proc in which every process is a child of number 1."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, pid: int, environment: bytes, *, state: str = "S", parent: int = 1, flags: int = 0) -> None:
        folder = self.folder / str(pid)
        folder.mkdir()
        (folder / "environ").write_bytes(environment)
        (folder / "cmdline").write_bytes(b"python\0-m\0x y\0")
        (folder / "stat").write_text(f"{pid} (a ) b) {state} {parent} 1 1 0 -1 {flags} 0 0\n")


@pytest.fixture
def processes(tmp_path: Path) -> Processes:
    return Processes(tmp_path)


def marks(block: str, owner: str = "me") -> bytes:
    return f"HOME=/\0BLOCKYARD_BLOCK={block}\0BLOCKYARD_OWNER={owner}\0".encode()


def found(processes: Processes, **more: list[BlockId]) -> list[int]:
    return [stray.pid for stray in find_strays("me", proc=processes.folder, **more)]


def test_only_what_carries_both_marks_of_the_owner_is_a_stray(processes: Processes) -> None:
    processes.add(70, marks("b-1"))
    processes.add(7, marks("b-0"))
    processes.add(71, marks("b-0", owner="other"))
    processes.add(72, b"BLOCKYARD_OWNER=me\0")
    processes.add(73, b"X=BLOCKYARD_OWNER=me\0Y=BLOCKYARD_BLOCK=b-0\0")
    processes.add(74, b"")
    (processes.folder / "self").mkdir()
    first, second = find_strays("me", proc=processes.folder)
    assert first == Stray(pid=7, block=BlockId("b-0"), owner="me", command="python -m x y")
    assert second.pid == 70


def test_blocks_can_be_chosen_or_spared(processes: Processes) -> None:
    processes.add(7, marks("b-0"))
    processes.add(8, marks("b-1"))
    assert found(processes, blocks=[BlockId("b-1")]) == [8]
    assert found(processes, spare=[BlockId("b-1")]) == [7]
    assert found(processes, blocks=[]) == []


def test_this_process_and_its_ancestors_are_never_strays(processes: Processes) -> None:
    processes.add(os.getpid(), marks("b-0"), parent=40)
    processes.add(40, marks("b-0"), parent=41)
    processes.add(41, marks("b-0"), parent=1)
    processes.add(42, marks("b-0"), parent=41)
    assert found(processes) == [42]


def test_a_process_that_is_just_becoming_another_program_is_looked_at_again(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes.add(7, b"")
    monkeypatch.setattr(
        "blockyard.blocks.strays.time.sleep",
        lambda seconds: (processes.folder / "7" / "environ").write_bytes(marks("b-0")),
    )
    assert found(processes) == [7]


def test_zombies_and_threads_of_the_kernel_are_not_waited_for(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes.add(7, b"", state="Z")
    processes.add(8, b"", flags=PF_KTHREAD | 0x40)
    monkeypatch.setattr("blockyard.blocks.strays.time.sleep", lambda seconds: pytest.fail("it waited"))
    assert found(processes) == []
