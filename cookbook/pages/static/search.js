// @ts-check
// The search box of every page. The server searches; here its answer is shown.
import { part } from "./dom.js";

const PAUSE = 150; // ms without a key before the server is asked
const MAX_ADDRESS = 6000; // characters of a query, as in index.py

const form = part(document, "search", HTMLFormElement);
const input = part(form, "query", HTMLTextAreaElement);
let asked = new AbortController();
let timer = 0;

/** @param {string} query */
const bodyOf = (query) => new URLSearchParams({ q: query });
/** @param {string} query */
const isLong = (query) => bodyOf(query).toString().length > MAX_ADDRESS;

/** Return the address of a search. A longer text keeps its end: there is what counts. @param {string} query */
function addressOf(query) {
  let end = query;
  while (isLong(end)) end = end.slice(Math.ceil(end.length / 20));
  return end ? `/?${bodyOf(end)}` : "/";
}

async function find() {
  asked.abort();
  asked = new AbortController();
  const { signal } = asked;
  const query = input.value.trim();
  const address = addressOf(query);
  history.replaceState(null, "", address);
  const asForm = { method: "POST", body: bodyOf(query), signal };
  try {
    const response = await (isLong(query) ? fetch("/", asForm) : fetch(address, { signal }));
    if (!response.ok) return; // what is shown stays
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const found = page.querySelector("#results");
    if (!found || signal.aborted) return;
    document.title = page.title;
    document.querySelector("#results")?.replaceWith(found);
  } catch {
    if (!signal.aborted) document.querySelector("#found")?.replaceChildren("The server does not answer.");
  }
}

if (document.querySelector("#results[data-live]")) {
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(find, PAUSE);
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    clearTimeout(timer);
    await find();
    const hit = document.querySelector("#results :is(dt, h2) a:not(.here)");
    if (hit instanceof HTMLElement) hit.focus();
  });
}
input.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey) return;
  event.preventDefault();
  form.requestSubmit();
});
document.addEventListener("keydown", (event) => {
  const isPlain = !(event.ctrlKey || event.metaKey || event.altKey);
  if (event.key !== "/" || !isPlain || document.activeElement?.matches("input, textarea")) return;
  event.preventDefault();
  input.focus();
});
