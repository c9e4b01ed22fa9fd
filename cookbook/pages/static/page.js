import { setUpConsole } from "./console.js";
import { setUpDialogue } from "./dialogue.js";
import "./search.js";
import { setUpShow } from "./show.js";
import { setUpXRay } from "./xray.js";

const recipe = JSON.parse(document.querySelector("#recipe").textContent);
for (const hidden of document.querySelectorAll(".scripted")) hidden.hidden = false;

const copy = document.querySelector("#copy");
copy.onclick = async () => {
  await navigator.clipboard.writeText(document.querySelector("#source").textContent);
  copy.textContent = "copied";
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
  if (event.target.closest("input, textarea, pre, .log, .source")) return;
  const link = { ArrowLeft: "[rel=prev]", ArrowRight: "[rel=next]" }[event.key];
  if (link) document.querySelector(link)?.click();
});

setUpDialogue(recipe);
for (const box of document.querySelectorAll(".console")) setUpConsole(recipe, box);
for (const box of document.querySelectorAll(".trap")) setUpShow(recipe, box);
setUpXRay(recipe);
