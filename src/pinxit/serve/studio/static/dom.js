// Elements, forms and files. Texts of runs and users become text, never HTML.

export const $ = (selector, inside = document) => inside.querySelector(selector);
export const $$ = (selector, inside = document) => [...inside.querySelectorAll(selector)];

// An element with properties and children: h("a", { href: "/" }, "Home").
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "for") element.setAttribute(name, value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const section = (tab) => $(`#${tab}`);
export const form = (tab) => $("form", section(tab));
export const output = (tab) => $(".output", section(tab));

export const pngUrl = (base64) => `data:image/png;base64,${base64}`;

// Shows a range's value in the output beside it.
export function showValue(range) {
  $("output", range.parentElement).value = range.value;
}

export const randomSeed = () => Math.floor(Math.random() * 1e6);

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

// A part of a file name: letters and digits of any language.
export const slug = (text) =>
  text.normalize("NFC").replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 48);
