// The X-ray: what the server tells of this recipe while the pane is on.
import { element } from "./dom.js";

const KEPT = 20;

export function setUpXRay(recipe) {
  const [toggle, process, requests] = document.querySelector("#x-ray").children;
  const find = (id) => requests.querySelector(`[data-id="${id}"]`);
  let source = null;

  function text(fact) {
    if (fact === null || typeof fact !== "object") return String(fact);
    if (Array.isArray(fact)) return fact.join("\n");
    return text(Object.entries(fact).map((pair) => pair.join(": ")));
  }
  const pairs = (facts) =>
    Object.entries(facts).flatMap(([name, fact]) => [
      element("dt", {}, name.replace("_", " ")),
      element("dd", {}, text(fact)),
    ]);

  const tellers = {
    process: ({ kind, ...facts }) => process.replaceChildren(...pairs(facts)),
    request({ kind, id, method, path, ...facts }) {
      const outcome = element("strong", {}, "is served");
      const code = element("code", {}, `${method} ${path}`);
      const item = element("li", {}, code, " ", outcome, element("dl", {}, ...pairs(facts)));
      item.dataset.id = id;
      requests.prepend(item);
      requests.children[KEPT]?.remove();
    },
    log({ id, text }) {
      find(id)?.append(element("pre", {}, text));
    },
    end({ id, outcome, ms }) {
      find(id)?.querySelector("strong").replaceChildren(`${outcome}, ${ms} ms`);
    },
  };

  toggle.onclick = () => {
    const isOn = toggle.getAttribute("aria-pressed") === "true";
    toggle.setAttribute("aria-pressed", String(!isOn));
    source?.close();
    process.replaceChildren();
    requests.replaceChildren();
    if (isOn) return;
    source = new EventSource(`/recipes/${recipe.module}/x-ray`);
    source.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      tellers[event.kind](event);
    };
    source.onerror = () => process.replaceChildren("The server does not answer.");
  };
}
