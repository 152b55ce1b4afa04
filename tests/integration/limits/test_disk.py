"""Large bodies where they find no room: more than a frame holds, a file system that is full, a folder that is gone."""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from blockyard import Client, nearness
from blockyard.errors import BlobMissing, BlobsFull, NotLoadable, QueueFull, RequestTooLarge
from blockyard.packing import MAX_INLINE_BYTES
from blockyard.serving import Limits
from blockyard.session.link import Submission
from blockyard.state_folder import blobs_of, owner_of
from blockyard.wire.codec import MAX_FRAME_BYTES
from blockyard.wire.records import body_bytes
from tests.integration.limits.test_back_pressure import Gate
from tests.integration.processes import WITHIN, House, wait_until
from tests.integration.questions import engine_of

pytestmark = pytest.mark.timeout(300)

MIB = 1024 * 1024
ROOM_BYTES = 8 * MIB


@pytest.fixture
def far_client(house: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """One whose bodies travel in messages: it does not share the interchange's folder."""
    limits = Limits(max_bytes=1024 * MIB)
    with Client.local(workers=1, folder=house.folder, limits=limits):
        monkeypatch.setattr(nearness, "read", lambda _: b"")
        with Client.connect(house.folder) as client:
            yield client


def test_a_batch_beyond_a_frame_travels_in_pieces_of_64_mib(
    far_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = engine_of(far_client)._link
    sent: list[int] = []
    submit = link.submit

    def watched(submission: Submission) -> None:
        sent.append(sum(map(body_bytes, submission.bodies)))
        submit(submission)

    monkeypatch.setattr(link, "submit", watched)
    values = [bytes([number]) * (20 * MIB) for number in range(14)]
    assert sum(map(len, values)) > MAX_FRAME_BYTES, "in one frame they would be refused"
    futures = far_client.submit_many(_first_and_size, values)
    assert [future.result(2 * WITHIN) for future in futures] == [(number, 20 * MIB) for number in range(14)]
    assert max(sent) <= 64 * MIB
    assert len(sent) == 5, f"three of 20 MiB fit into 64: {sent}"


def _first_and_size(value: bytes) -> tuple[int, int]:
    return value[0], len(value)


def test_one_body_beyond_half_a_frame_is_refused_and_the_client_goes_on(far_client: Client) -> None:
    with pytest.raises(RequestTooLarge, match="to an interchange on another machine at most"):
        far_client.submit(len, bytes(MAX_INLINE_BYTES + 1))
    with pytest.raises(RequestTooLarge, match="the address of a file"):
        far_client.put(bytes(MAX_INLINE_BYTES + 1))
    assert far_client.submit(len, bytes(MIB)).result(WITHIN) == MIB


@pytest.fixture
def small_shared_memory(house: House) -> Iterator[Path]:
    """The folder of large bodies is a file system of its own, of `ROOM_BYTES`."""
    folder = Path("/dev/shm") / f"blockyard-{os.getuid()}-{owner_of(house.folder)}"
    folder.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM_BYTES},mode=0700", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        house.wait_until_empty()
        subprocess.run(["umount", "--lazy", folder], check=True)
        folder.rmdir()


@pytest.mark.needs_root
def test_submit_waits_while_the_file_system_of_large_bodies_is_full(
    house: House, small_shared_memory: Path, tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    with (
        Client.local(workers=1, folder=house.folder) as client,
        Client.connect(house.folder, on_full="raise") as impatient,
    ):
        held = [client.submit(gate.wait), *client.submit_many(len, [bytes(2 * MIB)] * 3)]
        offer = lambda: held.append(impatient.submit(len, bytes(MIB)))  # noqa: E731 - one statement for `raises`
        with pytest.raises(BlobsFull, match=r"could not be written to .*: No space left on device") as raised:
            list(iter(offer, ...))
        assert isinstance(raised.value, QueueFull)
        assert shutil.disk_usage(small_shared_memory).free < MIB
        late: list[object] = []
        extra = threading.Thread(target=lambda: late.append(client.submit(len, bytes(3 * MIB))), daemon=True)
        extra.start()
        wait_until("submit waits", lambda: engine_of(client).room.waiting, lambda waiting: waiting == 1)
        assert not late
        assert client.submit(abs, -1).cancel(), "small ones are taken meanwhile"
        gate.open()
        extra.join(WITHIN)
        assert [future.result(WITHIN) for future in held[:4]] == [1, *[2 * MIB] * 3]
        assert [future.result(WITHIN) for future in held[4:]] == [MIB] * len(held[4:])
        (future,) = late
        assert future.result(WITHIN) == 3 * MIB  # type: ignore[attr-defined]  # a future


def test_a_folder_of_large_bodies_that_is_removed_costs_what_was_in_it_alone(
    house: House, far_client: Client, tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    (interchange,) = house.interchanges()
    blobs = blobs_of(house.folder)
    with Client.connect(house.folder) as other:  # far, too
        first = other.submit(gate.wait)
        lost = other.submit(len, bytes(MIB))
        wait_until("its argument is in the folder", lambda: [*blobs.glob("b*")], lambda found: len(found) == 1)
        shutil.rmtree(blobs)
        gate.open()
        assert first.result(WITHIN) == 1
        with pytest.raises((BlobMissing, NotLoadable)):  # whether it was handed out before, or after
            lost.result(WITHIN)
        for client in (far_client, other):
            assert client.submit(len, bytes(MIB)).result(WITHIN) == MIB
            assert len(client.submit(bytes, MIB).result(WITHIN)) == MIB
    assert house.interchanges() == [interchange]
