"""The page in a real browser, offline: silent, drawn, sorted, filtered, printed; at three widths, light and dark."""

import json
import re

import pytest

from lowbit.report.figures import figures
from lowbit.report.page import write_page
from tests.report.browser import WIDTHS, needs_browser, opened, running
from tests.report.test_diagnosed import content as diagnosed
from tests.report.test_pareto import several

pytestmark = [pytest.mark.slow, needs_browser]
PAGES = {"report": several, "diagnosis": diagnosed}


@pytest.fixture(scope="module")
def browser():
    with running() as found:
        yield found


@pytest.fixture(scope="module", params=PAGES)
def page(request, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param) / "report.html"
    write_page(PAGES[request.param](), path)
    return path


@pytest.fixture(scope="module")
def diagnosis(tmp_path_factory):
    path = tmp_path_factory.mktemp("diagnosis") / "report.html"
    write_page(diagnosed(), path)
    return path


@pytest.mark.parametrize("width", WIDTHS)
def test_silent_fits_and_is_legible(browser, page, width):
    with opened(browser, page, width) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        edges = seen.page.locator(".chart svg.main-svg").evaluate_all(
            "all => all.map((one) => one.getBoundingClientRect().right)"
        )
        assert edges and max(edges) <= width
        for scheme in ("light", "dark"):
            seen.page.emulate_media(color_scheme=scheme)
            colors = {what: lightness(seen.page.evaluate(code)) for what, code in COLORS.items()}
            assert (colors["paper"] > 128) == (scheme == "light")
            assert abs(colors["paper"] - colors["ink"]) > 150
            wanted = f"Math.abs(({LIGHTNESS})({COLORS['chart']}) - {colors['paper']}) > 150"
            seen.page.wait_for_function(wanted, timeout=20_000)  # charts are colored again, one after another
        assert seen.console == []
        assert [url for url in seen.requests if not url.startswith(("file:", "data:", "blob:"))] == []


COLORS = {
    "paper": "getComputedStyle(document.body).backgroundColor",
    "ink": "getComputedStyle(document.body).color",
    "chart": "getComputedStyle([...document.querySelectorAll('.chart .xtick text')].pop()).fill",
}
LIGHTNESS = "(color) => color.match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0) / 3"


def lightness(color):
    return sum(int(part) for part in re.findall(r"\d+", color)[:3]) / 3


def test_every_chart_has_the_numbers_of_the_json(browser, page):
    record = json.loads(page.with_suffix(".json").read_text())
    expected = {one["id"]: one["figure"]["data"] for one in figures(record)}
    with opened(browser, page) as seen:
        drawn = seen.page.locator(".chart").evaluate_all("all => all.map((one) => one.id.slice(6))")
        assert sorted(drawn) == sorted(expected)
        assert seen.page.evaluate("document.documentElement.dataset.charts") == str(len(expected))
        for name, traces in expected.items():
            found = seen.traces(name)
            assert len(found) == len(traces)
            for trace, wanted in zip(found, traces, strict=True):
                for key in ("x", "y", "z", "customdata", "name"):
                    assert trace.get(key) == wanted.get(key), (name, key)


def test_sorting_by_keyboard(browser, diagnosis):
    rows = json.loads(diagnosis.with_suffix(".json").read_text())["diagnosis"]["layers"]
    with opened(browser, diagnosis) as seen:
        name = "Error share W, %"
        place = seen.columns("measured-table").index(name)
        seen.page.locator("input[data-filter=measured-table]").focus()
        seen.page.keyboard.press("Tab")  # the region that scrolls
        for _ in range(place + 1):
            seen.page.keyboard.press("Tab")
        assert seen.page.evaluate("document.activeElement.textContent") == name
        assert seen.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        up = [row["layer"] for row in sorted(rows, key=lambda row: row["weight_share"])]
        head = seen.page.locator("#measured-table thead th").nth(place)
        seen.page.keyboard.press("Enter")
        assert (seen.shown("measured-table"), head.get_attribute("aria-sort")) == (up, "ascending")
        seen.page.keyboard.press("Enter")
        assert (seen.shown("measured-table"), head.get_attribute("aria-sort")) == (up[::-1], "descending")
        seen.page.keyboard.press("Space")
        assert head.get_attribute("aria-sort") == "ascending"
        assert seen.page.locator("#measured-table [aria-sort]").count() == 1


def test_sorting_puts_missing_numbers_last(browser, tmp_path):
    write_page(several(), tmp_path / "report.html")
    with opened(browser, tmp_path / "report.html") as seen:
        button = seen.page.get_by_role("button", name="µs, batch 1", exact=True)
        for _ in range(2):
            button.click()
            assert seen.shown("comparison-table")[-1].startswith("gone")
        assert seen.shown("comparison-table")[0].startswith("wide")


def test_filtering(browser, diagnosis):
    with opened(browser, diagnosis) as seen:
        field = seen.page.get_by_label("Filter").first
        field.press_sequentially("4")
        assert seen.shown("measured-table") == ["4"]
        assert seen.page.locator("label:has([data-filter=measured-table]) output").inner_text() == "1 of 4 rows"
        field.fill("nothing like it")
        assert seen.shown("measured-table") == []
        field.fill("")
        assert seen.shown("measured-table") == ["0", "2", "4", "6"]


def test_hovering_names_the_number(browser, diagnosis):
    with opened(browser, diagnosis) as seen:
        seen.page.locator("#chart-split .bars .point").first.hover(force=True)  # Plotly listens on a layer above
        label = seen.page.locator("#chart-split .hoverlayer .hovertext")
        label.wait_for(timeout=10_000)
        assert label.text_content().startswith("nothing: ")


def test_headings_tables_and_charts_have_names(browser, page):
    with opened(browser, page) as seen:
        assert seen.page.locator("h1").count() == 1
        assert seen.page.locator("table:not(:has(caption)), img:not([alt]), input:not([data-filter])").count() == 0
        assert seen.page.locator(".chart").evaluate_all("all => all.every((one) => one.ariaLabel.length > 10)")
        assert seen.page.locator("html").get_attribute("lang") == "en"
        seen.page.keyboard.press("Tab")
        assert seen.page.evaluate("document.activeElement.textContent") == "Skip to the results"


def test_print(browser, page):
    with opened(browser, page, scheme="dark") as seen:
        seen.page.emulate_media(media="print")
        assert seen.page.locator(".filter:visible").count() == 0
        seen.page.set_viewport_size({"width": 718, "height": 1000})  # A4 between margins of 1 cm
        assert (
            seen.page.evaluate("Math.max(...[...document.querySelectorAll('table')].map((t) => t.clientWidth))") <= 718
        )
        assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        seen.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        seen.page.wait_for_function(
            "getComputedStyle(document.querySelector('.chart .xtick text')).fill === 'rgb(0, 0, 0)'", timeout=10_000
        )
        made = seen.page.pdf(format="A4")
        assert made.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page[^s]", made)) >= 2
        assert seen.console == []
