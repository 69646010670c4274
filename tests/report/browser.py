"""A page opened in Debian's chromium, offline, with everything that it says and asks for written down."""

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium; as root run: apt-get install chromium")
WIDTHS = (390, 768, 1280)


@dataclass
class Seen:
    """The page, what its console said, and the addresses outside the page that it asked for."""

    page: object
    console: list = field(default_factory=list)
    requests: list = field(default_factory=list)

    def shown(self, table):
        """First cells of the rows that are not hidden, in order."""
        rows = self.page.locator(f"#{table} tbody tr:not([hidden]) th[scope=row]")
        return rows.all_inner_texts()

    def columns(self, table):
        return self.page.locator(f"#{table} thead button").all_inner_texts()

    def traces(self, name):
        """What a chart was drawn from, as Plotly has it; typed arrays as lists."""
        return self.page.evaluate(
            """(name) => document.getElementById("chart-" + name).data.map((trace) =>
                JSON.parse(JSON.stringify(trace, (_, v) => ArrayBuffer.isView(v) ? [...v] : v)))""",
            name,
        )


@contextmanager
def running():
    """The browser, without a page."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser, path, width=1280, scheme="light"):
    """The page at a width, with its charts drawn."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    page = context.new_page()
    seen = Seen(page)
    page.on("console", lambda message: seen.console.append(message.text))
    page.on("pageerror", lambda error: seen.console.append(str(error)))
    page.on("request", lambda asked: seen.requests.append(asked.url))
    page.goto(path.as_uri())
    page.wait_for_function("document.documentElement.dataset.charts", timeout=60_000)
    yield seen
    context.close()
