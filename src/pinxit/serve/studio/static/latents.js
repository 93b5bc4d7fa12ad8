// Latents: sliders move the latents that change the image most; another mixes two samples.
import { getJson, post } from "./api.js";
import { $, run, showValue } from "./dom.js";
import { state } from "./state.js";

const NUM_SLIDERS = 12;
const latent = { z: [], start: [], end: [], isDecoding: false, isStale: false };

// Decodes the latest latent; while a request is in progress, only the last change is kept.
async function decode() {
  if (latent.isDecoding) { latent.isStale = true; return; }
  latent.isDecoding = true;
  try {
    const started = performance.now();
    const response = await post("/studio/data/decode", { run: state.run.name, z: latent.z });
    show(URL.createObjectURL(await response.blob()), started);
  } finally {
    latent.isDecoding = false;
  }
  if (latent.isStale) { latent.isStale = false; await decode(); }
}

function show(url, started) {
  const image = $("#latent-image");
  image.onload = () => {
    URL.revokeObjectURL(url);
    image.dataset.ms = Math.round(performance.now() - started);
    $("#latent-time").textContent = `${image.dataset.ms} ms`;
  };
  image.src = url;
}

const sampleLatent = (seed) =>
  getJson(`/studio/data/latents?run=${encodeURIComponent(state.run.name)}&seed=${+seed}`);

async function sample() {
  const { z, order } = await sampleLatent($("#z-start").value);
  latent.start = z;
  latent.end = (await sampleLatent($("#z-end").value)).z;
  latent.z = [...z];
  $("#z-mix").value = 0;
  $("#z-mix").nextElementSibling.value = "0";
  $("#sliders").replaceChildren(...order.slice(0, NUM_SLIDERS).map(makeSlider));
  updateSliders();
  await decode();
}

function makeSlider(index) {
  const label = document.createElement("label");
  label.innerHTML = `<span>latent ${index}</span><input type="range" min="-4" max="4" step="0.05" data-index="${index}"><output></output>`;
  const [, range, value] = label.children;
  range.addEventListener("input", () => {
    latent.z[index] = +range.value;
    value.value = (+range.value).toFixed(1);
    run(decode);
  });
  return label;
}

function updateSliders() {
  for (const slider of document.querySelectorAll("#sliders input")) {
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

export function open() {
  if (!latent.z.length) return sample();
}

export function selectRun() {
  latent.z = [];
}

export function init() {
  showValue($("#z-mix"));
  $("#z-mix").addEventListener("input", (event) => {
    latent.z = slerp(latent.start, latent.end, +event.target.value);
    updateSliders();
    run(decode);
  });
  for (const id of ["#z-start", "#z-end"]) $(id).addEventListener("change", () => run(sample));
}
