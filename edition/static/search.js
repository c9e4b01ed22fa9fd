// @ts-check
// The search box of every page: what is found, is found here, without a server.
import { copyOf, element, fill, part } from "./dom.js";

const PAUSE = 150; // ms without a key before the search begins
const DATA = new URL("search.json", import.meta.url);

const form = part(document, "search", HTMLFormElement);
const input = part(form, "query", HTMLTextAreaElement);
/** @type {Promise<import("./finding.js").Search> | undefined} */
let search;
let timer = 0;

/** Read the texts and the program when they are first needed. */
async function load() {
  const [{ Search }, response] = await Promise.all([import("./finding.js"), fetch(DATA)]);
  return new Search(await response.json());
}

/** @param {string} query */
function addressOf(query) {
  const address = new URL(form.action);
  address.search = query ? new URLSearchParams({ q: query }).toString() : "";
  return address;
}

/** Serve the search on the page that lists all questions. @param {HTMLElement} results */
function serveResults(results) {
  const whole = [...results.childNodes].map((node) => node.cloneNode(true));
  const questions = new Map([...results.querySelectorAll("#questions li")].map((item) => [nameOf(item), item]));

  async function find() {
    const query = input.value.trim();
    history.replaceState(null, "", addressOf(query));
    if (!query) return results.replaceChildren(...whole.map((node) => node.cloneNode(true)));
    try {
      search ??= load();
      const found = (await search).find(query);
      if (query === input.value.trim()) show(found);
    } catch {
      search = undefined;
      results.querySelector("#found")?.replaceChildren("The search could not be loaded.");
    }
  }

  /** @param {ReturnType<import("./finding.js").Search["find"]>} found */
  function show({ messages, topics, pitfalls, nearest }) {
    const hits = messages.length + topics.length + pitfalls.length;
    const count = element("p", { id: "found" }, hits ? `${hits} found` : "Nothing here explains this.");
    count.role = "status";
    const list = element("div", { id: "questions" }, element("ol", {}, ...listed(topics)));
    const explained = element("dl", { className: "messages hits" });
    explained.innerHTML = messages.map(({ html }) => html).join("");
    const wrong = element("ul", { id: "pitfalls" });
    wrong.innerHTML = pitfalls.map(({ html }) => html).join("");
    results.replaceChildren(
      count,
      ...(pitfalls.length ? [wrong] : []),
      list,
      ...(messages.length ? [explained] : []),
    );
    if (hits) return;
    if (nearest.length) {
      results.append(copyOf(document, "near"), element("ol", { id: "nearest" }, ...listed(nearest)));
    }
    results.append(copyOf(document, "elsewhere"));
  }

  /** @param {string[]} names */
  function listed(names) {
    return names.flatMap((name) => questions.get(name)?.cloneNode(true) ?? []);
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(find, PAUSE);
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    clearTimeout(timer);
    await find();
    const hit = results.querySelector(":is(dt, h2, h3) a:not(.here)");
    if (hit instanceof HTMLElement) hit.focus();
  });
  const asked = new URLSearchParams(location.search).get("q");
  if (asked) {
    input.value = asked;
    void find();
  }
}

/** Return the name of a question in the list. @param {Element} item */
const nameOf = (item) => item.querySelector("a")?.pathname.split("/").filter(Boolean).at(-1) ?? "";

const results = document.querySelector("#results[data-live]");
if (results instanceof HTMLElement) {
  serveResults(results);
} else {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    location.assign(addressOf(input.value.trim()));
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
