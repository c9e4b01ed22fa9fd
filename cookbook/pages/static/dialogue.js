// Try it: the lines of the docstring's dialogue, played from the browser.
import { clone, element, here, webSocket } from "./dom.js";

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const TIMEOUT = 10_000;
const SHOWN = 20_000;
const CLOSE_NAMES = { 1000: "OK", 1001: "going away", 1006: "abnormal closure [internal]" };

export function setUpDialogue(recipe) {
  const address = location.host + recipe.prefix;
  const tools = document.querySelector("#tools");
  const [runAll, reset, summary] = tools.children;
  const items = document.querySelectorAll("#dialogue > li");
  let state = { variables: {}, files: {}, socket: null };

  // In the reader's terms: port 8080, no prefix.
  function isAsPromised(printed, pattern, ignoreCase) {
    const plain = printed
      .replaceAll(address, "localhost:8080")
      .replaceAll(`${recipe.prefix}/`, "/");
    return new RegExp(`^${pattern}$`, ignoreCase ? "is" : "s").test(plain.trimEnd());
  }

  const put = (text) => text.replace(/\$(\w+)/g, (all, name) => state.variables[name] ?? all);

  async function receive(kind) {
    if (!state.socket) throw new Error("No WebSocket is open: run the line that opens one.");
    const got = await state.socket.next();
    if (!(kind in got)) throw new Error(got.text ? `This came: ${got.text}` : "It was closed.");
    return { printed: got[kind] };
  }

  const players = {
    async run({ line }, requests) {
      await pause(1000 * line.sleep);
      if (line.cut) {
        const [name, delimiter, number, file] = line.cut;
        state.variables[name] = state.files[file]?.split(delimiter)[number - 1];
        if (!state.variables[name]) throw new Error("Run the lines before this one first.");
      }
      const answers = [];
      for (const request of requests) answers.push(await send(request, put));
      const printed = answers.map((answer) => answer.printed).join("");
      if (line.save) state.files[line.save] = printed;
      return { printed, answers };
    },
    async open({ step }) {
      state.socket?.close();
      state.socket = await open(recipe.prefix + put(step.text).replaceAll('"', "").replace("ws://localhost:8080", ""));
      return { printed: "" };
    },
    async send({ step }) {
      if (state.socket?.readyState !== WebSocket.OPEN) throw new Error("No WebSocket is open.");
      state.socket.send(step.text);
      return { printed: "" };
    },
    receive: () => receive("text"),
    closed: () => receive("closed"),
  };

  function setUpStep(play, item) {
    const { step, line } = play;
    const code = item.querySelector("code");
    code.textContent = code.textContent.replaceAll("localhost:8080", location.host);
    if (play.curl_only) return null;
    const result = element("div", { className: "result", role: "status" });
    const editors = (line?.requests ?? []).map((request) => setUpEditor(request, recipe.prefix));
    // `fetch` gives the names of headers in lower case.
    const ignoreCase = line?.requests.some(({ show }) => show !== "body");

    async function run() {
      result.textContent = "…";
      try {
        const requests = editors.map((editor) => editor.read());
        const { printed, answers = [] } = await players[step.kind](play, requests);
        const isGood = isAsPromised(printed, play.pattern, ignoreCase);
        const verdict = !isGood ? "✗ not as promised" : play.pattern ? "✓ as promised" : "✓ done";
        const facts = answers.map(({ status, ms }) => ` · ${status}, ${ms} ms`);
        const className = isGood ? "good" : "bad";
        result.replaceChildren(element("p", { className }, verdict, ...facts));
        for (const { head, text } of answers) {
          const shown = clone("#answer");
          const [summary, headers, body] = shown.querySelectorAll("summary, pre");
          summary.textContent = head.split("\n", 1)[0];
          headers.textContent = head.split("\n").slice(1).join("\n").trim();
          body.textContent = text.slice(0, SHOWN) || "(no body)";
          result.append(shown);
        }
        if (!answers.length && printed) result.append(element("pre", {}, printed));
        return isGood;
      } catch (error) {
        result.replaceChildren(element("p", { className: "bad" }, `✗ ${error.message}`));
        return false;
      }
    }

    const button = element("button", { type: "button", onclick: run }, "Run");
    button.ariaLabel = `Run ${code.textContent}`;
    item.append(button, ...editors.map(({ form }) => form), result);
    return { run, result, editors };
  }

  const steps = recipe.plays.map((play, at) => setUpStep(play, items[at])).filter(Boolean);

  runAll.onclick = async () => {
    let good = 0;
    runAll.disabled = true;
    for (const [at, step] of steps.entries()) {
      summary.textContent = `Running ${at + 1} of ${steps.length}`;
      good += await step.run();
    }
    const left = items.length - steps.length;
    const rest = left ? `, ${left} for curl only` : "";
    summary.textContent = `${good} of ${steps.length} as promised${rest}`;
    runAll.disabled = false;
  };
  reset.onclick = async () => {
    state.socket?.close();
    state = { variables: {}, files: {}, socket: null };
    for (const { result, editors } of steps) {
      result.replaceChildren();
      for (const { form } of editors) form.reset();
    }
    await fetch(`/recipes/${recipe.module}/forget`, { method: "POST" });
    summary.textContent = "as at first, logged out";
  };
}

async function send({ method, path, headers, body, show }, put) {
  const odd = headers.find((pair) => pair.length < 2);
  if (odd) throw new Error(`A header is "Name: value", not ${odd}`);
  const start = performance.now();
  const signal = AbortSignal.timeout(TIMEOUT);
  const options = { method, headers, body: body === null ? null : put(body), signal };
  const response = await fetch(here(put(path)), options);
  const bytes = await response.arrayBuffer();
  const ms = (performance.now() - start).toFixed(1);
  const type = response.headers.get("Content-Type") ?? "text/";
  const isText = /^text\/|\bjson\b/.test(type);
  const text = isText ? new TextDecoder().decode(bytes) : `(${bytes.byteLength} bytes of ${type})`;
  const lines = [...response.headers].map(([name, value]) => `${name}: ${value}\n`);
  const head = `HTTP/1.1 ${response.status} ${response.statusText}\n${lines.join("")}\n`;
  const printed = { body: text, head, all: head + text }[show];
  return { status: response.status, ms, head, text, printed };
}

/** Open a WebSocket whose `next()` returns what arrives, in order. */
function open(path) {
  const socket = webSocket(path);
  const arrived = [];
  socket.next = async () => {
    for (let waited = 0; waited < TIMEOUT && !arrived.length; waited += 10) await pause(10);
    if (!arrived.length) throw new Error("Nothing has come.");
    return arrived.shift();
  };
  socket.onmessage = ({ data }) => arrived.push({ text: data });
  return new Promise((resolve, reject) => {
    socket.onopen = () => resolve(socket);
    socket.onclose = ({ code, reason }) => {
      const name = CLOSE_NAMES[code] ?? (code >= 4000 ? "private use" : "see RFC 6455, 7.4.1");
      arrived.push({ closed: `Connection closed: ${code} (${name})${reason && ` ${reason}`}.` });
      reject(new Error("The server refused the WebSocket."));
    };
  });
}

function setUpEditor(request, prefix) {
  const form = clone("#editor");
  const { method, path, headers, body } = form.elements;
  const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const parse = (line) => line.split(/:\s*(.*)/, 2);
  const read = () => ({
    method: method.value.trim(),
    path: path.value,
    headers: headers.value.split("\n").filter(Boolean).map(parse),
    body: body.value || null,
    show: request.show,
  });
  function show() {
    const { method, path, headers, body } = read();
    const parts = ["curl", method === "HEAD" ? "-I" : `-i -X ${method}`];
    for (const pair of headers) parts.push("-H", quote(pair.join(": ")));
    if (body) parts.push("--data-raw", quote(body));
    form.querySelector("pre").textContent = [...parts, quote(location.origin + path)].join(" ");
  }
  method.defaultValue = request.method;
  path.defaultValue = prefix + request.path;
  headers.defaultValue = Object.entries(request.headers)
    .map((pair) => pair.join(": "))
    .join("\n");
  body.defaultValue = request.body ?? "";
  form.oninput = show;
  form.onreset = () => setTimeout(show); // when the fields have been reset
  form.onsubmit = (event) => event.preventDefault();
  show();
  return { form, read };
}
