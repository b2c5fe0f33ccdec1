"""A real Chromium, driven over its own protocol through two pipes: nothing has to be installed but the browser."""

import base64
import contextlib
import itertools
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from queue import Empty, Queue
from types import TracebackType
from typing import Any, Self

#: Seconds that anything may take.
PATIENCE_S = 30.0
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, " ": 32}


class PageScriptError(AssertionError):
    """A script of the test failed in the page."""


class Browser:
    """One page of a browser of its own, as long as the context lasts.

    Attributes:
        messages: what was written to the console: errors, warnings, refused resources.
        requests: addresses that were asked for, with the bytes that came over the wire.
    """

    def __init__(self, chromium: str, profile: Path) -> None:
        self._command = [
            *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", f"--user-data-dir={profile}", "about:blank"),
        ]
        self._numbers = itertools.count(1)
        self._answers: dict[int, Queue[Any]] = {}
        self._session: str | None = None
        self.messages: list[str] = []
        self.requests: dict[str, int] = {}
        self._addresses: dict[str, str] = {}

    def __enter__(self) -> Self:
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()

        def place() -> None:  # the browser reads from 3 and writes to 4
            os.dup2(os.dup(to_read), 3)
            os.dup2(to_write, 4)
            os.set_inheritable(3, True)
            os.set_inheritable(4, True)

        # High numbers first: neither end may lie where the other is to go.
        to_read, to_write = _above(to_read), _above(to_write)
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, close_fds=False, preexec_fn=place
        )
        os.close(to_read)
        os.close(to_write)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(each for each in targets if each["type"] == "page")
        self._attach(page["targetId"])
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with contextlib.suppress(Exception):
            self._session = None
            self.call("Browser.close")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._thread.join(5)
        for end in (self._to, self._from):
            os.close(end)

    @contextlib.contextmanager
    def fresh(self) -> Iterator[Self]:
        """A page of its own that has nothing of another, as in a browser that was just installed; without the second to start one."""
        before, self._session = self._session, None
        context = self.call("Target.createBrowserContext")["browserContextId"]
        try:
            self._attach(self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"])
            self.call("Emulation.setFocusEmulationEnabled", enabled=True)  # as if no other window were in front
            for seen in (self.messages, self.requests, self._addresses):
                seen.clear()
            yield self
        finally:
            self._session = None
            self.call("Target.disposeBrowserContext", browserContextId=context)
            self._session = before

    # --- the protocol

    def _attach(self, target: str) -> None:
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol, and give its result."""
        number = next(self._numbers)
        answer = self._answers[number] = Queue()
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        try:
            found = answer.get(timeout=PATIENCE_S)
        except Empty:
            raise TimeoutError(f"no answer to {method}") from None
        assert "error" not in found, (method, found["error"])
        result: dict[str, Any] = found["result"]
        return result

    def _read(self) -> None:
        rest = b""
        while part := os.read(self._from, 1 << 16):
            *whole, rest = (rest + part).split(b"\0")
            for message in map(json.loads, whole):
                if "id" in message:
                    self._answers.pop(message["id"]).put(message)
                elif message.get("sessionId") == self._session:  # not of a page that is about to end
                    self._happened(message["method"], message["params"])

    def _happened(self, method: str, given: Mapping[str, Any]) -> None:
        if method == "Runtime.consoleAPICalled":
            self.messages.append(f"{given['type']}: {[each.get('value', each.get('description')) for each in given['args']]}")
        elif method == "Runtime.exceptionThrown":
            self.messages.append(f"exception: {given['exceptionDetails'].get('exception', given['exceptionDetails'])}")
        elif method == "Log.entryAdded":
            self.messages.append(f"{given['entry']['level']}: {given['entry']['text']} {given['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self._addresses[given["requestId"]] = given["request"]["url"]
            self.requests.setdefault(given["request"]["url"], 0)
        elif method == "Network.loadingFinished" and (address := self._addresses.get(given["requestId"])):
            self.requests[address] += int(given["encodedDataLength"])

    # --- what a person does

    def open(self, address: str) -> None:
        """Go to an address, and wait until the page is there."""
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str) -> Any:
        """The value of an expression in the page, JSON values only."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise PageScriptError(found["exceptionDetails"])
        return found["result"].get("value")

    def wait(self, condition: str, patience_s: float = PATIENCE_S) -> None:
        """Wait until an expression holds in the page."""
        end = time.monotonic() + patience_s
        while True:
            # While the page gives way to the next one, a question to it can fail, or get lost.
            with contextlib.suppress(PageScriptError, AssertionError, TimeoutError):
                if self.run(f"Boolean({condition})"):
                    return
            assert time.monotonic() < end, (
                f"not so within {patience_s:g} s: {condition}; the page: {self.run('document.body.innerText')[:2000]}"
            )
            time.sleep(0.02)

    def press(self, key: str) -> None:
        """Press and release a key."""
        text = {"Enter": "\r", " ": " "}.get(key, key if len(key) == 1 else "")
        code = KEYS.get(key) or ord(key.upper())
        common = {"key": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def click(self, selector: str) -> None:
        """Click what a CSS selector finds first, in its middle."""
        element = f"document.querySelector({json.dumps(selector)})"
        self.wait(element)
        before, where = None, self.run(f"{element}.scrollIntoView({{block: 'center'}})")
        while before is None or before != where:  # what was not seen before is laid out only now, and moves what comes after it
            time.sleep(0.05)
            before, where = where, self.run(f"(r => [r.x + r.width / 2, r.y + r.height / 2])({element}.getBoundingClientRect())")
        x, y = where
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screen(self, width: int, *, height: int = 900, is_dark: bool = False) -> None:
        """Take a screen of a width, and light or dark colours."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def scripts(self, *, are_on: bool) -> None:
        """Turn JavaScript of pages on or off."""
        self.call("Emulation.setScriptExecutionDisabled", value=not are_on)

    def picture(self, path: Path, *, is_whole: bool = True) -> None:
        """Write a picture of the page."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=is_whole)
        path.write_bytes(base64.b64decode(found["data"]))

    @property
    def overflow(self) -> int:
        """Pixels by which the page is wider than its window."""
        return int(self.run("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def _above(descriptor: int) -> int:
    """The same end of a pipe under a number that nobody else wants."""
    import fcntl

    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD, 20)
    os.close(descriptor)
    return int(moved)
