// Draw: images for words.
import { $, form, output, section } from "./dom.js";
import { generate, streamImages } from "./generate.js";
import { cancel, runJob } from "./job.js";
import { addSeed, fill, onSubmit, readSettings, selectSettings, showCaptions, spread } from "./settings.js";
import { state } from "./state.js";
import { addTiles, removeUnfinished } from "./tiles.js";
import { writeUrl } from "./url.js";

const NUM_EXAMPLES = 4;
const heading = () => $(".heading", section("draw"));

function draw() {
  const { prompt, n, seed, language } = Object.fromEntries(new FormData(form("draw")));
  const settings = { n: +n, seed: +seed, ...readSettings("draw"), ...(language ? { language } : {}) };
  writeUrl({ run: state.run.name, tab: "draw", prompt, ...settings });
  heading().textContent = "";
  return generate(section("draw"), output("draw"), { task: "draw", prompt, ...settings }, { title: prompt });
}

function use(prompt) {
  fill("draw", { prompt });
  return draw();
}

// Draws some of the run's own captions, each once, so that there is something to see at once.
function drawExamples({ captions, source }) {
  const first = captions.filter(({ image }, i) => captions.findIndex((other) => other.image === image) === i);
  const texts = spread(first, NUM_EXAMPLES).map(({ text }) => text);
  if (!texts.length) return null;
  heading().textContent = `Examples: captions of ${source}. Click one to go on with it.`;
  const [run, settings] = [state.run, readSettings("draw")];
  return runJob(section("draw"), "Drawing examples …", async (signal) => {
    output("draw").replaceChildren();
    const tiles = texts.map((text) => addTiles(output("draw"), 1, () => text)[0]);
    try {
      await Promise.all(texts.map(async (prompt, i) => {
        const request = { task: "draw", prompt, seed: 0, ...settings };
        const { entries } = await streamImages(run, request, { title: prompt }, [tiles[i]], signal, null);
        tiles[i].finish(entries[0], () => use(prompt));
      }));
    } finally {
      removeUnfinished(tiles);
    }
  });
}

export async function open(values, examples) {
  showCaptions("draw", examples, use);
  if (values.prompt) { fill("draw", values); await draw(); return; }
  if (output("draw").childElementCount) return;
  fill("draw", { prompt: examples.captions[0]?.text ?? examples.words.slice(0, 3).join(" ") });
  await drawExamples(examples);
}

export function selectRun() {
  cancel(section("draw"));
  output("draw").replaceChildren();
  heading().textContent = "";
  selectSettings("draw");
  fill("draw", { prompt: "", seed: 0 });
}

export function init() {
  addSeed("draw", draw);
  onSubmit("draw", draw);
}
