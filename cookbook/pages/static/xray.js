// The X-ray: what the server tells of this recipe while the pane is on.
import { element } from "./dom.js";

const KEPT = 20;

export function setUpXRay(recipe) {
  const [toggle, process, requests] = document.querySelector("#x-ray").children;
  const shown = new Map();
  let source = null;

  const pairs = (facts) =>
    Object.entries(facts).flatMap(([name, value]) => [
      element("dt", {}, name),
      element("dd", {}, String(value)),
    ]);

  const tellers = {
    process({ tasks, websockets, descriptors, threads }) {
      const alive = Object.entries(tasks).map(([name, count]) => `${count} ${name}`);
      const facts = {
        "WebSockets open": websockets,
        "Tasks alive": alive.join("\n"),
        Descriptors: descriptors,
        Threads: `${threads.length}: ${threads.join(", ")}`,
      };
      process.replaceChildren(...pairs(facts));
    },
    request({ id, method, path, match_info, middlewares, ...rest }) {
      const outcome = element("strong", {}, "is served");
      const code = element("code", {}, `${method} ${path}`);
      const { route, handler, applications } = rest;
      const facts = {
        Route: route,
        match_info: JSON.stringify(match_info),
        Applications: applications.join(", "),
        Middlewares: middlewares.join(", "),
        Handler: handler,
      };
      const item = element("li", {}, code, " ", outcome, element("dl", {}, ...pairs(facts)));
      shown.set(id, { item, outcome });
      requests.prepend(item);
      if (shown.size > KEPT) shown.delete(shown.keys().next().value);
      requests.children[KEPT]?.remove();
    },
    log({ id, text }) {
      shown.get(id)?.item.append(element("pre", {}, text));
    },
    end({ id, outcome, ms }) {
      if (shown.has(id)) shown.get(id).outcome.textContent = `${outcome}, ${ms} ms`;
    },
  };

  toggle.onclick = () => {
    const isOn = toggle.getAttribute("aria-pressed") === "true";
    toggle.setAttribute("aria-pressed", String(!isOn));
    source?.close();
    shown.clear();
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
