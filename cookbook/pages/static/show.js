// @ts-check
// Show me: a trap and its recipe, in processes of their own, side by side.
import { onPress, startClock } from "./clock.js";
import { fill, part, widgets } from "./dom.js";
import { recipe } from "./recipe.js";

for (const box of widgets("show")) {
  onPress(part(box, "show", HTMLButtonElement), async () => {
    for (const late of box.querySelectorAll("[data-late]")) late.removeAttribute("hidden");
    for (const side of box.querySelectorAll("[data-side]")) side.textContent = "…";
    const stopClock = startClock(part(box, "state", HTMLElement), "Running both");
    const problem = await play(box).catch((error) => error.message);
    const seconds = stopClock();
    fill(box, "state", problem ?? `shown in ${seconds} s`);
  });
}

/** Have the server play both, and show each step when it has come. @param {HTMLElement} box */
async function play(box) {
  const response = await fetch(`/recipes/${recipe.module}/traps/${box.dataset.name}`, { method: "POST" });
  if (!response.ok || !response.body) throw new Error((await response.json()).error);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines.filter(Boolean)) {
      const { error, side, at, printed, seconds } = JSON.parse(line);
      if (error) throw new Error(error);
      const shown = box.querySelectorAll(`[data-side="${side}"]`)[at];
      shown.textContent = `${printed || "(no output)"}\n– after ${seconds} s`;
    }
  }
}
