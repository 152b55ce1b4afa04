"""Datagrams to messages, without a socket: forged, torn, doubled and mixed ones."""

import random

from hypothesis import given
from hypothesis import strategies as st

from blockyard.radios.udp import Datagram, sign, signature_bytes
from blockyard.wire import codec
from blockyard_monitoring.radios.udp import Assembly

KEY, ALGORITHM = b"k" * 32, "sha256"
SENDER = bytes(16)


def datagram(message: int = 1, part: int = 0, parts: int = 1, body: bytes = b"x", key: bytes = KEY) -> bytes:
    """A signed one."""
    signed = codec.encode(Datagram(SENDER, message, part, parts, body))
    return sign(key, ALGORITHM, signed) + signed


def test_a_signed_one_is_let_in_once() -> None:
    assembly = Assembly(KEY, ALGORITHM)
    assert assembly.take(datagram(), 0.0) == b"x"
    assert assembly.take(datagram(), 0.0) == "replayed"


def test_another_key_is_forged_and_noise_too() -> None:
    assembly = Assembly(KEY, ALGORITHM)
    assert assembly.take(datagram(key=b"j" * 32), 0.0) == "forged"
    assert assembly.take(b"", 0.0) == "forged"


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_flipped_bit_anywhere_is_forged(place: int, flip: int) -> None:
    one = bytearray(datagram(body=b"x" * 100))
    one[place % len(one)] ^= flip
    assert Assembly(KEY, ALGORITHM).take(bytes(one), 0.0) == "forged"


@given(st.permutations(range(6)))
def test_parts_come_together_in_any_order(order: list[int]) -> None:
    assembly = Assembly(KEY, ALGORITHM)
    found = [assembly.take(datagram(1, part, 6, bytes([part])), 0.0) for part in order]
    assert found == [b""] * 5 + [bytes(range(6))]


def test_what_stays_incomplete_is_given_up_and_counted() -> None:
    assembly = Assembly(KEY, ALGORITHM)
    assembly.take(datagram(1, 0, 2), 0.0)
    assert assembly.expire(1.0) == 0
    assert assembly.expire(60.0) == 1


def test_an_old_message_is_not_let_in_again_behind_many_newer_ones() -> None:
    assembly = Assembly(KEY, ALGORITHM)
    old = datagram(1)
    for message in range(1, 3000):
        assert assembly.take(datagram(message), 0.0) == b"x"
    assert assembly.take(old, 0.0) == "replayed"


def test_impossible_parts_are_malformed() -> None:
    assembly = Assembly(KEY, ALGORITHM)
    assert assembly.take(datagram(1, 3, 2), 0.0) == "malformed"
    assert assembly.take(datagram(2, 0, 10_000), 0.0) == "malformed"
    signed = b"\xc1"
    assert assembly.take(sign(KEY, ALGORITHM, signed) + signed, 0.0) == "malformed"


def test_ten_thousand_mutations_are_all_refused() -> None:
    """The full size is the soak's; here it is shown that none gets in and nothing grows."""
    drawn, assembly = random.Random(7), Assembly(KEY, ALGORITHM)
    genuine = datagram(body=b"x" * 64)
    size = signature_bytes(ALGORITHM)
    for _ in range(10_000):
        one = bytearray(genuine)
        for _ in range(drawn.randint(1, 8)):
            one[drawn.randrange(len(one))] = drawn.randrange(256)
        if bytes(one) != genuine:
            assert assembly.take(bytes(one[: drawn.randint(size - 4, len(one))]), 0.0) == "forged"
    assert assembly.take(genuine, 0.0) == b"x" * 64


def test_after_a_far_jump_what_is_too_old_stays_out_and_what_is_near_gets_in_once() -> None:
    assembly, far = Assembly(KEY, ALGORITHM), 1 << 60
    assert assembly.take(datagram(1), 0.0) == b"x"
    assert assembly.take(datagram(far), 0.0) == b"x"
    assert assembly.take(datagram(1), 0.0) == "replayed"
    assert assembly.take(datagram(far - 5), 0.0) == b"x"
    assert assembly.take(datagram(far - 5), 0.0) == "replayed"
    assert assembly.take(datagram(far), 0.0) == "replayed"


def test_parts_of_messages_that_never_end_are_bounded() -> None:
    assembly, body = Assembly(KEY, ALGORITHM), bytes(60_000)
    for message in range(1, 21):  # 76 MB, of which 67 may stay
        for part in range(63):
            assert assembly.take(datagram(message, part, 64, body), 0.0) == b""
    assert 1 <= assembly.expire(0.0) <= 4
    assert assembly.expire(0.0) == 0
    assert assembly.take(datagram(20, 63, 64, body), 0.0) == body * 64
