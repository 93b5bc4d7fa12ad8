// Caption: a caption in each language; a token shows the part of the image that it attends to.
import { postJson } from "./api.js";
import { $, form, loadImage, onSubmit, output, pngUrl, readFile } from "./dom.js";
import { state } from "./state.js";

const SCALE = 8; // of the canvas to the model's image
const canvas = $("#attention");

// Draws the image, darkened where the attention is low.
function draw(image, rows, columns, weights) {
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  const width = canvas.width / columns, height = canvas.height / rows;
  weights?.forEach((weight, i) => {
    context.fillStyle = `rgb(0 0 0 / ${0.75 * (1 - weight)})`;
    context.fillRect((i % columns) * width, Math.floor(i / columns) * height, width, height);
  });
}

function makeToken({ token, weights }, show) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "token";
  button.textContent = token.replaceAll(" ", "\u00a0");
  for (const event of ["focus", "pointerenter"]) button.addEventListener(event, () => show(weights));
  for (const event of ["blur", "pointerleave"]) button.addEventListener(event, () => show(null));
  return button;
}

async function caption() {
  const upload = await readFile(form("caption").elements.file.files[0]);
  const body = { run: state.run.name, image: upload };
  const { image: base64, rows, columns, captions } = await postJson("/studio/data/captions", body);
  const image = await loadImage(pngUrl(base64));
  canvas.width = image.width * SCALE;
  canvas.height = image.height * SCALE;
  const show = (weights) => draw(image, rows, columns, weights);
  show(null);
  output("caption").replaceChildren(...captions.flatMap(({ language, text, tokens }) => {
    const title = document.createElement("h2"), line = document.createElement("p");
    title.textContent = language;
    line.lang = language;
    line.dataset.text = text;
    line.append(...tokens.map((token) => makeToken(token, show)));
    return [title, line];
  }));
}

export function init() {
  onSubmit("caption", caption);
}
