// @ts-check
// Shows that something runs.
import { element } from "./dom.js";

/**
 * Say in `box` what is going on, and count the seconds: a screen reader says
 * the text alone. What is returned stops the clock, and returns the seconds.
 * @param {Element} box @param {string} text
 */
export function startClock(box, text) {
  const start = performance.now();
  const seconds = () => ((performance.now() - start) / 1000).toFixed(1);
  const shown = element("span", { ariaHidden: "true" });
  const timer = setInterval(() => (shown.textContent = `${seconds()} s`), 100);
  box.replaceChildren(`${text} `, shown);
  return () => {
    clearInterval(timer);
    return seconds();
  };
}

/**
 * Call `work` at a press of the button, unless it is still at work. A button
 * that was disabled would lose the keyboard.
 * @param {HTMLButtonElement} button @param {() => Promise<unknown>} work
 */
export function onPress(button, work) {
  button.onclick = async () => {
    if (button.ariaDisabled === "true") return;
    button.ariaDisabled = "true";
    await work().finally(() => (button.ariaDisabled = "false"));
  };
}
