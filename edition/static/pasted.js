// @ts-check
// What somebody pastes: its lines, and the exceptions that they name. The same
// as cookbook/pasted.py, by the same expressions.

const SOURCE = "\0"; // begins a row that belongs to a frame
const WHITE = /^[ \t|│E]/;
const NEW_LINE = /\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/;

/**
 * @typedef {{ name: string, said: string, start: number }} Named
 * @typedef {{ text: string, name: string, said: string, weight: number, traceback: string, lastFrame: string, raisedIn: string, isForeign: boolean, record: number }} Line
 * @typedef {Record<"begins" | "belongs" | "colour" | "decoration" | "entity" | "folder" | "frame" | "held" | "log" | "logger" | "named" | "noPackage" | "numbered" | "complaint" | "otherLanguage" |
 *   "compiled" | "ofPython" | "otherModule" | "otherProgram" | "otherWorker" | "ownComplaint" | "package" | "prefix" | "raises" | "represented", RegExp>} Expressions
 * @typedef {{ ours: Set<string>, foreign: Set<string>, inJson: string, maxLines: number, maxLine: number }} Packages
 */

/** Return the package of a dotted name; `web` is that of aiohttp. @param {string} name */
export function packageOf(name) {
  const [head, ...rest] = name.split(".");
  if (head === "web") return "aiohttp";
  return rest.length ? head : "";
}

/** Return words with single spaces between them. @param {string} text */
export const squeezed = (text) => text.split(/\s+/).filter(Boolean).join(" ");

/** @param {RegExp} expression @param {string} text */
const findAll = (expression, text) => [...text.matchAll(new RegExp(expression, `${expression.flags}g`))];
/** @param {RegExp} expression @param {string} text */
const removed = (expression, text, by = "") => text.replaceAll(new RegExp(expression, `${expression.flags}g`), by);

/** @param {string} text @returns {string[]} */
const words = (text) => text.toLowerCase().match(/[a-z_][\p{L}\p{N}_]+/gu) ?? [];

/** @param {string} row */
const withoutMark = (row) => (row.startsWith(SOURCE) ? row.slice(1) : row);

export class Reader {
  /** @param {Expressions} expressions @param {Packages} packages */
  constructor(expressions, packages) {
    this.expressions = expressions;
    this.packages = packages;
  }

  /** Read what somebody pastes, of which the end counts. @param {string} pasted */
  read(pasted) {
    const { otherLanguage, otherProgram, complaint, ownComplaint } = this.expressions;
    const text = this.plain(pasted);
    const ofOtherLanguage = otherLanguage.test(text);
    const rows = this.withItsEnd(this.rows(text));
    const names = rows.map((row) => this.named(row));
    this.numberReasons(rows, names);
    let last = -1;
    for (const [at, name] of names.entries()) {
      if (name && (last < 0 || !name.name.endsWith("Warning"))) last = at;
    }
    const named = last < 0 ? null : names[last];
    const isOfOthers = ofOtherLanguage || this.isOfOthers(named, text) || (!named && this.namesOthers(text));
    /** @type {Line[]} */ const lines = [];
    let start = 0;
    const records = this.countRecords(rows, names);
    for (const [at, row] of rows.entries()) {
      if (row.startsWith(SOURCE)) continue;
      const name = names[at];
      const isOurs = name !== null && this.packages.ours.has(packageOf(name.name));
      lines.push({
        text: row,
        name: name?.name ?? "",
        said: name?.said ?? "",
        weight: name ? (at === last ? 1 : 0.7) : 0.5,
        traceback: rows.slice(start, at).join("\n"),
        lastFrame: name ? this.lastFrame(rows.slice(start, at)) : "",
        raisedIn: name ? this.raisedIn(rows.slice(start, at)) : "",
        isForeign: (isOfOthers && !isOurs) || this.isOfAStranger(row),
        record: records[at],
      });
      if (name) start = at + 1;
    }
    const complains = rows.some((row) => [otherProgram, complaint, ownComplaint].some((each) => each.test(row)));
    const isError = last >= 0 || ofOtherLanguage || text.includes("Traceback (") || complains;
    return { lines: lines.reverse(), isError };
  }

  /**
   * Return for each row the number of the record that it stands in.
   * @param {string[]} rows @param {(Named | null)[]} names
   */
  countRecords(rows, names) {
    const { begins, belongs } = this.expressions;
    /** @type {number[]} */ const records = [];
    let record = 0;
    let end = -1;
    for (const [at, row] of rows.entries()) {
      if (belongs.test(row)) {
        end = -1;
      } else if (end >= 0 && begins.test(row)) {
        record += 1;
        records.fill(record, end + 1);
        end = -1;
      } else if (names[at]) {
        end = at;
      }
      records.push(record);
    }
    return records;
  }

  /** Return the package of the last frame, "" for none or one of the user. @param {string[]} rows */
  raisedIn(rows) {
    for (const row of rows.toReversed()) {
      if (!this.isFrame(row)) continue;
      const frame = withoutMark(row);
      const found = this.expressions.package.exec(frame) ?? this.expressions.compiled.exec(frame);
      if (found) return found[1];
      if (!this.expressions.ofPython.test(frame)) return "";
    }
    return "";
  }

  /** Return the rows, and the exception of a traceback that is cut there. @param {string[]} rows */
  withItsEnd(rows) {
    const last = rows.findLast((row) => /[^\0~^. ]/.test(row)) ?? "";
    const found = last.startsWith(SOURCE) ? this.expressions.raises.exec(last.slice(1)) : null;
    return found?.groups ? [...rows, `${found.groups.name}: ${found.groups.said.slice(1, -1)}`] : rows;
  }

  /**
   * Give the reason in brackets the number that its cause has above it.
   * @param {string[]} rows @param {(Named | null)[]} names
   */
  numberReasons(rows, names) {
    let reason = "";
    let said = "";
    for (const [at, name] of names.entries()) {
      if (!name) continue;
      if (reason && rows[at].endsWith(reason)) {
        rows[at] = `${rows[at].slice(0, -reason.length)}[${said}]`;
        names[at] = this.named(rows[at]);
      }
      said = names[at]?.said ?? "";
      const found = this.expressions.numbered.exec(said);
      reason = found?.groups ? `[${found.groups.words}]` : "";
    }
  }

  /** Return the rows of the last frame, or all where no frame begins. @param {string[]} rows */
  lastFrame(rows) {
    const at = rows.findLastIndex((row) => this.isFrame(row));
    return rows.slice(Math.max(0, at)).join("\n");
  }

  /** Tell whether a frame begins with a row, which is none of its marks. @param {string} row */
  isFrame(row) {
    const frame = withoutMark(row);
    return this.expressions.frame.test(frame) && !/^[~^.]*$/.test(frame);
  }

  /** @param {string} pasted */
  plain(pasted) {
    let text = removed(this.expressions.colour, pasted);
    if (this.expressions.entity.test(text)) {
      const area = document.createElement("textarea");
      area.innerHTML = text.replaceAll("<", "&lt;");
      text = area.value;
    }
    if (text.includes("\n") && !text.includes(this.packages.inJson)) return text;
    return text.replaceAll("\\n", "\n").replaceAll('\\"', '"');
  }

  /** Return the last lines without indentation, a frame's marked as such. @param {string} text */
  rows(text) {
    const { maxLines, maxLine } = this.packages;
    const { decoration, frame, named, prefix } = this.expressions;
    /** @type {string[]} */ const rows = [];
    let isInFrame = false;
    const lines = text.split(NEW_LINE);
    if (lines.at(-1) === "") lines.pop();
    for (let line of lines.slice(-maxLines)) {
      if (line.length > maxLine) line = `${line.slice(0, maxLine / 2)} ${line.slice(-maxLine / 2)}`;
      line = line.replace(prefix, "");
      const row = squeezed(line.replace(decoration, ""));
      const isSource = WHITE.test(line) || row.startsWith("raise ");
      isInFrame = frame.test(row) || (isInFrame && isSource && named.exec(row)?.index !== 0);
      if (rows.at(-1)?.endsWith("message:") && row) rows.push(`${rows.pop()} ${row}`);
      else if (row) rows.push(isInFrame ? SOURCE + row : row);
    }
    return rows;
  }

  /** Find the exception that a line names. @param {string} row @returns {Named | null} */
  named(row) {
    if (row.startsWith(SOURCE)) return null;
    const held = this.expressions.held.exec(row);
    if (held?.groups) return { name: held.groups.name, said: held.groups.said, start: held.index };
    const found = this.expressions.named.exec(row);
    if (!found?.groups) return null;
    const { name, said = "" } = found.groups;
    if (!said && found.index > 0 && !/[:\-|]$/.test(row.slice(0, found.index).trimEnd())) return null;
    return { name, said, start: found.index };
  }

  /** Tell whether an exception, or its traceback, is another package's. @param {Named | null} named @param {string} text */
  isOfOthers(named, text) {
    const { ours, foreign } = this.packages;
    const name = named ? packageOf(named.name) : "";
    if (ours.has(name)) return false;
    const loggers = findAll(this.expressions.logger, text).map(([, each]) => each);
    const isLogged = loggers.some((each) => foreign.has(each)) || this.expressions.otherWorker.test(text);
    if (isLogged && !this.namesOurs(text)) return true;
    const places = [this.expressions.package, this.expressions.folder].flatMap((each) => findAll(each, text));
    const found = places.map(([, each]) => each.toLowerCase());
    const isInOthers = found.some((each) => foreign.has(each)) || this.expressions.otherModule.test(text);
    return foreign.has(name.toLowerCase()) || (isInOthers && !found.some((each) => ours.has(each)));
  }

  /** @param {string} row */
  isOfAStranger(row) {
    return this.namesOthers(removed(this.expressions.represented, row)) || this.expressions.otherProgram.test(row);
  }

  /** Tell whether a text names others' packages, and none of ours. @param {string} text */
  namesOthers(text) {
    const said = words(removed(this.expressions.noPackage, text));
    return said.some((word) => this.packages.foreign.has(word)) && !this.namesOurs(text);
  }

  /** @param {string} text */
  namesOurs(text) {
    return words(text).some((word) => this.packages.ours.has(word));
  }
}
