// Curves, and what moves: the page is fetched again whenever the server says that it has changed.
"use strict";

const COLOURS = ["#0072b2", "#d55e00", "#009e73"];

function plot(place, title, xs, lines) {
  const box = document.createElement("div");
  place.append(box);
  const series = [{ label: "" }].concat(lines.map((line, n) => ({
    label: line.label, stroke: COLOURS[n], width: line.points ? 0 : 2, spanGaps: true,
    paths: line.points ? () => null : undefined, points: { show: line.points || xs.length < 2, size: 5 },
  })));
  const width = Math.max(240, Math.min(box.clientWidth || 320, 640));
  new uPlot({
    title, width, height: 240, scales: { x: { time: false } }, series,
    axes: [{ size: 40 }, { size: 60 }], cursor: { drag: { x: false, y: false } },
  }, [xs].concat(lines.map((line) => line.values)), box);
}

function draw(root) {
  for (const place of root.querySelectorAll(".curves[data-epochs]")) {
    const rows = JSON.parse(place.dataset.epochs);
    const xs = rows.map((row, n) => n); // epochs of all stages, one after the other
    const column = (name) => rows.map((row) => row[name]);
    plot(place, "Loss", xs, [
      { label: "training", values: column("train_loss") },
      { label: "validation", values: column("val_loss") },
    ]);
    plot(place, "Validation accuracy", xs, [{ label: "accuracy", values: column("val_accuracy") }]);
  }
  for (const place of root.querySelectorAll(".curves[data-trials]")) {
    const points = JSON.parse(place.dataset.trials);
    let best = -Infinity;
    const bests = points.map(([, value]) => (best = Math.max(best, value)));
    plot(place, "Validation accuracy by trial", points.map(([number]) => number), [
      { label: "best so far", values: bests },
      { label: "trial", values: points.map(([, value]) => value), points: true },
    ]);
  }
}

async function renew() {
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  if (!answer.ok) return;
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

draw(document);

const moving = document.querySelector("[data-changes]");
if (moving) {
  const source = new EventSource(moving.dataset.changes);
  source.addEventListener("changed", renew);
  source.addEventListener("end", () => { source.close(); location.reload(); });
  addEventListener("pagehide", () => source.close());
}

if (document.querySelector("[data-load-again]")) setTimeout(() => location.reload(), 1500);

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
  });
}
