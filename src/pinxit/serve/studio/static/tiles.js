// Images in a grid. A tile shows a moving placeholder until its first image comes.
import { h, pngUrl } from "./dom.js";
import { openViewer } from "./viewer.js";

// Adds `count` tiles; each is { show(png), finish(entry), element }.
export function addTiles(container, count, text = () => "") {
  const tiles = Array.from({ length: count }, (_, i) => makeTile(text(i)));
  container.append(...tiles.map((tile) => tile.element));
  return tiles;
}

function makeTile(text) {
  const button = h("button", { type: "button", disabled: true }, h("span", { className: "blank" }));
  const caption = text ? h("figcaption", {}, text) : null;
  const element = h("figure", { className: "tile" }, button, caption);
  let image = null;
  function show(png, alt = "") {
    image ??= h("img", {});
    Object.assign(image, { alt, src: pngUrl(png) });
    if (!image.isConnected) button.replaceChildren(image);
  }
  return {
    element,
    show,
    // `onclick` replaces what a click does: to show the image large, with its neighbors
    finish(entry, onclick = null) {
      show(entry.png, entry.title);
      button.disabled = false;
      element.entry = entry;
      button.onclick = onclick ?? (() => openNeighbors(element));
      button.setAttribute("aria-label", `${onclick ? "Use" : "Open"}: ${entry.title}`);
    },
  };
}

function openNeighbors(element) {
  const tiles = [...element.parentElement.children].filter((tile) => tile.entry);
  openViewer(tiles.map((tile) => tile.entry), tiles.indexOf(element));
}

export const addFinished = (container, entries) =>
  addTiles(container, entries.length).map((tile, i) => tile.finish(entries[i]));

// Removes those of the tiles that did not get their image: the work was cancelled or failed.
export function removeUnfinished(tiles) {
  for (const { element } of tiles) if (!element.entry) element.remove();
}
