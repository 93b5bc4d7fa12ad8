// The brush of the Complete tab: hides pixels of an image at the model's own size.
import { $, h, loadImage, pngUrl } from "./dom.js";

const canvas = $("#mask"), cursor = $(".board i");
const board = { image: null, hidden: null, x: 0, y: 0, radius: 2 };

function redraw() {
  const context = canvas.getContext("2d");
  context.drawImage(board.image, 0, 0);
  const { width, height } = canvas;
  const style = getComputedStyle(document.documentElement);
  context.fillStyle = style.getPropertyValue("--accent");
  context.globalAlpha = 0.85;
  for (let i = 0; i < width * height; i++) {
    if (board.hidden[i]) context.fillRect(i % width, Math.floor(i / width), 1, 1);
  }
  context.globalAlpha = 1;
}

function showCursor(visible) {
  cursor.hidden = !visible || !board.image;
  const diameter = `${200 * board.radius / canvas.width}%`;
  Object.assign(cursor.style, { left: `${100 * board.x / canvas.width}%`, top: `${100 * board.y / canvas.height}%`, width: diameter, aspectRatio: "1" });
}

// Hides the pixels with their center within the brush, and the one below it.
function brush(x, y) {
  Object.assign(board, { x, y });
  for (let row = 0; row < canvas.height; row++) {
    for (let column = 0; column < canvas.width; column++) {
      if (Math.hypot(column + 0.5 - x, row + 0.5 - y) <= Math.max(board.radius, 0.71)) {
        board.hidden[row * canvas.width + column] = 1;
      }
    }
  }
  redraw();
  showCursor(true);
}

function onPointer(event) {
  if (!board.image || (event.type === "pointermove" && !event.buttons)) return;
  if (event.type === "pointerdown") canvas.setPointerCapture(event.pointerId);
  const box = canvas.getBoundingClientRect();
  brush((event.clientX - box.left) / box.width * canvas.width, (event.clientY - box.top) / box.height * canvas.height);
}

function onKey(event) {
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  if (!board.image || !(event.key in moves || event.key === " ")) return;
  event.preventDefault();
  if (event.key === " ") { brush(board.x, board.y); return; }
  const step = Math.max(1, canvas.width / 16), [right, down] = moves[event.key];
  board.x = Math.max(0, Math.min(canvas.width, board.x + right * step));
  board.y = Math.max(0, Math.min(canvas.height, board.y + down * step));
  showCursor(true);
}

export async function setImage(png) {
  const image = await loadImage(pngUrl(png));
  Object.assign(canvas, { width: image.width, height: image.height });
  Object.assign(board, { image, hidden: new Uint8Array(image.width * image.height), x: image.width / 2, y: image.height / 2 });
  hideLowerHalf();
}

export function hideLowerHalf() {
  if (!board.image) return;
  board.hidden.fill(1, canvas.width * Math.floor(canvas.height / 2));
  redraw();
}

export function hideNothing() {
  if (!board.image) return;
  board.hidden.fill(0);
  redraw();
}

export function clearBoard() {
  Object.assign(board, { image: null, hidden: null });
  canvas.width = canvas.height = 8;
  cursor.hidden = true;
}

export const hidesSomething = () => board.hidden?.some((hidden) => hidden) ?? false;

export function setRadius(radius) {
  board.radius = radius;
}

// The mask as a PNG in base64. Hidden pixels are transparent for OpenAI's API; the command reads
// them as white, since it lays transparent images on white.
export function maskPng() {
  const layer = h("canvas", { width: canvas.width, height: canvas.height });
  const context = layer.getContext("2d");
  board.hidden.forEach((hidden, i) => {
    if (!hidden) context.fillRect(i % canvas.width, Math.floor(i / canvas.width), 1, 1);
  });
  return layer.toDataURL().split(",")[1];
}

for (const name of ["pointerdown", "pointermove"]) canvas.addEventListener(name, onPointer);
canvas.addEventListener("keydown", onKey);
canvas.addEventListener("focus", () => showCursor(canvas.matches(":focus-visible")));
canvas.addEventListener("blur", () => showCursor(false));
