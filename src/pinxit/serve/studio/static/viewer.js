// One image, large: download, its settings, and the command and the program that return it.
import { $, h, pngUrl, slug } from "./dom.js";

const dialog = $("#viewer");
const shown = { entries: [], index: 0 };
const actions = []; // [{ title, applies(entry), run(entry) }], added by the page

export const addAction = (action) => actions.push(action);

export function openViewer(entries, index) {
  Object.assign(shown, { entries, index });
  render();
  if (!dialog.open) dialog.showModal();
}

const closeViewer = () => dialog.close();

function move(step) {
  shown.index = (shown.index + step + shown.entries.length) % shown.entries.length;
  render();
  $(step > 0 ? ".next" : ".previous", dialog)?.focus();
}

export const fileName = ({ run, title, seed, index }) =>
  `${[slug(run), slug(title), seed === undefined ? "" : `seed${seed}`, index ? `no${index}` : ""].filter(Boolean).join("-")}.png`;

export function downloadLink(png, name, text) {
  return h("a", { className: "button", href: pngUrl(png), download: name }, text);
}

function makeCode(title, text) {
  const button = h("button", { type: "button" }, "Copy");
  button.addEventListener("click", async () => {
    button.textContent = (await copy(text)) ? "Copied" : "Select and copy";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  return h("div", { className: "code" }, h("h3", {}, title), button, h("pre", { tabIndex: 0 }, text));
}

// The clipboard's own interface exists on local and encrypted pages only.
async function copy(text) {
  try { await navigator.clipboard.writeText(text); return true; } catch { /* below */ }
  const area = h("textarea", { value: text });
  dialog.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  return copied;
}

// The key of the server stays out of what may be passed on.
function clientProgram(call) {
  const hasKey = sessionStorage.getItem("key") !== null;
  const [imports, key] = hasKey ? ["import base64\nimport os", 'os.environ["PINXIT_API_KEY"]'] : ["import base64", '"not-needed"'];
  return `${imports}\n\nfrom openai import OpenAI\n\nclient = OpenAI(base_url="${location.origin}/v1", api_key=${key})\n${call}`;
}

export function repeatOf(entry) {
  const parts = [];
  if (entry.command) parts.push(["Command", entry.command]);
  if (entry.program) parts.push(["Python, through this server", clientProgram(entry.program)]);
  if (entry.library) parts.push(["Python", entry.library]);
  return parts;
}

function describe({ run, tab, seed, index, options = {} }) {
  const facts = [run, tab];
  if (seed !== undefined) facts.push(`seed ${seed}`);
  if (index) facts.push(`image ${index}`);
  for (const [name, value] of Object.entries(options)) facts.push(`${name.replace("_", "-")} ${value}`);
  return facts.filter(Boolean).map((fact) => h("span", {}, fact));
}

function render() {
  const entry = shown.entries[shown.index];
  const several = shown.entries.length > 1;
  const inputs = Object.entries(entry.inputs ?? {});
  const repeat = repeatOf(entry).map(([title, text]) => makeCode(title, text));
  dialog.replaceChildren(h("div", { className: "viewer" },
    h("div", {},
      h("img", { className: "big", alt: entry.title, src: pngUrl(entry.png) }),
      several ? h("div", { className: "row" },
        h("button", { type: "button", className: "previous", onclick: () => move(-1) }, "← Previous"),
        h("button", { type: "button", className: "next", onclick: () => move(1) }, "Next →"),
        h("span", { className: "muted" }, `${shown.index + 1} of ${shown.entries.length}`)) : null),
    h("div", {},
      h("h2", { id: "viewer-title" }, entry.title),
      h("p", { className: "facts" }, ...describe(entry)),
      h("div", { className: "row" },
        downloadLink(entry.png, fileName(entry), "Download"),
        ...actions.filter((action) => action.applies(entry)).map((action) =>
          h("button", { type: "button", onclick: () => { closeViewer(); action.run(entry); } }, action.title(entry)))),
      ...repeat,
      inputs.length && repeat.length ? h("div", { className: "row" }, h("span", { className: "muted" }, "They read:"),
        ...inputs.map(([name, png]) => downloadLink(png, name, name))) : null),
    h("button", { type: "button", className: "close", "aria-label": "Close", onclick: closeViewer }, "✕")));
}

dialog.addEventListener("click", (event) => { if (event.target === dialog) closeViewer(); });
dialog.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (step && shown.entries.length > 1 && event.target.tagName !== "PRE") move(step);
});
