// Edit: a conversation about one image; each turn edits the last result.
import { streamEvents } from "./api.js";
import { addFigure, fields, form, onSubmit, output, quote, readFile, run, shellQuote } from "./dom.js";
import { state } from "./state.js";

const conversation = { previousId: null, image: null };

function addTurn(text) {
  const turn = document.createElement("li"), line = document.createElement("p");
  line.textContent = text;
  turn.append(line);
  output("edit").append(turn);
  return turn;
}

async function edit() {
  const { text } = fields("edit");
  const { previousId, image } = conversation;
  if (!previousId && !image) throw new Error("An edit needs an image: choose a file.");
  const content = [{ type: "input_text", text }];
  if (!previousId) content.push({ type: "input_image", image_url: image });
  const body = { model: state.run.name, input: [{ role: "user", content }],
    previous_response_id: previousId,
    tools: [{ type: "image_generation", partial_images: 3, action: "edit" }] };
  const previous = previousId ? `, previous_response_id=${quote(previousId)}` : "";
  const show = addFigure(addTurn(text), {
    alt: text,
    command: `pinxit edit ${shellQuote(state.run.path)} image.png ${shellQuote(text)}`,
    code: `client.responses.create(model=${quote(state.run.name)}, input=${quote(text)}${previous},\n    tools=[{"type": "image_generation"}])`,
  });
  for await (const event of streamEvents("/v1/responses", body)) {
    if (event.partial_image_b64) show(event.partial_image_b64);
    if (event.type === "response.failed") throw new Error(event.response.error.message);
    if (event.type === "response.completed") {
      conversation.previousId = event.response.id;
      show(event.response.output[0].result);
    }
  }
}

export function selectRun() {
  conversation.previousId = null;
}

export function init() {
  const { file } = form("edit").elements;
  file.addEventListener("change", () => run(async () => {
    conversation.previousId = null;
    conversation.image = file.files[0] ? await readFile(file.files[0]) : null;
    output("edit").replaceChildren();
  }));
  onSubmit("edit", edit);
}
