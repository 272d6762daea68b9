// Uploads: a queue, two at a time, each in pieces; one that broke off goes on where it was, after a reload too.

import { Refused, above, fileName, get, join, post, put, remove } from "./api.js";
import { $, ask, make, say, sizeWords } from "./dom.js";
import { text } from "./words.js";

const AT_ONCE = 2;
const TRIES = 6; // of one piece, each after twice the wait
const waiting = [];
let running = 0;
let whenTaken = ""; // "replace" or "skip", once somebody said so for all
let done = () => {};

// `files`: [{file, path}], the path below `folder`; `finished(folder)` is told of each folder that changed.
export function send(files, folder, finished) {
  done = finished;
  for (const { file, path } of files) waiting.push(new Row(file, join(folder, path)));
  $("#uploads").hidden = false;
  next();
}

function next() {
  while (running < AT_ONCE && waiting.length) {
    running += 1;
    const row = waiting.shift();
    row.run().finally(() => {
      running -= 1;
      if (!running && !waiting.length) whenTaken = "";
      next();
    });
  }
}

class Row {
  constructor(file, path) {
    this.file = file;
    this.path = path;
    this.key = `upload ${path} ${file.size} ${file.lastModified}`;
    this.bar = make("progress", { max: file.size || 1, value: 0, "aria-label": text("Progress of {name}", file) });
    this.words = make("span", { class: "state" }, text("waits"));
    this.stop = make("button", { type: "button", onclick: () => this.cancel() }, text("Cancel"));
    this.again = make("button", { type: "button", hidden: true, onclick: () => this.resume() }, text("Go on"));
    this.row = make("li", {}, make("span", { class: "name" }, fileName(path)), this.words, this.bar, this.again, this.stop);
    $("#uploads ul").prepend(this.row);
  }

  async run() {
    if (this.cancelled) return;
    this.abort = new AbortController();
    try {
      const state = (await this.known()) || (await this.begin());
      if (!state) return this.end("skipped");
      await this.sendFrom(state);
      localStorage.removeItem(this.key);
      this.end("done");
      this.row.classList.add("done");
      done(above(this.path));
    } catch (error) {
      if (this.cancelled) return;
      const over = error instanceof Refused;
      if (over) localStorage.removeItem(this.key);
      this.words.textContent = over ? error.message : text("the connection broke");
      this.row.classList.add("wrong");
      this.again.hidden = over;
    }
  }

  // What the server has of it from an earlier time.
  async known() {
    this.id = localStorage.getItem(this.key);
    if (!this.id) return null;
    try {
      return await get(`uploads/${this.id}`);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      return null;
    }
  }

  async begin(replace = whenTaken === "replace") {
    try {
      const state = await post("uploads", { path: this.path, size: this.file.size, replace });
      this.id = state.id;
      localStorage.setItem(this.key, state.id);
      return state;
    } catch (error) {
      if (error.status !== 409 || replace) throw error;
      if (!whenTaken) {
        const answer = await ask(text("{name} is there already", { name: fileName(this.path) }), text("The old file would go to the trash."), [
          ["skip all", text("Skip all"), "plain"],
          ["replace all", text("Replace all"), "plain"],
          ["replace", text("Replace")],
        ]);
        if (answer.endsWith(" all")) whenTaken = answer.split(" ")[0];
        if (answer === "replace") return this.begin(true);
      }
      return whenTaken === "replace" ? this.begin(true) : null;
    }
  }

  async sendFrom(state) {
    let tries = 0;
    const began = performance.now();
    const first = state.offset;
    while (!state.complete) {
      this.show(state.offset, first, began);
      const piece = this.file.slice(state.offset, state.offset + state.chunk);
      try {
        state = await put(`uploads/${this.id}`, { offset: state.offset }, piece, this.abort.signal);
        tries = 0;
      } catch (error) {
        const passing = !(error instanceof Refused) || [409, 429, 502, 503, 504].includes(error.status);
        if (this.cancelled || !passing || (tries += 1) > TRIES) throw error;
        await new Promise((resolve) => setTimeout(resolve, 250 * 2 ** tries));
        state = await get(`uploads/${this.id}`).catch((lost) => {
          if (lost instanceof Refused) throw error.status === 409 ? error : lost;
          return state;
        });
      }
    }
    this.bar.value = this.bar.max;
  }

  show(offset, first, began) {
    this.bar.value = offset;
    const speed = ((offset - first) / (performance.now() - began)) * 1000;
    const rest = speed > 0 ? ` · ${sizeWords(speed)}/s` : "";
    const percent = Math.floor((offset / (this.file.size || 1)) * 100);
    this.words.textContent = text("{percent} % of {size}", { percent, size: sizeWords(this.file.size) }) + rest;
  }

  resume() {
    this.again.hidden = true;
    this.row.classList.remove("wrong");
    waiting.push(this);
    next();
  }

  cancel() {
    this.cancelled = true;
    this.abort?.abort();
    localStorage.removeItem(this.key);
    if (this.id) remove(`uploads/${this.id}`).catch(() => {}); // thrown away after a day, if not now
    this.end("cancelled");
  }

  end(words) {
    this.words.textContent = text(words);
    this.stop.hidden = this.again.hidden = true;
    this.bar.hidden = words !== "done";
  }
}

// The files of a drop, those in folders too, each with its path.
export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => ({ file, path: file.name }));
  const found = [];
  const walk = async (entry, folder) => {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      found.push({ file, path: join(folder, entry.name) });
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) return;
      for (const one of some) await walk(one, join(folder, entry.name));
    }
  };
  for (const entry of entries) await walk(entry, "").catch((error) => say(error.message, true));
  return found;
}

$("#close-uploads").addEventListener("click", () => {
  $("#uploads").hidden = true;
  for (const row of document.querySelectorAll("#uploads .done")) row.remove();
});
addEventListener("beforeunload", (event) => {
  if (running) event.preventDefault(); // asks; what was sent is kept
});
