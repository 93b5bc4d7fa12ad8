// A line chart as SVG: training and validation values over the steps, with a readout and a table.
import { element, formatCount, formatNumber, svgElement } from "./elements.js";

const MIN_WIDTH = 240, MAX_WIDTH = 640, HEIGHT = 250; // in pixels, so that text keeps its size
const LEFT = 58, RIGHT = 14, TOP = 12, BOTTOM = 40;
const INITIAL_FRACTION = 0.04; // of training; its values would flatten the rest of the curve
const MAX_TABLE_ROWS = 50;

class Scale {
  constructor(low, high, start, end) {
    if (low === high) [low, high] = [low - 0.5, high + 0.5];
    Object.assign(this, { low, high, start, end });
  }

  at(value) {
    return this.start + ((value - this.low) / (this.high - this.low)) * (this.end - this.start);
  }

  ticks(count) {
    const rough = (this.high - this.low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= rough);
    const ticks = [];
    for (let i = Math.ceil(this.low / step); i * step <= this.high; i++) ticks.push(i * step + 0); // no −0
    return { ticks, decimals: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
  }
}

// The range of the values after the first part of training, with a margin.
function valueRange(curves, start) {
  const pairs = curves.flatMap(({ x, y }) => y.map((value, i) => [x[i], value]));
  const late = pairs.filter(([x]) => x >= start).map(([, y]) => y);
  const values = late.length ? late : pairs.map(([, y]) => y);
  const low = Math.min(...values), high = Math.max(...values);
  const margin = (high - low) * 0.06 || Math.abs(high) * 0.05 || 0.5;
  return [low - margin, high + margin];
}

function axes(x, y) {
  const parts = [], right = x.end, floor = y.start;
  const vertical = y.ticks(5), horizontal = x.ticks(Math.floor((right - LEFT) / 70));
  for (const tick of vertical.ticks) {
    const text = tick.toLocaleString("en", {
      minimumFractionDigits: vertical.decimals, maximumFractionDigits: vertical.decimals }).replace("-", "−");
    parts.push(svgElement("path", { class: "t-gridline", d: `M${LEFT} ${y.at(tick)}H${right}` }));
    parts.push(svgElement("text", { x: LEFT - 6, y: y.at(tick) + 4, "text-anchor": "end" }, text));
  }
  for (const tick of horizontal.ticks.filter(Number.isInteger)) {
    const anchor = x.at(tick) > right - 14 ? "end" : "middle";
    parts.push(svgElement("text", { x: x.at(tick), y: floor + 17, "text-anchor": anchor }, formatCount(tick)));
  }
  parts.push(svgElement("path", { class: "t-axis", d: `M${LEFT} ${floor}H${right}` }));
  parts.push(svgElement("text", { x: (LEFT + right) / 2, y: HEIGHT - 5, "text-anchor": "middle" }, "step"));
  return parts;
}

function line({ name, x, y }, xScale, yScale) {
  const points = x.map((value, i) => [xScale.at(value), yScale.at(y[i])])
    .filter(([, height]) => height >= TOP - 1 && height <= HEIGHT - BOTTOM + 1)
    .map((point) => point.map((value) => value.toFixed(1)).join(" "));
  const parts = [svgElement("path", { class: `t-curve ${name}`, d: points.length ? `M${points.join("L")}` : "" })];
  if (name === "validation" || points.length === 1) { // also distinct without color
    parts.push(svgElement("path", { class: `t-dots ${name}`, d: points.map((point) => `M${point}h0`).join("") }));
  }
  return parts;
}

// The index of the step that is nearest to a position.
function nearest(values, target) {
  let best = 0;
  values.forEach((value, i) => { if (Math.abs(value - target) < Math.abs(values[best] - target)) best = i; });
  return best;
}

function describeAt(curves, step) {
  const near = curves.map(({ name, x, y }) => { const i = nearest(x, step); return `${name} ${formatNumber(y[i])}`; });
  return `step ${formatCount(step)}: ${near.join(", ")}`;
}

function tableRows(curves) {
  const main = curves.at(-1); // validation where there is one: it has fewer points
  const stride = Math.ceil(main.x.length / MAX_TABLE_ROWS);
  const rows = main.x.map((step, i) => [step, i]).filter(([, i]) => (main.x.length - 1 - i) % stride === 0);
  return rows.map(([step]) => element("tr", {},
    element("th", { scope: "row" }, formatCount(step)),
    ...curves.map(({ x, y }) => element("td", {}, formatNumber(y[nearest(x, step)])))));
}

// Returns a figure and a function that shows newer values in it.
export function createChart() {
  const title = element("h4"), legend = element("p", { class: "t-legend" });
  const drawing = element("div", { class: "t-drawing" });
  const readout = element("p", { class: "t-readout" });
  const head = element("thead"), body = element("tbody");
  const table = element("details", {}, element("summary", {}, "Values"),
    element("div", { class: "t-scroll", tabindex: "0", role: "region", "aria-label": "values" }, element("table", {}, head, body)));
  const figure = element("figure", { class: "t-chart" }, title, legend, drawing, readout, table);

  let record = null, width = 0;

  function draw() {
    const { title: text, curves } = record;
    width = Math.min(MAX_WIDTH, Math.max(MIN_WIDTH, drawing.clientWidth || MAX_WIDTH));
    const last = Math.max(...curves.map(({ x }) => x.at(-1)));
    const first = Math.min(...curves.map(({ x }) => x[0]));
    const x = new Scale(first, Math.max(last, first + 1), LEFT, width - RIGHT);
    const y = new Scale(...valueRange(curves, INITIAL_FRACTION * last), HEIGHT - BOTTOM, TOP);
    const newest = curves.map(({ name, y }) => `${name} ${formatNumber(y.at(-1))}`).join(", ");
    const mark = svgElement("path", { class: "t-mark" });
    const svg = svgElement("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": `${text} over the steps; newest: ${newest}` },
      ...axes(x, y), ...curves.flatMap((curve) => line(curve, x, y)), mark);
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const position = ((event.clientX - box.left) / box.width) * width;
      const target = x.low + ((position - LEFT) / (width - RIGHT - LEFT)) * (x.high - x.low);
      const step = curves[0].x[nearest(curves[0].x, target)];
      mark.setAttribute("d", `M${x.at(step)} ${TOP}V${HEIGHT - BOTTOM}`);
      readout.textContent = describeAt(curves, step);
    });
    svg.addEventListener("pointerleave", () => { mark.removeAttribute("d"); readout.textContent = describeAt(curves, last); });
    readout.textContent = describeAt(curves, last);
    drawing.replaceChildren(svg);
  }

  function update(next) {
    record = next;
    const { title: text, unit, curves } = record;
    title.textContent = unit ? `${text}, ${unit}` : text;
    legend.replaceChildren(...curves.map(({ name }) => element("span", { class: `t-key ${name}` }, name)));
    draw();
    head.replaceChildren(element("tr", {}, element("th", { scope: "col" }, "step"),
      ...curves.map(({ name }) => element("th", { scope: "col" }, name))));
    body.replaceChildren(...tableRows(curves));
  }

  new ResizeObserver(() => {
    if (record && Math.abs(drawing.clientWidth - width) > 1 && drawing.clientWidth) draw();
  }).observe(drawing);
  return { figure, update };
}
