// Sample: a grid of images that the model generates without any input.
import { postJson } from "./api.js";
import { addFigure, fields, form, onSubmit, output, quote, run, shellQuote, showValue } from "./dom.js";
import { state } from "./state.js";

async function sample() {
  const { temperature, seed, label } = fields("sample");
  const body = { run: state.run.name, n: 24, seed: +seed, temperature: +temperature, label };
  const { images } = await postJson("/studio/data/samples", body);
  output("sample").replaceChildren();
  images.forEach((image, i) => addFigure(output("sample"), {
    alt: `sample ${i}, seed ${seed}`,
    command: `pinxit sample ${shellQuote(state.run.path)} -n ${i + 1} --seed ${seed} --temperature ${temperature}` + (label ? ` --label ${shellQuote(label)}` : ""),
    code: `client.images.generate(model=${quote(state.run.name)}, prompt=${quote(label || "an image")}, n=${Math.min(i + 1, 10)},\n    extra_body={"seed": ${seed}, "temperature": ${temperature}})`,
  })(image));
}

export function open() {
  if (!output("sample").childElementCount) return sample();
}

export function selectRun({ labels }) {
  const select = form("sample").elements.label;
  select.replaceChildren(new Option("any", ""), ...labels.map((name) => new Option(name, name)));
  select.parentElement.hidden = labels.length === 0;
}

export function init() {
  const { seed, temperature } = form("sample").elements;
  onSubmit("sample", async () => {
    await sample();
    seed.value = +seed.value + 1;
  });
  showValue(temperature);
  temperature.addEventListener("change", () => run(sample));
}
