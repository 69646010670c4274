"""The page in a real browser, offline: no errors, charts drawn, tables sort by keyboard."""

import json
import shutil
import subprocess

import pytest

from lowbit.report.page import write_page
from tests.report.test_diagnosed import content as diagnosed
from tests.report.test_report import content  # noqa: F401

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--allow-file-access-from-files", "--virtual-time-budget=10000",
    "--window-size=1200,2000", "--enable-logging=stderr", "--v=0", "--host-resolver-rules=MAP * ~NOTFOUND",
]  # fmt: skip

# Runs beside the page: waits for its charts, presses buttons, and leaves what it saw in its own title.
PROBE = """<!doctype html><meta charset="utf-8"><title>waiting</title>
<iframe id="f" src="report.html" width="%d" height="3000"></iframe>
<pre id="seen"></pre>
<script>
const frame = document.getElementById("f");
frame.addEventListener("load", async () => {
  const page = frame.contentDocument, view = frame.contentWindow, errors = [];
  view.addEventListener("error", (event) => errors.push(event.message));
  for (let i = 0; i < 200 && !page.documentElement.dataset.charts; i++) await new Promise((r) => setTimeout(r, 25));
  const table = page.querySelectorAll("table.sortable")[1];
  const button = [...table.querySelectorAll("thead button")].find((b) => b.textContent === "Bytes");
  button.focus();
  const names = () => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent);
  button.click();
  const up = names();
  button.click();
  const seen = {
    charts: page.documentElement.dataset.charts,
    drawn: page.querySelectorAll(".chart .main-svg").length > 0,
    focused: page.activeElement === button,
    sort: button.closest("th").getAttribute("aria-sort"),
    up, down: names(), errors,
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    wide: Math.max(...[...page.querySelectorAll(".chart svg.main-svg")].map((s) => s.getBoundingClientRect().right)),
  };
  document.getElementById("seen").textContent = JSON.stringify(seen);
});
</script>"""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no chromium; scripts/debian.sh all installs it")
@pytest.mark.parametrize("width", [390, 768, 1100])
def test_page_in_a_browser(content, tmp_path, width):  # noqa: F811
    write_page(content, tmp_path / "report.html")
    seen, errors = probe(tmp_path, PROBE % width)
    assert seen["charts"] == "5"
    assert seen["drawn"]
    assert seen["focused"]
    assert (seen["up"], seen["down"], seen["sort"]) == (["conv1", "conv2"], ["conv2", "conv1"], "descending")
    assert seen["errors"] == []
    assert seen["overflow"] <= 0
    assert seen["wide"] <= width
    assert not errors


# As above, on the page of a diagnosis: filters, sorts a table with missing values, and reads a chart's numbers.
DIAGNOSIS = """<!doctype html><meta charset="utf-8"><title>waiting</title>
<iframe id="f" src="report.html" width="%d" height="3000"></iframe>
<pre id="seen"></pre>
<script>
const frame = document.getElementById("f");
frame.addEventListener("load", async () => {
  const page = frame.contentDocument, view = frame.contentWindow, errors = [];
  view.addEventListener("error", (event) => errors.push(event.message));
  for (let i = 0; i < 200 && !page.documentElement.dataset.charts; i++) await new Promise((r) => setTimeout(r, 25));
  const table = page.getElementById("measured-table");
  const shown = () => [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => row.cells[0].textContent);
  const head = [...table.querySelectorAll("thead button")].find((b) => b.textContent === "Error share W, %%");
  head.click();
  head.click();
  const sorted = shown();
  const filter = page.querySelector('input[data-filter="measured-table"]');
  filter.focus();
  filter.value = "4";
  filter.dispatchEvent(new view.Event("input"));
  const seen = {
    charts: page.documentElement.dataset.charts,
    sorted, errors, focused: page.activeElement === filter,
    filtered: shown().includes("4") && !shown().includes("nothing"),
    split: [...page.getElementById("chart-split").data[0].y],
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    wide: Math.max(...[...page.querySelectorAll(".chart svg.main-svg")].map((s) => s.getBoundingClientRect().right)),
  };
  document.getElementById("seen").textContent = JSON.stringify(seen);
});
</script>"""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no chromium; scripts/debian.sh all installs it")
@pytest.mark.parametrize("width", [390, 768, 1100])
def test_diagnosis_in_a_browser(tmp_path, width):
    write_page(diagnosed(), tmp_path / "report.html")
    seen, errors = probe(tmp_path, DIAGNOSIS % width)
    assert (seen["charts"], seen["errors"], errors) == ("7", [], [])
    assert seen["sorted"][0] == "2" and seen["focused"] and seen["filtered"]
    record = json.loads((tmp_path / "report.json").read_text())["diagnosis"]
    assert seen["split"] == [row["accuracy"] for row in record["tables"]["split"]["rows"]]
    assert seen["overflow"] <= 0
    assert seen["wide"] <= width


def probe(folder, page):
    """What the probe has written, and the errors of the console."""
    (folder / "probe.html").write_text(page)
    profile = f"--user-data-dir={folder / 'profile'}"
    done = subprocess.run(
        [BROWSER, *FLAGS, profile, "--dump-dom", f"file://{folder / 'probe.html'}"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    seen = json.loads(done.stdout.split('<pre id="seen">')[1].split("</pre>")[0])
    return seen, [line for line in done.stderr.splitlines() if "CONSOLE" in line and "rror" in line]
