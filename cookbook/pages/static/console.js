// @ts-check
// The WebSocket console: several clients side by side.
import { copyOf, element, fieldsOf, fill, part, widgets } from "./dom.js";
import { recipe } from "./recipe.js";
import { webSocket } from "./server.js";

const KEPT = 200; // lines of a log

for (const box of widgets("console")) {
  const clients = part(box, "clients", HTMLElement);
  for (const form of clients.querySelectorAll("form")) serve(form);
  part(box, "add", HTMLButtonElement).onclick = () => {
    const name = `Client ${clients.children.length + 1}`;
    const form = part(copyOf(box, "template"), "client", HTMLFormElement);
    fill(form, "name", name);
    part(form, "log", HTMLElement).ariaLabel = `Frames of ${name}`;
    serve(form);
    clients.append(form);
  };
}

/** Have the buttons of a client work. @param {HTMLFormElement} form */
function serve(form) {
  const state = part(form, "state", HTMLElement);
  const log = part(form, "log", HTMLElement);
  const fields = fieldsOf(form);
  /** @type {WebSocket | null} */
  let socket = null;

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
      if (recipe.hasTickets) {
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
}

/** @param {string} path @param {object | null} body @param {RequestCredentials} credentials */
async function post(path, body, credentials) {
  const options = { method: "POST", body: body && JSON.stringify(body), credentials };
  const response = await fetch(recipe.prefix + path, options);
  const answer = await response.json();
  if (!response.ok) throw new Error(`${path}: ${response.status} ${answer.error}`);
  return answer;
}
