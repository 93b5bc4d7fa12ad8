// Reconstruct: an image through the model and back.
import { postJson } from "./api.js";
import { $, output, pngUrl, section } from "./dom.js";
import { remember } from "./history.js";
import { addInput } from "./input.js";
import { cancel, runJob } from "./job.js";
import { state } from "./state.js";
import { addTiles } from "./tiles.js";
import { writeUrl } from "./url.js";

let input = null;
let isFirst = true; // the first one is not the user's

function reconstruct(png) {
  writeUrl({ run: state.run.name, tab: "reconstruct" });
  return runJob(section("reconstruct"), "Reconstructing …", async (signal) => {
    const body = { run: state.run.name, image: pngUrl(png) };
    const result = await postJson("/studio/data/reconstruct", body, signal);
    const size = [state.run.width, state.run.height];
    const entries = [{ png, title: "the image" }, { ...result, title: "its reconstruction" }].map(
      (entry) => ({ ...entry, run: state.run.name, tab: "reconstruct", size, inputs: { "input.png": png } }));
    output("reconstruct").replaceChildren();
    addTiles(output("reconstruct"), 2, (i) => entries[i].title).forEach((tile, i) => tile.finish(entries[i]));
    if (!isFirst) remember(entries);
    isFirst = false;
  });
}

export async function open(_, examples) {
  if (!output("reconstruct").childElementCount) await input.offerExamples(examples);
}

export const useImage = (png) => input.set(png, { original: false });

export function selectRun() {
  cancel(section("reconstruct"));
  output("reconstruct").replaceChildren();
  input.selectRun();
  isFirst = true;
}

export function init() {
  input = addInput($("[data-input]", section("reconstruct")), reconstruct);
}
