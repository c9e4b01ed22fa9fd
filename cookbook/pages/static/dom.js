export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

export function clone(template) {
  return document.querySelector(template).content.firstElementChild.cloneNode(true);
}

/** The URL of a path of this server: never one of another host. */
export function here(path, scheme = location.protocol) {
  const url = new URL(path, location.origin);
  if (url.origin !== location.origin) throw new Error("This page only talks to its own server.");
  url.protocol = scheme;
  return url;
}

export function webSocket(path) {
  return new WebSocket(here(path, location.protocol.replace("http", "ws")));
}
