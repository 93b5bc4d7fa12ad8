// The sheets of images that training writes: the newest one of a kind, or an earlier one by a slider.
import { element, formatCount } from "./elements.js";

const MAX_WIDTH = 640, MAX_HEIGHT = 560; // of a sheet on the page, in pixels
const MAX_KEPT = 40; // sheets of a kind that stay in memory

// Enlarges small images by a whole number, so that all pixels have the same size.
function fit(image, room) {
  const { naturalWidth: width, naturalHeight: height } = image;
  if (!width) return;
  const factor = Math.floor(Math.min(Math.min(room, MAX_WIDTH) / width, MAX_HEIGHT / height));
  image.width = width * Math.max(1, factor);
}

// Returns a figure and a function that shows newer files in it. `loadSheet(name)` returns a Blob.
export function createSheet(loadSheet) {
  const title = element("h4"), image = element("img", { hidden: "" });
  const caption = element("figcaption");
  const slider = element("input", { type: "range", min: "0", max: "0", value: "0" });
  const label = element("label", { hidden: "" }, element("span", {}, "earlier sheets"), slider);
  const figure = element("figure", { class: "t-sheet" }, title, image, caption, label);
  const urls = new Map();
  let files = [], kind = "", shown = "", request = 0;

  async function urlOf(name) {
    if (!urls.has(name)) {
      urls.set(name, URL.createObjectURL(await loadSheet(name)));
      if (urls.size > MAX_KEPT) {
        const [oldest] = [...urls.keys()].filter((key) => key !== shown);
        URL.revokeObjectURL(urls.get(oldest));
        urls.delete(oldest);
      }
    }
    return urls.get(name);
  }

  async function show(index) {
    const file = files[index], current = ++request;
    if (!file || file.name === shown) return;
    try {
      const url = await urlOf(file.name);
      if (current !== request) return; // another one has been chosen
      shown = file.name;
      image.onload = () => fit(image, figure.clientWidth);
      image.src = url;
      image.alt = `${kind}, step ${formatCount(file.step)}`;
      image.hidden = false;
      caption.textContent = `step ${formatCount(file.step)}`;
    } catch {
      if (current === request) caption.textContent = `${file.name} cannot be loaded now; it is in the folder samples/ of the run.`;
    }
  }

  slider.addEventListener("input", () => show(+slider.value));

  function update(record) {
    const follows = +slider.value === files.length - 1 || files.length === 0;
    ({ files, title: kind } = record);
    title.textContent = kind;
    slider.max = files.length - 1;
    if (follows) slider.value = files.length - 1;
    label.hidden = files.length < 2;
    show(+slider.value);
  }
  return { figure, update };
}
