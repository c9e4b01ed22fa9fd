// @ts-check
// Buttons that copy a text: `data-of` is the id of what has it.
import { widgets } from "./dom.js";

for (const button of widgets("copy")) {
  button.onclick = async () => {
    const source = document.getElementById(button.dataset.of ?? "")?.textContent;
    await navigator.clipboard.writeText(source ?? "");
    button.textContent = "copied";
  };
}
