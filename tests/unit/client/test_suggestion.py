"""What a person may have meant, as the end of a sentence or in the middle of a message."""

import pytest

from blockyard.suggestion import nearest


@pytest.mark.parametrize(
    "known, alone, with_more",
    [
        (["gpu", "default"], "; did you mean 'gpu'?", "; did you mean 'gpu'? More."),
        (["b", "a"], "; there are: a, b", "; there are: a, b. More."),
        ([], "", ". More."),
    ],
)
def test_it_ends_its_sentence_before_another(known: list[str], alone: str, with_more: str) -> None:
    assert nearest("gpus", known) == alone
    assert nearest("gpus", known, then="More.") == with_more


def test_what_is_said_of_nothing_may_be_chosen() -> None:
    assert nearest("x", [], empty="; there is none yet", then="Start one.") == "; there is none yet. Start one."
    assert nearest("x", ["a"], empty="; there is none yet") == "; there are: a"
