// A place for an image: chosen, dropped, pasted, photographed, or one of the run's own.
import { postJson } from "./api.js";
import { takePhoto } from "./camera.js";
import { $, h, loadImage, pngUrl, readFile } from "./dom.js";
import { showError } from "./job.js";
import { state } from "./state.js";

const inputs = []; // all of them: a paste goes to the one that is seen

// Builds the controls in `place`. `onChange(png)` gets the image as the model sees it; `kind`
// chooses which of the run's images are offered: `png`, or `before` its edit. A `local` one of
// several takes what is dropped on itself alone; without `showsResult` the tab shows the image.
export function addInput(place, onChange, { kind = "png", local = false, showsResult = true } = {}) {
  const section = place.closest("section");
  const preview = h("div", { className: "seen" }), notes = h("div"), own = h("div", { className: "thumbs" });
  const input = { png: null, section, place, set, selectRun, offerExamples };

  async function set(url, { name = "", original = true, remembered = false } = {}) {
    $(".error", place)?.remove();
    try {
      await loadImage(url);
      const fitted = await postJson("/studio/data/input", { run: state.run.name, image: url, name });
      input.png = fitted.png;
      preview.replaceChildren(...(original ? [showOriginal(url, fitted)] : []),
        ...(showsResult ? [asFigure(pngUrl(fitted.png), "what the model sees")] : []));
      notes.replaceChildren(...fitted.notes.map((note) => h("p", { className: "note" }, note)));
      if (!remembered) keep(input, fitted.png);
      await onChange(fitted.png);
    } catch (error) {
      showError(section, Object.assign(error, { param: error.param ?? "image" }));
    }
  }

  async function take(file) {
    if (!file) return;
    press(own, null);
    await set(await readFile(file), { name: file.name });
  }

  function selectRun() {
    input.png = null;
    for (const part of [preview, notes, own]) part.replaceChildren();
  }

  // Shows the run's own images and takes the one before a reload, or else the first.
  function offerExamples(examples, { choose = true } = {}) {
    const images = examples.images.map((example) => example[kind]).filter(Boolean);
    own.replaceChildren(...images.map((png, i) => {
      const button = h("button", { type: "button", "aria-label": `Use ${examples.source}, number ${i + 1}`, "aria-pressed": "false" },
        h("img", { src: pngUrl(png), alt: "" }));
      button.addEventListener("click", () => { press(own, button); set(pngUrl(png), { original: false }); });
      return button;
    }));
    if (images.length) own.title = examples.source;
    const before = recallInput(input);
    if (!choose || input.png) return null;
    if (before) return set(pngUrl(before), { original: false, remembered: true });
    if (!images.length) return null;
    press(own, own.firstElementChild);
    return set(pngUrl(images[0]), { original: false, remembered: true });
  }

  const file = h("input", { type: "file", accept: "image/*", name: "file" });
  file.addEventListener("change", () => { take(file.files[0]); file.value = ""; });
  place.classList.add("drop");
  place.append(
    h("div", { className: "row" }, h("label", { className: "button" }, "Choose image", file),
      h("button", { type: "button", onclick: async () => take(await takePhoto()) }, "Camera")),
    h("p", { className: "muted" }, "or drop it here, paste it, or use one of the run's own:"), own, preview, notes);
  inputs.push(input);
  enableDrop(local ? place : section, take);
  input.take = take;
  return input;
}

function enableDrop(target, take) {
  target.addEventListener("dragover", (event) => { event.preventDefault(); target.classList.add("dragging"); });
  target.addEventListener("dragleave", (event) => {
    if (!target.contains(event.relatedTarget)) target.classList.remove("dragging");
  });
  target.addEventListener("drop", (event) => {
    event.preventDefault();
    event.stopPropagation();
    target.classList.remove("dragging");
    take(event.dataTransfer.files[0]);
  });
}

function press(own, button) {
  for (const other of own.children) other.setAttribute("aria-pressed", other === button);
}

const asFigure = (url, text) => h("figure", {}, h("img", { src: url, alt: text }), h("figcaption", {}, text));

// The image as it was chosen; what lies outside the frame is cut off.
function showOriginal(url, { crop: [left, top, right, bottom] }) {
  const frame = h("i");
  const percent = (value) => `${100 * value}%`;
  Object.assign(frame.style, { left: percent(left), top: percent(top), width: percent(right - left), height: percent(bottom - top) });
  const image = h("img", { src: url, alt: "your image, with the frame that the model sees" });
  return h("figure", {}, h("div", { className: "framed" }, image, frame), h("figcaption", {}, "your image"));
}

const keyOf = ({ section, place }) => `input ${state.run.name} ${section.id} ${place.dataset.input}`;

function keep(input, png) {
  try { sessionStorage.setItem(keyOf(input), png); } catch { /* full: a reload forgets it */ }
}

const recallInput = (input) => sessionStorage.getItem(keyOf(input));

document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find(({ type }) => type.startsWith("image/"));
  const input = inputs.find(({ place, section }) => !section.hidden && place.offsetParent !== null);
  if (!file || !input) return;
  event.preventDefault();
  input.take(file);
});
// a file that misses its place must not replace the page
for (const event of ["dragover", "drop"]) document.addEventListener(event, (dropped) => dropped.preventDefault());
