"""Runs the providers' suite on the local provider, over each of its channels."""

import secrets
from pathlib import Path

import pytest

from blockyard.blocks.provider import LocalProvider, OnChange, Provider
from blockyard.blocks.suites import ProviderSuite, Words, local_program
from tests.contract.blocks.sshd import SSHServer


class TestLocalProvider(ProviderSuite):
    @pytest.fixture
    def provider(self, tmp_path: Path) -> Provider:
        return LocalProvider(owner=f"test-{secrets.token_hex(4)}", log_dir=tmp_path / "logs")

    @pytest.fixture
    def program(self) -> Words:
        return local_program


class Mute(LocalProvider):
    """Tells nothing of its own accord: the kind of provider that must be asked."""

    def start(self, on_change: OnChange) -> None:
        super().start(lambda job, status: None)


class TestProviderWithoutPush(ProviderSuite):
    @pytest.fixture
    def provider(self, tmp_path: Path) -> Provider:
        owner = f"test-{secrets.token_hex(4)}"
        return Mute(owner=owner, log_dir=tmp_path / "logs", status_polling_interval=0.01)

    @pytest.fixture
    def program(self) -> Words:
        return local_program


@pytest.mark.needs_sshd
class TestLocalProviderOverSSH(ProviderSuite):
    @pytest.fixture
    def provider(self, tmp_path: Path, ssh_server: SSHServer) -> Provider:
        owner = f"test-{secrets.token_hex(4)}"
        return LocalProvider(owner=owner, log_dir=tmp_path / "logs", channel=ssh_server.channel(), label="ssh")

    @pytest.fixture
    def program(self) -> Words:
        return local_program
