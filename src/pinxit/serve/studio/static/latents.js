// Latents: sliders move the latents that change the image most; another mixes two images.
import { post, postJson } from "./api.js";
import { $, $$, form, h, pngUrl, section, showValue } from "./dom.js";
import { addInput } from "./input.js";
import { runJob, showError } from "./job.js";
import { state } from "./state.js";
import { writeUrl } from "./url.js";
import { openViewer } from "./viewer.js";

const NUM_SLIDERS = 12;
const latent = { z: [], start: [], end: [], isDecoding: false, isStale: false };
const inputs = {}; // from, to
const image = $("#latent-image");

// Decodes the newest latent; while a request is in progress, only the last change is kept.
async function decode() {
  if (latent.isDecoding) { latent.isStale = true; return; }
  latent.isDecoding = true;
  try {
    const started = performance.now();
    const response = await post("/studio/data/decode", { run: state.run.name, z: latent.z });
    show(await response.blob(), started);
  } catch (error) {
    showError(section("encode"), error);
  } finally {
    latent.isDecoding = false;
  }
  if (latent.isStale) { latent.isStale = false; await decode(); }
}

function show(blob, started) {
  const url = URL.createObjectURL(blob);
  image.onload = () => {
    URL.revokeObjectURL(url);
    image.dataset.ms = Math.round(performance.now() - started);
  };
  image.src = url;
}

const findLatent = (fields, signal) =>
  postJson("/studio/data/latent", { run: state.run.name, ...fields }, signal);

// Where a latent is from: an own image if there is one, else its seed.
function originOf(end) {
  if (inputs[end].png) return { image: pngUrl(inputs[end].png) };
  return { seed: +form("encode").elements[end === "from" ? "seed" : "to"].value };
}

const start = () => runJob(section("encode"), "Decoding …", async (signal) => {
  const { seed, to, mix } = form("encode").elements;
  writeUrl({ run: state.run.name, tab: "encode", seed: seed.value, to: to.value });
  const from = await findLatent(originOf("from"), signal);
  latent.start = from.z;
  latent.z = [...from.z];
  mix.value = 0;
  showValue(mix);
  $("#sliders").replaceChildren(...from.order.slice(0, NUM_SLIDERS).map(makeSlider));
  updateSliders();
  await decode();
  latent.end = (await findLatent(originOf("to"), signal)).z;
  $("#latent-note").textContent = inputs.from.png ? "your image, as its latents describe it" : `a sample of seed ${seed.value}`;
});

function makeSlider(index) {
  const value = h("output");
  const range = h("input", { type: "range", min: -4, max: 4, step: 0.05 });
  range.dataset.index = index;
  range.addEventListener("input", () => {
    latent.z[index] = +range.value;
    value.value = (+range.value).toFixed(1);
    decode();
  });
  return h("label", {}, h("span", {}, `latent ${index}`), range, value);
}

function updateSliders() {
  for (const slider of $$("#sliders input")) {
    slider.value = latent.z[+slider.dataset.index];
    slider.nextElementSibling.value = (+slider.value).toFixed(1);
  }
}

// Spherical interpolation (Shoemake 1985): lengths stay those of samples of a Gaussian.
function slerp(a, b, t) {
  const norm = (v) => Math.hypot(...v) || 1;
  const cosine = a.reduce((sum, v, i) => sum + v * b[i], 0) / (norm(a) * norm(b));
  const angle = Math.acos(Math.max(-1, Math.min(1, cosine)));
  if (angle < 1e-6) return a.map((v, i) => (1 - t) * v + t * b[i]);
  const length = (1 - t) * norm(a) + t * norm(b);
  const [weightA, weightB] = [Math.sin((1 - t) * angle), Math.sin(t * angle)];
  return a.map((v, i) => length * (weightA * v / norm(a) + weightB * b[i] / norm(b)) / Math.sin(angle));
}

const openLarge = () => runJob(section("encode"), "Opening …", async (signal) => {
  const body = { run: state.run.name, z: latent.z };
  const { png, library } = await postJson("/studio/data/latent-program", body, signal);
  openViewer([{ png, library, run: state.run.name, title: "decoded latents" }], 0);
});

export function open(values, examples) {
  for (const end of ["from", "to"]) inputs[end].offerExamples(examples, { choose: false });
  const { seed, to } = form("encode").elements;
  if (values.seed) seed.value = values.seed;
  if (values.to) to.value = values.to;
  return latent.z.length && !values.seed ? null : start();
}

export function selectRun() {
  latent.z = [];
  image.removeAttribute("src");
  $("#sliders").replaceChildren();
  for (const input of Object.values(inputs)) input.selectRun();
}

export function init() {
  for (const end of ["from", "to"]) {
    inputs[end] = addInput($(`[data-input=${end}]`, section("encode")), start, { local: true });
  }
  const { mix, seed, to } = form("encode").elements;
  form("encode").addEventListener("submit", (event) => event.preventDefault());
  mix.addEventListener("input", () => {
    showValue(mix);
    latent.z = slerp(latent.start, latent.end, +mix.value);
    updateSliders();
    decode();
  });
  const forget = (end) => () => { inputs[end].selectRun(); start(); };
  seed.addEventListener("change", forget("from"));
  to.addEventListener("change", forget("to"));
  $("#open-latent").addEventListener("click", openLarge);
}
