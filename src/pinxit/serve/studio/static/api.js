// Requests to this server.

// A message for the user; `param` names the field that caused it.
export class RequestError extends Error {
  constructor(message, param = null, status = 0) {
    super(message);
    Object.assign(this, { param, status });
  }
}

const GONE = "The server does not answer. Is pinxit serve still running?";
const CUT = "The connection to the server was lost. Is pinxit serve still running?";

async function send(path, options) {
  const key = sessionStorage.getItem("key");
  const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  try {
    return await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new RequestError(GONE);
  }
}

// Sends a request; prompts for the API key if the server needs one. Throws RequestError.
export async function request(path, options = {}) {
  const response = await send(path, options);
  if (response.status === 401) {
    const key = prompt("This server needs an API key:");
    if (key) { sessionStorage.setItem("key", key); return request(path, options); }
  }
  if (response.ok) return response;
  const { error } = await response.json().catch(() => ({}));
  const message = error?.message ?? `The server answers with an error (${response.status}).`;
  throw new RequestError(message, error?.param, response.status);
}

export const getJson = async (path, signal) => (await request(path, { signal })).json();

export const post = (path, body, signal) => request(path, {
  method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal });

export const postJson = async (path, body, signal) => (await post(path, body, signal)).json();

// Yields the server-sent events of a request, up to `done`. Throws RequestError for `error`, and
// if the stream ends before.
export async function* streamEvents(path, body, signal) {
  const response = await post(path, body, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ;) {
    const { value, done } = await reader.read().catch((error) => {
      throw error.name === "AbortError" ? error : new RequestError(CUT);
    });
    if (done) throw new RequestError(CUT);
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const line = block.split("\n").find((line) => line.startsWith("data: {"));
      if (!line) continue;
      const event = JSON.parse(line.slice(6));
      if (event.type === "error") throw new RequestError(event.error.message, event.error.param);
      yield event;
      if (event.type === "done") return;
    }
  }
}
