// Report: the run's report in a frame, or a button that makes it.
import { post, request } from "./api.js";
import { $, section } from "./dom.js";
import { cancel, runJob } from "./job.js";
import { state } from "./state.js";
import { writeUrl } from "./url.js";

const frame = $("#report iframe"), empty = $("#report .empty");
let shown = null; // the run whose report is in the frame

export async function open() {
  writeUrl({ run: state.run.name, tab: "report" });
  if (shown !== state.run.name) await show();
}

const show = () => runJob(section("report"), "Opening …", async (signal) => {
  const name = state.run.name;
  const response = await request(`/studio/data/report?run=${encodeURIComponent(name)}`, { signal });
  if (response.status !== 204) {
    frame.srcdoc = await response.text();
    shown = name;
  }
  frame.hidden = shown !== name;
  empty.hidden = shown === name;
});

async function make() {
  empty.hidden = true;
  const made = await runJob(section("report"), "Making the report; this takes a minute or so …",
    (signal) => post("/studio/data/report", { run: state.run.name }, signal));
  if (made) await show(); else empty.hidden = false;
}

export function selectRun() {
  cancel(section("report"));
  shown = null;
  frame.hidden = empty.hidden = true;
}

export function init() {
  $("#make-report").addEventListener("click", make);
}
