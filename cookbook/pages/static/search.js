// The search box of every page. The server searches; here its answer is shown.
const PAUSE = 150; // ms without a key before the server is asked
const MAX_ADDRESS = 6000; // characters of a query, as in index.py

const input = document.querySelector("#q");
const isLive = document.querySelector("#results[data-live]") !== null;
let asked = new AbortController();
let timer = 0;

const bodyOf = (query) => new URLSearchParams({ q: query });
const isLong = (query) => bodyOf(query).toString().length > MAX_ADDRESS;

// A longer text keeps its end in the address: there is what counts.
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
    if (!signal.aborted) document.querySelector("#results").replaceWith(page.querySelector("#results"));
  } catch (error) {
    if (error.name !== "AbortError") document.querySelector("#found").textContent = "The server does not answer.";
  }
}

if (isLive) {
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(find, PAUSE);
  });
  input.form.addEventListener("submit", async (event) => {
    event.preventDefault();
    clearTimeout(timer);
    await find();
    document.querySelector("#results :is(dt, h2) a")?.focus();
  });
}
input.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey) return;
  event.preventDefault();
  input.form.requestSubmit();
});
document.addEventListener("keydown", (event) => {
  const isPlain = !(event.ctrlKey || event.metaKey || event.altKey);
  if (event.key !== "/" || !isPlain || event.target.closest("input, textarea")) return;
  event.preventDefault();
  input.focus();
});
