// @ts-check
// Talks to this server, and to no other.

/** Those that are open, or open soon, and end with this page. @type {Set<WebSocket>} */
export const sockets = new Set();

/** Return the URL of a path of this server: never one of another host. @param {string} path */
export function here(path, scheme = location.protocol) {
  const url = new URL(path, location.origin);
  if (url.origin !== location.origin) throw new Error("This page only talks to its own server.");
  url.protocol = scheme;
  return url;
}

/** @param {string} path */
export function webSocket(path) {
  const socket = new WebSocket(here(path, location.protocol.replace("http", "ws")));
  sockets.add(socket);
  socket.addEventListener("close", () => sockets.delete(socket));
  return socket;
}
