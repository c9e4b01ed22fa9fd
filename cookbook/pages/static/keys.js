// @ts-check
// The arrow keys turn the pages, unless something on this one needs them.
import { sockets } from "./server.js";

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
  const focused = document.activeElement;
  const isFree = focused === document.body || focused instanceof HTMLAnchorElement;
  if (!isFree || sockets.size) return;
  const relation = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
  const link = relation && document.querySelector(`[rel="${relation}"]`);
  if (link instanceof HTMLElement) link.click();
});
