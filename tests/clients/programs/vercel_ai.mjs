// Vercel's AI SDK: the image tool beside a function, follow-up, streams, an object, an image, usage
import assert from "node:assert/strict";
import { openai } from "@ai-sdk/openai";
import { generateImage, generateObject, generateText, streamText, tool } from "ai";
import { z } from "zod";

const model = openai("gpt-5");
const image_generation = openai.tools.imageGeneration({});
const weather = tool({
  description: "the weather of a city",
  inputSchema: z.object({ city: z.string() }),
  execute: async () => "sunny",
});

const first = await generateText({
  model, prompt: "Generate an image of a cat", tools: { image_generation, weather },
});
const image = first.staticToolResults[0].output.result;
assert.match(Buffer.from(image, "base64").toString("latin1"), /^.PNG/);
assert.match(first.text, /cat/);
const previousResponseId = first.providerMetadata.openai.responseId;
const follow = await generateText({
  model, prompt: "give this cat a detective hat", tools: { image_generation },
  providerOptions: { openai: { previousResponseId } },
});
assert.match(follow.text, /edited/);

const previews = openai.tools.imageGeneration({ partialImages: 2 });
const stream = streamText({ model, prompt: "Draw a cat", tools: { image_generation: previews } });
for await (const part of stream.fullStream) assert.notEqual(part.type, "error");

const picture = { type: "image", image: Buffer.from(image, "base64") };
const messages = [{ role: "user", content: [{ type: "text", text: "What is this?" }, picture] }];
const { text: caption } = await generateText({ model, messages });
const schema = z.object({ caption: z.string() });
assert.deepEqual((await generateObject({ model, schema, messages })).object, { caption });

const generated = await generateImage({ model: openai.image("gpt-image-1"), prompt: "a cat" });
assert.ok(generated.image.base64);
const chat = streamText({ model: openai.chat("gpt-4o"), prompt: "hello" });
for await (const _ of chat.textStream);
assert.ok((await chat.usage).totalTokens > 0);
