// @ts-check
// The form that changes a request of the dialogue before it is sent.
/** @import { Request } from "./recipe.js" */
import { copyOf, fieldsOf, fill, part } from "./dom.js";

/** Make the form of a request; its `read` returns what the fields hold. @param {Request} request */
export function makeEditor(request) {
  const form = part(copyOf("editor"), "form", HTMLFormElement);
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

  method.defaultValue = request.method;
  path.defaultValue = request.path;
  headers.defaultValue = request.headers.map((pair) => pair.join(": ")).join("\n");
  body.defaultValue = request.body ?? "";
  form.oninput = showCurl;
  form.onreset = () => setTimeout(showCurl); // when the fields have been reset
  form.onsubmit = (event) => event.preventDefault();
  showCurl();
  return { form, read };
}

/** @param {string} line @returns {[name: string, value: string]} */
function readHeader(line) {
  const [, name, value] = line.match(/^([^:]+):\s*(.*)$/) ?? [];
  if (!name) throw new Error(`A header is "Name: value", not ${line}`);
  return [name, value];
}

/** @param {string} text */
const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
