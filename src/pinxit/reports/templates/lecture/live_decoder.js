// Decode z in the page. All that it needs is in script elements: gzip in base64.
const get = (name) => document.getElementById(`live-${name}`);
const data = JSON.parse(get("data").textContent);
const canvas = get("canvas");
const form = get("sliders");
const sliders = [...form.querySelectorAll("input[type=range]")];

async function read(name) {
  const text = atob(get(name).textContent);
  const bytes = Uint8Array.from(text, (char) => char.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function start() {
  const script = new Blob([await read("script")], { type: "text/javascript" });
  const ort = await import(URL.createObjectURL(script));
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = await read("wasm");
  const session = await ort.InferenceSession.create(await read("decoder"));
  return { ort, session };
}

function computeZ() {
  const z = Float32Array.from(data.base);
  sliders.forEach((slider, row) => {
    const value = Number(slider.value);
    data.moves[row].forEach((move, i) => (z[i] += value * move));
  });
  return z;
}

function draw(image) {
  const [channels, height, width] = image.dims.slice(1);
  const pixels = new ImageData(width, height);
  const size = width * height;
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++) {
      pixels.data[4 * i + c] = Math.round(255 * image.data[(channels === 3 ? c : 0) * size + i]);
    }
    pixels.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

function show() {
  for (const slider of sliders) {
    slider.nextElementSibling.textContent = Number(slider.value).toFixed(2).replace("-", "−");
  }
  const plane = get("plane");
  if (plane) {
    const [x, y] = sliders.map((slider) => 50 + (50 * Number(slider.value)) / data.limit);
    plane.firstElementChild.style.cssText = `left: ${x}%; top: ${100 - y}%`;
  }
}

let runtime;
let isBusy = false;
let isStale = false;

async function decode() {
  show();
  isStale = true;
  if (isBusy) return; // the last change is decoded when this one is done
  isBusy = true;
  try {
    while (isStale) {
      isStale = false;
      const { ort, session } = runtime;
      const inputs = { z: new ort.Tensor("float32", computeZ(), [1, ...data.shape]) };
      const label = get("label");
      if (label) {
        inputs.label = new ort.Tensor("int64", BigInt64Array.of(BigInt(label.value)), [1]);
      }
      const before = performance.now();
      const outputs = await session.run(inputs);
      const time = performance.now() - before;
      draw(outputs.image);
      get("status").textContent = `decoded in ${time.toFixed(1)} ms`;
    }
  } finally {
    isBusy = false;
  }
}

function sampleNormal() {
  const radius = Math.sqrt(-2 * Math.log(1 - Math.random()));
  return radius * Math.cos(2 * Math.PI * Math.random());
}

function follow(plane) {
  const point = (event) => {
    const box = plane.getBoundingClientRect();
    const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    sliders[0].value = data.limit * (2 * x - 1);
    sliders[1].value = data.limit * (1 - 2 * y);
    decode();
  };
  plane.addEventListener("pointermove", point);
  plane.addEventListener("pointerdown", point);
}

async function main() {
  get("status").textContent = "the runtime starts …";
  try {
    runtime = await start();
    await decode();
  } catch (error) {
    get("status").textContent = `The decoder cannot run in this browser: ${error.message}`;
    return;
  }
  document.querySelector("#live img").hidden = true;
  canvas.hidden = form.hidden = false;
  form.addEventListener("input", decode);
  form.addEventListener("reset", () => setTimeout(decode));
  form.addEventListener("submit", (event) => event.preventDefault());
  get("sample").addEventListener("click", () => {
    for (const slider of sliders) slider.value = sampleNormal();
    decode();
  });
  if (get("plane")) follow(get("plane"));
}

main();
