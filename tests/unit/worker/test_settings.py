"""Where settings come from, and how faults are told. What they do is tested where it is done."""

import json
from pathlib import Path

import pytest

from blockyard.errors import ConfigError
from blockyard_worker.settings import accelerators_of, read_settings

KEY = "x" * 40
NEEDED = ["--endpoint", "ipc:///x", "--server-key", KEY, "--key-file", "/k"]


def test_flags_come_before_environment_before_file_before_default(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"pool": "file", "block": "file", "node": "file"}))
    environment = {
        "BLOCKYARD_WORKER_SETTINGS": str(path),
        "BLOCKYARD_WORKER_BLOCK": "env",
        "BLOCKYARD_WORKER_POOL": "env",
    }
    settings = read_settings([*NEEDED, "--pool", "flag"], environment)
    assert (settings.pool, settings.block, settings.node, settings.workers) == ("flag", "env", "file", 0)


def test_texts_become_what_the_field_is() -> None:
    settings = read_settings(
        [*NEEDED, "--workers", "3", "--cores", "1.5", "--pin-cores", "true", "--preload", "json,re"], {}
    )
    assert (settings.workers, settings.cores, settings.pin_cores, settings.preload) == (3, 1.5, True, ["json", "re"])


@pytest.mark.parametrize(
    "arguments, environment, words",
    [
        ([*NEEDED, "--workers", "many"], {}, ["--workers", "'many'"]),
        ([*NEEDED, "--workers=-1"], {}, ["workers", "negative"]),
        (["--endpoint", "e", "--server-key", "short", "--key-file", "k"], {}, ["server_key", "'short'"]),
        ([*NEEDED, "--key-fd", "3"], {}, ["key_file", "key_fd"]),
        (["--endpoint", "e"], {}, ["server_key"]),
        (
            [*NEEDED, "--accelerators=2", "--accelerator-names=a,b,c", "--index=1"],
            {},
            ["accelerator_names: 3 names", "index 1 needs 4"],
        ),
        (NEEDED, {"BLOCKYARD_WORKER_KEY": "secret"}, ["BLOCKYARD_WORKER_KEY", "key_file"]),
        (NEEDED, {"BLOCKYARD_WORKER_SETTINGS": "/does/not/exist"}, ["/does/not/exist"]),
    ],
)
def test_faults_name_the_field_and_what_was_found(
    arguments: list[str], environment: dict[str, str], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_settings(arguments, environment)
    for word in words:
        assert word in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_unknown_name_in_the_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"workres": 3}))
    with pytest.raises(ConfigError, match="workres"):
        read_settings([*NEEDED, "--settings", str(path)], {})


@pytest.mark.parametrize(
    "arguments, environment, names",
    [
        ([], {}, ()),
        (["--accelerators=2"], {}, ("0", "1")),
        (["--accelerators=2"], {"CUDA_VISIBLE_DEVICES": "4,6,7"}, ("4", "6")),
        (["--accelerators=2"], {"CUDA_VISIBLE_DEVICES": ""}, ("0", "1")),
        (["--accelerator-names=a,b"], {"CUDA_VISIBLE_DEVICES": "4"}, ("a", "b")),
        (["--accelerator-names=a,b,c,d", "--accelerators=2", "--index=1"], {}, ("c", "d")),
        (["--accelerator-names=a,b,c,d", "--accelerators=1"], {"BLOCKYARD_NODE_INDEX": "2"}, ("c",)),
        (["--accelerator-names=a,b,c,d", "--accelerators=1"], {"OMPI_COMM_WORLD_RANK": "3"}, ("d",)),
        (["--accelerator-names=a,b", "--accelerators=1", "--index=0"], {"BLOCKYARD_NODE_INDEX": "1"}, ("a",)),
    ],
)
def test_a_node_has_its_share_of_the_accelerators_by_name(
    arguments: list[str], environment: dict[str, str], names: tuple[str, ...]
) -> None:
    assert accelerators_of(read_settings([*NEEDED, *arguments], environment), environment) == names


def test_fewer_accelerators_here_than_the_node_is_to_have_are_named() -> None:
    settings = read_settings([*NEEDED, "--accelerators=2", "--accelerator-variable=GPUS"], {})
    with pytest.raises(ConfigError, match="accelerators=2, but GPUS='7' has 1 here"):
        accelerators_of(settings, {"GPUS": "7"})
