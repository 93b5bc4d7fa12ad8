// Edit: a conversation about one image; each turn edits the last result.
import { RequestError } from "./api.js";
import { $, form, h, output, section } from "./dom.js";
import { generate } from "./generate.js";
import { addInput } from "./input.js";
import { cancel, showError } from "./job.js";
import { addSeed, fill, onSubmit, readSettings, selectSettings, showCaptions } from "./settings.js";
import { state } from "./state.js";
import { writeUrl } from "./url.js";

let input = null;
let current = null; // the image that the next turn edits

async function edit({ auto = false } = {}) {
  if (!current) { showError(section("edit"), new RequestError("Choose an image first.", "image")); return; }
  const { prompt, seed, language } = Object.fromEntries(new FormData(form("edit")));
  const request = { task: "edit", prompt, seed: +seed, ...readSettings("edit"), ...(language ? { language } : {}) };
  writeUrl({ run: state.run.name, tab: "edit", ...request, task: "" });
  const place = h("div");
  const turn = h("li", {}, h("p", { className: "said" }, prompt), place);
  output("edit").append(turn);
  const options = { title: prompt, text: "Editing …", auto, inputs: { "input.png": current } };
  const entries = await generate(section("edit"), place, request, options);
  if (entries) current = entries[0].png; else turn.remove();
}

function restart() {
  cancel(section("edit"));
  current = input.png;
  output("edit").replaceChildren();
}

// The first example is an image before its edit, with the words of the edit.
export async function open(values, examples) {
  const pairs = examples.images.filter(({ before }) => before);
  const words = ({ captions }) => Object.values(captions)[0] ?? "";
  showCaptions("edit", examples, (text) => { fill("edit", { prompt: text }); edit(); });
  if (values.prompt) fill("edit", values);
  else if (!form("edit").elements.prompt.value) fill("edit", { prompt: pairs[0] ? words(pairs[0]) : examples.captions[0]?.text ?? "" });
  if (output("edit").childElementCount) return;
  await input.offerExamples(pairs.length ? { ...examples, images: pairs } : examples);
  if (input.png && form("edit").elements.prompt.value) await edit({ auto: true });
}

export const useImage = (png) => input.set(png, { original: false });

export function selectRun() {
  input.selectRun();
  restart();
  selectSettings("edit");
  fill("edit", { prompt: "", seed: 0 });
}

export function init() {
  addSeed("edit", edit);
  input = addInput($("[data-input]", section("edit")), restart, { kind: "before" });
  form("edit").elements.again.addEventListener("click", restart);
  onSubmit("edit", edit);
}
