"""The page of a small study as people meet it: in a browser that can reach nothing."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from dimscope.report.outlier_dimensions import page
from dimscope.report.page import render

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

QUIET = (
    *("--headless", "--disable-gpu", "--disable-quic", "--disable-sync", "--hide-scrollbars"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe"),
)
WAIT_S = 8
DRAWN = "document.querySelectorAll('.chart svg').length == document.querySelectorAll('figure').length"
MARKS = "[...document.querySelectorAll('.chart')].map(c => c.querySelectorAll('.role-mark > *, .role-mark *').length)"

CHARTS_FIT = (
    "[...document.querySelectorAll('.chart')].every(box => "
    "box.querySelector('svg').getBoundingClientRect().width <= box.clientWidth + 1)"
)


class Browser:
    """Chromium, spoken to over its debugging pipe: messages in JSON, each ended by a zero byte."""

    def __init__(self, profile: Path) -> None:
        read_by_it, self._write = os.pipe()
        self._read, written_by_it = os.pipe()
        # As root, in a container, Chromium's own sandbox cannot be had.
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        words = [str(CHROMIUM), *QUIET, *sandbox, f"--user-data-dir={profile}", "about:blank"]
        # It reads from file descriptor 3 and writes to 4, wherever the pipes lie here.
        plumbing = f'exec "$@" 3<&{read_by_it} 4>&{written_by_it}'
        self._process = subprocess.Popen(
            ["bash", "-c", plumbing, "bash", *words],
            pass_fds=(read_by_it, written_by_it),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_by_it)
        os.close(written_by_it)
        self._buffer, self._sent, self._session = b"", 0, None
        self.events: list[dict[str, Any]] = []
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self._session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Network", "Page"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and give its answer; what happens meanwhile is kept in `events`."""
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._sent:
            self.events.append(answer)
        return answer["result"]

    def open(self, path: Path, width: int, scheme: str = "light") -> None:
        """Open a page in a window of that width, and wait until its charts are drawn."""
        self("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self("Page.navigate", url=path.as_uri())
        self.wait_until(f"document.readyState == 'complete' && {DRAWN}")

    def wait_until(self, expression: str) -> None:
        """Wait for what becomes true in the page."""
        tries = f"for (let at = 0; at < {WAIT_S * 10} && !({expression}); at++) await new Promise(go => setTimeout(go, 50));"
        assert self.value(f"(async () => {{ {tries} return {expression}; }})()"), expression

    def value(self, expression: str) -> Any:
        """Evaluate JavaScript in the page."""
        return self("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)["result"].get(
            "value"
        )

    def press(self, key: str, text: str = "") -> None:
        """Press a key and let it go."""
        for kind in ("keyDown", "keyUp"):
            self(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                text=text if kind == "keyDown" else "",
                windowsVirtualKeyCode={"Tab": 9, "Enter": 13}[key],
            )

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(WAIT_S)
        os.close(self._write)
        os.close(self._read)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            assert select.select([self._read], [], [], WAIT_S)[0], "Chromium does not answer"
            received = os.read(self._read, 1 << 20)
            assert received, "Chromium is gone"
            self._buffer += received
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Give a browser that was just installed."""
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def path(tmp_path_factory, made_up):
    """Give the page of a study of two models, one of them with a name that is hard to place."""
    written = tmp_path_factory.mktemp("page") / "report.html"
    written.write_text(render(page(made_up(models=("bert", "a-company/a-model-of-quite-a-long-name-v2")))))
    return written


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_is_drawn_and_fits(browser, path, width, scheme):
    browser.open(path, width, scheme)
    marks = browser.value(MARKS)
    assert len(marks) == 1 + 3 * 2 + 2 + 3 * 2
    assert min(marks) > 0
    browser.wait_until(f"{CHARTS_FIT} && document.documentElement.scrollWidth <= innerWidth")
    paper, ink = (browser.value(f"getComputedStyle(document.body).{each}") for each in ("backgroundColor", "color"))
    assert (brightness(paper) > brightness(ink)) == (scheme == "light")
    assert browser.value("getComputedStyle(document.querySelector('.chart svg text')).fill") == ink
    events = {event["method"]: event["params"] for event in browser.events}
    assert not {"Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"} & set(events)
    asked = [
        event["params"]["request"]["url"] for event in browser.events if event["method"] == "Network.requestWillBeSent"
    ]
    assert asked == [path.as_uri()]


def test_the_keyboard_reaches_the_answer_and_the_numbers(browser, path):
    browser.open(path, 1280)
    browser.press("Tab")
    assert browser.value("document.activeElement.className") == "skip"
    assert browser.value("document.activeElement.getBoundingClientRect().left >= 0")
    browser.press("Enter", "\r")
    browser.wait_until("location.hash == '#answer'")
    for _ in range(40):
        if browser.value("document.activeElement.tagName") == "SUMMARY":
            break
        browser.press("Tab")
    browser.press("Enter", "\r")
    browser.wait_until("document.activeElement.parentElement.open")
    assert browser.value("document.activeElement.parentElement.querySelector('table').offsetHeight > 0")


def test_pointing_at_a_dimension_names_it(browser, path):
    browser.open(path, 1280)
    browser.value("document.querySelector('#figure-activations-bert-rte').scrollIntoView()")
    box = browser.value(
        "(({x, y, width, height}) => [x + width / 2, y + height / 2])(document.querySelector("
        "'#figure-activations-bert-rte .cell .background').getBoundingClientRect())"
    )
    for shift in (0, 1):  # a tooltip follows a pointer that moves
        browser("Input.dispatchMouseEvent", type="mouseMoved", x=box[0] + shift, y=box[1])
    browser.wait_until("document.querySelector('.vg-tooltip.visible')?.innerText.includes('dim')")


def test_no_text_of_a_chart_is_clipped(browser, path):
    browser.open(path, 400)
    browser.wait_until(CHARTS_FIT)
    clipped = (
        "[...document.querySelectorAll('.chart')].flatMap(box => [...box.querySelectorAll('text')]"
        ".filter(text => text.textContent && text.getBoundingClientRect().right > box.getBoundingClientRect().right + 1)"
        ".map(text => text.textContent))"
    )
    assert browser.value(clipped) == []


def test_a_narrow_page_shows_the_claim_beside_its_controls_without_scrolling(browser, path):
    browser.open(path, 400)
    hidden = (
        "(box => box.scrollWidth - box.clientWidth)(document.querySelector('[aria-label^=\"Accuracy on held-out\"]'))"
    )
    assert browser.value(hidden) <= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_paper_it_is_dark_on_white_and_nothing_is_cut(browser, path, scheme):
    browser.open(path, 1280, scheme)
    paper_width = 718  # A4 within Chromium's margins, in pixels
    browser("Emulation.setDeviceMetricsOverride", width=paper_width, height=1000, deviceScaleFactor=1, mobile=False)
    preferred = [{"name": "prefers-color-scheme", "value": scheme}]
    browser("Emulation.setEmulatedMedia", media="print", features=preferred)
    papers = browser.value(
        "[...new Set([...document.querySelectorAll('*')].map(each => getComputedStyle(each).backgroundColor))]"
    )
    assert set(papers) <= {"rgb(255, 255, 255)", "rgba(0, 0, 0, 0)"}
    assert browser.value("getComputedStyle(document.querySelector('.chart svg text')).fill") == "rgb(0, 0, 0)"
    cut = (
        "[...document.querySelectorAll('table, pre, .chart svg')].filter(part => part.checkVisibility()"
        " && part.getBoundingClientRect().right > innerWidth + 1).map(part => part.outerHTML.slice(0, 80))"
    )
    assert browser.value(cut) == []
    browser("Emulation.setEmulatedMedia", media="")


def test_every_heading_link_and_table_is_named_in_order(browser, path):
    browser.open(path, 1280)
    levels = browser.value("[...document.querySelectorAll('h1, h2, h3, h4')].map(each => +each.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))
    assert browser.value("[...document.querySelectorAll('nav a')].every(a => document.querySelector(a.hash))")
    assert browser.value("document.querySelectorAll('nav a').length") == browser.value(
        "document.querySelectorAll('nav ~ section h2, nav ~ * section h2').length"
    )
    assert browser.value("document.querySelectorAll('th:not([scope]), table:not(:has(caption))').length") == 0
    charts = "[...document.querySelectorAll('figure')].map(each => each.querySelector('[role=graphics-document]'))"
    told = browser.value(f"{charts}.map(each => each && each.getAttribute('aria-label'))")
    assert all(": " in (each or "") for each in told)


def brightness(color: str) -> int:
    return sum(map(int, re.findall(r"\d+", color)[:3]))
