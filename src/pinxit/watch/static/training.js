// The view of a training: what it does now, its newest sheets, curves and metrics.
import { createChart } from "./chart.js";
import { element, formatCount, formatDuration } from "./elements.js";
import { createSheet } from "./sheets.js";

const STATUS = {
  preparing: "Preparing", training: "Training", finished: "Finished", stopped: "Stopped", failed: "Failed",
  waiting: "Waiting for the stage before",
};
const RETRY_MS = 2000;

// Shows records in figures that stay, by a key: open details and sliders keep their state.
function createList(container, create, keyOf) {
  const shown = new Map();
  return (records) => {
    for (const record of records) {
      const key = keyOf(record);
      if (!shown.has(key)) {
        shown.set(key, create());
        container.append(shown.get(key).figure);
      }
      shown.get(key).update(record);
    }
  };
}

function createFacts() {
  const list = element("dl", { class: "t-facts" });
  return { list, update: (facts) => list.replaceChildren(...facts.filter(([, value]) => value).map(
    ([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)))) };
}

function metricsTable(metrics) {
  const head = ["metric", "training", "validation"].map((text) => element("th", { scope: "col" }, text));
  const rows = metrics.map(({ title, unit, training, validation }) => element("tr", {},
    element("th", { scope: "row" }, title, element("span", { class: "t-unit" }, unit)),
    element("td", { class: "t-number" }, training || "–"), element("td", { class: "t-number" }, validation || "–")));
  return [element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows)];
}

function stageTitle({ number, count, family }) {
  return count > 1 ? `Stage ${number} of ${count}: ${family}` : family;
}

// A stage: its facts, sheets, charts and metrics.
function createStage(loadSheet) {
  const title = element("summary"), bar = element("progress", { max: "1", value: "0", "aria-label": "progress" });
  const facts = createFacts(), empty = element("p", { class: "t-hint" });
  const sheets = element("div", { class: "t-sheets" }), charts = element("div", { class: "t-charts" });
  const table = element("table", { class: "t-metrics" }), captions = element("div", { class: "t-captions" });
  const scroll = element("div", { class: "t-scroll", tabindex: "0", role: "region", "aria-label": "metrics" }, table);
  const figure = element("details", { class: "t-stage" }, title, bar, facts.list, empty,
    element("div", { class: "t-columns" }, element("div", {}, sheets, captions, scroll), charts));
  let stage = null;
  const showSheets = createList(sheets, () => createSheet((name) => loadSheet(stage.number, name)), ({ kind }) => kind);
  const showCharts = createList(charts, createChart, ({ title }) => title);

  // `seconds`: since the newest row was written, while it trains
  function tick(seconds) {
    const { step, images_seen, progress, seconds_left, status } = stage;
    const rest = seconds_left === null ? null : seconds_left - seconds;
    const left = rest === null ? "not known yet" : rest < 1 ? "a moment" : `about ${formatDuration(rest)}`;
    bar.value = progress;
    facts.update([
      ["done", step ? `${Math.floor(100 * progress)} %` : ""],
      ["step", step ? formatCount(step) : ""],
      ["images seen", step ? formatCount(images_seen) : ""],
      ["time", stage.seconds ? formatDuration(stage.seconds + seconds) : ""],
      ["time left", status === "training" ? left : ""],
    ]);
  }

  function update(record) {
    stage = record;
    title.textContent = `${stageTitle(stage)} – ${STATUS[stage.status].toLowerCase()}`;
    bar.hidden = !stage.step;
    empty.textContent = stage.step ? "" : "No step has been reported yet.";
    showSheets(stage.sheets);
    showCharts(stage.charts);
    scroll.hidden = stage.metrics.length === 0;
    table.replaceChildren(...metricsTable(stage.metrics));
    captions.replaceChildren(...(stage.captions ? [element("h4", {}, stage.captions.title),
      element("ol", {}, ...stage.captions.lines.map((line) => element("li", {}, line)))] : []));
    tick(0);
  }
  return { figure, update, tick, get status() { return stage.status; }, get updated() { return stage.updated; } };
}

// Shows a training in an element.
//
// loadState(version): the state, perhaps once it has another version; loadSheet(stage, name): a Blob;
// stop(): request the end of training, or null; pause: milliseconds between two requests.
export function createTrainingView(container, { loadState, loadSheet, stop = null, pause }) {
  const status = element("p", { class: "t-status", role: "status" });
  const message = element("p", { class: "t-message" });
  const button = element("button", { type: "button", hidden: "" }, "Stop training");
  const trouble = element("p", { class: "t-trouble", role: "alert", hidden: "" });
  const list = element("div", { class: "t-stages" });
  container.replaceChildren(element("div", { class: "t-band" }, element("div", {}, status, message), button), trouble, list);
  container.classList.add("training");
  const stages = new Map();
  let version = "", record = null, received = 0, timer = null, generation = 0, current = null;

  function showTrouble(text) {
    trouble.textContent = text;
    trouble.hidden = !text;
  }

  function updateStages() {
    for (const stage of record.stages) {
      if (!stages.has(stage.number)) {
        stages.set(stage.number, createStage(loadSheet));
        list.append(stages.get(stage.number).figure);
      }
      stages.get(stage.number).update(stage);
    }
    const reached = record.stages.filter((stage) => stage.status !== "waiting");
    const newest = reached.at(-1)?.number ?? null;
    if (newest !== current) { // a next stage begins: it comes first and is opened, others are closed
      current = newest;
      list.prepend(stages.get(newest).figure);
      for (const [number, stage] of stages) stage.figure.open = number === newest;
    }
  }

  function show(next) {
    [record, received] = [next, performance.now()];
    if (record.version === version) { tick(); return; } // only the time is new
    version = record.version;
    const running = record.stages.find(({ status }) => status === "training" || status === "preparing");
    const where = running && record.stages.length > 1 ? `, stage ${running.number} of ${running.count}: ${running.family}` : "";
    const text = record.is_stopping && !record.has_ended ? "Stopping after this step" : STATUS[record.status] + where;
    if (status.textContent !== text) status.textContent = text;
    status.dataset.status = record.status;
    message.textContent = record.message || (record.status === "preparing" ? "Images are loaded and the model is built." : "");
    message.hidden = !message.textContent;
    button.hidden = !(stop && record.can_stop) || record.has_ended;
    updateStages();
    tick();
  }

  // Counts time on between two rows of metrics.csv.
  function tick() {
    if (record === null || record.has_ended) return;
    for (const stage of stages.values()) {
      if (stage.status === "training" && stage.updated) {
        stage.tick(Math.max(0, record.now - stage.updated + (performance.now() - received) / 1000));
      }
    }
  }

  async function poll(own) {
    while (own === generation) {
      let wait = pause;
      try {
        const next = await loadState(version);
        if (own !== generation) return;
        showTrouble("");
        show(next);
        if (next.has_ended) { stopPolling(); return; }
      } catch (error) {
        if (own !== generation) return;
        showTrouble(`No news of the training: ${error.message}`);
        wait = RETRY_MS;
      }
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }

  function stopPolling() {
    generation += 1;
    clearInterval(timer);
    timer = null;
  }

  button.addEventListener("click", async () => {
    button.disabled = true;
    try { await stop(); } catch (error) { showTrouble(error.message); }
    button.disabled = false;
  });

  return {
    start() {
      if (timer !== null) return;
      timer = setInterval(tick, 1000);
      poll(++generation);
    },
    stop: stopPolling,
  };
}
