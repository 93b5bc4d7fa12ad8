// Generates the images of a tab: tiles with previews, then entries for viewer and history.
import { streamEvents } from "./api.js";
import { pngUrl } from "./dom.js";
import { remember } from "./history.js";
import { runJob, showNotes } from "./job.js";
import { state } from "./state.js";
import { addTiles, removeUnfinished } from "./tiles.js";

const asUrl = (png) => (png ? pngUrl(png) : "");

// `request` is a StudioRequest without its run. Resolves to the entries, or null if cancelled.
// `auto`: nobody asked for them, so the history leaves them out; `append` keeps the images before.
export async function generate(section, container, request, options) {
  const { text = "Drawing …", auto = false, append = false } = options;
  const run = state.run;
  let notes = [];
  const entries = await runJob(section, text, async (signal, progress) => {
    if (!append) container.replaceChildren();
    const tiles = addTiles(container, request.n ?? 1);
    try {
      const done = await streamImages(run, request, options, tiles, signal, progress);
      notes = done.notes;
      tiles.forEach((tile, i) => tile.finish(done.entries[i]));
      return done.entries;
    } finally {
      removeUnfinished(tiles);
    }
  });
  if (!entries) return null;
  showNotes(section, notes);
  if (!auto) remember(entries);
  return entries;
}

// Shows previews in the tiles; resolves to the entries and to notes on what the model read.
export async function streamImages(run, request, { title, inputs = {} }, tiles, signal, progress) {
  const files = { image: asUrl(inputs["input.png"]), mask: asUrl(inputs["mask.png"]) };
  const body = { run: run.name, ...request, ...files };
  for await (const event of streamEvents("/studio/data/generate", body, signal)) {
    if (event.type === "done") {
      return { entries: makeEntries(run, request, event.images, title, inputs), notes: event.notes };
    }
    progress?.update(event.step, event.steps);
    event.images.forEach((png, i) => tiles[i].show(png));
  }
  return null;
}

function makeEntries(run, request, images, title, inputs) {
  const { task, seed, temperature, guidance, top_p, best_of, language, prompt, label } = request;
  const set = Object.entries({ temperature, guidance, top_p, best_of, language, label });
  const options = Object.fromEntries(set.filter(([, value]) => value !== undefined && value !== ""));
  const size = [run.width, run.height];
  return images.map((image) => ({ ...image, run: run.name, tab: task, title, seed, options, inputs, prompt, size }));
}
