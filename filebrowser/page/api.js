// The JSON API: every address is relative to the page, so that it works below a prefix too.

import { text } from "./words.js";

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function address(what, query = {}) {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of [value].flat()) words.append(name, one);
  }
  return `api/${what}?${words}`;
}

async function call(method, url, options = {}) {
  const answer = await fetch(url, { method, credentials: "same-origin", ...options });
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  let message = answer.statusText;
  try {
    const body = await answer.json();
    message = typeof body.detail === "string" ? body.detail : body.detail[0].msg;
  } catch {
    // an answer of something between us and the server
  }
  throw new Refused(answer.status, message || text("the server answered {status}", answer));
}

export const get = (what, query) => call("GET", address(what, query));
export const remove = (what) => call("DELETE", address(what));
export const post = (what, body = {}) =>
  call("POST", address(what), { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });
export const put = (what, query, body, signal) =>
  call("PUT", address(what, query), { body, signal, headers: { "Content-Type": "application/octet-stream" } });

export const join = (folder, name) => (folder ? `${folder}/${name}` : name);
export const above = (path) => path.slice(0, Math.max(0, path.lastIndexOf("/")));
export const fileName = (path) => path.slice(path.lastIndexOf("/") + 1);
