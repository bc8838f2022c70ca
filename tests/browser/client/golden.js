/** The golden files, for tests: what Python made, and the way from its spelling to ours. */

import { readFileSync } from "node:fs";

import { fromHex } from "../../../services/gateway/page/client/bytes.js";

/** @param {string} name of a file in tests/browser/golden, without its ending */
export function golden(name) {
  return JSON.parse(readFileSync(new URL(`../golden/${name}.json`, import.meta.url), "utf8"));
}

const camel = (name) => name.replaceAll(/_(.)/g, (_, sign) => sign.toUpperCase());
const TEXT = new Set([
  "type", "gateway", "origin", "name", "reason", "meaning", "note", "jwt", "what", "rung",
]);

/** Hexadecimal becomes bytes, but in fields that are text. */
function bytesOf(name, value) {
  if (Array.isArray(value)) return value.map((each) => bytesOf(name, each));
  return typeof value === "string" && !TEXT.has(name) ? fromHex(value) : value;
}

/** A row's fields by JavaScript's names. */
export function fieldsOf(row) {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => [camel(name), bytesOf(name, value)]),
  );
}
