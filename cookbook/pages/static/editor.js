// @ts-check
// The form that changes a request of the dialogue before it is sent.
/** @import { Request } from "./recipe.js" */
import { fieldsOf, fill } from "./dom.js";

/**
 * Show a request as curl while its form is edited, and return what reads it.
 * @param {HTMLFormElement} form @param {Request} request
 */
export function serveEditor(form, request) {
  const { method, path, headers, body } = fieldsOf(form);
  const lines = () => headers.value.split("\n").filter(Boolean);

  /** @returns {Request} */
  function read() {
    const [name, pairs] = [method.value.trim(), lines().map(readHeader)];
    return { ...request, method: name, path: path.value, headers: pairs, body: body.value || null };
  }

  function showCurl() {
    const name = method.value.trim();
    const parts = ["curl", name === "HEAD" ? "-I" : `-i -X ${name}`];
    for (const line of lines()) parts.push("-H", quote(line));
    if (body.value) parts.push("--data-raw", quote(body.value));
    fill(form, "curl", [...parts, quote(location.origin + path.value)].join(" "));
  }

  form.oninput = showCurl;
  form.onreset = () => setTimeout(showCurl); // when the fields have been reset
  form.onsubmit = (event) => event.preventDefault();
  showCurl();
  return read;
}

/** @param {string} line @returns {[name: string, value: string]} */
function readHeader(line) {
  const [, name, value] = line.match(/^([^:]+):\s*(.*)$/) ?? [];
  if (!name) throw new Error(`A header is "Name: value", not ${line}`);
  return [name, value];
}

/** @param {string} text */
const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
