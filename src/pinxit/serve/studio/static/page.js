// The studio page: choose a run, then a tab for each of its abilities.
//
// A tab is a module: `init()` connects its controls once, `selectRun(run)` resets it for another run,
// `open()` fills it when it is opened. Each is optional.
import { getJson } from "./api.js";
import * as caption from "./caption.js";
import * as complete from "./complete.js";
import { $, run } from "./dom.js";
import * as draw from "./draw.js";
import * as edit from "./edit.js";
import * as latents from "./latents.js";
import * as report from "./report.js";
import * as sample from "./sample.js";
import { state } from "./state.js";
import * as training from "./training.js";

// ability -> its tab; every run has a report
const TABS = {
  training: { title: "Training", module: training },
  draw: { title: "Draw", module: draw },
  sample: { title: "Sample", module: sample },
  encode: { title: "Latents", module: latents },
  complete: { title: "Complete", module: complete },
  caption: { title: "Caption", module: caption },
  edit: { title: "Edit", module: edit },
  report: { title: "Report", module: report },
};

function openTab(name) {
  for (const tab of $("#tabs").children) {
    const isSelected = tab.dataset.name === name;
    tab.setAttribute("aria-selected", isSelected);
    tab.tabIndex = isSelected ? 0 : -1;
    $(`#${tab.dataset.name}`).hidden = !isSelected;
  }
  run(async () => TABS[name].module.open?.());
}

function makeTab(name) {
  const tab = document.createElement("button");
  Object.assign(tab, { id: `tab-${name}`, textContent: TABS[name].title, type: "button" });
  tab.dataset.name = name;
  tab.setAttribute("role", "tab");
  tab.setAttribute("aria-controls", name);
  tab.addEventListener("click", () => openTab(name));
  return tab;
}

function selectRun(selected) {
  state.run = selected;
  for (const output of document.querySelectorAll(".output")) output.replaceChildren();
  for (const { module } of Object.values(TABS)) module.selectRun?.(selected);
  $("#about").textContent = `${selected.family}, ${selected.width} × ${selected.height} pixels`;
  for (const section of document.querySelectorAll("main > section")) section.hidden = true;
  const names = Object.keys(TABS).filter((name) => name === "report" || selected.abilities.includes(name));
  $("#tabs").replaceChildren(...names.map(makeTab));
  openTab(names[0]);
}

$("#tabs").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const tabs = [...$("#tabs").children];
  const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
  openTab(next.dataset.name);
  next.focus();
});

for (const { module } of Object.values(TABS)) module.init?.();
run(async () => {
  state.runs = await getJson("/studio/data/runs");
  $("#run").replaceChildren(...state.runs.map(({ name }) => new Option(name, name)));
  $("#run").addEventListener("change", (event) =>
    selectRun(state.runs.find(({ name }) => name === event.target.value)));
  selectRun(state.runs[0]);
});
