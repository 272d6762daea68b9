// Looking at one file: a picture with its generation data, a video, the beginning of a text.

import { address, get } from "./api.js";
import { $, make, say, sizeWords, timeWords, trying } from "./dom.js";
import { text as translated } from "./words.js";

const dialog = $("#viewer");
let items = [];
let at = 0;
let infotext = "";

export function view(item, all) {
  items = all.filter((one) => one.kind !== "folder");
  at = items.findIndex((one) => one.path === item.path);
  show();
  dialog.showModal();
}

function show() {
  const item = items[at];
  $("h2", dialog).textContent = item.name;
  $(".facts", dialog).textContent = `${sizeWords(item.size)} · ${timeWords(item.modified)}`;
  $("a[download]", dialog).href = address("file", { path: item.path });
  $(".data", dialog).replaceChildren();
  $(".stage", dialog).replaceChildren(make("p", { class: "nothing" }, translated("No preview: download it to look at it.")));
  setInfotext("");
  $(".previous", dialog).disabled = at === 0;
  $(".next", dialog).disabled = at === items.length - 1;
  const draw = { picture: drawPicture, video: drawVideo, text: drawText }[item.kind];
  if (draw) trying(() => draw(item));
}

const isShown = (item) => items[at] === item;

function setInfotext(text) {
  infotext = text;
  $('[data-do="copy-data"]', dialog).hidden = !text;
}

async function drawPicture(item) {
  const source = item.name.toLowerCase().endsWith(".bmp")
    ? address("thumbnail", { path: item.path, side: 512 })
    : address("file", { path: item.path, inline: true });
  $(".stage", dialog).replaceChildren(make("img", { src: source, alt: item.name }));
  const details = await get("details", { path: item.path });
  if (!isShown(item)) return;
  if (details.problem) {
    $(".data", dialog).replaceChildren(make("p", { class: "wrong" }, details.problem));
    return;
  }
  $(".facts", dialog).prepend(`${details.width} × ${details.height} · `);
  setInfotext(details.infotext);
  $(".data", dialog).replaceChildren(...drawData(details));
}

function drawVideo(item) {
  const source = address("file", { path: item.path, inline: true });
  $(".stage", dialog).replaceChildren(make("video", { src: source, controls: true }));
}

async function drawText(item) {
  const { text, complete } = await get("text", { path: item.path });
  if (!isShown(item)) return;
  const shown = complete ? text : `${text}\n\n${translated("… the file goes on; download it to see all of it")}`;
  $(".stage", dialog).replaceChildren(make("pre", { tabindex: "0" }, shown));
}

// Prompt, negative prompt, and `Steps: 20, Sampler: Euler, …` as a list.
function drawData({ infotext, fields }) {
  const drawn = [];
  const lines = infotext.split("\n");
  const last = /(^|, )Steps: \d/.test(lines.at(-1)) ? lines.pop() : "";
  const negative = lines.findIndex((line) => line.startsWith("Negative prompt:"));
  const [prompt, without] = negative < 0 ? [lines, []] : [lines.slice(0, negative), lines.slice(negative)];
  const block = (title, text) => text && drawn.push(make("h3", {}, title), make("p", { class: "prompt" }, text));
  block(translated("Prompt"), prompt.join("\n").trim());
  block(translated("Negative prompt"), without.join("\n").replace("Negative prompt:", "").trim());
  const pairs = [...last.matchAll(/\s*([\w][\w \-/]*):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)/g)].map((one) => [one[1], one[2]]);
  pairs.push(...Object.entries(fields));
  if (pairs.length) {
    drawn.push(make("dl", {}, ...pairs.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])));
  }
  return drawn.length ? drawn : [make("p", { class: "nothing" }, translated("It holds no generation data."))];
}

function step(by) {
  if (at + by >= 0 && at + by < items.length) {
    at += by;
    show();
  }
}

async function copyData() {
  try {
    await navigator.clipboard.writeText(infotext);
  } catch {
    // without https browsers have no clipboard to write to, but still this
    const area = make("textarea", {}, infotext);
    dialog.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  say(translated("Generation data copied"));
}

$(".close", dialog).addEventListener("click", () => dialog.close());
$(".previous", dialog).addEventListener("click", () => step(-1));
$(".next", dialog).addEventListener("click", () => step(1));
$('[data-do="copy-data"]', dialog).addEventListener("click", copyData);
dialog.addEventListener("close", () => $(".stage", dialog).replaceChildren()); // a video stops
dialog.addEventListener("keydown", (event) => {
  if (event.target.matches("video, pre")) return;
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});
