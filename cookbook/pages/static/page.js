// @ts-check
// The scripts of a recipe's page: each sets up what is its own.
import "./console.js";
import "./copy.js";
import "./dialogue.js";
import "./keys.js";
import "./search.js";
import "./show.js";
import "./xray.js";

for (const hidden of document.querySelectorAll("[data-scripted]")) hidden.removeAttribute("hidden");
