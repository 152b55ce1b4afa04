"""Where settings come from, which of them wins, and what is said of faulty ones. Files are real, in a fresh folder."""

from pathlib import Path

import pytest

from blockyard import config
from blockyard.errors import ConfigError
from blockyard_interchange.core.settings import PoolSettings
from blockyard_interchange.core.settings import Settings as CoreSettings
from blockyard_interchange.settings import ProcessSettings

KEY = "x" * 40


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home" / ".config" / "blockyard").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    return tmp_path / "home"


def load(home: Path, flags: dict[str, object] | None = None, **environment: str) -> config.Settings:
    return config.load(flags, environment=environment, folder=home.parent / "here", home=home)


def write_user(home: Path, text: str) -> Path:
    path = home / ".config" / "blockyard" / "config.toml"
    path.write_text(text)
    return path


def write_here(home: Path, text: str) -> Path:
    path = home.parent / "here" / "blockyard.toml"
    path.write_text(text)
    return path


def test_without_any_file_the_defaults_hold(home: Path) -> None:
    assert load(home) == config.Settings()


def test_flags_weigh_more_than_environment_than_project_than_user_than_defaults(home: Path) -> None:
    write_user(home, 'profile = "user"\ntimeout = 1.0\noutput = "json"\n[local]\nname = "user"\nworkers = 1')
    write_here(home, 'profile = "here"\ntimeout = 2.0\n[local]\nname = "here"')
    found = load(home, {"profile": "flag"}, BLOCKYARD_PROFILE="environment", BLOCKYARD_TIMEOUT="3")
    assert (found.profile, found.timeout, found.local.name) == ("flag", 3.0, "here")
    assert (found.output, found.local.workers, found.local.metrics) == (config.Output.JSON, 1, "")


def test_a_flag_that_was_not_given_hides_nothing(home: Path) -> None:
    assert load(home, {"profile": None}, BLOCKYARD_PROFILE="lab").profile == "lab"


def test_it_is_known_where_each_setting_was_found(home: Path) -> None:
    path = write_here(home, "[local]\nworkers = 3")
    found = load(home, {"output": "json"}, BLOCKYARD_TIMEOUT="3")
    assert found.places == {"local.workers": str(path), "timeout": "environment", "output": "flags"}


@pytest.mark.parametrize("key", ["monitoring", "journal"])
def test_a_fault_does_not_show_the_password_of_a_database(home: Path, key: str) -> None:
    write_here(home, f'[local]\n{key} = "mysql://me:hunter2@host/db"')
    with pytest.raises(ConfigError) as caught:
        load(home)
    assert f"local.{key} = 'mysql://me:***@host/db': give" in str(caught.value)


def test_all_faults_are_reported_together_each_with_its_place(home: Path) -> None:
    user = write_user(home, 'profil = "lab"\n[local]\nworkers = 0')
    here = write_here(home, 'timeout = "long"\n[profiles.lab]\nendpoint = "tcp://lab:1"\nservr_key = "x"')
    with pytest.raises(ConfigError) as caught:
        load(home, BLOCKYARD_OUTPUT="xml", BLOCKYARD_PROFIL="x")
    text = str(caught.value)
    assert text.startswith("settings: 6 faults:")
    assert f"{user}: unknown key 'profil'; did you mean 'profile'?" in text
    assert f"{user}: local.workers = 0: give a whole number from 1" in text
    assert f"{here}: timeout = 'long': Expected `float`, got `str`" in text
    assert f"{here}: unknown key 'profiles.lab.servr_key'; did you mean 'server_key'?" in text
    assert "environment: output = 'xml': Invalid enum value 'xml'" in text
    assert "environment: unknown variable 'BLOCKYARD_PROFIL'; did you mean 'BLOCKYARD_PROFILE'?" in text


def test_a_file_that_is_no_toml_is_named(home: Path) -> None:
    path = write_here(home, "profile = lab")
    with pytest.raises(ConfigError, match=r"blockyard\.toml") as caught:
        load(home)
    assert str(path) in str(caught.value)


def test_another_user_file_can_be_named_and_must_then_exist(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.toml"
    path.write_text('profile = "other"')
    assert load(home, BLOCKYARD_CONFIG=str(path)).profile == "other"
    with pytest.raises(ConfigError, match=r"absent\.toml: there is no such file, though BLOCKYARD_CONFIG names it"):
        load(home, BLOCKYARD_CONFIG=str(tmp_path / "absent.toml"))


def test_variables_of_other_parts_are_no_settings_and_no_faults(home: Path) -> None:
    found = load(home, BLOCKYARD_BLOCK="b", BLOCKYARD_OWNER="o", BLOCKYARD_WORKER_CORES="2", BLOCKYARD_SIZE="full")
    assert found == config.Settings()


def test_a_pool_in_a_file_is_checked_like_one_in_a_call(home: Path) -> None:
    write_here(home, "[local.pools.cpu]\nworkers_per_node = 8\nmax_blocks = 4\n[local.pools.gpu]\nacelerators = 1")
    with pytest.raises(ConfigError, match=r"local\.pools\.gpu\.acelerators: unknown; did you mean 'accelerators'\?"):
        load(home)
    write_here(home, "[local.pools.cpu]\nworkers_per_node = 8\nmax_blocks = 4")
    assert load(home).local.pools["cpu"].max_blocks == 4


def test_the_nearer_file_replaces_a_whole_pool_not_parts_of_it(home: Path) -> None:
    write_user(home, "[local.pools.cpu]\nworkers_per_node = 8\nmax_blocks = 4\n[local.pools.gpu]\naccelerators = 1")
    write_here(home, "[local.pools.cpu]\nworkers_per_node = 2")
    pools = load(home).local.pools
    assert (pools["cpu"].workers_per_node, pools["cpu"].max_blocks) == (2, 1)
    assert pools["gpu"].accelerators == 1


def test_a_profile_needs_all_three_parts_or_a_folder(home: Path) -> None:
    write_here(home, '[profiles.lab]\nendpoint = "tcp://lab:1"')
    with pytest.raises(ConfigError, match=r"profiles\.lab lacks server_key, client_key"):
        load(home)
    write_here(home, '[profiles.lab]\nfolder = "/srv/blockyard"')
    assert load(home).profiles["lab"].folder == "/srv/blockyard"


def test_relative_files_of_a_profile_are_beside_the_file_that_names_them(home: Path) -> None:
    path = write_user(home, f'[profiles.lab]\nendpoint = "tcp://lab:1"\nserver_key = "{KEY}"\nclient_key = "lab.key"')
    assert load(home).profiles["lab"].client_key == str(path.parent / "lab.key")


@pytest.mark.parametrize("name", ["", ".hidden", "a/b"])
def test_a_system_has_a_name_that_is_good_for_a_folder(name: str) -> None:
    with pytest.raises(ConfigError, match="is no name for a system"):
        config.system_folder(name)


def test_every_key_is_described_in_the_page_on_configuration() -> None:
    page = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text()
    for key in config.SCALARS:
        assert f"`{key}`" in page, key
        assert f"`{config.variable_of(key)}`" in page, key
    for name in config.Profile.__struct_fields__:
        assert f"`{name}`" in page, name


def test_every_setting_of_an_interchange_is_described_in_the_page_on_configuration() -> None:
    page = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text()
    for kind in (ProcessSettings, CoreSettings, PoolSettings):
        for name in kind.__struct_fields__:
            assert f"`{name}`" in page, name
