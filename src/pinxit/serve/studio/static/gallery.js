// Gallery: the images that were made in this browser.
import { $, h, output, section } from "./dom.js";
import { forgetAll, recall } from "./history.js";
import { runJob } from "./job.js";
import { state } from "./state.js";
import { addFinished } from "./tiles.js";
import { writeUrl } from "./url.js";

const runs = $("#gallery-runs"), clear = $("#gallery-clear");

function makeBatch(entries) {
  const { title, run, tab, time, size } = entries[0];
  const when = new Date(time).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  const grid = h("div", { className: "grid" });
  if (size) grid.style.setProperty("--ratio", size[0] / size[1]);
  addFinished(grid, entries);
  return h("article", { className: "batch" }, h("h3", {}, title), h("p", {}, `${run} · ${tab} · ${when}`), grid);
}

const show = () => runJob(section("gallery"), "Opening …", async () => {
  const all = await recall().catch(() => { throw new Error("This browser keeps no images of this page (a private window?)."); });
  const batches = all.filter(([entry]) => runs.value === "" || entry.run === state.run.name);
  clear.hidden = batches.length === 0;
  output("gallery").replaceChildren(...batches.map(makeBatch));
  if (!batches.length) output("gallery").append(h("p", { className: "empty" }, "Nothing yet. What you draw, sample or change appears here."));
});

export async function open() {
  writeUrl({ run: state.run.name, tab: "gallery" });
  await show();
}

export function init() {
  runs.addEventListener("change", show);
  clear.addEventListener("click", async () => {
    if (!confirm("Delete all images that this browser keeps of the studio?")) return;
    await forgetAll();
    await show();
  });
}
