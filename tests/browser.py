"""A headless Chromium, spoken to through its pipe: pages opened, asked, typed into, looked at."""

import base64
import fcntl
import json
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"),
    *("--remote-debugging-pipe", "--disable-background-networking"),
)
LONGEST = 60.0  # seconds that an answer may take


def find_browser() -> str | None:
    """The browser's command; None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """
    One page of a browser without windows; what it asks for and what it complains of is kept.

    Attributes
    ----------
    requests
        The address of everything that the page asked for, in order.
    complaints
        Errors and warnings of its console, refused requests and scripts among them.
    """

    def __init__(
        self, width: int = 1280, height: int = 900, dark: bool = False, script: bool = True
    ):
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._size, self._dark, self._script = (width, height), dark, script
        self._number, self._text, self._session = 0, b"", None

    def __enter__(self) -> "Browser":
        command = find_browser()
        if command is None:
            raise FileNotFoundError("There is no Chromium.")
        self._profile = tempfile.mkdtemp(prefix="chromium")
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        # the browser reads from 3 and writes to 4: neither may be taken by the other on the way
        moved = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 10) for one in (theirs_in, theirs_out)]
        self._pid = os.posix_spawn(
            command,
            [command, *FLAGS, f"--user-data-dir={self._profile}"],
            os.environ,
            file_actions=[
                *((os.POSIX_SPAWN_OPEN, one, os.devnull, os.O_WRONLY, 0) for one in (1, 2)),
                *((os.POSIX_SPAWN_DUP2, one, to) for one, to in zip(moved, (3, 4), strict=True)),
            ],
        )
        for one in (theirs_in, theirs_out, *moved):
            os.close(one)
        try:
            self._begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _begin(self) -> None:
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        found = self._ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = found["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Performance"):
            self._ask(f"{domain}.enable")
        width, height = self._size
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            **{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if self._dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])
        self._ask("Emulation.setScriptExecutionDisabled", value=not self._script)

    def __exit__(self, *_: object) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._in)
        os.close(self._out)
        shutil.rmtree(self._profile, ignore_errors=True)

    def open(self, path: Path, fragment: str = "") -> float:
        """Open a file and wait until it is loaded; how many seconds the browser took for it."""
        self._ask("Page.navigate", url="about:blank")
        self.requests.clear()
        self.complaints.clear()
        self._ask("Page.navigate", url=path.resolve().as_uri() + fragment)
        loaded = "performance.getEntriesByType('navigation')[0]?.loadEventEnd || 0"
        until = time.monotonic() + LONGEST
        while time.monotonic() < until:
            if self.ask("location.protocol") == "file:" and (ended := self.ask(loaded)):
                return ended / 1000.0
            time.sleep(0.02)
        raise TimeoutError(f"{path} was not loaded.")

    def ask(self, script: str) -> Any:
        """What a JavaScript expression is on the page, promises awaited."""
        found = self._ask(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(f"{script}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def busy(self) -> float:
        """How many seconds the page has kept its thread busy, whatever else the machine did."""
        found = self._ask("Performance.getMetrics")["metrics"]
        return next(one["value"] for one in found if one["name"] == "TaskDuration")

    def press(self, *keys: str) -> None:
        """Press and release keys by name: "ArrowDown", "/", "a"."""
        for key in keys:
            text = {"text": key} if len(key) == 1 else {}
            code = {"Enter": 13, "Escape": 27, "ArrowUp": 38, "ArrowDown": 40, "Tab": 9}.get(key)
            known = {"key": key, **({"windowsVirtualKeyCode": code} if code else {})}
            self._ask("Input.dispatchKeyEvent", type="keyDown", **known, **text)
            self._ask("Input.dispatchKeyEvent", type="keyUp", **known)

    def screenshot(self, path: Path) -> None:
        """The whole page as a PNG."""
        found = self._ask("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def _ask(self, method: str, **values: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": values}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self._hear(answer.get("method"), answer.get("params", {}))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._text:
            more = os.read(self._in, 1 << 20)
            if not more:
                raise ConnectionError("The browser has ended.")
            self._text += more
        message, _, self._text = self._text.partition(b"\0")
        return json.loads(message)

    def _hear(self, method: str | None, values: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(values["exceptionDetails"]))
        elif method == "Log.entryAdded" and values["entry"]["level"] in ("error", "warning"):
            self.complaints.append(values["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and values["type"] in ("error", "warning"):
            self.complaints.append(str(values["args"]))
