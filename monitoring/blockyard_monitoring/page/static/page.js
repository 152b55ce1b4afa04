// What every page does: show times in the reader's zone, draw charts, take keys, look again when something has changed.
"use strict";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function showTimes(root) {
  const today = new Date().toDateString();
  for (const one of root.querySelectorAll("time[datetime]")) {
    const at = new Date(one.dateTime);
    const clock = at.toLocaleTimeString([], {hour12: false}) + "." + String(at.getMilliseconds()).padStart(3, "0");
    one.textContent = at.toDateString() === today ? clock : at.toLocaleDateString() + " " + clock;
    one.title = one.dateTime;
  }
}

// ------------------------------------------------------------------------------------------------------------ charts

const CHARTS = {
  usage(data) {
    const times = data.busy.map((_, place) => (data.from_us + place * data.bucket_us) / 1e6);
    const seconds = data.bucket_us / 1e6;
    return [[times, data.busy, data.ended.map((count) => count / seconds), data.failed.map((count) => count / seconds)], [
      {}, {label: "busy workers", stroke: colour("--running"), fill: colour("--running") + "33", scale: "y"},
      {label: "tries ended /s", stroke: colour("--done"), scale: "rate"},
      {label: "failed /s", stroke: colour("--bad"), scale: "rate"},
    ], "rate"];
  },
  samples(data) {
    return [[data.map((one) => one.at_us / 1e6), data.map((one) => one.resident_bytes / 1048576),
             data.map((one) => one.cpu_us / 1e6)], [
      {}, {label: "memory, MiB", stroke: colour("--running"), scale: "y"},
      {label: "CPU since the first sample, s", stroke: colour("--warn"), scale: "rate"},
    ], "rate"];
  },
};

async function drawChart(place) {
  const answer = await fetch(place.dataset.url);
  if (!answer.ok) { place.textContent = "This could not be asked: " + answer.status; return; }
  const [columns, series, right] = CHARTS[place.dataset.chart](await answer.json());
  const axis = {stroke: colour("--dim"), grid: {stroke: colour("--rule"), width: 1}, ticks: {stroke: colour("--rule")}};
  place.replaceChildren();
  new uPlot({
    width: place.clientWidth || 800, height: 150, series,
    axes: [axis, axis, {...axis, scale: right, side: 1, size: 64, grid: {show: false}}],
  }, columns, place);
}

function drawCharts(root) {
  for (const place of root.querySelectorAll(".chart[data-url]")) drawChart(place);
}

// -------------------------------------------------------------------------------------------------------------- live

let isPaused = false;
let isStale = false;
let lookedAt = 0;
let waits = null;

function lookAgain() {
  if (isPaused || document.hidden) { isStale = true; return; }
  if (waits !== null) return;
  waits = setTimeout(() => {
    waits = null;
    isStale = false;
    lookedAt = Date.now();
    document.dispatchEvent(new CustomEvent("blockyard:changed"));
    const main = document.querySelector("main[data-live]");
    if (main && !main.contains(document.activeElement?.closest("input, select, pre"))) htmx.trigger(main, "changed");
  }, Math.max(0, lookedAt + 2000 - Date.now()));
}

function sayLive(words, isOn) {
  const place = document.getElementById("live");
  place.textContent = words;
  place.classList.toggle("on", isOn);
}

function follow() {
  const source = new EventSource("/live");
  source.onopen = () => sayLive(isPaused ? "paused" : "live", !isPaused);
  source.onerror = () => sayLive("not connected", false);
  source.addEventListener("changed", lookAgain);
  document.addEventListener("visibilitychange", () => { if (isStale) lookAgain(); });
  window.addEventListener("pagehide", () => source.close());
}

// -------------------------------------------------------------------------------------------------------------- keys

function moveRow(step) {
  const rows = [...document.querySelectorAll("tr[data-row]")];
  if (!rows.length) return;
  const at = rows.findIndex((row) => row.classList.contains("here"));
  const next = Math.min(rows.length - 1, Math.max(0, at + step));
  rows[at]?.classList.remove("here");
  rows[next].classList.add("here");
  rows[next].scrollIntoView({block: "nearest"});
  rows[next].querySelector("a")?.focus({preventScroll: true});
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
  const link = document.querySelector(`a[data-key="${CSS.escape(event.key)}"]`);
  if (link) { link.click(); return; }
  switch (event.key) {
    case "j": moveRow(1); break;
    case "k": moveRow(-1); break;
    case "p":
      isPaused = !isPaused;
      sayLive(isPaused ? "paused" : "live", !isPaused);
      if (!isPaused && isStale) lookAgain();
      break;
    case "/": {
      const filter = document.getElementById("filter");
      if (!filter) return;
      filter.focus();
      break;
    }
    case "?": document.getElementById("keys").showModal(); break;
    default: return;
  }
  event.preventDefault();
}

document.addEventListener("DOMContentLoaded", () => {
  showTimes(document);
  drawCharts(document);
  follow();
  document.addEventListener("keydown", onKey);
  document.body.addEventListener("htmx:afterSettle", (event) => {
    const main = document.getElementById("main");
    showTimes(main);
    if (event.target.id === "main" || main.contains(event.target)) drawCharts(main);
  });
});
