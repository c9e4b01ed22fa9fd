// @ts-check
// The X-ray: what the server tells of this recipe while the pane is on.
import { element, part, widgets } from "./dom.js";
import { recipe } from "./recipe.js";

const KEPT = 20; // requests

/**
 * @typedef {Record<string, string | number | string[] | Record<string, string | number>>} Facts
 * @typedef {{kind: "process", recipe: Facts, others: Facts} | {kind: "log", id: number, text: string}
 *   | {kind: "request", id: number, method: string, path: string, facts: Facts}
 *   | {kind: "end", id: number, outcome: string, ms: number}} Event
 */

for (const box of widgets("x-ray")) {
  const toggle = part(box, "watch", HTMLButtonElement);
  const pane = part(box, "pane", HTMLElement);
  const state = part(box, "state", HTMLElement);
  const requests = part(box, "requests", HTMLElement);
  /** @type {EventSource | null} */
  let source = null;

  /** @param {Event} event */
  function show(event) {
    state.replaceChildren();
    if (event.kind === "process") {
      part(box, "recipe", HTMLElement).replaceChildren(...terms(event.recipe));
      part(box, "others", HTMLElement).replaceChildren(...terms(event.others));
      return;
    }
    if (event.kind === "request") {
      const code = element("code", {}, `${event.method} ${event.path}`);
      const facts = element("dl", {}, ...terms(event.facts));
      const item = element("li", {}, code, " ", element("strong", {}, "is served"), facts);
      item.dataset.id = String(event.id);
      requests.prepend(item);
      requests.children[KEPT]?.remove();
    }
    const shown = requests.querySelector(`[data-id="${event.id}"]`);
    if (event.kind === "log") shown?.append(element("pre", {}, event.text));
    if (event.kind === "end") shown?.querySelector("strong")?.replaceChildren(`${event.outcome}, ${event.ms} ms`);
  }

  toggle.onclick = () => {
    const isOn = toggle.ariaPressed !== "true";
    toggle.ariaPressed = String(isOn);
    pane.hidden = !isOn;
    requests.replaceChildren();
    source?.close();
    if (!isOn) return;
    source = new EventSource(`/recipes/${recipe.module}/x-ray`);
    source.onmessage = ({ data }) => show(JSON.parse(data));
    source.onerror = () => state.replaceChildren("The server does not answer.");
  };
}

/** @param {Facts} facts */
function terms(facts) {
  return Object.entries(facts).flatMap(([name, fact]) => {
    const lines = Array.isArray(fact) ? fact : Object.entries(fact).map((pair) => pair.join(": "));
    const text = typeof fact === "object" ? lines.join("\n") : String(fact);
    return [element("dt", {}, name.replace("_", " ")), element("dd", {}, text)];
  });
}
