"""Every stager that comes with Blockyard, by the suite that those of others must pass, on real servers."""

import io
import os
from pathlib import Path
from urllib.parse import quote

import pytest

from blockyard import plugins
from blockyard.errors import ConfigError
from blockyard.files.port import Found, Refused, stager_of
from blockyard.files.stagers.ftp import FtpStager
from blockyard.files.stagers.local import FileStager, PvcStager
from blockyard.files.stagers.web import HttpStager
from blockyard.files.suites import Put, StagerSuite, UrlOf
from tests.fixtures.file_servers import FtpPlace, ftp_server
from tests.fixtures.web_server import Page, WebServer


def putting_into(folder: Path) -> Put:
    def put(name: str, content: bytes) -> None:
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)

    return put


class TestFileStager(StagerSuite):
    @pytest.fixture
    def stager(self) -> FileStager:
        return FileStager()

    @pytest.fixture
    def url_of(self, tmp_path: Path) -> UrlOf:
        return lambda name: f"file://{quote(str(tmp_path / name))}"

    @pytest.fixture
    def put(self, tmp_path: Path) -> Put:
        return putting_into(tmp_path)

    def test_what_it_writes_goes_where_a_link_leads(self, stager: FileStager, url_of: UrlOf, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to("aimed at")
        stager.store(Path(__file__), url_of("link"))
        assert (tmp_path / "aimed at").read_bytes() == (tmp_path / "link").read_bytes() == Path(__file__).read_bytes()
        assert (tmp_path / "link").is_symlink()

    def test_what_is_there_and_no_file_stays(self, stager: FileStager, url_of: UrlOf, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(Refused, match="is a device, a pipe or a socket"):
            stager.store(Path(__file__), url_of("pipe"))
        assert (tmp_path / "pipe").is_fifo()


class TestPvcStager(StagerSuite):
    @pytest.fixture
    def stager(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PvcStager:
        monkeypatch.setenv("BLOCKYARD_FILES_CLAIMS", f"/nowhere,data={tmp_path}")
        return PvcStager()

    @pytest.fixture
    def url_of(self) -> UrlOf:
        return lambda name: f"pvc://data/{quote(name)}"

    @pytest.fixture
    def put(self, tmp_path: Path) -> Put:
        return putting_into(tmp_path)

    def test_a_claim_that_is_not_mounted_is_named(self, stager: PvcStager) -> None:
        with pytest.raises(ConfigError, match=r"'other' is not mounted at /nowhere/other here.*other=/data"):
            stager.look("pvc://other/x")

    def test_nothing_leads_out_of_a_claim(self, stager: PvcStager) -> None:
        for url in ("pvc://data/../x", "pvc://data/a/%2e%2e/x", "pvc://../x"):
            with pytest.raises(ConfigError, match="leads out"):
                stager.look(url)


class TestHttpStager(StagerSuite):
    @pytest.fixture
    def stager(self) -> HttpStager:
        return HttpStager()

    @pytest.fixture
    def url_of(self, web: WebServer) -> UrlOf:
        return lambda name: f"{web.url}/{quote(name)}"

    @pytest.fixture
    def put(self, web: WebServer) -> Put:
        def put(name: str, content: bytes) -> None:
            web.pages[f"/{name}"] = Page(content, etag=f'"{hash(content)}"')

        return put

    @pytest.mark.parametrize("status, kind", [(403, PermissionError), (404, FileNotFoundError), (500, OSError)])
    def test_what_a_server_answers_is_told_apart(
        self, stager: HttpStager, web: WebServer, status: int, kind: type[Exception]
    ) -> None:
        web.pages["/x"] = Page(b"x", failures=1, status=status, etag="")
        with pytest.raises(kind) as caught:
            stager.fetch(f"{web.url}/x", io.BytesIO())
        assert type(caught.value) is kind


class TestFtpStager(StagerSuite):
    @pytest.fixture
    def stager(self) -> FtpStager:
        return FtpStager()

    @pytest.fixture
    def url_of(self, ftp: FtpPlace) -> UrlOf:
        return lambda name: f"{ftp.url}/{quote(name)}"

    @pytest.fixture
    def put(self, ftp: FtpPlace) -> Put:
        return putting_into(ftp.folder)

    def test_a_wrong_password_is_no_reason_to_try_again(self, stager: FtpStager, ftp: FtpPlace) -> None:
        with pytest.raises(PermissionError, match="530"):
            stager.look(f"ftp://nobody:wrong@{ftp.url.rpartition('@')[2]}/x")


@pytest.mark.parametrize("unknown, size_bytes", [(("SIZE", "MDTM"), None), (("MDTM",), 3)])
def test_an_ftp_server_that_is_older_than_sizes_and_times_is_read(
    tmp_path: Path, unknown: tuple[str, ...], size_bytes: int | None
) -> None:
    (tmp_path / "x").write_bytes(b"old")
    with ftp_server(tmp_path, *unknown) as place:
        stager, into = FtpStager(), io.BytesIO()
        assert stager.look(f"{place.url}/x") == Found(size_bytes, "")
        stager.fetch(f"{place.url}/x", into)
        assert into.getvalue() == b"old"
        with pytest.raises(FileNotFoundError):
            stager.fetch(f"{place.url}/absent", into)


def test_every_stager_of_ours_is_tested() -> None:
    tested = {name.removeprefix("Test") for name in globals() if name.startswith("Test")} | {"S3Stager"}  # test_s3
    ours = {value.partition(":")[2] for value in plugins.BUILT_IN[plugins.STAGERS].values()}
    assert tested == ours
    assert stager_of("http") is stager_of("http")
