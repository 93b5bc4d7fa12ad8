// Forms, errors and figures, as all tabs use them.

export const $ = (selector, inside = document) => inside.querySelector(selector);
export const form = (tab) => $(`#${tab} form`);
export const output = (tab) => $(`#${tab} .output`);
export const fields = (tab) => Object.fromEntries(new FormData(form(tab)));

// Runs an action and shows its error.
export async function run(action) {
  $("#error").hidden = true;
  try { await action(); } catch (error) {
    $("#error").textContent = error.message;
    $("#error").hidden = false;
  }
}

export const onSubmit = (tab, action) => form(tab).addEventListener("submit", (event) => {
  event.preventDefault();
  run(action);
});

// Shows a range's value beside it.
export const showValue = (range) => range.addEventListener("input", () => {
  range.nextElementSibling.value = range.value;
});

export const pngUrl = (base64) => `data:image/png;base64,${base64}`;
export const quote = (text) => `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;

// A text as one word of a shell command, like Python's shlex.quote.
export const shellQuote = (text) =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`;

const pythonProgram = (call) =>
  `from openai import OpenAI\n\nclient = OpenAI(base_url="${location.origin}/v1", api_key="...")\n${call}`;

// Adds a figure with the command and the program that repeat it. Returns a function that shows an
// image (base64) in it.
export function addFigure(container, { command, code, alt, first = false }) {
  const figure = $("#figure").content.firstElementChild.cloneNode(true);
  $("img", figure).alt = alt;
  $(".command", figure).textContent = command;
  $(".code", figure).textContent = pythonProgram(code);
  if (first) container.prepend(figure); else container.append(figure);
  return (base64) => {
    $("img", figure).src = pngUrl(base64);
    $("a", figure).href = pngUrl(base64);
  };
}

export function readFile(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error("This file cannot be read."));
    reader.readAsDataURL(file);
  });
}

export function loadImage(url) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error("This file is not an image that your browser can show."));
    image.src = url;
  });
}
