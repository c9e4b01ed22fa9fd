// @ts-check
// Porter's stemmer, as SQLite's tokenizer of that name has it.

const VOWEL = "(?:[aeiou]|(?<=[^aeiou])y)";
const CONSONANT = "(?:[^aeiouy]|(?<![^aeiou])y)";

// How often vowels are followed by consonants: once at least, just once, twice.
const SEQUENCE = `${CONSONANT}*${VOWEL}+${CONSONANT}+`;
const hasOne = new RegExp(`^${SEQUENCE}`);
const isOne = new RegExp(`^${SEQUENCE}${VOWEL}*$`);
const hasTwo = new RegExp(`^${SEQUENCE}${VOWEL}+${CONSONANT}+`);
const hasVowel = new RegExp(VOWEL);
const endsShort = new RegExp(`${CONSONANT}${VOWEL}(?![wxy])${CONSONANT}$`);

/** @type {[string, string][]} */
const SECOND = [
  ["ational", "ate"], ["tional", "tion"], ["enci", "ence"], ["anci", "ance"],
  ["izer", "ize"], ["logi", "log"], ["bli", "ble"], ["alli", "al"],
  ["entli", "ent"], ["eli", "e"], ["ousli", "ous"], ["ization", "ize"],
  ["ation", "ate"], ["ator", "ate"], ["alism", "al"], ["iveness", "ive"],
  ["fulness", "ful"], ["ousness", "ous"], ["aliti", "al"], ["iviti", "ive"],
  ["biliti", "ble"],
];
/** @type {[string, string][]} */
const THIRD = [
  ["icate", "ic"], ["ative", ""], ["alize", "al"], ["iciti", "ic"],
  ["ical", "ic"], ["ful", ""], ["ness", ""],
];
const FOURTH = [
  "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment",
  "ent", "ion", "ou", "ism", "ate", "iti", "ous", "ive", "ize",
];

/** Return the stem of a word in lower case. @param {string} word */
export function stem(word) {
  if (word.length < 3 || word.length > 64) return word;
  let text = withoutPlural(word);
  text = withoutPast(text);
  if (text.endsWith("y") && hasVowel.test(text.slice(0, -1))) text = `${text.slice(0, -1)}i`;
  text = replaced(text, SECOND, hasOne);
  text = replaced(text, THIRD, hasOne);
  text = withoutFourth(text);
  return withoutEnd(text);
}

/** @param {string} text */
function withoutPlural(text) {
  if (text.endsWith("sses") || text.endsWith("ies")) return text.slice(0, -2);
  if (text.endsWith("s") && !text.endsWith("ss")) return text.slice(0, -1);
  return text;
}

/** @param {string} text */
function withoutPast(text) {
  if (text.endsWith("eed")) return hasOne.test(text.slice(0, -3)) ? text.slice(0, -1) : text;
  const ending = ["ed", "ing"].find((each) => text.endsWith(each));
  if (!ending) return text;
  const rest = text.slice(0, -ending.length);
  if (!hasVowel.test(rest)) return text;
  if (/(?:at|bl|iz)$/.test(rest)) return `${rest}e`;
  if (/([^aeioulsz])\1$/.test(rest)) return rest.slice(0, -1);
  return isOne.test(rest) && endsShort.test(rest) ? `${rest}e` : rest;
}

/** @param {string} text @param {[string, string][]} endings @param {RegExp} measure */
function replaced(text, endings, measure) {
  const longest = endings.filter(([ending]) => text.endsWith(ending)).sort(([a], [b]) => b.length - a.length)[0];
  if (!longest) return text;
  const rest = text.slice(0, -longest[0].length);
  return measure.test(rest) ? rest + longest[1] : text;
}

/** @param {string} text */
function withoutFourth(text) {
  const longest = FOURTH.filter((ending) => text.endsWith(ending)).sort((a, b) => b.length - a.length)[0];
  if (!longest) return text;
  const rest = text.slice(0, -longest.length);
  const isWhole = longest === "ion" && !/[st]$/.test(rest);
  return hasTwo.test(rest) && !isWhole ? rest : text;
}

/** @param {string} text */
function withoutEnd(text) {
  const rest = text.slice(0, -1);
  if (text.endsWith("e") && (hasTwo.test(rest) || (isOne.test(rest) && !endsShort.test(rest)))) text = rest;
  return text.endsWith("ll") && hasTwo.test(text.slice(0, -1)) ? text.slice(0, -1) : text;
}
