// What the page does in the browser: choosing pictures, keys, prompt weights, titles. gradio calls `easel.…` for values.
const easel = (() => {
  const byId = (id) => document.getElementById(id);
  const kindOf = (node) => node?.closest?.("[id$=_results]")?.id.replace(/_results$/, "");
  const kinds = ["txt2img", "img2img"];

  // -- which picture is shown

  const chosenThumb = (kind) => document.querySelector(`#${kind}_gallery .easel-thumb.chosen`);

  function choose(thumb) {
    const gallery = thumb.closest(".easel-gallery"), { index, src, file, name } = thumb.dataset;
    for (const one of gallery.querySelectorAll(".easel-thumb")) one.classList.toggle("chosen", one === thumb);
    for (const one of gallery.querySelectorAll(".easel-infotext")) one.hidden = one.dataset.index !== index;
    const large = new Image();
    large.alt = "";
    large.onerror = () => { if (file && !large.src.endsWith(file)) large.src = file; };  // the job is forgotten, not the file
    large.src = src;
    gallery.querySelector(".easel-stage").replaceChildren(large);
    const save = gallery.querySelector(".easel-save");
    save.href = file || src;
    save.download = name;
  }

  function step(gallery, by) {
    const thumbs = [...gallery.querySelectorAll(".easel-thumb")];
    const now = thumbs.findIndex((one) => one.classList.contains("chosen"));
    choose(thumbs[(now + by + thumbs.length) % thumbs.length]);
  }

  // -- the large view

  let lightbox = null;

  function enlarge(gallery) {
    lightbox?.remove();
    lightbox = document.createElement("div");
    lightbox.className = "easel-lightbox";
    lightbox.gallery = gallery;
    lightbox.append(gallery.querySelector(".easel-stage img").cloneNode());
    lightbox.onclick = () => { lightbox.remove(); lightbox = null; };
    (document.querySelector(".gradio-container .contain") ?? document.body).append(lightbox);  // where the page's CSS counts
  }

  // -- prompt weights: (words:1.1) around the selection, <tag:name:0.9> in place

  const number = "[+-]?\\d*\\.?\\d+";

  function weigh(box, by) {
    let { selectionStart: start, selectionEnd: end, value: text } = box;
    const tag = [...text.matchAll(new RegExp(`<[^<>:]+:[^<>:]+:(${number})[^<>]*>`, "g"))]
      .find((one) => one.index <= start && one.index + one[0].length >= end);
    const group = [...text.matchAll(new RegExp(`\\(([^()]*):(${number})\\)`, "g"))]
      .find((one) => one.index <= start && one.index + one[0].length >= end);
    const found = tag || group, step = tag ? 0.05 : 0.1;
    if (found) {
      const old = found[tag ? 1 : 2], at = found.index + found[0].lastIndexOf(`:${old}`) + 1;
      const weight = String(Math.round((Number(old) + by * step) * 100) / 100);
      if (!tag && Number(weight) === 1) {
        replace(box, found.index, found.index + found[0].length, found[1], found.index, found[1].length);
      } else {
        replace(box, at, at + old.length, weight, start, end - start);
      }
      return;
    }
    if (start === end) {  // the part between commas, as far as it is one
      const stops = /[,\n.!?()<>[\]|:]/;
      while (start > 0 && !stops.test(text[start - 1])) start -= 1;
      while (end < text.length && !stops.test(text[end])) end += 1;
    }
    while (text[start] === " ") start += 1;
    while (end > start && text[end - 1] === " ") end -= 1;
    if (start >= end) return;
    const words = text.slice(start, end);
    replace(box, start, end, `(${words}:${1 + by * step})`, start + 1, words.length);
  }

  function replace(box, start, end, words, select, length) {
    box.setRangeText(words, start, end, "end");
    box.setSelectionRange(select, select + length);
    box.dispatchEvent(new Event("input", { bubbles: true }));
  }

  const promptBox = (kind, negative) => byId(negative ? `${kind}_neg_prompt` : `${kind}_prompt`).querySelector("textarea");

  function write(box, text) {
    box.value = text;
    box.dispatchEvent(new Event("input", { bubbles: true }));
  }

  // -- keys

  function visibleKind() {
    return kinds.find((kind) => byId(`${kind}_generate`)?.offsetParent || byId(`${kind}_interrupt`)?.offsetParent);
  }

  const press = (id) => { const button = byId(id); if (button?.offsetParent) button.click(); };

  document.addEventListener("keydown", (event) => {
    const prompt = event.target.closest?.("[id$=_prompt]:not([id$=hr_prompt]) textarea, .easel-weights textarea");
    if (lightbox) {
      if (event.key === "Escape") lightbox.onclick();
      if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
        step(lightbox.gallery, event.key === "ArrowRight" ? 1 : -1);
        enlarge(lightbox.gallery);
      }
    } else if (prompt && (event.ctrlKey || event.metaKey) && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
      event.preventDefault();
      weigh(prompt, event.key === "ArrowUp" ? 1 : -1);
    } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      const kind = visibleKind();
      if (kind) { event.preventDefault(); event.stopPropagation(); press(`${kind}_generate`); }
    } else if (event.key === "Enter" && event.altKey) {
      press(`${visibleKind()}_skip`);
    } else if (event.key === "Escape" && !event.target.closest?.("[role=listbox], input[role=combobox]")) {
      press(`${visibleKind()}_interrupt`);
    } else if (event.target.matches?.(".easel-stage") && event.key.startsWith("Arrow")) {
      step(event.target.closest(".easel-gallery"), event.key === "ArrowLeft" || event.key === "ArrowUp" ? -1 : 1);
      event.preventDefault();
    } else if (event.target.matches?.(".easel-stage") && event.key === "Enter") {
      enlarge(event.target.closest(".easel-gallery"));
    }
  }, true);

  document.addEventListener("click", (event) => {
    const thumb = event.target.closest(".easel-thumb");
    if (thumb) choose(thumb);
    else if (event.target.matches(".easel-stage img")) enlarge(event.target.closest(".easel-gallery"));
    const card = event.target.closest(".easel-card[data-insert]");
    if (card) insert(card);
    const kind = event.target.closest("[data-empties]")?.dataset.empties;
    if (kind) for (const negative of [false, true]) write(promptBox(kind, negative), "");
  });

  // -- a picture dropped on a prompt: its generation data

  const promptOf = (event) => {
    const files = [...(event.dataTransfer?.types ?? [])].includes("Files");
    return files && event.target.closest?.("#txt2img_prompt, #img2img_prompt, #txt2img_neg_prompt, #img2img_neg_prompt");
  };
  document.addEventListener("dragover", (event) => { if (promptOf(event)) event.preventDefault(); });
  document.addEventListener("drop", async (event) => {
    const place = promptOf(event), file = event.dataTransfer?.files[0];
    if (!place || !file) return;
    event.preventDefault();
    const kind = place.id.split("_")[0], box = promptBox(kind);
    const read = new FileReader();
    read.onload = async () => {
      const asked = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ image: read.result }) };
      const answer = await fetch("sdapi/v1/png-info", asked).then((one) => one.ok ? one.json() : {}, () => ({}));
      if (!answer.info) return warn(place, titles()["easel-no-data"]);
      write(box, answer.info);
      setTimeout(() => byId(`${kind}_paste`).click(), 50);  // gradio has the text by then
    };
    read.readAsDataURL(file);
  }, true);

  function warn(place, words) {
    const said = document.createElement("p");
    said.className = "easel-warning";
    said.role = "alert";
    said.textContent = words;
    place.after(said);
    setTimeout(() => said.remove(), 6000);
  }

  // -- cards

  function insert(card) {
    const kind = card.closest("[id$=_cards]")?.id.split("_")[0] ?? visibleKind(), words = card.dataset.insert;
    const box = promptBox(kind, card.dataset.negative);
    const text = box.value, at = text.indexOf(words);
    const left = at < 0 ? null : text.slice(0, at).replace(/,? $/, "") + text.slice(at + words.length);
    write(box, left ?? (text && !text.endsWith(" ") ? `${text} ${words}` : text + words));
    card.classList.toggle("used", left === null);
  }

  // -- what comes and goes

  function look() {
    for (const gallery of document.querySelectorAll(".easel-gallery[data-job]:not(.ready)")) {
      gallery.classList.add("ready");
      const thumbs = gallery.querySelectorAll(".easel-thumb");
      gallery.classList.toggle("single", thumbs.length < 2);
      if (thumbs.length) choose(thumbs[0]);
    }
    for (const one of document.querySelectorAll("[data-job]")) {
      const kind = kindOf(one);
      if (kind) sessionStorage.setItem(`easel-job-${kind}`, one.dataset.job);
    }
    for (const [id, title] of Object.entries(titles())) {
      const node = byId(id);
      if (node && node.title !== title) { node.title = title; node.setAttribute("aria-label", title); }
    }
  }

  let said = null;
  const titles = () => (said ??= JSON.parse(byId("easel-titles")?.content.textContent ?? "null")) ?? {};

  let due = false;
  const soon = () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => { due = false; look(); });
  };
  const begin = () => {
    if (window.easelTheme && !location.search.includes("__theme=")) {
      document.body.classList.toggle("dark", window.easelTheme === "dark");
    }
    new MutationObserver(soon).observe(document.body, { childList: true, subtree: true });
    soon();
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();

  return {
    chosen: (kind, job) => [chosenThumb(kind)?.dataset.of ?? `${job}/0`],
    mode: (name) => { byId("img2img_settings").dataset.mode = name; return name; },
    seed: (kind, which, now) => Number(chosenThumb(kind)?.dataset[which] ?? now),
  };
})();
window.easel = easel;
