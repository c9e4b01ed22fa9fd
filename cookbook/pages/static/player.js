// @ts-check
// Does what the lines of a dialogue say: requests, waits, and a WebSocket.
/** @import { Play, Request, Run } from "./recipe.js" */
import { writeHeaders } from "./promise.js";
import { recipe } from "./recipe.js";
import { here, webSocket } from "./server.js";

const TIMEOUT = 10_000; // ms for an answer or a frame
/** @type {Record<number, string>} */
const CLOSE_NAMES = { 1000: "OK", 1001: "going away", 1006: "abnormal closure [internal]" };

/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Plays the lines in turn, with a shell's variables and files. */
export class Player {
  #variables = new Map();
  #files = new Map();
  #end = new AbortController();
  /** @type {Awaited<ReturnType<typeof connect>> | null} */
  #connection = null;
  hasEnded = false;

  /** Give up what runs, and close the WebSocket. */
  end() {
    this.hasEnded = true;
    this.#end.abort();
    this.#connection?.socket.close();
  }

  /**
   * Play a line, with these requests in place of its own.
   * @param {Play} play @param {Request[]} requests @param {string} promised
   */
  async play(play, requests, promised) {
    if (play.kind === "run") return this.#run(play, requests, promised);
    let printed = "";
    if (play.kind === "open") {
      this.#connection?.socket.close();
      this.#connection = await connect(recipe.prefix + this.#put(play.path));
    } else if (play.kind === "send") {
      if (this.#connection?.socket.readyState !== WebSocket.OPEN) throw new Error("No WebSocket is open.");
      this.#connection.socket.send(play.text);
    } else {
      if (!this.#connection) throw new Error("No WebSocket is open: run the line that opens one.");
      printed = await this.#connection.receive(play.kind === "closed");
    }
    return { printed, answers: [] };
  }

  /** @param {Run} run @param {Request[]} requests @param {string} promised */
  async #run({ sleep, cut, save }, requests, promised) {
    await pause(1000 * sleep);
    if (cut) {
      const value = this.#files.get(cut.file)?.split(cut.delimiter)[cut.field - 1];
      if (!value) throw new Error("Run the lines before this one first.");
      this.#variables.set(cut.variable, value);
    }
    let printed = "";
    const answers = [];
    for (const request of requests) {
      const answer = await this.#send(request, promised);
      answers.push(answer);
      printed += { body: answer.text, head: answer.head, all: answer.head + answer.text }[request.show];
    }
    if (save) this.#files.set(save, printed);
    // A shell takes the last newlines off, too.
    return { printed: printed.replaceAll("\r", "").replace(/\n+$/, ""), answers };
  }

  /** @param {Request} request @param {string} promised */
  async #send({ method, path, headers, body }, promised) {
    const start = performance.now();
    const signal = AbortSignal.any([this.#end.signal, AbortSignal.timeout(TIMEOUT)]);
    const options = { method, headers, body: body && this.#put(body), signal };
    const response = await fetch(here(this.#put(path)), options);
    const bytes = await response.arrayBuffer();
    const ms = (performance.now() - start).toFixed(1);
    const type = response.headers.get("Content-Type") ?? "text/";
    const isText = /^text\/|\bjson\b/.test(type);
    const text = isText ? new TextDecoder().decode(bytes) : `(${bytes.byteLength} bytes of ${type})`;
    const lines = writeHeaders(response.headers, promised);
    const head = [`HTTP/1.1 ${response.status} ${response.statusText}`, ...lines, "\n"].join("\n");
    return { status: response.status, ms, head, text };
  }

  /** Put the variables in. @param {string} text */
  #put(text) {
    return text.replace(/\$(\w+)/g, (all, name) => this.#variables.get(name) ?? all);
  }
}

/** Open a WebSocket whose frames, and whose end, are kept until they are asked for. @param {string} path */
async function connect(path) {
  const socket = webSocket(path);
  /** @type {{text: string, isEnd: boolean}[]} */
  const arrived = [];
  const arrival = new EventTarget();
  /** @param {string} text */
  const put = (text, isEnd = false) => {
    arrived.push({ text, isEnd });
    arrival.dispatchEvent(new Event("frame"));
  };
  socket.onmessage = ({ data }) => put(data);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onclose = ({ code, reason }) => {
      const name = CLOSE_NAMES[code] ?? (code >= 4000 ? "private use" : "see RFC 6455, 7.4.1");
      put(`Connection closed: ${code} (${name})${reason && ` ${reason}`}.`, true);
      reject(new Error("The server refused the WebSocket."));
    };
  });
  async function receive(isEnd = false) {
    const frame = new Promise((resolve) => arrival.addEventListener("frame", resolve, { once: true }));
    if (!arrived.length) await Promise.race([frame, pause(TIMEOUT)]);
    const got = arrived.shift();
    if (!got) throw new Error("Nothing has come.");
    if (got.isEnd !== isEnd) throw new Error(isEnd ? `This came: ${got.text}` : "It was closed.");
    return got.text;
  }
  return { socket, receive };
}
