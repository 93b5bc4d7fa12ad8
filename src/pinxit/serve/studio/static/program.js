// Program: the lecture's program for OpenAI's API, its two turns run by the page step by step.
import { postJson } from "./api.js";
import { $, form, h, output, pngUrl, section } from "./dom.js";
import { cancel, runJob } from "./job.js";
import { onSubmit } from "./settings.js";
import { state } from "./state.js";

// the slide's own words
const FIRST = "Generate an image of gray tabby cat hugging an otter with an orange scarf";
const FOLLOW_UP = "Give this cat a detective hat";
const TOOLS = [{ type: "image_generation" }];

// A run needs one ability that makes an image.
export const isFor = ({ abilities }) => ["draw", "edit", "sample"].some((name) => abilities.includes(name));

const fields = () => Object.fromEntries(new FormData(form("program")));

// The lines of the program, in its two steps. A string of JSON is one of Python, too.
const lines = ({ first, second }) => [
  `from openai import OpenAI
import base64

client = OpenAI()
response = client.responses.create(
    model="gpt-5",
    input=${JSON.stringify(first)},
    tools=[{"type": "image_generation"}],
)
image_data = [o.result for o in response.output if o.type == "image_generation_call"]
with open("image.png", "wb") as file:
    file.write(base64.b64decode(image_data[0]))
`,
  `
follow_up = client.responses.create(
    model="gpt-5",
    previous_response_id=response.id,
    input=${JSON.stringify(second)},
    tools=[{"type": "image_generation"}],
)
`,
];

// Shows the program; the step that is running is marked.
function showProgram(step = -1) {
  $("pre", section("program")).replaceChildren(
    ...lines(fields()).map((text, i) => h(i === step ? "mark" : "span", {}, text)));
}

function showTurn(text, { output: items }, seconds) {
  const call = items.find(({ type }) => type === "image_generation_call");
  const said = items.filter(({ type }) => type === "message").flatMap(({ content }) => content).map((part) => part.text).join(" ");
  output("program").append(h("li", {},
    h("p", { className: "said" }, text),
    h("figure", { className: "tile" },
      h("img", { src: pngUrl(call.result), alt: `the image for: ${text}` }),
      h("figcaption", {}, `${seconds.toFixed(2)} s. Prompt of the model: ${call.revised_prompt ?? "–"}`)),
    h("p", { className: "muted" }, said)));
}

async function runProgram() {
  const { first, second } = fields();
  output("program").replaceChildren();
  await runJob(section("program"), "Two turns …", async (signal, progress) => {
    let previous;
    for (const [step, text] of [first, second].entries()) {
      showProgram(step);
      const start = performance.now();
      const body = { model: state.run.name, input: text, tools: TOOLS, ...(previous ? { previous_response_id: previous } : {}) };
      const response = await postJson("/v1/responses", body, signal);
      showTurn(text, response, (performance.now() - start) / 1000);
      previous = response.id;
      progress.update(step + 1, 2);
    }
  });
  showProgram();
}

export function open(values, examples) {
  const [caption] = state.run.abilities.includes("draw") ? examples.captions : [];
  const { elements } = form("program");
  elements.first.value ||= caption ? `Generate an image of ${caption.text}` : FIRST;
  elements.second.value ||= FOLLOW_UP;
  $("#program-url").textContent = `${location.origin}/v1`;
  showProgram();
}

export function selectRun() {
  cancel(section("program"));
  output("program").replaceChildren();
  form("program").reset();
}

export function init() {
  form("program").addEventListener("input", () => showProgram());
  onSubmit("program", runProgram);
}
