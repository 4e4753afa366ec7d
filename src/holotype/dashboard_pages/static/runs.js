// Curves, and what moves: the page is fetched again whenever the server says that it has changed.
"use strict";

const COLOURS = ["#0072b2", "#d55e00", "#009e73"];

function plot(box, title, x, xs, lines) {
  const series = [{ label: x }].concat(lines.map((line, n) => ({
    label: line.label, stroke: COLOURS[n], width: line.points ? 0 : 2, spanGaps: true,
    paths: line.points ? () => null : undefined, points: { show: line.points || xs.length < 2, size: 5 },
  })));
  new uPlot({
    title, width: Math.max(200, Math.min(box.clientWidth, 640)), height: 240,
    scales: { x: { time: false } }, series, cursor: { drag: { x: false, y: false } },
    axes: [{ size: 40, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000] }, { size: 60 }],
  }, [xs].concat(lines.map((line) => line.values)), box);
}

function boxes(place, count) {
  place.replaceChildren(...Array.from({ length: count }, () => document.createElement("div")));
  return [...place.children]; // all of them first, so that each has its width
}

function draw(root) {
  for (const place of root.querySelectorAll(".curves[data-epochs]")) {
    const rows = JSON.parse(place.dataset.epochs);
    const xs = rows.map((row, n) => n); // epochs of all stages, one after the other
    const line = (label, name) => ({ label, values: rows.map((row) => row[name]) });
    const [loss, accuracy] = boxes(place, 2);
    plot(loss, "Loss", "epoch", xs, [
      line("training", "train_loss"), line("validation", "val_loss"),
    ]);
    plot(accuracy, "Accuracy", "epoch", xs, [
      line("training", "train_accuracy"), line("validation", "val_accuracy"),
    ]);
  }
  for (const place of root.querySelectorAll(".curves[data-trials]")) {
    const points = JSON.parse(place.dataset.trials);
    let best = -Infinity;
    const bests = points.map(([, value]) => (best = Math.max(best, value)));
    const [box] = boxes(place, 1);
    plot(box, "Validation accuracy by trial", "trial", points.map(([number]) => number), [
      { label: "best so far", values: bests },
      { label: "trial", values: points.map(([, value]) => value), points: true },
    ]);
  }
}

async function renew() {
  const answer = await fetch(location.href, { headers: { accept: "text/html" } }).catch(() => null);
  if (!answer?.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const now = page.getElementById("moving"), before = document.getElementById("moving");
  if (!now || !before) return;
  const open = [...before.querySelectorAll("details")].map((one) => one.open);
  [...now.querySelectorAll("details")].forEach((one, n) => { if (n in open) one.open = open[n]; });
  const changes = before.dataset.changes;
  before.replaceChildren(...now.childNodes);
  if (changes && !now.dataset.changes) location.reload(); // it has ended: scores and buttons change
  draw(before);
}

if (typeof uPlot !== "undefined") draw(document);

let drawnAt = innerWidth, waiting = 0;
addEventListener("resize", () => {
  if (innerWidth === drawnAt) return; // a phone that scrolls changes its height only
  drawnAt = innerWidth;
  clearTimeout(waiting);
  waiting = setTimeout(() => typeof uPlot !== "undefined" && draw(document), 100);
});

function listen(address) {
  const source = new EventSource(address);
  source.addEventListener("open", renew); // what has changed while nobody listened
  source.addEventListener("changed", renew);
  source.addEventListener("end", () => { source.close(); location.reload(); });
  // While its server is started again a proxy answers 502, after which a browser asks no more.
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 2000, address);
  });
  addEventListener("pagehide", () => source.close());
}

const moving = document.querySelector("[data-changes]");
if (moving) listen(moving.dataset.changes);

if (document.querySelector("[data-load-again]")) setTimeout(() => location.reload(), 1500);

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
  });
}
