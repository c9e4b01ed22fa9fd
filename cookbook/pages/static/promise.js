// @ts-check
// Promises of the docstring, held against what came, as the tests do it.

/**
 * Tell whether the text is the promised one; `...` is any run of characters.
 * @param {string} promised @param {string} printed
 */
export function isKept(promised, printed) {
  const parts = promised.split("...").map((part) => part.replace(/[^\w\s]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*?")}$`, "s").test(printed);
}

/**
 * Return the headers of an answer, a line each. A browser tells neither their
 * case nor their order: those of the promise come first, as it has them.
 * @param {Headers} headers @param {string} promised
 */
export function writeHeaders(headers, promised) {
  const names = (promised.match(/[\w-]+(?=: )/g) ?? []).filter((name) => headers.has(name));
  const known = names.map((name) => name.toLowerCase());
  const others = [...headers.keys()].filter((name) => !known.includes(name));
  return [...names, ...others].map((name) => `${name}: ${headers.get(name)}`);
}
