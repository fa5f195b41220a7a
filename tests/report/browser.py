"""A page in a real browser: Chromium over the pipe of its DevTools, noting all that it fetches or complains of."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Browser:
    """One tab of a headless Chromium."""

    def __init__(self, reader: Any, writer: Any) -> None:
        self._reader, self._writer = reader, writer
        self._last = 0
        self._session: str | None = None
        self._events: deque[dict[str, Any]] = deque()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self._last += 1
        session = {} if self._session is None else {"sessionId": self._session}
        command = {"id": self._last, "method": method, "params": params, **session}
        self._writer.write(json.dumps(command).encode() + b"\0")
        self._writer.flush()
        while True:
            message = self._read()
            if message.get("id") == self._last:
                assert "error" not in message, (method, message["error"])
                return message["result"]

    def open(self, file: Path, *, width: int, dark: bool = False) -> None:
        """Open a file at a width, and wait until it is loaded."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setScrollbarsHidden", hidden=True)
        self._events.clear()
        self.call("Page.navigate", url=file.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._read()

    def ask(self, expression: str) -> Any:
        """Give the value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self, file: Path) -> None:
        """Write a picture of the whole page."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        file.write_bytes(base64.b64decode(data))

    def _read(self) -> dict[str, Any]:
        parts = bytearray()
        while (byte := self._reader.read(1)) != b"\0":
            assert byte, "Chromium has ended"
            parts += byte
        message: dict[str, Any] = json.loads(parts)
        if "method" in message:
            self._note(message["method"], message["params"])
            self._events.append(message)
        return message

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"]["text"])
        elif method == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(str(params["args"]))


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Run a headless Chromium with a profile of its own and without a network."""
    assert CHROMIUM is not None
    command_reader, command_writer = os.pipe()
    answer_reader, answer_writer = os.pipe()
    options = [
        "--headless=new",
        "--remote-debugging-pipe",
        f"--user-data-dir={profile}",
        "--disable-gpu",
        "--no-first-run",
    ]
    options += ["--host-resolver-rules=MAP * ~NOTFOUND", "--disable-background-networking", "--disable-dev-shm-usage"]
    if os.geteuid() == 0:
        options.append("--no-sandbox")  # Chromium has none for root; the page is our own
    shell = f'exec "$@" 3<&{command_reader} 4>&{answer_writer}'  # where Chromium expects the ends of its pipe
    process = subprocess.Popen(
        ["bash", "-c", shell, "bash", CHROMIUM, *options],
        pass_fds=(command_reader, answer_writer),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(command_reader)
    os.close(answer_writer)
    try:
        with os.fdopen(command_writer, "wb") as writer, os.fdopen(answer_reader, "rb") as reader:
            yield Browser(reader, writer)
    finally:
        process.terminate()
        process.wait(timeout=30)
