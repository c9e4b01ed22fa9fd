// @ts-check
// The widgets of a page and their parts: named by `data-widget`, `data-part`.

/** Return all widgets of this name. @param {string} name @returns {NodeListOf<HTMLElement>} */
export const widgets = (name) => document.querySelectorAll(`[data-widget="${name}"]`);

/**
 * Return the first part of this name in `scope`; it has to be of this kind.
 * @template {Element} Kind
 * @param {ParentNode} scope @param {string} name @param {new () => Kind} kind
 */
export function part(scope, name, kind) {
  const found = scope.querySelector(`[data-part="${name}"]`);
  if (!(found instanceof kind)) throw new Error(`This page has no ${name}.`);
  return found;
}

/** Write into a part. @param {ParentNode} scope @param {string} name @param {string} text */
export const fill = (scope, name, text) => part(scope, name, HTMLElement).replaceChildren(text);

/** @param {HTMLFormElement} form @returns {Record<string, HTMLInputElement>} - its fields by their names */
export const fieldsOf = (form) => /** @type {any} */ (form.elements);

/** Return a copy of what is in a template. @param {ParentNode} scope @param {string} name */
export const copyOf = (scope, name) => document.importNode(part(scope, name, HTMLTemplateElement).content, true);

/**
 * Make an element.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag @param {Partial<HTMLElementTagNameMap[Tag]>} properties @param {(string | Node)[]} children
 */
export function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
