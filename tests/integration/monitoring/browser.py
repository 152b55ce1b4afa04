"""A headless Chromium, driven by its own protocol: what a person would see and press, without a library for it.

https://chromedevtools.github.io/devtools-protocol/
"""

import asyncio
import base64
import itertools
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

WITHIN = 60.0
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""


class Tab:
    """One page. What goes wrong in it is in `complaints`."""

    def __init__(self, socket: "aiohttp.ClientWebSocketResponse") -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reader = asyncio.create_task(self._read())
        self.complaints: list[str] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One call of the protocol."""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        answer = await asyncio.wait_for(self._answers[number], WITHIN)
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    async def _read(self) -> None:
        async for message in self._socket:
            told = message.json()
            if "id" in told:
                self._answers.pop(told["id"]).set_result(told)
            elif told["method"] == "Runtime.exceptionThrown":
                self.complaints.append(str(told["params"]["exceptionDetails"]))
            elif told["method"] == "Log.entryAdded" and told["params"]["entry"]["level"] == "error":
                self.complaints.append(str(told["params"]["entry"]))

    async def open(self, url: str) -> None:
        """Go to an address, and wait until it is there."""
        await self.value("window.isLeft = true")
        await self.call("Page.navigate", url=url)
        await self.sees("!window.isLeft && document.readyState === 'complete'")

    async def value(self, script: str) -> Any:
        """What an expression is in the page."""
        found = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def sees(self, script: str) -> None:
        """Wait until an expression is true; one that cannot be evaluated yet, on a page that is left, is not."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + WITHIN
        while not await self.value(f"(() => {{ try {{ return Boolean({script}) }} catch {{ return false }} }})()"):
            shown = await self.value("document.body?.innerText.slice(0, 500) ?? ''")
            assert loop.time() < deadline, f"{script} never became true; the page: {shown}; {self.complaints}"
            await asyncio.sleep(0.1)

    async def press(self, key: str) -> None:
        """A key, down and up."""
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        code = {"Enter": 13}.get(key, 0)
        await self.call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    async def prefers(self, scheme: str) -> None:
        """The reader's choice of ``light`` or ``dark``."""
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def picture(self, path: Path) -> None:
        """What is seen, as PNG."""
        found = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(found["data"]))

    async def close(self) -> None:
        """Let go."""
        await self._socket.close()
        await self._reader


@asynccontextmanager
async def a_tab(folder: Path, width: int = 1200, height: int = 800) -> AsyncIterator[Tab]:
    """A browser of its own with one page, which ends with the block. `folder`: for its profile."""
    process = subprocess.Popen(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--disable-extensions", f"--user-data-dir={folder}",
            "--remote-debugging-port=0", f"--window-size={width},{height}", "about:blank",
        ],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        port = await _port_of(folder, process)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                (page,) = [one for one in await answer.json() if one["type"] == "page"]
            async with session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                tab = Tab(socket)
                for domain in ("Page", "Runtime", "Log"):
                    await tab.call(f"{domain}.enable")
                yield tab
                await tab.close()
    finally:
        process.terminate()
        process.wait(WITHIN)


async def _port_of(folder: Path, process: "subprocess.Popen[bytes]") -> int:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WITHIN
    path = folder / "DevToolsActivePort"
    while not (path.exists() and "\n" in path.read_text()):
        assert process.poll() is None, f"the browser ended with {process.returncode}"
        assert loop.time() < deadline, "the browser does not listen"
        await asyncio.sleep(0.05)
    return int(path.read_text().split()[0])
