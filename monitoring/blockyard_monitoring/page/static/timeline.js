// The timeline: asks for a window of time in as many buckets as it has columns, and draws it on a canvas.
"use strict";

(() => {
  const LANE = 16, NAMES = 150, AXIS = 22, COLUMN = 3;
  const STATES = {done: "--done", running: "--running", assigned: "--running", raised: "--bad", out_of_memory: "--bad",
                  timeout: "--warn", deadline: "--warn", dependency: "--warn", lost: "--lost", refused: "--lost"};
  let canvas, pen, data = null, extent = null, view = null, first = null, asked = 0, timer = null, dragged = null;

  const width = () => Math.max(100, canvas.clientWidth - NAMES);
  const x = (us) => NAMES + (us - view[0]) / (view[1] - view[0]) * width();

  async function ask() {
    const own = ++asked;
    const url = new URL(canvas.dataset.url, location.href);
    url.searchParams.set("buckets", String(Math.max(10, Math.min(800, Math.floor(width() / COLUMN)))));
    if (view) { url.searchParams.set("from", String(view[0])); url.searchParams.set("to", String(view[1])); }
    if (first) { url.searchParams.set("manager", first[0]); url.searchParams.set("worker", String(first[1])); }
    const answer = await fetch(url);
    if (own !== asked) return;
    if (!answer.ok) { say("This could not be asked: " + answer.status); return; }
    const found = await answer.json();
    extent = found.extent;
    data = found.timeline;
    if (!view) view = [data.from_us, data.to_us];
    const more = document.getElementById("lanes");
    more.hidden = !data.next_lane && !first;
    more.textContent = data.next_lane ? "More workers" : "First workers";
    draw();
  }

  function askSoon() {
    draw();
    clearTimeout(timer);
    timer = setTimeout(ask, 120);
  }

  function draw() {
    if (!data || !view) return;
    const scale = window.devicePixelRatio || 1;
    const height = AXIS + Math.max(1, data.lanes.length) * LANE + 4;
    canvas.style.height = height + "px";
    canvas.width = canvas.clientWidth * scale;
    canvas.height = height * scale;
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.font = "11px system-ui, sans-serif";
    pen.textBaseline = "middle";
    pen.clearRect(0, 0, canvas.clientWidth, height);
    drawAxis(height);
    pen.save();
    pen.beginPath();
    pen.rect(NAMES, 0, width(), height);
    pen.clip();
    drawBins();
    drawBars();
    pen.restore();
    pen.fillStyle = colour("--ink");
    data.lanes.forEach(([manager, worker], place) => {
      const name = manager.slice(-14) + (worker < 0 ? "" : " / " + worker);
      pen.fillText(name, 4, AXIS + place * LANE + LANE / 2, NAMES - 8);
    });
    canvas.dataset.drawn = `${data.lanes.length} ${data.bins.length} ${data.bars.length}`;
  }

  function drawAxis(height) {
    const span = (view[1] - view[0]) / 1e6;
    let step = 10 ** Math.floor(Math.log10(span / 6));
    for (const times of [2, 5, 10]) if (span / step > 10) step = 10 ** Math.floor(Math.log10(span / 6)) * times;
    pen.strokeStyle = colour("--rule");
    pen.fillStyle = colour("--dim");
    const digits = Math.max(0, Math.min(6, -Math.floor(Math.log10(step))));
    for (let at = Math.ceil(view[0] / 1e6 / step) * step; at <= view[1] / 1e6; at += step) {
      const place = x(at * 1e6);
      pen.beginPath();
      pen.moveTo(place, AXIS - 6);
      pen.lineTo(place, height);
      pen.stroke();
      const moment = new Date(at * 1000);
      const part = digits ? (at % 1).toFixed(digits).slice(1) : "";
      pen.fillText(moment.toLocaleTimeString([], {hour12: false}) + part, place + 3, AXIS / 2);
    }
  }

  function drawBins() {
    const wide = Math.max(1, data.bucket_us / (view[1] - view[0]) * width());
    const fine = colour("--done"), bad = colour("--bad");
    for (const [lane, bucket, count, busy, failed] of data.bins) {
      const left = x(data.from_us + bucket * data.bucket_us), top = AXIS + lane * LANE + 2;
      pen.globalAlpha = 0.2 + 0.8 * Math.min(1, busy / data.bucket_us);
      pen.fillStyle = fine;
      pen.fillRect(left, top, wide + 0.3, LANE - 4);
      if (failed) {
        pen.globalAlpha = 1;
        pen.fillStyle = bad;
        pen.fillRect(left, top, wide + 0.3, Math.max(2, (LANE - 4) * failed / count));
      }
    }
    pen.globalAlpha = 1;
  }

  function drawBars() {
    const colours = {};
    for (const name in STATES) colours[name] = colour(STATES[name]);
    const other = colour("--idle"), paper = colour("--paper");
    for (const [lane, began, ended, state] of data.bars) {
      const left = x(began), wide = Math.max(1, x(ended) - left), top = AXIS + lane * LANE + 2;
      pen.fillStyle = colours[state] || other;
      pen.fillRect(left, top, wide, LANE - 4);
      if (wide > 4) { pen.fillStyle = paper; pen.fillRect(left + wide - 1, top, 1, LANE - 4); }
    }
  }

  function pointedAt(event) {
    if (!data || event.offsetX < NAMES || event.offsetY < AXIS) return null;
    const lane = Math.floor((event.offsetY - AXIS) / LANE);
    const at = view[0] + (event.offsetX - NAMES) / width() * (view[1] - view[0]);
    const slack = (view[1] - view[0]) / width() * 2;
    const bar = data.bars.find((one) => one[0] === lane && one[1] - slack <= at && at <= one[2] + slack);
    const bucket = Math.floor((at - data.from_us) / data.bucket_us);
    return {bar, bin: data.bins.find((one) => one[0] === lane && one[1] === bucket)};
  }

  const say = (words) => { document.getElementById("pointed").textContent = words; };
  const long = (us) => us < 1e3 ? us + " µs" : us < 1e6 ? (us / 1e3).toFixed(2) + " ms" : (us / 1e6).toFixed(2) + " s";

  function point(event) {
    const found = pointedAt(event);
    if (found?.bar) {
      const [, began, ended, state, task, label] = found.bar;
      say(`${task} ${label}: ${state}, ${long(ended - began)}`);
    } else if (found?.bin) {
      say(`${found.bin[2]} tries, ${long(found.bin[3])} together` + (found.bin[4] ? `, ${found.bin[4]} failed` : ""));
    } else say("");
  }

  function zoom(factor, middle = (view[0] + view[1]) / 2) {
    const from = middle - (middle - view[0]) * factor, to = middle + (view[1] - middle) * factor;
    if (to - from < 50) return;
    view = [Math.max(0, Math.floor(from)), Math.ceil(to)];
    askSoon();
  }

  function move(part) {
    const step = Math.round((view[1] - view[0]) * part);
    if (view[0] + step < 0) return;
    view = [view[0] + step, view[1] + step];
    askSoon();
  }

  function onKey(event) {
    const act = {"+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), ArrowLeft: () => move(-0.25),
                 ArrowRight: () => move(0.25), 0: () => { view = null; ask(); }}[event.key];
    if (!act || !view || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  }

  document.addEventListener("DOMContentLoaded", () => {
    canvas = document.getElementById("timeline");
    pen = canvas.getContext("2d");
    canvas.addEventListener("wheel", (event) => {
      if (!view) return;
      event.preventDefault();
      zoom(event.deltaY > 0 ? 1.25 : 0.8, view[0] + (event.offsetX - NAMES) / width() * (view[1] - view[0]));
    }, {passive: false});
    canvas.addEventListener("pointerdown", (event) => {
      dragged = {at: event.clientX, view: [...view], far: false};
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!dragged) { point(event); return; }
      const moved = (event.clientX - dragged.at) / width() * (dragged.view[1] - dragged.view[0]);
      dragged.far ||= Math.abs(event.clientX - dragged.at) > 3;
      if (dragged.view[0] - moved < 0) return;
      view = dragged.view.map((us) => Math.round(us - moved));
      askSoon();
    });
    canvas.addEventListener("pointerup", (event) => {
      const found = !dragged?.far && pointedAt(event)?.bar;
      dragged = null;
      if (found) location.href = "/tasks/" + encodeURIComponent(found[4]);
    });
    document.addEventListener("keydown", onKey);
    document.getElementById("lanes").addEventListener("click", () => { first = data.next_lane; ask(); });
    document.addEventListener("blockyard:changed", () => {
      // One that shows all of it goes on showing all of it; one that was moved stays where it is.
      if (!extent || !view) return;
      if (view[0] <= extent[0] && view[1] >= extent[1]) view = null;
      ask();
    });
    window.addEventListener("resize", askSoon);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    ask();
  });
})();
