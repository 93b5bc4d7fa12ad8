// Training: a run in training, with the view of `pinxit train --watch-port`.
import { getJson, request } from "./api.js";
import { $ } from "./dom.js";
import { state } from "./state.js";
import { createTrainingView } from "./training/training.js";

const POLL_MS = 1500;
let view = null;

const query = (values) => new URLSearchParams({ run: state.run.name, ...values });

export function open() {
  const panel = $("#training"), shown = state.run;
  const own = view ??= createTrainingView(panel.firstElementChild, {
    loadState: async () => {
      if (panel.hidden || state.run !== shown) { own.stop(); return null; }
      return getJson(`/studio/data/training?${query({})}`);
    },
    loadSheet: async (stage, name) => (await request(`/studio/data/training/sheet?${query({ stage, name })}`)).blob(),
    pause: POLL_MS,
  });
  own.start();
}

export function selectRun() {
  view?.stop();
  view = null;
}
