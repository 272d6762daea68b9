// How files and folders are drawn: rows of a list or tiles of a gallery.

import { address } from "./api.js";
import { make, sign, sizeWords, timeWords } from "./dom.js";
import { text } from "./words.js";

function preview(item) {
  if (item.kind !== "picture") return sign(item.kind);
  const image = make("img", {
    class: "sign",
    src: address("thumbnail", { path: item.path, side: 256, v: item.modified }),
    alt: "",
    loading: "lazy",
    decoding: "async",
  });
  image.addEventListener("error", () => image.replaceWith(sign(item.kind)), { once: true });
  return image;
}

// One file or folder. `open(item)` looks at it, `choose(item, on)` selects it; a search shows where things are.
export function drawItem(item, { selected, open, choose, where }) {
  const box = make("input", { type: "checkbox", "aria-label": text("Select {name}", item), checked: selected });
  box.addEventListener("change", () => choose(item, box.checked));
  const name = make("span", { class: "name" }, item.name);
  if (where) name.append(make("small", {}, where));
  const opener =
    item.kind === "folder" && !item.id
      ? make("a", { class: "open", href: hrefOf(item.path) }, preview(item), name)
      : make("button", { class: "open", type: "button", onclick: () => open(item) }, preview(item), name);
  opener.title = item.name;
  return make(
    "li",
    { class: selected ? "item selected" : "item", "data-key": keyOf(item) },
    box,
    opener,
    make("span", { class: "size" }, item.kind === "folder" && !item.size ? "" : sizeWords(item.size)),
    make("time", {}, timeWords(item.modified)),
  );
}

export const keyOf = (item) => item.id || item.path;
export const hrefOf = (path) => `#/${path.split("/").map(encodeURIComponent).join("/")}`;

export function drawCrumbs(path, title) {
  const parts = path ? path.split("/") : [];
  const steps = [make("a", { href: "#/" }, text("Files"))];
  parts.forEach((part, at) => steps.push(make("a", { href: hrefOf(parts.slice(0, at + 1).join("/")) }, part)));
  if (title) steps.push(make("span", {}, title));
  steps.at(-1).setAttribute("aria-current", "page");
  return steps;
}

export function drawRoom({ used, quota, free }) {
  const sizes = { used: sizeWords(used), quota: sizeWords(quota ?? 0), free: sizeWords(free) };
  if (quota === null) return [text("{used} used · {free} free", sizes)];
  return [
    make("meter", { min: 0, max: quota, value: used, high: quota * 0.9, "aria-label": text("Used of your quota") }),
    ` ${text("{used} of {quota} used · {free} free on the disk", sizes)}`,
  ];
}
