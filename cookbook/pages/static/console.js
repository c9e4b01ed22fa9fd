// @ts-check
// The WebSocket console: several clients side by side.
import { copyOf, element, fieldsOf, fill, part, widgets } from "./dom.js";
import { recipe } from "./recipe.js";
import { webSocket } from "./server.js";

const KEPT = 200; // lines of a log

for (const box of widgets("console")) {
  const clients = part(box, "clients", HTMLElement);
  const path = pathOf(box.dataset.path ?? "/");
  /** @param {string} name */
  const add = (name, user = "ann") => clients.append(makeClient(name, path, recipe.hasTickets ? user : ""));
  const names = recipe.hasTickets ? ["ann", "ann in a second tab", "bob"] : ["Client 1"];
  for (const name of names) add(name, name.split(" ")[0]);
  part(box, "add", HTMLButtonElement).onclick = () => add(`Client ${clients.children.length + 1}`);
}

/** Return the path that the dialogue opens, if it is of this route. @param {string} route */
function pathOf(route) {
  const opening = recipe.plays.find((play) => play?.kind === "open");
  const path = recipe.prefix + (opening?.kind === "open" ? opening.path : "");
  return path.startsWith(route) && !recipe.hasTickets ? path : route;
}

/** Make the form of a client; a `user` logs in. @param {string} name @param {string} path @param {string} user */
function makeClient(name, path, user) {
  const form = part(copyOf("client"), "form", HTMLFormElement);
  const state = part(form, "state", HTMLElement);
  const log = part(form, "log", HTMLElement);
  const fields = fieldsOf(form);
  /** @type {WebSocket | null} */
  let socket = null;
  fill(form, "name", name);
  log.ariaLabel = `Frames of ${name}`;
  fields.path.value = path;
  fields.user.value = user;
  if (!user) for (const each of form.querySelectorAll("[data-for-users]")) each.setAttribute("hidden", "");

  /** @param {string} text */
  function write(text, className = "") {
    const time = element("time", {}, new Date().toISOString().slice(11, 23));
    log.append(element("p", { className }, time, ` ${text}`));
    if (log.children.length > KEPT) log.firstElementChild?.remove();
    log.scrollTop = log.scrollHeight;
  }

  function opened() {
    if (socket?.readyState !== WebSocket.OPEN) throw new Error("It is not open.");
    return socket;
  }

  /** @type {Record<string, () => Promise<void>>} */
  const actions = {
    async open() {
      if (socket && socket.readyState !== WebSocket.CLOSED) throw new Error("It is open already.");
      let query = "";
      if (user) {
        // The browser's own session stays as it is.
        const { ticket } = await post("/login", { user: fields.user.value }, "omit");
        query = `?ticket=${encodeURIComponent(ticket)}`;
      }
      socket = webSocket(fields.path.value + query);
      state.textContent = "opening";
      socket.onopen = () => write((state.textContent = "open"));
      socket.onmessage = ({ data }) => write(`< ${data.size ? `${data.size} bytes` : data}`);
      socket.onclose = ({ code, reason }) => {
        state.textContent = `closed, ${code} ${reason}`;
        write(`< close ${code} ${reason}`);
      };
    },
    async send() {
      opened().send(fields.text.value);
      write(`> ${fields.text.value}`);
    },
    async close() {
      opened().close(Number(fields.code.value), fields.reason.value);
      write(`> close ${fields.code.value} ${fields.reason.value}`);
    },
    async logOut() {
      await post("/login", { user: fields.user.value }, "same-origin");
      const { closed } = await post("/logout", null, "same-origin");
      write(`logged out, sockets closed: ${closed}`);
    },
  };
  /** @param {Event} event @param {string} name */
  function perform(event, name) {
    event.preventDefault();
    actions[name]().catch((error) => write(error.message, "bad"));
  }
  form.onsubmit = (event) => perform(event, "send");
  for (const button of form.querySelectorAll("button")) {
    if (button.value) button.onclick = (event) => perform(event, button.value);
  }
  return form;
}

/** @param {string} path @param {object | null} body @param {RequestCredentials} credentials */
async function post(path, body, credentials) {
  const options = { method: "POST", body: body && JSON.stringify(body), credentials };
  const response = await fetch(recipe.prefix + path, options);
  const answer = await response.json();
  if (!response.ok) throw new Error(`${path}: ${response.status} ${answer.error}`);
  return answer;
}
