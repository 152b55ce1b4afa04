"""A silent interchange is told of once, and its return once; so is a link that is slow."""

from blockyard.session.core import Large
from blockyard.session.silence import SILENT_SECONDS, Silence


def test_a_silence_is_said_once_and_so_is_its_end() -> None:
    silence = Silence()
    heard, said = 100.0, []
    for now in range(100, 160):
        if not 110 <= now < 140:
            heard = float(now)
        said.append((now, silence.look(heard, float(now))))
    spoken = [(now, words) for now, words in said if words]
    assert [now for now, _ in spoken] == [109 + SILENT_SECONDS, 140]
    assert "has not answered for 10 s" in spoken[0][1]
    assert spoken[1][1] == "The interchange answers again, after 31 s."


def test_short_silences_are_nothing_to_say() -> None:
    silence = Silence()
    assert not any(silence.look(now - now % (SILENT_SECONDS - 1), now) for now in map(float, range(100, 200)))


def test_a_large_frame_that_takes_long_is_said_once_with_what_to_do() -> None:
    silence, large = Silence(), Large(8_000_000, 100.0, comes=False)
    said = [silence.look_behind(large, float(now)) for now in range(100, 160)]
    (words,) = filter(None, said)
    assert said.index(words) == SILENT_SECONDS
    assert words.startswith("8.0 MB have been on their way to the interchange for 10 s: the link is slow")
    assert "pass a File" in words
