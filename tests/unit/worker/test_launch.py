"""Which block a template is started for, before settings are read. Starting it is tested with real processes."""

import pytest

from blockyard_worker.launch import BLOCK_SETTING, named_block


@pytest.mark.parametrize(
    "argv, environment, block",
    [
        (["--settings", "s", "--block", "b-1"], {}, "b-1"),
        (["--block=b-2"], {BLOCK_SETTING: "other"}, "b-2"),
        ([], {BLOCK_SETTING: "b-3"}, "b-3"),
        (["--settings", "s"], {}, ""),
        (["--block"], {}, ""),
    ],
)
def test_a_block_is_found_where_flags_and_environment_name_it(
    argv: list[str], environment: dict[str, str], block: str
) -> None:
    assert named_block(argv, environment) == block
