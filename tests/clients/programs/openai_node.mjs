// openai for Node: responses, follow-up, streams, parse, an edit, usage of a chat, background
import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const client = new OpenAI();
const tools = [{ type: "image_generation" }];
const model = "gpt-5";

const first = await client.responses.create({ model, input: "Draw a cat", tools });
const image = first.output.find((item) => item.type === "image_generation_call").result;
assert.match(Buffer.from(image, "base64").toString("latin1"), /^.PNG/);
assert.match(first.output_text, /cat/);
const follow = await client.responses.create({
  model, input: "give this cat a detective hat", previous_response_id: first.id, tools,
});
assert.equal(follow.output[0].action, "edit");

const previews = [{ type: "image_generation", partial_images: 2 }];
const stream = client.responses.stream({ model, input: "Draw a cat", tools: previews });
let partial = 0;
for await (const event of stream) partial += event.type.endsWith("partial_image") ? 1 : 0;
assert.equal(partial, 2);
assert.equal((await stream.finalResponse()).output.length, 2);

const picture = { type: "input_image", image_url: `data:image/png;base64,${image}` };
const input = [{ role: "user", content: [{ type: "input_text", text: "What is this?" }, picture] }];
const text = client.responses.stream({ model, input });
for await (const _ of text);
const caption = (await text.finalResponse()).output_text;
const format = zodTextFormat(z.object({ caption: z.string() }), "caption");
const parsed = await client.responses.parse({ model, input, text: { format } });
assert.deepEqual(parsed.output_parsed, { caption });

const file = await OpenAI.toFile(Buffer.from(image, "base64"), "a.png", { type: "image/png" });
const edit = await client.images.edit({ model: "gpt-image-1", image: file, prompt: "a hat" });
assert.equal(edit.data.length, 1);

const messages = [{ role: "user", content: "hello" }];
const options = { stream: true, stream_options: { include_usage: true } };
let usage;
for await (const chunk of await client.chat.completions.create({ model, messages, ...options })) {
  usage = chunk.usage ?? usage;
}
assert.ok(usage.total_tokens > 0);

let background = await client.responses.create({ model, input: "a blob", tools, background: true });
while (background.status === "in_progress") {
  await new Promise((resolve) => setTimeout(resolve, 50));
  background = await client.responses.retrieve(background.id);
}
assert.equal(background.status, "completed");
