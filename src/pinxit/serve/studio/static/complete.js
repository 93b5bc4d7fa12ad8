// Complete: hide a part of an image and generate it anew.
import { RequestError } from "./api.js";
import { $, form, output, section, showValue } from "./dom.js";
import { generate } from "./generate.js";
import { addInput } from "./input.js";
import { cancel, showError } from "./job.js";
import { clearBoard, hideLowerHalf, hideNothing, hidesSomething, maskPng, setImage, setRadius } from "./mask.js";
import { addSeed, fill } from "./settings.js";
import { state } from "./state.js";
import { writeUrl } from "./url.js";

const NUM_COMPLETIONS = 4; // 1 of a model that has one answer
let input = null;

function complete({ auto = false } = {}) {
  const message = !input.png ? "Choose an image first." : hidesSomething() ? "" : "Draw over a part of the image first.";
  if (message) { showError(section("complete"), new RequestError(message, input.png ? null : "image")); return null; }
  const seed = +form("complete").elements.seed.value;
  writeUrl({ run: state.run.name, tab: "complete", seed });
  const n = state.run.completions_differ ? NUM_COMPLETIONS : 1;
  return generate(section("complete"), output("complete"), { task: "complete", n, seed },
    { title: "a completed image", text: "Completing …", auto, inputs: { "input.png": input.png, "mask.png": maskPng() } });
}

export async function open(values, examples) {
  fill("complete", values);
  if (output("complete").childElementCount) return;
  await input.offerExamples(examples);
  if (input.png) await complete({ auto: true });
}

export function useImage(png) {
  return input.set(png, { original: false });
}

export function selectRun(run) {
  cancel(section("complete"));
  output("complete").replaceChildren();
  input.selectRun();
  clearBoard();
  fill("complete", { seed: 0 });
  const { seed } = form("complete").elements;
  seed.closest(".field").hidden = !run.completions_differ;
  $("[data-another]", section("complete")).hidden = !run.completions_differ;
}

export function init() {
  addSeed("complete", () => complete());
  input = addInput($("[data-input]", section("complete")), setImage, { showsResult: false });
  const { brush, half, clear } = form("complete").elements;
  brush.addEventListener("input", () => { showValue(brush); setRadius(+brush.value); });
  half.addEventListener("click", hideLowerHalf);
  clear.addEventListener("click", hideNothing);
  form("complete").addEventListener("submit", (event) => { event.preventDefault(); complete(); });
}
