// The work of a tab: one at a time, with progress, cancel, notes, and errors beside their cause.
import { $, $$, h } from "./dom.js";

const running = new Map(); // section -> its AbortController

// Runs `work(signal, progress)`; work that is still running in the tab is cancelled first.
// Resolves to its result, or to null if it was cancelled or failed.
export async function runJob(section, text, work) {
  running.get(section)?.abort();
  const controller = new AbortController();
  running.set(section, controller);
  clear(section);
  const status = $(".status", section);
  const progress = makeProgress(text, () => controller.abort());
  status.replaceChildren(progress.element);
  section.setAttribute("aria-busy", "true");
  try {
    const result = await work(controller.signal, progress);
    if (running.get(section) === controller) status.replaceChildren();
    return result;
  } catch (error) {
    if (running.get(section) !== controller) return null;
    status.replaceChildren();
    if (error.name === "AbortError") status.append(h("p", { className: "muted" }, "Cancelled."));
    else showError(section, error);
    return null;
  } finally {
    if (running.get(section) === controller) {
      running.delete(section);
      section.removeAttribute("aria-busy");
    }
  }
}

export const cancel = (section) => running.get(section)?.abort();

function makeProgress(text, onCancel) {
  const bar = h("progress", { max: 1, "aria-label": text });
  bar.removeAttribute("value");
  const label = h("span", {}, text);
  const button = h("button", { type: "button", className: "cancel", onclick: onCancel }, "Cancel");
  return {
    element: h("div", { className: "busy" }, label, bar, button),
    update(step, steps) {
      if (steps) bar.value = Math.min(1, step / steps);
    },
  };
}

export function showNotes(section, notes) {
  $(".status", section).append(...notes.map((note) => h("p", { className: "note" }, note)));
}

// Shows an error below the field that caused it, or else above the results.
export function showError(section, error) {
  const field = error.param && $(`[name="${CSS.escape(error.param)}"]`, section);
  const message = h("p", { className: "error", role: "alert", id: `${section.id}-error` }, error.message);
  const place = field ?? (error.param === "image" ? $(".drop", section) : null);
  if (!place || place.closest("[hidden]")) { $(".status", section).append(message); return; }
  place.closest("details")?.setAttribute("open", "");
  if (field) {
    field.setAttribute("aria-invalid", "true");
    field.setAttribute("aria-describedby", message.id);
    field.focus();
  }
  place.after(message);
}

function clear(section) {
  for (const message of $$(".error", section)) message.remove();
  for (const field of $$("[aria-invalid]", section)) {
    field.removeAttribute("aria-invalid");
    field.removeAttribute("aria-describedby");
  }
}
