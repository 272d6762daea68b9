// What can be done with the selected files.

import { above, address, fileName, get, join, post, remove } from "./api.js";
import { ask, askName, make, say, sign, trying } from "./dom.js";
import { text } from "./words.js";

const LONGEST = 16_000; // characters of an address

const words = (items) => (items.length === 1 ? items[0].name : text("{count} items", { count: items.length }));

function download(items) {
  const single = items.length === 1 && items[0].kind !== "folder";
  const url = single ? address("file", { path: items[0].path }) : address("zip", { path: items.map((one) => one.path) });
  if (url.length > LONGEST) return say(text("These are too many for one download: choose their folder, or fewer."), true);
  const link = make("a", { href: url, download: "" });
  document.body.append(link);
  link.click();
  link.remove();
}

async function rename([item]) {
  const name = await askName(text("Rename {name}", item), item.name, text("Rename"));
  if (name) await trying(() => post("move", { path: item.path, to: join(above(item.path), name) }));
}

const move = (items, folder) => transfer(items, folder, "move", "Move");
const copy = (items, folder) => transfer(items, folder, "copy", "Copy");

async function transfer(items, folder, what, verb) {
  const target = await chooseFolder(text(`${verb} {items} to`, { items: words(items) }), folder, text(`${verb} here`));
  if (target === null) return;
  for (const item of items) {
    const to = join(target, item.name);
    if (to === item.path) continue;
    await trying(async () => {
      try {
        await post(what, { path: item.path, to });
      } catch (error) {
        if (error.status !== 409 || item.kind === "folder") throw error;
        const answer = await ask(text("{name} is there already", item), text("The old file would go to the trash."), [
          ["replace", text("Replace")],
        ]);
        if (answer === "replace") await post(what, { path: item.path, to, replace: true });
      }
    });
  }
}

// A dialog that walks through the folders; the one that was chosen, or null.
async function chooseFolder(title, start, button) {
  let folder = start;
  const shown = make("p", { class: "path" });
  const list = make("ul", { class: "folders" });
  const go = async (path) => {
    const { items } = await get("list", { path, limit: 10_000 });
    folder = path;
    shown.textContent = `/${path}`;
    const step = (name, to) =>
      make("li", {}, make("button", { type: "button", onclick: () => trying(() => go(to)) }, sign("folder"), name));
    const folders = items.filter((one) => one.kind === "folder");
    list.replaceChildren(...(path ? [step("..", above(path))] : []), ...folders.map((one) => step(one.name, one.path)));
  };
  await trying(() => go(start));
  return (await ask(title, [shown, list], [["yes", button]])) === "yes" ? folder : null;
}

async function toTrash(items) {
  const gone = await trying(() => post("trash", { paths: items.map((one) => one.path) }));
  if (gone) say(text("{items} went to the trash", { items: words(items) }));
}

async function restore(items) {
  for (const item of items) await trying(() => post(`trash/${item.id}/restore`));
}

async function purge(items) {
  const answer = await ask(text("Delete {items} for good?", { items: words(items) }), text("This cannot be undone."), [
    ["yes", text("Delete"), "danger"],
  ]);
  if (answer === "yes") for (const item of items) await trying(() => remove(`trash/${item.id}`));
}

export async function emptyTrash() {
  const answer = await ask(text("Empty the trash?"), text("This cannot be undone."), [["yes", text("Empty"), "danger"]]);
  if (answer === "yes") await trying(() => remove("trash"));
}

export async function newFolder(folder) {
  const name = await askName(text("New folder"), "", text("Make"));
  if (name) await trying(() => post("folders", { path: join(folder, name) }));
}

export const trashItem = (one) => ({
  id: one.id,
  name: fileName(one.path),
  path: one.path,
  kind: one.folder ? "folder" : "file",
  size: one.size,
  modified: one.deleted,
});

export const actions = { download, rename, move, copy, delete: toTrash, restore, purge };
