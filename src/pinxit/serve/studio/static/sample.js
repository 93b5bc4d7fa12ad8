// Samples: images that the model generates without any input.
import { $, form, output, section, showValue } from "./dom.js";
import { generate } from "./generate.js";
import { cancel } from "./job.js";
import { addSeed, fill } from "./settings.js";
import { state } from "./state.js";
import { writeUrl } from "./url.js";

const NUM_SAMPLES = 24, NUM_LARGE = 8, LARGE = 64; // fewer of images above 64 pixels
const more = $("#more");
let shown = null; // the fields of the images that are shown

function readFields() {
  const { temperature, seed, label = "" } = Object.fromEntries(new FormData(form("sample")));
  return { temperature: +temperature, seed: +seed, label };
}

// Images `start` and on of the seed; those before stay.
async function sample({ start = 0, auto = false } = {}) {
  if (!start) shown = readFields(); // "more" is more of the same, whatever the fields say by then
  const n = Math.max(state.run.width, state.run.height) > LARGE ? NUM_LARGE : NUM_SAMPLES;
  writeUrl({ run: state.run.name, tab: "sample", ...shown });
  const title = shown.label ? `a sample of ${shown.label}` : "a sample";
  more.hidden = true;
  const options = { title, text: "Sampling …", auto, append: start > 0 };
  const entries = await generate(section("sample"), output("sample"), { task: "sample", n, start, ...shown }, options);
  more.hidden = output("sample").childElementCount === 0;
  return entries;
}

export async function open(values) {
  if (values.seed === undefined && output("sample").childElementCount) return;
  fill("sample", values);
  showValue(form("sample").elements.temperature);
  await sample({ auto: true });
}

export function selectRun({ labels }) {
  cancel(section("sample"));
  output("sample").replaceChildren();
  more.hidden = true;
  const { label, temperature } = form("sample").elements;
  label.replaceChildren(new Option("any", ""), ...labels.map((name) => new Option(name, name)));
  label.parentElement.hidden = labels.length === 0;
  fill("sample", { seed: 0, temperature: 1 });
  showValue(temperature);
}

export function init() {
  addSeed("sample", () => sample());
  const { temperature, label } = form("sample").elements;
  form("sample").addEventListener("submit", (event) => { event.preventDefault(); sample(); });
  temperature.addEventListener("input", () => showValue(temperature));
  temperature.addEventListener("change", () => sample());
  label.addEventListener("change", () => sample());
  more.addEventListener("click", () => sample({ start: output("sample").childElementCount }));
}
