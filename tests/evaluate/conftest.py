"""Headless Chromium, driven through a pipe: nothing but the browser is needed."""

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# The browser reads commands from descriptor 3 and answers on 4.
START = ("import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); "
         "os.execvp(sys.argv[3], sys.argv[3:])")
PATIENCE = 60  # s


class Browser:
    """
    One tab, by the DevTools protocol (https://chromedevtools.github.io/devtools-protocol/).

    ``events`` fills with what the browser tells by itself.
    """

    def __init__(self, program, profile):
        import fcntl

        pipes = [fd for _ in range(2) for fd in os.pipe()]
        # Beyond the numbers that they will have in the browser.
        ends = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in pipes]
        for fd in pipes:
            os.close(fd)
        theirs_in, self._write, self._read, theirs_out = ends
        words = [program, "--headless", "--remote-debugging-pipe", f"--user-data-dir={profile}",
                 "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"]
        if os.geteuid() == 0:
            words.append("--no-sandbox")
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, str(theirs_in), str(theirs_out), *words],
            pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        for fd in (theirs_in, theirs_out):
            os.close(fd)
        self._left, self._n, self._session, self.events = b"", 0, None, []

    def close(self):
        self._session = None
        self.call("Browser.close")
        self._process.wait(PATIENCE)
        for fd in (self._write, self._read):
            os.close(fd)

    def call(self, method, **parameters):
        """The answer to a command."""
        self._n += 1
        message = {"id": self._n, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._n:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self):
        while b"\0" not in self._left:
            part = os.read(self._read, 1 << 16)
            assert part, "the browser has gone"
            self._left += part
        message, self._left = self._left.split(b"\0", 1)
        return json.loads(message)

    def open(self, path, script=True):
        """Open a file in a new tab of 1200 by 1000 pixels."""
        self._session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target,
                                  flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=1200, height=1000,
                  deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setScriptExecutionDisabled", value=not script)
        self.events.clear()
        self.call("Page.navigate", url=Path(path).as_uri())
        while not self.messages("Page.loadEventFired"):
            self.events.append(self._next())

    def messages(self, *methods):
        """The events of some kinds."""
        return [event for event in self.events if event.get("method") in methods]

    def value(self, expression):
        """What an expression in JavaScript is, promises fulfilled."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True,
                          awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key, modifiers=0):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, modifiers=modifiers,
                      text=" " if key == " " and kind == "keyDown" else "")

    def mouse(self, kind, x, y, **more):
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def box(self, selector):
        """Left, top, width and height of an element, brought into view."""
        return self.value(f"""(() => {{ const e = document.querySelector({selector!r});
            e.scrollIntoView({{block: "center"}}); const b = e.getBoundingClientRect();
            return [b.left, b.top, b.width, b.height]; }})()""")

    def picture(self):
        """What is seen, as an array of colours from 0 to 1, shape ``(ny, nx, 3)``."""
        from matplotlib.image import imread

        png = self.call("Page.captureScreenshot", format="png")["data"]
        return imread(io.BytesIO(base64.b64decode(png)))[..., :3]

    def wait_for(self, expression):
        """Until an expression is true."""
        end = time.monotonic() + PATIENCE
        while not self.value(expression):
            assert time.monotonic() < end, expression
            time.sleep(0.02)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None or os.name != "posix":
        pytest.skip(f"no browser is on the path ({', '.join(NAMES)})")
    found = Browser(program, tmp_path_factory.mktemp("profile"))
    yield found
    found.close()
