// @ts-check
// Texts, ranked by the words that they hold: `_Index` of cookbook/search.py,
// on what SQLite has counted (FTS5, bm25).
import { stem } from "./stem.js";

const K1 = 1.2;
const B = 0.75; // the constants of SQLite's bm25()

/**
 * How often a stem is in each part of each text that has it.
 * @typedef {{ size: number, rows: number, mean: number, lengths: number[], words: string[],
 *   counts: Record<string, [number, ...number[]][]> }} Counted
 * @typedef {{ parts: string[], weights: number[], unknown: number, guesses: number, close: number,
 *   synonyms: Record<string, string[]> }} Rules
 * @typedef {{ at: number, score: number, share: number }} Rank
 * @typedef {Map<number, number>} Scores
 */

export class Ranking {
  /** @param {Counted} counted @param {Rules} rules */
  constructor(counted, rules) {
    this.counted = counted;
    this.rules = rules;
    this.synonyms = new Map(Object.entries(rules.synonyms));
    this.counts = new Map(Object.entries(counted.counts));
  }

  /** Return the texts that hold some of the words, the best first. @param {string[]} words @returns {Rank[]} */
  rank(words) {
    /** @type {Scores} */ const totals = new Map();
    /** @type {Scores} */ const shares = new Map();
    let asked = 0;
    for (const rows of this.lookUpAll(words)) {
      const weight = Math.log(1 + this.counted.size / (0.5 + (rows.size || this.rules.unknown)));
      asked += weight;
      for (const [at, score] of rows) {
        totals.set(at, (totals.get(at) ?? 0) + score);
        shares.set(at, (shares.get(at) ?? 0) + weight);
      }
    }
    return [...totals]
      .map(([at, score]) => ({ at, score, share: (shares.get(at) ?? 0) / asked }))
      .sort((a, b) => b.score * b.share - a.score * a.share);
  }

  /** Tell whether a text has a word in its title or its names. @param {number} at @param {string} word */
  isCalled(at, word) {
    return this.match(word, ["title", "names"]).has(at);
  }

  /** Return for each word, or pair of words, what has it. @param {string[]} words */
  lookUpAll(words) {
    /** @type {Scores[]} */ const found = [];
    let { guesses } = this.rules;
    const rest = [...words];
    for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
      const pair = rest.length ? this.match(word + rest[0]) : new Map();
      if (pair.size) rest.shift(); // "log out" is "logout".
      let rows = pair.size ? pair : this.lookUp(word);
      if (!rows.size && word.length > 4 && guesses) {
        guesses -= 1;
        rows = this.lookUpClose(word);
      }
      if (rows.size === this.counted.size && rows.size > 1) {
        rows = this.matchOfFew(word);
        if (!rows.size) continue;
      }
      found.push(rows);
    }
    return found;
  }

  /** Return what has a word in its title, or else in its text. @param {string} word */
  matchOfFew(word) {
    for (const part of ["title", "text"]) {
      const rows = this.match(word, [part]);
      if (rows.size > 0 && rows.size < this.counted.size) return rows;
    }
    return new Map();
  }

  /** Return the score of each text that has a word, or begins with it. @param {string} word */
  lookUp(word) {
    const rows = this.match(word);
    for (const other of this.synonyms.get(word) ?? []) {
      for (const [at, score] of this.match(other)) rows.set(at, Math.max(rows.get(at) ?? 0, score));
    }
    if (rows.size || word.length <= 3) return rows;
    // By the word as it is: its stem begins other words.
    if (!this.counted.words.some((each) => each.startsWith(word))) return rows;
    const start = stem(word);
    const longer = [...this.counts.keys()].filter((each) => each.startsWith(start));
    return this.score(longer, this.rules.parts);
  }

  /** Return what has the word that was meant, of the same first letter. @param {string} word @returns {Scores} */
  lookUpClose(word) {
    let best = "";
    let alike = this.rules.close;
    for (const other of this.counted.words) {
      if (other[0] !== word[0]) continue;
      const ratio = likeness(other, word);
      // Of those that are alike, the last in the alphabet.
      if (ratio >= alike) [best, alike] = [other, ratio];
    }
    return best ? this.lookUp(best) : new Map();
  }

  /** @param {string} word @param {string[]} parts */
  match(word, parts = this.rules.parts) {
    return this.score([stem(word)], parts);
  }

  /** Return the weighed bm25 of each text for some stems, taken as one. @param {string[]} stems @param {string[]} parts */
  score(stems, parts) {
    const { rows, mean, lengths } = this.counted;
    /** @type {Scores} */ const scores = new Map();
    for (const part of parts) {
      const column = this.rules.parts.indexOf(part) + 1;
      /** @type {Scores} */ const hits = new Map();
      for (const each of stems) {
        for (const row of this.counts.get(each) ?? []) {
          if (row[column]) hits.set(row[0], (hits.get(row[0]) ?? 0) + row[column]);
        }
      }
      const rarity = Math.max(Math.log((rows - hits.size + 0.5) / (hits.size + 0.5)), 1e-6);
      for (const [at, count] of [...hits].sort(([a], [b]) => a - b)) {
        const score = (rarity * count * (K1 + 1)) / (count + K1 * (1 - B + (B * lengths[at]) / mean));
        scores.set(at, (scores.get(at) ?? 0) + this.rules.weights[column - 1] * score);
      }
    }
    return scores;
  }
}

/** Return how much alike two words are, as difflib's `ratio()`. @param {string} a @param {string} b */
function likeness(a, b) {
  return (2 * inCommon(a, b)) / (a.length + b.length);
}

/** Return how many letters two words have in common, in their order. @param {string} a @param {string} b @returns {number} */
function inCommon(a, b) {
  let [start, other, size] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    for (let j = 0; j < b.length; j++) {
      let length = 0;
      while (i + length < a.length && j + length < b.length && a[i + length] === b[j + length]) length += 1;
      if (length > size) [start, other, size] = [i, j, length];
    }
  }
  if (!size) return 0;
  const before = inCommon(a.slice(0, start), b.slice(0, other));
  return before + size + inCommon(a.slice(start + size), b.slice(other + size));
}
