// Draw: an image for a caption, shown while it is generated.
import { streamEvents } from "./api.js";
import { addFigure, fields, onSubmit, output, quote, shellQuote } from "./dom.js";
import { state } from "./state.js";

async function draw() {
  const { text, seed, guidance, temperature } = fields("draw");
  const options = { seed: +seed, temperature: +temperature };
  if (guidance !== "") options.guidance = +guidance;
  const show = addFigure(output("draw"), {
    alt: text,
    command: `pinxit draw ${shellQuote(state.run.path)} ${shellQuote(text)} -n 1 --seed ${seed} --temperature ${temperature}${guidance === "" ? "" : ` --guidance ${guidance}`}`,
    code: `client.images.generate(model=${quote(state.run.name)}, prompt=${quote(text)},\n    extra_body=${JSON.stringify(options)})`,
    first: true,
  });
  const body = { model: state.run.name, prompt: text, ...options, partial_images: 3 };
  for await (const event of streamEvents("/v1/images/generations", body)) {
    if (event.type === "error") throw new Error(event.error.message);
    show(event.b64_json);
  }
}

export function init() {
  onSubmit("draw", draw);
}
