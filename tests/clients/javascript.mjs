// Ollama's and OpenAI's clients for JavaScript before a queue; prints what they were told.
//   node javascript.mjs URL MODEL
import { Ollama } from "ollama";
import OpenAI from "openai";

const [url, model] = process.argv.slice(2);
const messages = [{ role: "user", content: "Say hello." }];
const told = {};

const ollama = new Ollama({ host: url });
told.models = (await ollama.list()).models.map((each) => each.name);
told.chat = (await ollama.chat({ model, messages })).message.content;
told.chunks = [];
for await (const part of await ollama.chat({ model, messages, stream: true }))
  told.chunks.push(part.message.content);
told.generate = (await ollama.generate({ model, prompt: "Say hello." })).response;
told.embed = (await ollama.embed({ model, input: ["a", "b"] })).embeddings.length;
told.unknown = await ollama.chat({ model: "nope", messages }).catch((error) => error.message);

const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
told.listed = (await openai.models.list()).data.map((each) => each.id);
const completion = await openai.chat.completions.create({ model, messages });
told.completion = completion.choices[0].message.content;
told.deltas = [];
for await (const event of await openai.chat.completions.create({ model, messages, stream: true })) {
  const text = event.choices[0]?.delta?.content;
  if (text) told.deltas.push(text);
}
const vectors = await openai.embeddings.create({
  model,
  input: ["a", "b"],
  encoding_format: "float",
});
told.vectors = vectors.data.length;
told.missing = await openai.chat.completions
  .create({ model: "nope", messages })
  .catch((error) => [error.status, error.code]);

console.log(JSON.stringify(told));
