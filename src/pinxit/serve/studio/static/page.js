// The studio page: choose a run, then a tab for each of its abilities.
//
// A tab is a module: `init()` connects its controls once, `selectRun(run)` resets it for another
// run, `open(values, examples)` fills it when it is opened, with the values of the address.
// `useImage(png)` takes an image of another tab. Each is optional. To add a tab, add a line to TABS
// and a section to page.html.
import { getJson } from "./api.js";
import * as caption from "./caption.js";
import * as complete from "./complete.js";
import { $, $$, h, pngUrl } from "./dom.js";
import * as draw from "./draw.js";
import * as edit from "./edit.js";
import * as gallery from "./gallery.js";
import { showRun, showSource, showSummary } from "./header.js";
import { showError } from "./job.js";
import * as latents from "./latents.js";
import * as program from "./program.js";
import * as reconstruct from "./reconstruct.js";
import * as report from "./report.js";
import * as sample from "./sample.js";
import { state } from "./state.js";
import * as training from "./training.js";
import { readUrl, writeUrl } from "./url.js";
import { addAction } from "./viewer.js";

// name -> its tab; a run has those whose name is one of its abilities, and those of `ALWAYS`
const TABS = {
  training: { title: "Training", module: training },
  draw: { title: "Draw", module: draw },
  sample: { title: "Samples", module: sample },
  encode: { title: "Latents", module: latents },
  complete: { title: "Complete", module: complete },
  caption: { title: "Caption", module: caption },
  edit: { title: "Edit", module: edit },
  reconstruct: { title: "Reconstruct", module: reconstruct },
  program: { title: "Program", module: program },
  gallery: { title: "Gallery", module: gallery },
  report: { title: "Report", module: report },
};
const ALWAYS = ["gallery", "report"];
const TAKES_IMAGE = ["edit", "complete", "caption", "reconstruct"];

const tabsOf = (run) =>
  Object.keys(TABS).filter((name) => ALWAYS.includes(name) || run.abilities.includes(name)
    || (name === "program" && program.isFor(run)));

async function openTab(name, values = {}, { push = false } = {}) {
  for (const tab of $("#tabs").children) {
    const isSelected = tab.dataset.name === name;
    tab.setAttribute("aria-selected", isSelected);
    tab.tabIndex = isSelected ? 0 : -1;
    $(`#${tab.dataset.name}`).hidden = !isSelected;
    if (isSelected) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  if (push) writeUrl({ run: state.run.name, tab: name }, { push });
  const run = state.run, { open } = TABS[name].module;
  try {
    const examples = open.length > 1 ? await waitForExamples(name, run) : null; // not all tabs do
    if (state.run === run) await open(values, examples);
  } catch (error) {
    showError($(`#${name}`), error);
  }
}

// Shows that something happens: the examples of an older run come from its data.
async function waitForExamples(name, run) {
  const text = h("p", { className: "muted" }, "Reading the run's own images …");
  $(".status", $(`#${name}`)).append(text);
  try { return await loadExamples(run); } finally { text.remove(); }
}

// The examples of a run, which are loaded once.
function loadExamples(run) {
  run.examples ??= getJson(`/studio/data/examples?run=${encodeURIComponent(run.name)}`);
  return run.examples;
}

function makeTab(name) {
  const tab = h("button", { id: `tab-${name}`, type: "button", role: "tab", "aria-controls": name }, TABS[name].title);
  tab.dataset.name = name;
  tab.addEventListener("click", () => openTab(name, {}, { push: true }));
  return tab;
}

function selectRun(run, tab, values = {}) {
  state.run = run;
  loadExamples(run).catch(() => {}); // asked for first: they are the first images of the page
  $("#run").value = run.name;
  showRun(run);
  for (const { module } of Object.values(TABS)) module.selectRun?.(run);
  for (const section of $$("main > section")) section.hidden = true;
  const names = tabsOf(run);
  $("#tabs").replaceChildren(...names.map(makeTab));
  const opened = openTab(names.includes(tab) ? tab : names[0], values);
  fillHeader(run);
  return opened;
}

// A head that cannot be filled is no reason for an error: the tabs say what fails.
async function fillHeader(run) {
  const ifSelected = (show) => (value) => { if (state.run === run) show(value); };
  const summary = getJson(`/studio/data/summary?run=${encodeURIComponent(run.name)}`);
  await Promise.allSettled([summary.then(ifSelected(showSummary)), loadExamples(run).then(ifSelected(showSource))]);
}

// Shows what the address says: when the page is opened, and on the way back and forth.
function showAddress() {
  const { run: name, tab, ...values } = readUrl();
  const run = state.runs.find((run) => run.name === name) ?? state.runs[0];
  if (run !== state.run) return selectRun(run, tab, values);
  const names = tabsOf(run);
  return openTab(names.includes(tab) ? tab : names[0], values);
}

function addActions() {
  addAction({
    title: () => "Use its settings",
    applies: ({ run, tab }) => ["draw", "sample"].includes(tab) && state.runs.some(({ name }) => name === run),
    run({ run, tab, prompt = "", seed, options }) {
      const values = { prompt, seed, ...options };
      const target = state.runs.find(({ name }) => name === run);
      if (target === state.run) openTab(tab, values, { push: true }); else selectRun(target, tab, values);
    },
  });
  for (const tab of TAKES_IMAGE) {
    addAction({
      title: () => `${TABS[tab].title} it`,
      applies: (entry) => state.run.abilities.includes(tab) && entry.tab !== tab,
      async run({ png }) {
        await openTab(tab, {}, { push: true });
        await TABS[tab].module.useImage(pngUrl(png));
      },
    });
  }
}

$("#tabs").addEventListener("keydown", (event) => {
  const tabs = [...$("#tabs").children];
  const at = tabs.indexOf(document.activeElement);
  const target = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
  if (target === undefined) return;
  event.preventDefault();
  const next = tabs[(target + tabs.length) % tabs.length];
  next.focus();
  openTab(next.dataset.name, {}, { push: true });
});

async function start() {
  const runs = getJson("/studio/data/runs");
  for (const { module } of Object.values(TABS)) module.init?.();
  addActions();
  state.runs = await runs;
  $("#run").replaceChildren(...state.runs.map(({ name }) => new Option(name, name)));
  $("#run").addEventListener("change", (event) => {
    const run = state.runs.find(({ name }) => name === event.target.value);
    writeUrl({ run: run.name }, { push: true });
    selectRun(run);
  });
  addEventListener("popstate", showAddress);
  await showAddress();
}

start().catch((error) => Object.assign($("#page-error"), { textContent: error.message, hidden: false }));
