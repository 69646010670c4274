"use strict";
// Tables: a heading's button sorts by its column, numbers by data-value, missing values last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.querySelectorAll("thead th")];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => {
      const cell = row.children[column];
      return cell.dataset.value === undefined ? cell.textContent.trim() : cell.dataset.value;
    };
    const missing = (value) => value === "None" || value === "–";
    const compare = (a, b) => {
      const x = key(a), y = key(b);
      if (missing(x) || missing(y)) return missing(x) - missing(y);
      const difference = isNaN(x) || isNaN(y) ? x.localeCompare(y, "en", { numeric: true }) : x - y;
      return down ? -difference : difference;
    };
    const body = table.tBodies[0];
    [...body.rows].sort(compare).forEach((row) => body.append(row));
  }));
}

// Filters: an input hides the rows of its table that do not hold its text in a cell of words.
for (const input of document.querySelectorAll("input[data-filter]")) {
  const table = document.getElementById(input.dataset.filter);
  const shown = document.createElement("output");
  shown.className = "shown";
  input.after(shown);
  input.addEventListener("input", () => {
    const text = input.value.trim().toLowerCase();
    const rows = [...table.tBodies[0].rows];
    const words = (row) => [...row.cells].filter((cell) => !cell.classList.contains("n")).map((cell) => cell.textContent);
    for (const row of rows) row.hidden = !words(row).join(" ").toLowerCase().includes(text);
    shown.textContent = text ? rows.filter((row) => !row.hidden).length + " of " + rows.length + " rows" : "";
  });
}

// Charts: plotly.js is in the page, compressed; unpack it, then draw.
async function unpack(text) {
  const bytes = Uint8Array.from(atob(text.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  return { "font.color": style.getPropertyValue("--ink").trim() };
}

async function draw() {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const names = Object.keys(figures);
  if (names.length === 0) return;
  const library = document.createElement("script");
  library.textContent = await unpack(document.getElementById("plotly").textContent);
  document.head.append(library);
  const settings = { responsive: true, displayModeBar: false };
  const place = (name) => document.getElementById("chart-" + name);
  for (const name of names) {
    const { data, layout } = figures[name];
    await Plotly.newPlot(place(name), data, layout, settings);
  }
  const recolour = () => names.forEach((name) => Plotly.relayout(place(name), colours()));
  recolour();
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", recolour);
  window.addEventListener("beforeprint", () => names.forEach((name) => {
    Plotly.relayout(place(name), { "font.color": "#000000" });
    Plotly.Plots.resize(place(name));
  }));
  window.addEventListener("afterprint", recolour);
  document.documentElement.dataset.charts = String(names.length);
}

draw().catch((error) => {
  document.documentElement.dataset.charts = "failed";
  for (const chart of document.querySelectorAll(".chart")) {
    chart.textContent = "This browser cannot draw the charts (" + error.message + "); the tables have every number.";
  }
});
