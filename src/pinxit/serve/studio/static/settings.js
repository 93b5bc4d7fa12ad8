// The fields that tabs share: seed, settings of generation, language, examples of words.
import { $, $$, form, h, randomSeed, section } from "./dom.js";
import { state } from "./state.js";

const NUM_CHIPS = 6;

// Fills in the seed field of a tab, with a button that draws another seed.
export function addSeed(tab, onAnother) {
  const place = $("[data-seed]", section(tab));
  const id = `${tab}-seed`;
  place.append(h("label", { for: id }, "Seed"),
    h("input", { id, name: "seed", type: "number", min: 0, step: 1, max: 2 ** 53, value: 0, required: true }));
  $("[data-another]", section(tab))?.addEventListener("click", () => {
    form(tab).elements.seed.value = randomSeed();
    onAnother();
  });
}

// Runs an action when the form of a tab is sent; by Enter too, where words are written.
export function onSubmit(tab, action) {
  form(tab).addEventListener("submit", (event) => { event.preventDefault(); action(); });
  form(tab).addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.target.tagName !== "TEXTAREA") return;
    event.preventDefault();
    form(tab).requestSubmit();
  });
}

// Shows the settings that the run's model takes, with the defaults that were measured as best.
export function selectSettings(tab) {
  const defaults = state.run.settings[tab] ?? {};
  for (const label of $$("[data-setting]", section(tab))) {
    const name = label.dataset.setting;
    label.hidden = !(name in defaults);
    $("input", label).value = defaults[name] ?? "";
    $("input", label).disabled = label.hidden;
  }
  const languages = $("[data-languages]", section(tab));
  if (!languages) return;
  languages.hidden = state.run.languages.length < 2;
  $("select", languages).replaceChildren(new Option("as the words are", ""), ...state.run.languages.map((name) => new Option(nameOf(name), name)));
}

// The settings of a tab that its model takes, as numbers. At temperature 0 all candidates are equal.
export function readSettings(tab) {
  const values = {};
  for (const input of $$("[data-setting] input", section(tab))) {
    if (!input.disabled && input.value !== "") values[input.name] = +input.value;
  }
  if (values.temperature === 0) ["top_p", "best_of"].forEach((name) => delete values[name]);
  return values;
}

export function fill(tab, values) {
  for (const [name, value] of Object.entries(values)) {
    const field = form(tab).elements[name];
    if (field && !field.type?.startsWith("file")) field.value = value;
  }
}

export function nameOf(language) {
  try {
    if (language === "und") return "language not given";
    return new Intl.DisplayNames(["en"], { type: "language" }).of(language) ?? language;
  } catch {
    return language;
  }
}

// At most `count` items, evenly spaced.
export const spread = (items, count) =>
  items.filter((_, i) => i % Math.max(1, Math.floor(items.length / count)) === 0).slice(0, count);

// Shows captions of the run's own data, or words that it knows. `use(text, image)` is called.
export function showCaptions(tab, examples, use) {
  const place = $("[data-captions]", section(tab));
  const { captions, words } = examples;
  place.hidden = captions.length + words.length === 0;
  $("span", place).textContent = captions.length ? "Try one of the captions that it was tested with" : "Words that it knows";
  const texts = spread(captions, NUM_CHIPS);
  const chips = texts.length ? texts : words.map((text) => ({ text }));
  $(".chips", place).replaceChildren(...chips.map(({ text, language = "", image }) =>
    h("button", { type: "button", lang: language, onclick: () => use(text, image, language) }, text)));
}
