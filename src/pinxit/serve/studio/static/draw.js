// Draw: an image for a caption, shown while it is generated.
import { streamEvents } from "./api.js";
import { addFigure, fields, onSubmit, output, quote, shellQuote } from "./dom.js";
import { state } from "./state.js";

async function draw() {
  const { text, seed, guidance, temperature } = fields("draw");
  const show = addFigure(output("draw"), {
    alt: text,
    command: `pinxit draw ${shellQuote(state.run.path)} ${shellQuote(text)} -n 1 --seed ${seed} --guidance ${guidance} --temperature ${temperature}`,
    code: `client.images.generate(model=${quote(state.run.name)}, prompt=${quote(text)},\n    extra_body={"seed": ${seed}, "guidance": ${guidance}, "temperature": ${temperature}})`,
    first: true,
  });
  const body = { model: state.run.name, prompt: text, seed: +seed, guidance: +guidance,
    temperature: +temperature, partial_images: 3 };
  for await (const event of streamEvents("/v1/images/generations", body)) {
    if (event.type === "error") throw new Error(event.error.message);
    show(event.b64_json);
  }
}

export function init() {
  onSubmit("draw", draw);
}
