"""What a name, a folder or a URL leads to; no socket is opened."""

from pathlib import Path

import msgspec
import pytest

from blockyard import config, connect
from blockyard.errors import ConfigError
from blockyard.keyring import KeyRing

HARD_KEY = "a#b%25c/d?e&f" + "x" * 27
"""40 characters, with all that a URL could trip over; Z85 has every one of them."""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "state" / "blockyard" / "systems"


def make_folder(folder: Path, **served: object) -> KeyRing:
    folder.mkdir(parents=True)
    (folder / "interchange.json").write_bytes(msgspec.json.encode({"folder": str(folder), **served}))
    ring = KeyRing(folder / "keys")
    ring.interchange("clients")
    ring.client()
    return ring


def test_a_state_folder_has_all_that_is_needed(tmp_path: Path) -> None:
    ring = make_folder(tmp_path / "house", core={"blobs": "/dev/shm/blobs"})
    found = connect.find(tmp_path / "house", config.Settings())
    assert found.endpoint == f"ipc://{tmp_path}/house/clients.sock"
    assert found.server_key == ring.interchange("clients").public.decode()
    assert found.nonce == Path("/dev/shm/blobs/.nonce")
    assert found.link().keys == ring.client()


def test_a_system_of_this_machine_is_a_profile_of_its_own_name(state: Path) -> None:
    make_folder(state / "lab", clients="tcp://127.0.0.1:7000")
    assert connect.find("lab", config.Settings()).endpoint == "tcp://127.0.0.1:7000"
    assert connect.find(None, config.Settings(profile="lab")).folder == state / "lab"


def test_a_configured_profile_hides_a_system_of_the_same_name(state: Path) -> None:
    make_folder(state / "lab")
    profile = config.Profile(endpoint="tcp://far:1", server_key="k" * 40, client_key="/keys/lab.key")
    found = connect.find("lab", config.Settings(profiles={"lab": profile}))
    assert (found.endpoint, found.client_key) == ("tcp://far:1", Path("/keys/lab.key"))


def test_an_unknown_profile_is_an_error_that_names_the_nearest(state: Path) -> None:
    make_folder(state / "laboratory")
    with pytest.raises(ConfigError, match="profile 'labratory' is unknown; did you mean 'laboratory'\\? Start one"):
        connect.find("labratory", config.Settings())


def test_a_folder_without_interchange_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no interchange was ever started there"):
        connect.find(tmp_path, config.Settings())


@pytest.mark.parametrize("endpoint", ["tcp://host:5555", "ipc:///run/blockyard/clients.sock"])
def test_a_url_survives_being_printed_and_read_again(endpoint: str) -> None:
    target = connect.Target(name="x", endpoint=endpoint, server_key=HARD_KEY, client_key=Path("/k"))
    found = connect.find(target.url, config.Settings(), client_key="/k")
    assert (found.endpoint, found.server_key, found.client_key) == (endpoint, HARD_KEY, Path("/k"))


def test_a_url_may_hold_the_key_as_it_is() -> None:
    assert connect.find(f"tcp://host:1#{HARD_KEY}", config.Settings()).server_key == HARD_KEY


def test_the_key_may_be_given_beside_the_url() -> None:
    assert connect.find("tcp://host:1", config.Settings(), server_key=HARD_KEY).server_key == HARD_KEY


@pytest.mark.parametrize(
    "url, problem",
    [
        ("tcp://host:1", "lacks the interchange's public key"),
        ("tcp://host:1#short", "has 5 characters; a public key has 40"),
        ("http://host:1#" + "k" * 40, "expected tcp://HOST:PORT#KEY or ipc:///PATH#KEY"),
    ],
)
def test_a_faulty_url_is_refused_with_what_is_wrong(url: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        connect.find(url, config.Settings())


def test_a_url_is_used_with_the_key_beside_the_users_configuration(tmp_path: Path) -> None:
    found = connect.find("tcp://host:1#" + "k" * 40, config.Settings())
    assert found.client_key == tmp_path / "config" / "blockyard" / "client.key"
