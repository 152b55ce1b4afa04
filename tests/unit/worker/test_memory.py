"""The cgroup's own word on who was killed for want of memory. Measuring is tested with real processes."""

from pathlib import Path

from blockyard_worker.shell.memory import oom_kills


def test_the_count_is_found_in_either_version_of_cgroups(tmp_path: Path) -> None:
    new, old = tmp_path / "memory.events", tmp_path / "memory.oom_control"
    old.write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    assert oom_kills([new, old]) == 2
    new.write_text("low 0\nhigh 0\nmax 17\noom 4\noom_kill 3\n")
    assert oom_kills([new, old]) == 3


def test_a_kernel_that_does_not_count_is_not_mistaken_for_none_killed(tmp_path: Path) -> None:
    (tmp_path / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\n")
    assert oom_kills([tmp_path / "memory.oom_control"]) is None
