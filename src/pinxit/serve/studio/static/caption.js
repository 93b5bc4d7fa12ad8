// Caption: a caption in each language; a token shows the part of the image that it attends to.
import { RequestError, postJson } from "./api.js";
import { $, form, h, loadImage, output, pngUrl, section } from "./dom.js";
import { addInput } from "./input.js";
import { cancel, runJob, showError } from "./job.js";
import { nameOf } from "./settings.js";
import { state } from "./state.js";
import { writeUrl } from "./url.js";

const CANVAS_SIDE = 512; // pixels at least, so that the attention's cells have sharp edges
const canvas = $("#attention");
let input = null;

// Draws the image, darkened where the attention is low.
function draw(image, rows, columns, weights) {
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  const width = canvas.width / columns, height = canvas.height / rows;
  weights?.forEach((weight, i) => {
    context.fillStyle = `rgb(0 0 0 / ${0.8 * (1 - weight)})`;
    context.fillRect((i % columns) * width, Math.floor(i / columns) * height, width, height);
  });
}

function makeToken({ token, weights }, show) {
  const button = h("button", { type: "button", className: "token" }, token.replaceAll(" ", "\u00a0"));
  for (const event of ["focus", "pointerenter"]) button.addEventListener(event, () => show(weights));
  for (const event of ["blur", "pointerleave"]) button.addEventListener(event, () => show(null));
  return button;
}

function caption() {
  if (!input.png) { showError(section("caption"), new RequestError("Choose an image first.", "image")); return null; }
  writeUrl({ run: state.run.name, tab: "caption" });
  const url = pngUrl(input.png);
  return runJob(section("caption"), "Reading the image …", async (signal) => {
    const { rows, columns, captions } = await postJson("/studio/data/captions", { run: state.run.name, image: url }, signal);
    const image = await loadImage(url);
    const scale = Math.max(1, Math.ceil(CANVAS_SIDE / image.width));
    Object.assign(canvas, { width: image.width * scale, height: image.height * scale, hidden: false });
    const show = (weights) => draw(image, rows, columns, weights);
    show(null);
    output("caption").replaceChildren(...captions.map(({ language, text, tokens }) => {
      const line = h("p", { lang: language }, ...tokens.map((token) => makeToken(token, show)));
      line.dataset.text = text;
      return h("div", {}, h("h3", {}, nameOf(language)), line);
    }));
  });
}

export async function open(_, examples) {
  if (output("caption").childElementCount) return;
  await input.offerExamples(examples);
}

export const useImage = (png) => input.set(png, { original: false });

export function selectRun() {
  cancel(section("caption"));
  output("caption").replaceChildren();
  canvas.hidden = true;
  input.selectRun();
}

export function init() {
  input = addInput($("[data-input]", section("caption")), caption);
  form("caption").addEventListener("submit", (event) => { event.preventDefault(); caption(); });
}
