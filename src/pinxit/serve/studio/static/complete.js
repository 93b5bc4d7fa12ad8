// Complete: mark a part of an image with a brush and regenerate it.
import { postJson } from "./api.js";
import { $, addFigure, fields, form, loadImage, onSubmit, output, pngUrl, quote, readFile, run, shellQuote } from "./dom.js";
import { state } from "./state.js";

const MAX_SIDE = 512; // pixels of the canvas
const MASK_COLOR = "rgb(200 60 30)";
const NUM_COMPLETIONS = 4;
const edit = { image: null, mask: null, cursor: [0, 0] }; // two canvases of one size
const canvas = $("#mask");

function redraw() {
  const context = canvas.getContext("2d");
  context.drawImage(edit.image, 0, 0);
  context.drawImage(edit.mask, 0, 0);
}

function makeCanvas() {
  const layer = document.createElement("canvas");
  layer.width = layer.height = canvas.width;
  return layer;
}

// Crops an image to the square in its center, as the model does.
async function setImage(url) {
  const image = await loadImage(url);
  const side = Math.min(image.width, image.height), scale = Math.min(1, MAX_SIDE / side);
  canvas.width = canvas.height = Math.max(1, Math.round(side * scale));
  edit.image = makeCanvas();
  edit.mask = makeCanvas();
  const [left, top] = [(image.width - side) / 2, (image.height - side) / 2];
  edit.image.getContext("2d").drawImage(image, left, top, side, side, 0, 0, canvas.width, canvas.width);
  edit.cursor = [canvas.width / 2, canvas.width / 2];
  redraw();
}

function brush(x, y) {
  const context = edit.mask.getContext("2d");
  const radius = +form("complete").elements.brush.value / 32 * canvas.width;
  context.fillStyle = MASK_COLOR;
  context.beginPath();
  context.arc(x, y, radius, 0, 7);
  context.fill();
  redraw();
}

const position = (event) => {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width * canvas.width,
    (event.clientY - box.top) / box.height * canvas.height];
};

function onKey(event) {
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  if (!edit.image || !(event.key in moves || event.key === " ")) return;
  event.preventDefault();
  if (event.key === " ") { brush(...edit.cursor); return; }
  const step = canvas.width / 16;
  edit.cursor = edit.cursor.map((v, i) => Math.max(0, Math.min(canvas.width, v + moves[event.key][i] * step)));
}

async function useSample() {
  const canSample = (run) => run.abilities.includes("sample");
  const sampler = canSample(state.run) ? state.run : state.runs.find(canSample);
  if (!sampler) throw new Error("None of these runs samples images. Choose a file.");
  const body = { run: sampler.name, n: 1, seed: Math.floor(Math.random() * 1e6) };
  await setImage(pngUrl((await postJson("/studio/data/samples", body)).images[0]));
}

function markLowerHalf() {
  if (!edit.mask) return;
  const context = edit.mask.getContext("2d");
  context.fillStyle = MASK_COLOR;
  context.fillRect(0, canvas.width / 2, canvas.width, canvas.width);
  redraw();
}

function clearMask() {
  edit.mask?.getContext("2d").clearRect(0, 0, canvas.width, canvas.width);
  if (edit.image) redraw();
}

// The mask as OpenAI's API takes it: transparent where the image is generated.
function maskUrl() {
  const alpha = makeCanvas(), context = alpha.getContext("2d");
  context.fillRect(0, 0, alpha.width, alpha.width);
  context.globalCompositeOperation = "destination-out";
  context.drawImage(edit.mask, 0, 0);
  return alpha.toDataURL();
}

async function complete() {
  if (!edit.image) throw new Error("Choose an image first.");
  const { seed } = fields("complete");
  const body = { model: state.run.name, prompt: "complete the image", n: NUM_COMPLETIONS, seed: +seed,
    images: [{ image_url: edit.image.toDataURL() }], mask: { image_url: maskUrl() } };
  const { data } = await postJson("/v1/images/edits", body);
  output("complete").replaceChildren();
  data.forEach((image, i) => addFigure(output("complete"), {
    alt: `completion ${i + 1}`,
    command: `pinxit complete ${shellQuote(state.run.path)} image.png --mask mask.png --completions ${NUM_COMPLETIONS} --seed ${seed}`,
    code: `client.images.edit(model=${quote(state.run.name)}, image=open("image.png", "rb"), mask=open("mask.png", "rb"),\n    prompt="complete the image", n=${NUM_COMPLETIONS}, extra_body={"seed": ${seed}})`,
  })(image.b64_json));
}

export function init() {
  const { file, sample, half, clear } = form("complete").elements;
  canvas.addEventListener("pointerdown", (event) => {
    if (!edit.image) return;
    canvas.setPointerCapture(event.pointerId);
    brush(...position(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (edit.image && event.buttons) brush(...position(event));
  });
  canvas.addEventListener("keydown", onKey);
  file.addEventListener("change", () => run(async () => {
    if (file.files[0]) await setImage(await readFile(file.files[0]));
  }));
  sample.addEventListener("click", () => run(useSample));
  half.addEventListener("click", markLowerHalf);
  clear.addEventListener("click", clearMask);
  onSubmit("complete", complete);
}
