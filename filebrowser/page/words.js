// The page's words in the service's language. What has no other words stays English.

const { language, texts } = await fetch("texts", { credentials: "same-origin" })
  .then((answer) => (answer.ok ? answer.json() : {}))
  .catch(() => ({}));

export const locale = language || [];

// `text("{count} items", { count: 3 })`
export const text = (english, parts = {}) =>
  (texts?.[english] || english).replace(/\{(\w+)\}/g, (whole, name) => parts[name] ?? whole);

// What stands in index.html.
if (language) document.documentElement.lang = language;
const nodes = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (nodes.nextNode()) {
  const words = nodes.currentNode.data.trim();
  if (words) nodes.currentNode.data = nodes.currentNode.data.replace(words, () => text(words));
}
for (const name of ["placeholder", "aria-label"]) {
  for (const one of document.querySelectorAll(`[${name}]`)) one.setAttribute(name, text(one.getAttribute(name)));
}
