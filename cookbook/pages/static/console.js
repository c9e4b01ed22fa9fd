// The WebSocket console: several clients side by side.
import { clone, element, webSocket } from "./dom.js";

const KEPT = 200;

export function setUpConsole(recipe, box) {
  const [clients, addButton] = box.querySelectorAll(".clients, .add");
  const isForUsers = recipe.hasTickets;
  const opening = recipe.plays.find(({ step }) => step.kind === "open")?.step.text ?? "";
  const opened = opening.replaceAll('"', "").replace("ws://localhost:8080", recipe.prefix);
  const path = opened.startsWith(box.dataset.path) && !isForUsers ? opened : box.dataset.path;
  const add = (name, user) => clients.append(setUpClient(recipe, name, path, user));
  const names = isForUsers ? ["ann", "ann in a second tab", "bob"] : ["Client 1"];
  for (const name of names) add(name, isForUsers && name.split(" ")[0]);
  addButton.onclick = () => add(`Client ${clients.children.length + 1}`, isForUsers && "ann");
}

function setUpClient(recipe, name, path, user) {
  const form = clone("#client");
  const [legend, state, log] = form.querySelectorAll("legend, [role=status], [role=log]");
  const fields = form.elements;
  let socket = null;
  legend.textContent = name;
  log.ariaLabel = `Frames of ${name}`;
  fields.path.value = path;
  fields.user.value = user || "";
  if (!user) for (const part of form.querySelectorAll(".user")) part.remove();

  function write(text, className = "") {
    const time = element("time", {}, new Date().toISOString().slice(11, 23));
    log.append(element("p", { className }, time, ` ${text}`));
    if (log.children.length > KEPT) log.firstElementChild.remove();
    log.scrollTop = log.scrollHeight;
  }

  async function post(path, body, credentials) {
    const options = { method: "POST", body: body && JSON.stringify(body), credentials };
    const response = await fetch(recipe.prefix + path, options);
    const answer = await response.json();
    if (!response.ok) throw new Error(`${path}: ${response.status} ${answer.error}`);
    return answer;
  }

  function opened() {
    if (socket?.readyState !== WebSocket.OPEN) throw new Error("It is not open.");
    return socket;
  }

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
    send() {
      opened().send(fields.text.value);
      write(`> ${fields.text.value}`);
    },
    close() {
      opened().close(Number(fields.code.value), fields.reason.value);
      write(`> close ${fields.code.value} ${fields.reason.value}`);
    },
    async logOut() {
      await post("/login", { user: fields.user.value }, "same-origin");
      const { closed } = await post("/logout", null, "same-origin");
      write(`logged out, sockets closed: ${closed}`);
    },
  };
  const perform = (name) => async (event) => {
    event.preventDefault();
    try {
      await actions[name]();
    } catch (error) {
      write(error.message, "bad");
    }
  };
  form.onsubmit = perform("send");
  for (const button of form.querySelectorAll("[type=button]")) {
    button.onclick = perform(button.value);
  }
  return form;
}
