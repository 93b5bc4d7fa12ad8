// The studio page. It asks this server alone: the API that every program has, and /studio/data.
const $ = (selector, inside = document) => inside.querySelector(selector);
const titles = { draw: "Draw", sample: "Nothing", encode: "Latents", complete: "Complete",
  caption: "Caption", edit: "Edit", report: "Report" };
let runs = [], run = null;

// -- asking -----------------------------------------------------------------------------------------

function headers(more = {}) {
  const key = sessionStorage.getItem("key");
  return key ? { ...more, Authorization: `Bearer ${key}` } : more;
}

async function asked(path, options = {}) {
  const answer = await fetch(path, { ...options, headers: headers(options.headers) });
  if (answer.status === 401) {
    const key = prompt("This server wants its API key:");
    if (key) { sessionStorage.setItem("key", key); return asked(path, options); }
  }
  if (!answer.ok) throw new Error((await answer.json()).error.message);
  return answer;
}

const json = (body) => ({ method: "POST", headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body) });

async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const line = block.split("\n").find((one) => one.startsWith("data: {"));
      if (line) yield JSON.parse(line.slice(6));
    }
  }
}

async function guarded(work) {
  $("#wrong").hidden = true;
  try { await work(); } catch (error) {
    $("#wrong").textContent = error.message;
    $("#wrong").hidden = false;
  }
}

// -- showing ----------------------------------------------------------------------------------------

const url = (base64) => `data:image/png;base64,${base64}`;
const quoted = (text) => `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
const client = (call) => `from openai import OpenAI\n\nclient = OpenAI(base_url="${location.origin}/v1", api_key="...")\n${call}`;

function made(place, { command, code, alt }) {
  const figure = $("#made").content.firstElementChild.cloneNode(true);
  $("img", figure).alt = alt;
  $(".command", figure).textContent = command;
  $(".code", figure).textContent = client(code);
  place.append(figure);
  return (base64) => {
    $("img", figure).src = url(base64);
    $("a", figure).href = url(base64);
  };
}

function opened(file) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = () => failed(new Error("this file cannot be read."));
    reader.readAsDataURL(file);
  });
}

function loaded(source) {
  return new Promise((done, failed) => {
    const image = new Image();
    image.onload = () => done(image);
    image.onerror = () => failed(new Error("this is no image that can be shown."));
    image.src = source;
  });
}

const form = (name) => $(`#${name} form`);
const out = (name) => $(`#${name} .out`);
const fields = (name) => Object.fromEntries(new FormData(form(name)));
const submitted = (name, work) => form(name).addEventListener("submit", (event) => {
  event.preventDefault();
  guarded(work);
});

// -- draw -------------------------------------------------------------------------------------------

submitted("draw", async () => {
  const { text, seed, guidance, temperature } = fields("draw");
  const show = made(out("draw"), {
    alt: text,
    command: `pinxit draw ${run.path} ${quoted(text)} -n 1 --seed ${seed} --guidance ${guidance} --temperature ${temperature}`,
    code: `client.images.generate(model=${quoted(run.name)}, prompt=${quoted(text)},\n    extra_body={"seed": ${seed}, "guidance": ${guidance}, "temperature": ${temperature}})`,
  });
  const figure = out("draw").lastElementChild;
  out("draw").prepend(figure);
  const body = { model: run.name, prompt: text, seed: +seed, guidance: +guidance,
    temperature: +temperature, stream: true, partial_images: 3 };
  for await (const event of events(await asked("/v1/images/generations", json(body)))) {
    if (event.type === "error") throw new Error(event.error.message);
    show(event.b64_json);
  }
});

// -- nothing ----------------------------------------------------------------------------------------

async function wall() {
  const { temperature, seed, label } = fields("sample");
  const body = { run: run.name, n: 24, seed: +seed, temperature: +temperature, label };
  const { images } = await (await asked("/studio/data/wall", json(body))).json();
  out("sample").replaceChildren();
  images.forEach((image, i) => made(out("sample"), {
    alt: `sample ${i} of seed ${seed}`,
    command: `pinxit sample ${run.path} -n ${i + 1} --seed ${seed} --temperature ${temperature}` + (label ? ` --label ${quoted(label)}` : ""),
    code: `client.images.generate(model=${quoted(run.name)}, prompt=${quoted(label || "an image")}, n=${Math.min(i + 1, 10)},\n    extra_body={"seed": ${seed}, "temperature": ${temperature}})`,
  })(image));
}

submitted("sample", async () => {
  await wall();
  form("sample").elements.seed.value = +form("sample").elements.seed.value + 1;
});
form("sample").elements.temperature.addEventListener("input", (event) => {
  event.target.nextElementSibling.value = event.target.value;
});
form("sample").elements.temperature.addEventListener("change", () => guarded(wall));

// -- latents ----------------------------------------------------------------------------------------

const latent = { z: [], from: [], to: [], busy: false, due: false };

async function decode() {
  if (latent.busy) { latent.due = true; return; }
  latent.busy = true;
  const began = performance.now();
  const answer = await asked("/studio/data/decode", json({ run: run.name, z: latent.z }));
  const source = URL.createObjectURL(await answer.blob());
  const image = $("#moved");
  image.onload = () => {
    URL.revokeObjectURL(source);
    image.dataset.ms = Math.round(performance.now() - began);
    $("#took").textContent = `${image.dataset.ms} ms`;
  };
  image.src = source;
  latent.busy = false;
  if (latent.due) { latent.due = false; await decode(); }
}

async function latents() {
  const at = async (id) => (await asked(`/studio/data/latents?run=${encodeURIComponent(run.name)}&seed=${+$(id).value}`)).json();
  const { z, order } = await at("#z-seed");
  [latent.from, latent.to, latent.z] = [z, (await at("#z-to")).z, [...z]];
  $("#z-way").value = 0;
  $("#z-way").nextElementSibling.value = "0";
  $("#sliders").replaceChildren(...order.slice(0, 12).map((number) => {
    const label = document.createElement("label");
    label.innerHTML = `<span>z${number}</span><input type="range" min="-4" max="4" step="0.05" data-latent="${number}"><output></output>`;
    label.children[1].addEventListener("input", (event) => {
      latent.z[number] = +event.target.value;
      label.lastElementChild.value = (+event.target.value).toFixed(1);
      guarded(decode);
    });
    return label;
  }));
  follow();
  await decode();
}

function follow() {
  for (const slider of document.querySelectorAll("#sliders input")) {
    slider.value = latent.z[+slider.dataset.latent];
    slider.nextElementSibling.value = (+slider.value).toFixed(1);
  }
}

// Shoemake 1985: along the arc, so that lengths stay those of a Gaussian's samples
function between(a, b, t) {
  const length = (v) => Math.hypot(...v) || 1;
  const cosine = a.reduce((sum, v, i) => sum + v * b[i], 0) / (length(a) * length(b));
  const angle = Math.acos(Math.max(-1, Math.min(1, cosine)));
  if (angle < 1e-6) return a.map((v, i) => (1 - t) * v + t * b[i]);
  const size = (1 - t) * length(a) + t * length(b);
  const [one, two] = [Math.sin((1 - t) * angle), Math.sin(t * angle)];
  return a.map((v, i) => size * (one * v / length(a) + two * b[i] / length(b)) / Math.sin(angle));
}

$("#z-way").addEventListener("input", (event) => {
  event.target.nextElementSibling.value = event.target.value;
  latent.z = between(latent.from, latent.to, +event.target.value);
  follow();
  guarded(decode);
});
for (const id of ["#z-seed", "#z-to"]) $(id).addEventListener("change", () => guarded(latents));

// -- complete ---------------------------------------------------------------------------------------

const hole = { image: null, mask: null, at: [0, 0] };
const canvas = $("#mask");

function paint() {
  const pen = canvas.getContext("2d");
  pen.drawImage(hole.image, 0, 0);
  pen.drawImage(hole.mask, 0, 0);
}

async function chosen(source) {
  const image = await loaded(source);
  const side = Math.min(image.width, image.height), scale = Math.min(1, 512 / side);
  canvas.width = canvas.height = Math.max(1, Math.round(side * scale));
  hole.image = document.createElement("canvas");
  hole.mask = document.createElement("canvas");
  for (const one of [hole.image, hole.mask]) one.width = one.height = canvas.width;
  hole.image.getContext("2d").drawImage(image, (image.width - side) / 2, (image.height - side) / 2, side, side, 0, 0, canvas.width, canvas.width);
  hole.at = [canvas.width / 2, canvas.width / 2];
  paint();
}

function brushed(x, y) {
  const pen = hole.mask.getContext("2d"), radius = +form("complete").elements.brush.value / 32 * canvas.width;
  pen.fillStyle = "rgb(200 60 30)";
  pen.beginPath();
  pen.arc(x, y, radius, 0, 7);
  pen.fill();
  paint();
}

const where = (event) => {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width * canvas.width, (event.clientY - box.top) / box.height * canvas.height];
};
canvas.addEventListener("pointerdown", (event) => { if (hole.image) { canvas.setPointerCapture(event.pointerId); brushed(...where(event)); } });
canvas.addEventListener("pointermove", (event) => { if (hole.image && event.buttons) brushed(...where(event)); });
canvas.addEventListener("keydown", (event) => {
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  if (!hole.image || !(event.key in moves || event.key === " ")) return;
  event.preventDefault();
  if (event.key === " ") return brushed(...hole.at);
  hole.at = hole.at.map((v, i) => Math.max(0, Math.min(canvas.width, v + moves[event.key][i] * canvas.width / 16)));
});
form("complete").elements.file.addEventListener("change", (event) => guarded(async () => {
  if (event.target.files[0]) await chosen(await opened(event.target.files[0]));
}));
form("complete").elements.own.addEventListener("click", () => guarded(async () => {
  const by = run.abilities.includes("sample") ? run : runs.find((one) => one.abilities.includes("sample"));
  if (!by) throw new Error("no run here makes images out of nothing: choose a file.");
  const body = { run: by.name, n: 1, seed: Math.floor(Math.random() * 1e6) };
  await chosen(url((await (await asked("/studio/data/wall", json(body))).json()).images[0]));
}));
form("complete").elements.half.addEventListener("click", () => {
  if (!hole.mask) return;
  hole.mask.getContext("2d").fillStyle = "rgb(200 60 30)";
  hole.mask.getContext("2d").fillRect(0, canvas.width / 2, canvas.width, canvas.width);
  paint();
});
form("complete").elements.clear.addEventListener("click", () => {
  hole.mask?.getContext("2d").clearRect(0, 0, canvas.width, canvas.width);
  if (hole.image) paint();
});
submitted("complete", async () => {
  if (!hole.image) throw new Error("choose an image first.");
  const { seed } = fields("complete");
  const alpha = document.createElement("canvas");
  alpha.width = alpha.height = canvas.width;
  const pen = alpha.getContext("2d");
  pen.fillRect(0, 0, alpha.width, alpha.width);
  pen.globalCompositeOperation = "destination-out";
  pen.drawImage(hole.mask, 0, 0);
  const body = { model: run.name, prompt: "what is missing", n: 4, seed: +seed,
    images: [{ image_url: hole.image.toDataURL() }], mask: { image_url: alpha.toDataURL() } };
  const { data } = await (await asked("/v1/images/edits", json(body))).json();
  out("complete").replaceChildren();
  data.forEach((one, i) => made(out("complete"), {
    alt: `completion ${i + 1}`,
    command: `pinxit complete ${run.path} image.png --mask mask.png --completions 4 --seed ${seed}`,
    code: `client.images.edit(model=${quoted(run.name)}, image=open("image.png", "rb"), mask=open("mask.png", "rb"),\n    prompt="what is missing", n=4, extra_body={"seed": ${seed}})`,
  })(one.b64_json));
});

// -- caption ----------------------------------------------------------------------------------------

submitted("caption", async () => {
  const upload = await opened(form("caption").elements.file.files[0]);
  const found = await (await asked("/studio/data/captions", json({ run: run.name, image: upload }))).json();
  const image = await loaded(url(found.image)), sheet = $("#looked");
  sheet.width = image.width * 8;
  sheet.height = image.height * 8;
  const pen = sheet.getContext("2d");
  const shown = (weights) => {
    pen.imageSmoothingEnabled = false;
    pen.globalAlpha = 1;
    pen.drawImage(image, 0, 0, sheet.width, sheet.height);
    if (!weights) return;
    const w = sheet.width / found.columns, h = sheet.height / found.rows;
    weights.forEach((weight, i) => {
      pen.fillStyle = `rgb(0 0 0 / ${0.75 * (1 - weight)})`;
      pen.fillRect((i % found.columns) * w, Math.floor(i / found.columns) * h, w, h);
    });
  };
  shown(null);
  out("caption").replaceChildren(...found.captions.flatMap(({ language, text, words }) => {
    const title = document.createElement("h2"), line = document.createElement("p");
    title.textContent = language;
    line.lang = language;
    line.dataset.text = text;
    for (const { word, weights } of words) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "word";
      button.textContent = word.replaceAll(" ", "\u00a0");
      for (const kind of ["focus", "pointerenter"]) button.addEventListener(kind, () => shown(weights));
      for (const kind of ["blur", "pointerleave"]) button.addEventListener(kind, () => shown(null));
      line.append(button);
    }
    return [title, line];
  }));
});

// -- edit: a conversation about one image -----------------------------------------------------------

const talk = { previous: null, image: null };
form("edit").elements.file.addEventListener("change", (event) => guarded(async () => {
  talk.previous = null;
  talk.image = event.target.files[0] ? await opened(event.target.files[0]) : null;
  out("edit").replaceChildren();
}));
submitted("edit", async () => {
  const { text } = fields("edit");
  if (!talk.previous && !talk.image) throw new Error("an edit needs an image: choose one.");
  const content = [{ type: "input_text", text }];
  if (!talk.previous) content.push({ type: "input_image", image_url: talk.image });
  const body = { model: run.name, input: [{ role: "user", content }], stream: true,
    previous_response_id: talk.previous, tools: [{ type: "image_generation", partial_images: 3, action: "edit" }] };
  const line = document.createElement("li"), said = document.createElement("p");
  said.textContent = text;
  line.append(said);
  out("edit").append(line);
  const previous = talk.previous ? `, previous_response_id=${quoted(talk.previous)}` : "";
  const show = made(line, {
    alt: text,
    command: `pinxit edit ${run.path} image.png ${quoted(text)}`,
    code: `client.responses.create(model=${quoted(run.name)}, input=${quoted(text)}${previous},\n    tools=[{"type": "image_generation"}])`,
  });
  for await (const event of events(await asked("/v1/responses", json(body)))) {
    if (event.partial_image_b64) show(event.partial_image_b64);
    if (event.type === "response.failed") throw new Error(event.response.error.message);
    if (event.type === "response.completed") {
      talk.previous = event.response.id;
      show(event.response.output[0].result);
    }
  }
});

// -- tabs -------------------------------------------------------------------------------------------

const opening = {
  sample: () => out("sample").childElementCount || wall(),
  encode: () => latent.z.length || latents(),
  report: async () => {
    const answer = await asked(`/studio/data/report?run=${encodeURIComponent(run.name)}`);
    $("#report iframe").srcdoc = await answer.text();
  },
};

function opened_tab(name) {
  for (const tab of $("#tabs").children) {
    const selected = tab.dataset.name === name;
    tab.setAttribute("aria-selected", selected);
    tab.tabIndex = selected ? 0 : -1;
    $(`#${tab.dataset.name}`).hidden = !selected;
  }
  if (opening[name]) guarded(opening[name]);
}

function choose(one) {
  run = one;
  latent.z = [];
  talk.previous = null;
  for (const place of document.querySelectorAll(".out")) place.replaceChildren();
  $("#about").textContent = `${run.family}, ${run.width} × ${run.height}`;
  const labels = form("sample").elements.label;
  labels.replaceChildren(new Option("any", ""), ...run.labels.map((name) => new Option(name, name)));
  labels.parentElement.hidden = run.labels.length === 0;
  const names = Object.keys(titles).filter((name) => name === "report" || run.abilities.includes(name));
  for (const section of document.querySelectorAll("main > section")) section.hidden = true;
  $("#tabs").replaceChildren(...names.map((name) => {
    const tab = document.createElement("button");
    Object.assign(tab, { id: `tab-${name}`, textContent: titles[name] });
    tab.type = "button";
    tab.dataset.name = name;
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", name);
    tab.addEventListener("click", () => opened_tab(name));
    return tab;
  }));
  opened_tab(names[0]);
}

$("#tabs").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const tabs = [...$("#tabs").children], at = tabs.indexOf(document.activeElement);
  const next = tabs[(at + step + tabs.length) % tabs.length];
  opened_tab(next.dataset.name);
  next.focus();
});

guarded(async () => {
  runs = await (await asked("/studio/data/runs")).json();
  $("#run").replaceChildren(...runs.map((one) => new Option(one.name, one.name)));
  $("#run").addEventListener("change", (event) => choose(runs.find((one) => one.name === event.target.value)));
  choose(runs[0]);
});
