"""Several folders over one path, in any order of writing, reading and freeing: never another blob's bytes."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from blockyard import blobs
from blockyard.blobs import BlobFolder, content_name
from blockyard.errors import BlobMissing, BlobsFull

COPIED = 2_000
"""A small limit in place of COPY_BYTES, so that both kinds of blob are met without writing megabytes."""

QUOTA = 40_000


class Folders(RuleBasedStateMachine):
    """Three views of one folder, as three processes have them, against a dictionary."""

    names = Bundle("names")

    @initialize()
    def start(self) -> None:
        self.root = Path(tempfile.mkdtemp())
        self.views = [BlobFolder(self.root / "b", max_bytes=QUOTA) for _ in range(3)]
        self.model: dict[str, bytes] = {}
        self.held: list[tuple[memoryview, bytes]] = []

    def view(self, index: int) -> BlobFolder:
        return self.views[index]

    @rule(target=names, index=st.integers(0, 2), size=st.integers(0, 2 * COPIED), fill=st.integers(0, 255))
    def create(self, index: int, size: int, fill: int) -> Any:
        content = bytes([fill]) * size
        try:
            blob = self.view(index).create(content)
        except BlobsFull:
            assert sum(map(len, self.model.values())) + size > QUOTA - QUOTA // 4
            return "absent"
        assert blob.name not in self.model
        self.model[blob.name] = content
        return blob.name

    @rule(target=names, index=st.integers(0, 2), size=st.integers(0, 2 * COPIED), fill=st.integers(0, 3))
    def create_by_content(self, index: int, size: int, fill: int) -> Any:
        content = bytes([fill]) * size
        try:
            blob = self.view(index).create(content, content_name(content))
        except BlobsFull:
            return "absent"
        self.model[blob.name] = content
        return blob.name

    @rule(index=st.integers(0, 2), name=names)
    def read(self, index: int, name: str) -> None:
        expected = self.model.get(name)
        if expected is None:
            with pytest.raises(BlobMissing):
                self.view(index).open(name)
        else:
            self.held.append((self.view(index).open(name), expected))

    @rule(index=st.integers(0, 2), name=consumes(names))
    def free(self, index: int, name: str) -> None:
        assert self.view(index).unlink(name) is (self.model.pop(name, None) is not None)

    @invariant()
    def views_that_were_opened_never_change(self) -> None:
        assert all(view == content for view, content in self.held)

    @invariant()
    def names_are_those_that_were_made_and_not_freed(self) -> None:
        assert sorted(self.views[0].names()) == sorted(self.model)

    @invariant()
    def the_quota_is_overrun_by_no_more_than_a_sixteenth_each(self) -> None:
        assert self.views[0].total_bytes() <= QUOTA + 3 * (QUOTA // 16 + 2 * COPIED)

    def teardown(self) -> None:
        shutil.rmtree(self.root)


@pytest.fixture(autouse=True)
def _small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "COPY_BYTES", COPIED)


class TestFolders:
    """Runs the machine under the small limit."""

    def test_no_order_of_operations_mixes_blobs_up(self) -> None:
        from hypothesis.stateful import run_state_machine_as_test

        run_state_machine_as_test(Folders, settings=settings(max_examples=60, stateful_step_count=40, deadline=None))
