// @ts-check
// Which messages and questions a text is about: the same as cookbook/search.py,
// by the same texts, expressions and scores.
import { packageOf, Reader, squeezed } from "./pasted.js";
import { Ranking } from "./ranking.js";

/**
 * @typedef {import("./pasted.js").Line} Line
 * @typedef {{ name: string, text: string, also: string[], kind: string, exceptions: string[],
 *   objects: [string, string][], raisedIn: string[], html: string }} Message
 * @typedef {{ name: string, recipe: string, html: string }} Pitfall
 * @typedef {{ messages: Message[], topics: string[], pitfalls: Pitfall[], pages: import("./ranking.js").Counted,
 *   texts: import("./ranking.js").Counted, traps: import("./ranking.js").Counted, rules: import("./ranking.js").Rules & Record<string, any>,
 *   expressions: Record<string, [string, string]> }} Data
 */

export class Search {
  /** @param {Data} data */
  constructor(data) {
    this.data = data;
    const { rules } = data;
    /** @type {Record<string, RegExp>} */ const expressions = {};
    for (const [name, [source, flags]] of Object.entries(data.expressions)) expressions[name] = new RegExp(source, flags);
    this.expressions = expressions;
    const named = data.messages.flatMap((message) => message.exceptions);
    /** @type {Known} */
    const known = {
      sole: new Set(named.filter((name) => named.indexOf(name) === named.lastIndexOf(name))),
      rules,
      expressions,
      ours: new Set(rules.ours),
      builtins: new Set(rules.builtins),
      osErrors: new Set(rules.osErrors),
      quotes: new Map(Object.entries(rules.quotes)),
    };
    this.known = known;
    this.reader = new Reader(/** @type {any} */ (expressions), {
      ours: known.ours,
      foreign: new Set(rules.foreign),
      inJson: rules.inJson,
      maxLines: rules.maxLines,
      maxLine: rules.maxLine,
    });
    this.patterns = data.messages.flatMap((message) =>
      [message.text, ...message.also].map((text) => new Pattern(message, text, known)),
    );
    this.namesOfAiohttp = new Set(
      data.messages
        .flatMap((message) => message.exceptions)
        .filter((name) => name.startsWith("aiohttp."))
        .map(shortOf)
        .filter((short) => !isAtStart(expressions.common, short)),
    );
    this.pages = new Ranking(data.pages, rules);
    this.texts = new Ranking(data.texts, rules);
    this.traps = new Ranking(data.traps, rules);
  }

  /** Return what explains a question, a message or a whole traceback. @param {string} query */
  find(query) {
    const { rules, topics, messages: all, pitfalls: traps } = this.data;
    const text = query.slice(-rules.maxQuery);
    const pasted = this.reader.read(text);
    const messages = this.findMessages(pasted.lines);
    /** @type {{ topics: string[], pitfalls: Pitfall[], nearest: string[] }} */
    const none = { topics: [], pitfalls: [], nearest: [] };
    if (messages.length) return { ...none, messages: messages.slice(0, rules.maxHits) };
    const words = this.subjectWords(text);
    const ranked = this.pages.rank(words);
    const nearest = ranked.slice(0, rules.maxNearest).map(({ at }) => topics[at]);
    if (pasted.isError) return { ...none, messages, nearest };
    const found = this.best(ranked, rules.minShare).map((at) => topics[at]);
    // A page is found first by its name, whoever else has the word.
    found.sort((one, other) => Number(other === words.join("_")) - Number(one === words.join("_")));
    const told = this.best(this.texts.rank(words), rules.minShareOfMessage).map((at) => all[at]);
    // The traps of a page that is called so stand on it.
    const isCalled = words.every((word) => this.pages.isCalled(topics.indexOf(found[0]), word));
    const wrong = this.best(this.traps.rank(words), rules.minShareOfTrap)
      .map((at) => traps[at])
      .filter(({ recipe }) => !isCalled || recipe !== found[0]);
    if (!found.length && !told.length && !wrong.length) return { ...none, messages, nearest };
    return {
      messages: told.slice(0, rules.maxHits),
      topics: found.slice(0, rules.maxHits),
      pitfalls: wrong.slice(0, rules.maxPitfalls),
      nearest: none.nearest,
    };
  }

  /** Return where the hits are: what has enough of the query, and scores. @param {import("./ranking.js").Rank[]} ranked @param {number} minShare */
  best(ranked, minShare) {
    const { minScore, minRelative } = this.data.rules;
    const floor = Math.max(minScore, minRelative * Math.max(0, ...ranked.map(({ score }) => score)));
    return ranked.filter(({ share, score }) => share >= minShare && score >= floor).map(({ at }) => at);
  }

  /** Return the words of a question that are no question words. @param {string} query */
  subjectWords(query) {
    const { stopWords, maxWords } = this.data.rules;
    const found = wordsOf(query).filter((word) => !stopWords.includes(word));
    return [...new Set(found)].slice(0, maxWords);
  }

  /** Return the messages of the last record that has any. @param {Line[]} lines */
  findMessages(lines) {
    for (const record of new Set(lines.map((line) => line.record))) {
      const found = this.findInRecord(lines.filter((line) => line.record === record));
      if (found.length) return found;
    }
    return [];
  }

  /** Return the messages that were pasted, the most telling first. @param {Line[]} lines */
  findInRecord(lines) {
    /** @type {Map<Message, number>} */ const scores = new Map();
    for (const line of lines) {
      for (const [{ message }, score] of this.match(line)) {
        scores.set(message, Math.max(scores.get(message) ?? 0, score * line.weight));
      }
    }
    const floor = this.data.rules.minRelative * Math.max(0, ...scores.values());
    const scoreOf = (/** @type {Message} */ message) => scores.get(message) ?? -1;
    return this.data.messages
      .filter((message) => scoreOf(message) >= floor)
      .sort((a, b) => scoreOf(b) - scoreOf(a));
  }

  /** Return the messages of a line, and what each scores. @param {Line} line */
  match(line) {
    const plain = normal(line.text, this.known);
    const isSaid = !packageOf(line.name) && isAtStart(this.expressions.said, line.said);
    if (isSaid || this.namesOfAiohttp.has(line.name)) line = { ...line, name: `aiohttp.${line.name}` };
    let scores = this.scoreError(line, plain);
    const name = scores.size ? "" : this.mentionedIn(line.text);
    const answered = scores.size ? null : this.expressions.answered.exec(line.text);
    if (name) {
      scores = this.score({ ...line, name, said: "" }, plain);
    } else if (answered) {
      line = { ...line, name: this.data.rules.ofAnAnswer, said: answered[0] };
      scores = this.scoreError(line, plain);
    }
    const all = [...scores.keys()];
    const texts = all.filter((each) => (scores.get(each) ?? 0) >= this.data.rules.ofAText);
    const telling = texts.filter((each) => !each.isNameOf(line));
    const found = [telling, texts, all].find((each) => each.length) ?? all;
    return new Map(
      found
        .filter((pattern) => !found.some((other) => pattern.isPartOf(other, plain)))
        .map((pattern) => [pattern, scores.get(pattern) ?? 0]),
    );
  }

  /** Return the messages of an exception, or else of the whole line. @param {Line} line @param {string} plain */
  scoreError(line, plain) {
    const error = line.name ? normal(`${line.name}: ${line.said}`, this.known) : "";
    const scores = error ? this.score(line, error) : new Map();
    return scores.size ? scores : this.score(line, plain);
  }

  /** Return the one exception that a sentence names, or "" for none. @param {string} text */
  mentionedIn(text) {
    const names = text.match(/[A-Z]\w{5,}(?!\w|\.__)/g) ?? [];
    const ofAsyncio = new RegExp(this.expressions.ofAsyncio, "g");
    const called = text.match(/(?<![\w.])[A-Z]\w+Error(?=\(\))/g) ?? [];
    const known = new Set([
      ...names.filter((name) => this.namesOfAiohttp.has(name)).map((name) => `aiohttp.${name}`),
      ...called.filter((name) => !this.namesOfAiohttp.has(name)),
      ...(text.match(ofAsyncio) ?? []),
    ]);
    return known.size === 1 ? [...known][0] : "";
  }

  /** @param {Line} line @param {string} plain @returns {Map<Pattern, number>} */
  score(line, plain) {
    const scores = new Map();
    for (const pattern of this.patterns) {
      if (line.isForeign && pattern.message.kind !== "browser") continue;
      const score = pattern.match(line, plain);
      if (score) scores.set(pattern, score);
    }
    return scores;
  }
}

/**
 * What the patterns share.
 * @typedef {{ sole: Set<string>, rules: Record<string, any>, expressions: Record<string, RegExp>, ours: Set<string>,
 *   builtins: Set<string>, osErrors: Set<string>, quotes: Map<string, string> }} Known
 */

/** Tells how well a line holds one of the texts of a message. */
class Pattern {
  /** @param {Message} message @param {string} text @param {Known} known */
  constructor(message, text, known) {
    this.message = message;
    this.known = known;
    const isFirst = text === message.text;
    this.objects = isFirst ? message.objects.map(([name, source]) => ({ name, expression: new RegExp(source) })) : [];
    this.places = isFirst ? message.raisedIn : [];
    this.parts = text.split("...").map((part) => normal(part, known)).filter(Boolean);
    this.text = this.parts.join("...");
    this.length = this.parts.reduce((sum, part) => sum + part.length, 0);
    const words = wordsOf(text);
    this.words = ` ${words.join(" ")} `;
    this.isWordy = this.length >= known.rules.short && words.length > 2 && !text.startsWith("_");
    this.isLogged = message.kind === "server" && !message.exceptions.length;
    this.shorts = message.exceptions.map(shortOf);
    this.packages = new Set(message.exceptions.map(packageOf));
    this.isOfFamily = text.includes(".") && message.exceptions.includes(text);
    this.isName = this.shorts.includes(text) || message.exceptions.some((name) => name.startsWith(text));
  }

  /** Tell whether another message says the same, and more. @param {Pattern} other @param {string} plain */
  isPartOf(other, plain) {
    if (this === other) return false;
    const { long } = this.known.rules;
    const [isThere, isOtherThere] = [this, other].map(({ parts }) => hasParts(parts, plain, long));
    const isLooser = other.words.includes(this.words) && isOtherThere && !isThere;
    return isLooser || hasParts(this.parts, other.text, long);
  }

  /** Tell whether the text is but the name of what a line raises. @param {Line} line */
  isNameOf(line) {
    return this.text === shortOf(line.name).toLowerCase();
  }

  /** Return the score of a message on a line, 0 where it is not there. @param {Line} line @param {string} plain */
  match(line, plain) {
    const { rules } = this.known;
    if (!this.isName && this.holds(line, plain)) {
      const gaps = rules.ofAGap * (this.parts.length - 1);
      return rules.ofAText + this.length - gaps + this.agreement(line);
    }
    const isCut = rules.cut.some((/** @type {string} */ end) => line.said.endsWith(end));
    const asked = (isCut ? normal(line.said, this.known) : plain).replace(/[.:\u2026]+$/, "");
    if (asked === this.text) return rules.ofAText + this.length;
    // One word is a name, and not the beginning of what is being typed.
    if (this.parts[0].startsWith(asked) && asked.includes(" ") && asked.length >= rules.minPart) {
      return Math.min(rules.ofABeginning + asked.length, rules.ofAText - 1);
    }
    const score = this.matchName(line, plain);
    return score || !(this.objects.length || this.places.length) ? score : this.matchUse(line);
  }

  /** Return the score of a line by the object or the place it is about. @param {Line} line */
  matchUse(line) {
    const { ofMisuse, ofACall, ofAnObject, ofAPlace } = this.known.rules;
    const isOf = (/** @type {{ name: string, expression: RegExp }} */ { name, expression }) =>
      expression.test(line.said) && line.traceback.includes(name);
    if (ofMisuse.includes(line.name) && this.objects.some(isOf)) return ofAnObject;
    return this.places.includes(line.raisedIn) && ofACall.includes(line.name) ? ofAPlace : 0;
  }

  /** @param {Line} line @param {string} plain */
  holds(line, plain) {
    const { long, short } = this.known.rules;
    const isThere =
      hasParts(this.parts, plain, long) ||
      (this.isWordy && spacedWords(plain).includes(this.words)) ||
      this.beginsBefore(line, plain);
    if (!isThere || (this.isLogged && this.goesOn(plain))) return false;
    if (this.contradicts(line)) {
      const isOwn = [...this.packages].every((each) => each === "" || this.known.ours.has(each));
      return isOwn && this.length >= long;
    }
    if (line.name || this.length >= short) return true;
    const said = normal(line.text.replace(this.known.expressions.log, ""), this.known);
    const words = plain.match(/[\p{L}\p{N}_]+/gu) ?? [];
    return this.length >= 0.4 * said.length || words.some((word) => this.known.ours.has(word));
  }

  /** Tell whether the text is the beginning of a longer sentence. @param {string} plain */
  goesOn(plain) {
    const last = /** @type {string} */ (this.parts.at(-1));
    const at = plain.indexOf(last);
    return at >= 0 && isAtStart(this.known.expressions.goesOn, plain.slice(at + last.length));
  }

  /** Tell whether the message begins in a frame of the traceback. @param {Line} line @param {string} plain */
  beginsBefore(line, plain) {
    const frames = this.parts.slice(0, -1);
    const last = /** @type {string} */ (this.parts.at(-1));
    if (!frames.length || !line.name || !plain.includes(last)) return false;
    if (!hasParts(frames, normal(line.traceback, this.known), this.known.rules.long)) return false;
    const calls = frames.filter((part) => part.endsWith("(") || part.endsWith("["));
    const end = calls.length ? normal(line.lastFrame, this.known) : "";
    return calls.every((call) => end.includes(call));
  }

  /** Tell whether the line names an exception that is another one. @param {Line} line */
  contradicts(line) {
    const { ours, builtins } = this.known;
    if (!line.name || this.text.startsWith(line.name.toLowerCase())) return false;
    const short = shortOf(line.name);
    const name = packageOf(line.name);
    if (ours.has(name)) return [...this.packages].some((each) => ours.has(each)) && !this.packages.has(name);
    if (!this.message.exceptions.length || short.endsWith("Warning")) {
      const isAny = builtins.has(line.name) || short.endsWith("Warning");
      return !isAny && !this.shorts.includes(short);
    }
    if (this.shorts.includes(short)) return name !== "" && !this.packages.has(name);
    return !(this.isOsError(line.name) && this.isOfSystem());
  }

  /** @param {string} name */
  isOsError(name) {
    return ["socket", "ssl"].includes(packageOf(name)) || this.known.osErrors.has(name);
  }

  /** Tell whether aiohttp raises it for what the system has said. */
  isOfSystem() {
    const isClients = (/** @type {string} */ name) => name.startsWith("ClientO") || name.startsWith("ClientConn");
    return this.message.exceptions.some((name) => this.isOsError(name)) || this.shorts.some(isClients);
  }

  /** Return more for a message whose exception the line names. @param {Line} line */
  agreement(line) {
    const short = shortOf(line.name);
    if (!this.shorts.includes(short) || this.text.startsWith(short.toLowerCase())) return 0;
    const name = packageOf(line.name);
    const own = this.packages.has(name) && this.known.ours.has(name) ? 30 : 0;
    return own + (short === this.shorts[0] ? 30 : 10);
  }

  /** Return the score of a line that names the exception. @param {Line} line @param {string} plain */
  matchName(line, plain) {
    const short = shortOf(line.name);
    if (!this.shorts.includes(short)) return 0;
    for (const [at, name] of this.message.exceptions.entries()) {
      const isSame = short === this.shorts[at] && ["", packageOf(name)].includes(packageOf(line.name));
      if (isSame && line.said && this.isOfFamily && packageOf(line.name)) return this.known.rules.ofAFamily;
      if (isSame && this.isToldBy(name, line)) {
        const begun = plain.includes(this.parts[0]) ? 10 : 0;
        if (line.said && !name.startsWith("aiohttp.")) return this.known.rules.ofAnObject + begun;
        return this.known.rules.ofAName - 10 * at + this.shorts.length / 10 + begun;
      }
    }
    return 0;
  }

  /** Tell whether the name of an exception says enough. @param {string} name @param {Line} line */
  isToldBy(name, line) {
    const short = shortOf(line.name);
    if (line.said) {
      const isCommon = !packageOf(line.name) && isAtStart(this.known.expressions.common, short);
      const isSole = this.known.rules.speaking.includes(packageOf(line.name)) && this.known.sole.has(name);
      return isSole || (name.startsWith("aiohttp.") && !isCommon);
    }
    const isOwn = name.includes(".") && !this.known.builtins.has(line.name);
    return isOwn || [short, name].includes(this.message.text);
  }
}

/** Tell whether a text has all parts, in their order, at a word's start. @param {string[]} parts @param {string} text @param {number} long */
function hasParts(parts, text, long) {
  let at = 0;
  for (const part of parts) {
    at = text.indexOf(part, at);
    const isWord = part.length < long && /^[\p{L}\p{N}]/u.test(part);
    while (isWord && at > 0 && /[\p{L}\p{N}]/u.test(text[at - 1])) at = text.indexOf(part, at + 1);
    if (at < 0) return false;
    at += part.length;
  }
  return true;
}

/** @param {RegExp} expression @param {string} text */
const isAtStart = (expression, text) => expression.exec(text)?.index === 0;
/** @param {string} name */
const shortOf = (name) => name.slice(name.lastIndexOf(".") + 1);
/** @param {string} text @returns {string[]} */
const wordsOf = (text) => text.toLowerCase().match(/[a-z0-9]{2,}/g) ?? [];

let latest = { text: "", words: " " };

/** Return the words of a text, which all patterns look at in turn. @param {string} text */
function spacedWords(text) {
  if (latest.text !== text) latest = { text, words: ` ${wordsOf(text).join(" ")} ` };
  return latest.words;
}

/** Return a text in lower case, with plain quotes and single spaces. @param {string} text @param {Known} known */
function normal(text, known) {
  const plain = [...text.toLowerCase()].map((each) => known.quotes.get(each) ?? each).join("");
  return squeezed(plain.replaceAll(new RegExp(known.expressions.number, "g"), ""));
}
