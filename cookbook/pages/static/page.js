// @ts-check
// The scripts that change what a recipe's page looks like: it is drawn after
// them. The others are loaded beside it.
import "./console.js";
import "./dialogue.js";

for (const hidden of document.querySelectorAll("[data-scripted]")) hidden.removeAttribute("hidden");
