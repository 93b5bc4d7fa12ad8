// The page of `pinxit train --watch-port`.
import { createTrainingView } from "./training.js";

const stopKey = location.hash.slice(1); // of the address that training printed

async function request(path, options) {
  let response;
  try { response = await fetch(path, options); } catch {
    throw new Error("its process does not answer. It has ended, or this machine cannot reach it.");
  }
  if (!response.ok) throw new Error((await response.json()).error.message);
  return response;
}

const view = createTrainingView(document.querySelector("#training"), {
  loadState: async (version) => {
    const state = await (await request(`/data?after=${encodeURIComponent(version)}`)).json();
    document.querySelector("#run").textContent = state.run;
    document.title = `${state.status}: ${state.run || "training"}`;
    return state;
  },
  loadSheet: async (stage, name) =>
    (await request(`/sheet?stage=${stage}&name=${encodeURIComponent(name)}`)).blob(),
  stop: stopKey ? () => request("/stop", { method: "POST", headers: { "X-Stop-Key": stopKey } }) : null,
  pause: 200, // the server answers when something is new
});
view.start();
