// @ts-check
// Try it: the lines of the docstring's dialogue, played from the browser.
/** @import { Play } from "./recipe.js" */
import { onPress, startClock } from "./clock.js";
import { copyOf, element, fill, part, widgets } from "./dom.js";
import { serveEditor } from "./editor.js";
import { Player } from "./player.js";
import { isKept } from "./promise.js";
import { recipe } from "./recipe.js";

const SHOWN = 20_000; // characters of a body

let player = new Player();

for (const box of widgets("dialogue")) {
  const items = [...box.querySelectorAll("[data-step]")];
  const steps = items.flatMap((item, at) => {
    const play = recipe.plays[at];
    return play ? [serveStep(item, play)] : [];
  });

  onPress(part(box, "run-all", HTMLButtonElement), async () => {
    const mine = player;
    let kept = 0;
    for (const [at, step] of steps.entries()) {
      fill(box, "summary", `Running ${at + 1} of ${steps.length}`);
      kept += Number(await step.run());
      if (mine.hasEnded) return;
    }
    const rest = steps.length < items.length ? `, ${items.length - steps.length} for curl only` : "";
    fill(box, "summary", `${kept} of ${steps.length} as promised${rest}`);
  });

  onPress(part(box, "reset", HTMLButtonElement), async () => {
    player.end();
    player = new Player();
    for (const step of steps) step.reset();
    await fetch(`/recipes/${recipe.module}/forget`, { method: "POST" });
    fill(box, "summary", "as at first, logged out");
  });
}

/** Have the button of a line run it, and show its answer. @param {Element} item @param {Play} play */
function serveStep(item, play) {
  const result = part(item, "result", HTMLElement);
  const forms = item.querySelectorAll("form");
  const readers = play.kind === "run" ? play.requests.map((request, at) => serveEditor(forms[at], request)) : [];

  async function run() {
    const mine = player;
    const promised = item.querySelector("[data-promise]")?.textContent ?? "";
    const stopClock = startClock(result, "Running");
    const verdict = element("p", { className: "bad" });
    const shown = element("div", {}, verdict);
    try {
      const requests = readers.map((read) => read());
      const { printed, answers } = await mine.play(play, requests, promised);
      const isGood = isKept(promised, printed);
      verdict.append(!isGood ? "✗ not as promised" : promised ? "✓ as promised" : "✓ done");
      if (isGood) verdict.className = "good";
      for (const { status, ms, head, text } of answers) {
        verdict.append(` · ${status}, ${ms} ms`);
        shown.append(show(head, text));
      }
      if (!answers.length && printed) shown.append(element("pre", {}, printed));
    } catch (error) {
      verdict.append(`✗ ${error instanceof Error ? error.message : error}`);
    }
    stopClock();
    if (!mine.hasEnded) result.replaceChildren(shown);
    return verdict.className === "good";
  }

  function reset() {
    result.replaceChildren();
    for (const form of forms) form.reset();
  }

  onPress(part(item, "run", HTMLButtonElement), run);
  return { run, reset };
}

/** @param {string} head @param {string} text */
function show(head, text) {
  const shown = copyOf(document, "answer");
  const [first, ...headers] = head.trim().split("\n");
  fill(shown, "status-line", first);
  fill(shown, "headers", headers.join("\n"));
  fill(shown, "body", text.slice(0, SHOWN) || "(no body)");
  return shown;
}
