"""A silent interchange is told of once, and its return once."""

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
