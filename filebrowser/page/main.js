// The page: which folder is shown, what is selected, what the buttons do.

import { actions, emptyTrash, newFolder, trashItem } from "./actions.js";
import { above, get } from "./api.js";
import { $, make, say, trying } from "./dom.js";
import { drawCrumbs, drawItem, drawRoom, hrefOf, keyOf } from "./listing.js";
import { dropped, send } from "./uploads.js";
import { view } from "./viewer.js";
import { text } from "./words.js";

const TRASH = "#trash";
const PART = 500; // items that are fetched at once
const state = { path: "", trash: false, search: "", items: [], total: 0, selected: new Map(), writable: true };
let asked = 0; // an answer that comes after the next question is not shown

const remembered = (name, value) => localStorage.getItem(name) || value;
const isGallery = () => remembered("view", "list") === "gallery";

async function load(begin = 0) {
  const mine = (asked += 1);
  const order = $("#sort").value;
  const answer = await trying(async () => {
    if (state.trash) return { items: (await get("trash")).map(trashItem) };
    if (state.search) return get("search", { path: state.path, name: state.search });
    const query = { path: state.path, sort: order.replace("-", ""), descending: order.startsWith("-"), begin, limit: PART };
    return get("list", query);
  });
  if (mine !== asked) return;
  const items = answer?.items || [];
  state.items = begin ? [...state.items, ...items] : items;
  state.total = answer?.total ?? state.items.length;
  state.writable = !state.trash && answer?.writable !== false;
  state.complete = answer?.complete !== false;
  draw();
  const room = await get("room", { path: state.path }).catch(() => null);
  if (room && mine === asked) $("#room").replaceChildren(...drawRoom(room));
}

function draw() {
  const title = state.trash ? text("Trash") : state.search ? `“${state.search}”` : "";
  $("#crumbs").replaceChildren(...drawCrumbs(state.path, title));
  document.title = `${title || state.path || text("Files")} · Easel`;
  const gallery = isGallery() && !state.trash;
  $("#items").className = gallery ? "gallery" : "list";
  $("#as-list").setAttribute("aria-pressed", !gallery);
  $("#as-gallery").setAttribute("aria-pressed", gallery);
  $("#items").replaceChildren(
    ...state.items.map((item) =>
      drawItem(item, {
        selected: state.selected.has(keyOf(item)),
        open: state.trash ? () => choose(item, !state.selected.has(keyOf(item))) : () => view(item, state.items),
        choose,
        where: state.search || state.trash ? `/${above(item.path)}` : "",
      }),
    ),
  );
  $("#notice").replaceChildren(...notice());
  $("#more").hidden = state.items.length >= state.total;
  $("#count").textContent = state.total === 1 ? text("1 item") : text("{count} items", { count: state.total });
  $("#upload").disabled = $("#new-folder").disabled = !state.writable || Boolean(state.search);
  $("#sort").disabled = state.trash || Boolean(state.search);
  drawSelection();
}

function notice() {
  if (state.trash && state.items.length) return [make("button", { type: "button", onclick: () => act(emptyTrash) }, text("Empty the trash"))];
  if (state.trash) return [text("The trash is empty.")];
  if (state.search && !state.items.length) return [text("Nothing of that name below this folder.")];
  if (!state.complete) return [text("There is more than can be shown: search for more of the name.")];
  if (!state.writable) return [text("This folder is read-only.")];
  return state.items.length ? [] : [text("Nothing here yet. Drop files to upload them.")];
}

function choose(item, on) {
  if (on) state.selected.set(keyOf(item), item);
  else state.selected.delete(keyOf(item));
  drawSelection();
}

function drawSelection() {
  const count = state.selected.size;
  for (const row of document.querySelectorAll("#items .item")) {
    const on = state.selected.has(row.dataset.key);
    row.classList.toggle("selected", on);
    $("input", row).checked = on;
  }
  $("#actions").hidden = !count;
  $("#selected").textContent = text("{count} selected", { count });
  const all = $("#select-all");
  all.checked = count > 0 && count === state.items.length;
  all.indeterminate = count > 0 && !all.checked;
  all.disabled = !state.items.length;
  for (const button of document.querySelectorAll("#actions [data-do]")) {
    const what = button.dataset.do;
    const ofTrash = what === "restore" || what === "purge";
    button.hidden = what !== "clear" && ofTrash !== state.trash;
    button.disabled = (what === "rename" && count !== 1) || (!state.writable && ["rename", "move", "delete"].includes(what));
  }
}

// Do something, then look again.
async function act(action, ...given) {
  await action(...given);
  state.selected.clear();
  await load();
}

function navigate() {
  const hash = location.hash || "#/";
  state.trash = hash === TRASH;
  state.path = state.trash ? "" : hash.slice(2).split("/").map(decodeURIComponent).join("/");
  state.search = $("#search input").value = "";
  state.selected.clear();
  scrollTo(0, 0);
  load();
}

function upload(files) {
  if (!files.length) return;
  if (!state.writable) return say(text("This folder is read-only."), true);
  send(files, state.path, (folder) => folder === state.path && !state.search && load());
}

function setView(name) {
  localStorage.setItem("view", name);
  draw();
}

$("#search").addEventListener("submit", (event) => {
  event.preventDefault();
  state.search = event.target.elements.name.value.trim();
  state.selected.clear();
  if (state.trash) location.hash = "#/";
  else load();
});
$("#search input").addEventListener("input", (event) => {
  if (event.target.value || !state.search) return;
  state.search = "";
  load();
});
$("#upload").addEventListener("click", () => $("#chosen").click());
$("#chosen").addEventListener("change", (event) => {
  upload([...event.target.files].map((file) => ({ file, path: file.name })));
  event.target.value = "";
});
$("#new-folder").addEventListener("click", () => act(newFolder, state.path));
$("#open-trash").addEventListener("click", () => (location.hash = state.trash ? hrefOf("") : TRASH));
$("#more").addEventListener("click", () => load(state.items.length));
$("#sort").addEventListener("change", (event) => {
  localStorage.setItem("sort", event.target.value);
  load();
});
$("#as-list").addEventListener("click", () => setView("list"));
$("#as-gallery").addEventListener("click", () => setView("gallery"));
$("#select-all").addEventListener("change", (event) => {
  state.selected = new Map(event.target.checked ? state.items.map((item) => [keyOf(item), item]) : []);
  drawSelection();
});
$("#actions").addEventListener("click", (event) => {
  const what = event.target.closest("[data-do]")?.dataset.do;
  const items = [...state.selected.values()];
  if (what === "clear") {
    state.selected.clear();
    drawSelection();
  } else if (what === "download") actions.download(items);
  else if (what) act(actions[what], items, state.path);
});

const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
addEventListener("dragover", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  $("#drop").hidden = false;
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("#drop").hidden = true;
});
addEventListener("drop", async (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  $("#drop").hidden = true;
  upload(await dropped(event.dataTransfer));
});
addEventListener("paste", (event) => upload([...(event.clipboardData?.files || [])].map((file) => ({ file, path: file.name }))));
addEventListener("keydown", (event) => {
  if (event.target.matches("input:not([type=checkbox]), select, textarea, dialog *") || event.ctrlKey || event.metaKey) return;
  if (event.key === "/") {
    event.preventDefault();
    $("#search input").focus();
  }
  if (event.key === "Escape" && state.selected.size) {
    state.selected.clear();
    drawSelection();
  }
  if (event.key === "Delete" && state.selected.size && state.writable) act(actions.delete, [...state.selected.values()]);
});
addEventListener("hashchange", navigate);

$("#sort").value = remembered("sort", "name");
navigate();
