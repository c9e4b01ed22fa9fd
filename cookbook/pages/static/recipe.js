// @ts-check
// What the server tells the scripts of a recipe's page. `show` is what curl
// prints of an answer. A play is null where only a shell can run the line.

/**
 * @typedef {{method: string, path: string, headers: [string, string][],
 *   body: string | null, show: "body" | "head" | "all"}} Request
 * @typedef {{variable: string, delimiter: string, field: number, file: string}} Cut
 * @typedef {{kind: "run", requests: Request[], save: string | null, cut: Cut | null, sleep: number}} Run
 * @typedef {Run | {kind: "open", path: string} | {kind: "send", text: string}
 *   | {kind: "receive"} | {kind: "closed"}} Play
 * @typedef {{module: string, prefix: string, hasTickets: boolean, plays: (Play | null)[]}} Recipe
 */

/** @type {Recipe} */
export const recipe = JSON.parse(document.getElementById("recipe")?.textContent ?? "");
