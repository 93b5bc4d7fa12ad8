// The head of the page: what the run is, how good it is, and what it learned from.
import { $, h, pngUrl } from "./dom.js";

const NUM_IMAGES = 8;
// state of the verdict -> what it says in plain words, and its color
const STATES = {
  good: ["Trained well", "good"],
  undertrained: ["Could train longer", "warn"],
  "too few images": ["Too few images", "warn"],
  overfits: ["Remembers too much", "warn"],
  collapsed: ["Collapsed", "bad"],
  diverged: ["Diverged", "bad"],
  unknown: ["Hard to say", "plain"],
};

export function showRun(run) {
  document.title = `${run.name} · pinxit studio`;
  $("#title").textContent = run.name;
  $("#sentence").textContent = `${run.family}, ${run.width} × ${run.height} pixels`;
  $("#verdict").replaceChildren();
  $("#figures").replaceChildren();
  $("#source").hidden = true;
  const style = document.documentElement.style;
  style.setProperty("--ratio", run.width / run.height);
  style.setProperty("--rendering", Math.max(run.width, run.height) > 128 ? "auto" : "pixelated");
}

export function showSummary({ sentence, verdict, metrics }) {
  if (sentence) $("#sentence").textContent = sentence;
  if (verdict.state) {
    const [text, color] = STATES[verdict.state] ?? [verdict.state, "plain"];
    const advice = !verdict.remedy ? [] : verdict.command
      ? [" Go on: ", h("code", {}, verdict.command)]
      : [` To improve it: ${verdict.remedy}.`];
    $("#verdict").replaceChildren(h("span", { className: `pill ${color}` }, text), h("span", {}, verdict.sentence, h("span", { className: "advice" }, ...advice)));
  }
  $("#figures").replaceChildren(...metrics.map(({ title, value, note }) =>
    h("div", { title: note }, h("dt", {}, title), h("dd", {}, value))));
}

export function showSource({ images, source }) {
  $("#source").hidden = images.length === 0;
  $("#source ul").replaceChildren(...images.slice(0, NUM_IMAGES).map(({ png }) =>
    h("li", {}, h("img", { src: pngUrl(png), alt: "" }))));
  $("#source p").textContent = source.startsWith("samples") ? source : `It learned from images like these (${source}).`;
}
