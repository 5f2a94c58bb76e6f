"""Headless Chromium by the DevTools protocol over pipes: pages laid out at a width of one's choice, scripts in them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome-headless-shell")


def found() -> str | None:
    """The browser, as `CVFP_CHROMIUM` or the path has it; None: there is none."""
    return os.environ.get("CVFP_CHROMIUM") or next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One page in a browser of its own."""

    def __init__(self, folder: Path) -> None:
        there, ours = os.pipe()
        answers, theirs = os.pipe()

        def at_their_places() -> None:
            os.dup2(there, 200)
            os.dup2(theirs, 201)
            os.dup2(200, 3)
            os.dup2(201, 4)

        self._browser = subprocess.Popen(
            [str(found()), "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
             f"--user-data-dir={folder}", "about:blank"],
            close_fds=False, preexec_fn=at_their_places, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        os.close(there)
        os.close(theirs)
        self._to, self._from = os.fdopen(ours, "wb", buffering=0), os.fdopen(answers, "rb", buffering=0)
        self._count, self._rest, self._session = 0, b"", None
        self.events: list[Mapping[str, Any]] = []
        targets = self.send("Target.getTargets")["targetInfos"]
        page = next(each["targetId"] for each in targets if each["type"] == "page")
        self._session = self.send("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self._browser.kill()
        self._browser.wait()
        self._to.close()
        self._from.close()

    def send(self, method: str, **parameters: Any) -> Any:
        """The result of a command; events before it are kept."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._to.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]

    def _next(self) -> Mapping[str, Any]:
        while b"\0" not in self._rest:
            part = self._from.read(1 << 16)
            assert part, "the browser has gone"
            self._rest += part
        text, _, self._rest = self._rest.partition(b"\0")
        answer = json.loads(text)
        if "method" in answer:
            self.events.append(answer)
        return answer

    def open(self, file: Path, width: int, height: int = 900) -> None:
        """Loads the file in a window of this size."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=True)
        self.events.clear()
        self.send("Page.navigate", url=file.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._next()

    def value(self, expression: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        made = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in made, made["exceptionDetails"]
        return made["result"].get("value")

    def requests(self) -> list[str]:
        """What the page asked for, since it was opened."""
        return [event["params"]["request"]["url"] for event in self.events
                if event["method"] == "Network.requestWillBeSent"]
