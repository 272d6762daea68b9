// Small things that all parts of the page need: elements, words for sizes and times, messages, questions.

import { locale, text } from "./words.js";

export const $ = (selector, within = document) => within.querySelector(selector);

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// One of the signs that stand in index.html.
export function sign(kind) {
  const drawn = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#sign-${kind}`);
  drawn.setAttribute("class", `sign ${kind}`);
  drawn.setAttribute("aria-hidden", "true");
  drawn.append(use);
  return drawn;
}

export function sizeWords(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  const units = ["KB", "MB", "GB", "TB"];
  let value = bytes / 1024;
  while (value >= 1024 && units.length > 1) {
    value /= 1024;
    units.shift();
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[0]}`;
}

export const timeWords = (seconds) =>
  new Date(seconds * 1000).toLocaleString(locale, { dateStyle: "medium", timeStyle: "short" });

let hiding = 0;
export function say(message, wrong = false) {
  const toast = $("#toast");
  toast.textContent = message;
  toast.classList.toggle("wrong", wrong);
  toast.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => (toast.hidden = true), wrong ? 8000 : 3000);
}

// Run something that may be refused, and say so in the server's words.
export async function trying(action) {
  try {
    return await action();
  } catch (error) {
    say(error.message, true);
    return undefined;
  }
}

// A question with answers as buttons, [value, words, class]; the value of the one that was pressed, or "".
// A question is asked after the one before it was answered.
let asking = Promise.resolve();
export function ask(title, body, answers) {
  const question = asking.then(() => askNow(title, body, answers));
  asking = question;
  return question;
}

function askNow(title, body, answers) {
  const dialog = $("#ask");
  $("h2", dialog).textContent = title;
  $(".body", dialog).replaceChildren(...[body].flat());
  $(".buttons", dialog).replaceChildren(
    make("button", { type: "button", onclick: () => dialog.close("") }, text("Cancel")),
    ...answers.map(([value, words, kind]) => make("button", { value, class: kind || "primary" }, words)),
  );
  dialog.returnValue = "";
  dialog.showModal();
  $("input", dialog)?.select();
  return new Promise((resolve) =>
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true }),
  );
}

// Ask for a name; null when nobody wants it any more.
export async function askName(title, name, button) {
  const input = make("input", { type: "text", value: name, "aria-label": title, autocomplete: "off", required: true });
  const answer = await ask(title, input, [["yes", button]]);
  return answer === "yes" && input.value && input.value !== name ? input.value : null;
}
