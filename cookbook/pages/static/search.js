// The same search as in search.py, in the reader's browser.
const MAX_WORDS = 60;
const MESSAGE_SCORE = 100;
const FLOOR = 0.25;

const { words, messages } = JSON.parse(document.querySelector("#index").textContent);
const input = document.querySelector("#q");
const list = document.querySelector("#questions");
const found = document.querySelector("#found");
const items = [...list.children];

const wordsOf = (text) => text.toLowerCase().match(/[a-z0-9_]+/g) ?? [];

function weigh(word) {
  const best = {};
  const isKnown = Object.hasOwn(words, word);
  const matches = isKnown ? [word] : Object.keys(words).filter((each) => each.startsWith(word));
  for (const [at, weight] of matches.flatMap((each) => Object.entries(words[each]))) {
    best[at] = Math.max(best[at] ?? 0, weight);
  }
  return best;
}

function search(query) {
  const scores = items.map(() => 0);
  const asked = new Set(wordsOf(query).filter((word) => word.length > 1));
  for (const word of [...asked].slice(0, MAX_WORDS)) {
    for (const [at, weight] of Object.entries(weigh(word))) scores[at] += weight;
  }
  const text = wordsOf(query).join(" ");
  for (const [message, at] of messages) {
    const isPart = text.length > 5 && message.includes(text);
    if (isPart || text.includes(message)) scores[at] += MESSAGE_SCORE;
  }
  const floor = Math.max(FLOOR * Math.max(...scores), Number.MIN_VALUE);
  return [...scores.keys()]
    .filter((at) => scores[at] >= floor)
    .sort((one, other) => scores[other] - scores[one]);
}

function show() {
  const query = input.value.trim();
  const order = query ? search(query) : [...items.keys()];
  list.replaceChildren(...order.map((at) => items[at]));
  found.textContent = query ? `${order.length} of ${items.length} recipes` : "";
}

// A page that the server searched has only what it found: there, ask it again.
if (!new URLSearchParams(location.search).get("q")) {
  input.addEventListener("input", show);
  input.form.addEventListener("submit", (event) => {
    event.preventDefault();
    list.querySelector("a")?.focus();
  });
  show();
}
document.addEventListener("keydown", (event) => {
  const isPlain = !(event.ctrlKey || event.metaKey || event.altKey);
  if (event.key === "/" && isPlain && document.activeElement !== input) {
    event.preventDefault();
    input.focus();
  }
});
if (location.hash === "#q") input.focus();
