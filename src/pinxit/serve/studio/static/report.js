// Report: the run's page, as `pinxit report` writes it.
import { request } from "./api.js";
import { $ } from "./dom.js";
import { state } from "./state.js";

export async function open() {
  const response = await request(`/studio/data/report?run=${encodeURIComponent(state.run.name)}`);
  $("#report iframe").srcdoc = await response.text();
}
