// Requests to this server: the OpenAI API, and /studio/data for what that lacks.

function headers(more = {}) {
  const key = sessionStorage.getItem("key");
  return key ? { ...more, Authorization: `Bearer ${key}` } : more;
}

// Sends a request; prompts for the API key if the server needs one. Throws the server's message.
export async function request(path, options = {}) {
  const response = await fetch(path, { ...options, headers: headers(options.headers) });
  if (response.status === 401) {
    const key = prompt("This server needs an API key:");
    if (key) { sessionStorage.setItem("key", key); return request(path, options); }
  }
  if (!response.ok) throw new Error((await response.json()).error.message);
  return response;
}

export const post = (path, body) => request(path, {
  method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const getJson = async (path) => (await request(path)).json();
export const postJson = async (path, body) => (await post(path, body)).json();

// Yields the data of each server-sent event.
export async function* streamEvents(path, body) {
  const response = await post(path, { ...body, stream: true });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const line = block.split("\n").find((line) => line.startsWith("data: {"));
      if (line) yield JSON.parse(line.slice(6));
    }
  }
}
