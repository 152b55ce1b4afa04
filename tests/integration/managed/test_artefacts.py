"""What a managed task returns and leaves is in the history, on the command line, on the page and in the report."""

import asyncio
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from blockyard import Client
from blockyard.managed import run_managed
from blockyard_monitoring.history import History
from blockyard_monitoring.history import artefacts as reader
from blockyard_monitoring.page.pages import Pages
from blockyard_monitoring.page.printing import Printing
from blockyard_monitoring.page.server import Server
from blockyard_monitoring.page.settings import PageSettings
from blockyard_monitoring.report import report
from tests.integration.managed.test_provenance import BLOCKYARD, url
from tests.integration.processes import WITHIN, House, wait_until

pytestmark = pytest.mark.timeout(300)

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
HTML = "<script>document.body.append(document.cookie)</script>"
LARGE = 600 * 1024


class Figure:
    """Shows itself as matplotlib's figures do."""

    def savefig(self, path: str) -> None:
        Path(path).write_bytes(PNG)


class Table:
    """Shows itself as in a notebook."""

    def _repr_html_(self) -> str:
        return HTML


def work(folder: str) -> dict[str, Any]:
    """Values, figures, and a file of several parts."""
    from blockyard.managed import reporter

    Path(folder, "large.html").write_bytes(b"h" * LARGE)
    Path(folder, "huge.bin").write_bytes(bytes(2 << 20))
    reporter().artefact("../large", f"{folder}/large.html", "html")
    reporter().artefact("huge", f"{folder}/huge.bin", "file")
    return {"hits": 3, "plot": Figure(), "table": Table()}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("artefacts") / "state")


@pytest.fixture(scope="module")
def left(house: House, tmp_path_factory: pytest.TempPathFactory) -> dict[str, reader.ArtefactLine]:
    """By kind and name, of one task; the system has ended."""
    spec = {
        "function": f"{__name__}:work", "parameters": {"folder": str(tmp_path_factory.mktemp("work"))},
        "step": "look", "folder": str(tmp_path_factory.mktemp("kept")),
    }  # fmt: skip
    with Client.local(workers=1, folder=house.folder, run="seen", monitoring=url(house)) as client:
        found = client.submit(run_managed, spec).result(WITHIN)
        assert found.status.name == "COMPLETED", found
        assert not found.record.failures
        lines = wait_until("all are told", lambda: reader.of_run(url(house), "seen"), lambda lines: len(lines) == 5)
    return {one.kind if one.kind in ("value", "figure") else one.name: one for one in lines}


def test_all_of_it_is_kept_within_the_bounds(left: dict[str, reader.ArtefactLine], house: House) -> None:
    assert reader.read(url(house), left["figure"]) == PNG
    assert left["figure"].media == "image/png"
    assert b'"hits": 3' in reader.read(url(house), left["value"])
    assert reader.read(url(house), left["../large"]) == b"h" * LARGE
    assert not left["huge"].is_kept
    assert (left["huge"].size_bytes, len(left["huge"].sha256)) == (2 << 20, 64)
    with pytest.raises(reader.NotWhole, match="not kept here"):
        reader.read(url(house), left["huge"])


def test_the_command_line_lists_prints_and_writes_them(
    left: dict[str, reader.ArtefactLine], house: House, tmp_path: Path
) -> None:
    def command(*words: str) -> bytes:
        line = [BLOCKYARD, "artefacts", "seen", "--database", url(house), *words]
        done = subprocess.run(line, capture_output=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert b"huge" in command()
    assert b'"hits": 3' in command("payload")
    command("--to", str(tmp_path))
    (folder,) = tmp_path.iterdir()
    assert folder.name == f"look-{left['value'].task_id}"
    assert (folder / left["figure"].name).read_bytes() == PNG
    assert (folder / "_large").stat().st_size == LARGE


def test_the_page_shows_images_and_shuts_html_in(left: dict[str, reader.ArtefactLine], house: House) -> None:
    async def look() -> None:
        settings = PageSettings(host="127.0.0.1", port=0, token="secret-of-tests", database=url(house))
        with closing(History(url(house))) as history:
            server = Server(settings, Pages(history, Printing(None)))
            await server.start()
            try:
                headers = {"Authorization": f"Bearer {settings.token}"}
                base = f"http://127.0.0.1:{server.port}"
                async with aiohttp.ClientSession(base, headers=headers) as http:

                    async def get(path: str, **query: str) -> tuple[int, bytes, Any]:
                        async with http.get(path, params=query) as answer:
                            return answer.status, await answer.read(), answer.headers

                    status, body, _ = await get("/run", run="seen")
                    assert status == 200
                    assert b"<img" in body
                    status, body, _ = await get(f"/tasks/{left['value'].task_id}")
                    assert (status, b"Artefacts" in body, b"Managed tasks" in body) == (200, True, True)
                    figure = left["figure"]
                    status, body, sent = await get("/artefact", config=figure.config, name=figure.name)
                    assert (status, body, sent["Content-Type"]) == (200, PNG, "image/png")
                    (page,) = [one for name, one in left.items() if one.kind == "html" and name != "../large"]
                    status, body, sent = await get("/artefact", config=page.config, name=page.name)
                    assert (status, body) == (200, HTML.encode())
                    policy = sent["Content-Security-Policy"]
                    assert policy.startswith("sandbox allow-scripts; default-src 'none'")
                    assert "allow-same-origin" not in policy
                    assert (await get("/artefact", config=figure.config, name="huge"))[0] == 404
                    assert (await get("/artefact", config="", name="huge"))[0] == 404
            finally:
                await server.stop()

    asyncio.run(look())


def test_a_report_holds_the_images_and_names_the_rest(left: dict[str, reader.ArtefactLine], house: House) -> None:
    page = report(url(house), "seen", "html")
    assert "data:image/png;base64,iVBORw0KGgo" in page
    assert "<script" not in page
    assert left["huge"].name in page
    assert "## Artefacts" in report(url(house), "seen", "markdown")
