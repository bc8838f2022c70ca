import assert from "node:assert/strict";
import { test } from "node:test";

import { keysOf, seedOf, WordsError, wordsOf } from "../../../services/gateway/page/app/recovery.js";
import { WORD_LIST } from "../../../services/gateway/page/app/word_list.js";
import { fromHex, hex } from "../../../services/gateway/page/client/bytes.js";
import { sha256, signerFromSeed, verify } from "../../../services/gateway/page/client/ed25519.js";

/** Vectors of BIP-39's reference (256 bits). */
const VECTORS = {
  ["00".repeat(32)]: `${"abandon ".repeat(23)}art`,
  ["ff".repeat(32)]: `${"zoo ".repeat(23)}vote`,
  ["7f".repeat(32)]:
    "legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth useful "
    + "legal winner thank year wave sausage worth title",
  "68a79eaca2324873eacc50cb9c6eca8cc68ea5d936f98787c60c7ebc74e6ce7c":
    "hamster diagram private dutch cause delay private meat slide toddler razor book happy fancy gospel "
    + "tennis maple dilemma loan word shrug inflict delay length",
};

test("the list is BIP-39's: 2048 words in order, each known by its first four letters", async () => {
  assert.equal(WORD_LIST.length, 2048);
  assert.deepEqual(WORD_LIST, [...WORD_LIST].sort());
  assert.equal(new Set(WORD_LIST.map((word) => word.slice(0, 4))).size, 2048);
  const listed = new TextEncoder().encode(`${WORD_LIST.join("\n")}\n`);
  assert.equal(hex(await sha256(listed)), "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda");
});

test("a seed and its words are the standard's, both ways", async () => {
  for (const [seed, words] of Object.entries(VECTORS)) {
    assert.equal((await wordsOf(fromHex(seed), WORD_LIST)).join(" "), words);
    assert.equal(hex(await seedOf(words, WORD_LIST)), seed);
  }
});

test("words may be written as people write: numbers, lines, capitals, four letters", async () => {
  const [seed, words] = Object.entries(VECTORS)[3];
  const written = words.split(" ").map((word, i) => `${i + 1}. ${word.slice(0, 4).toUpperCase()}`).join("\n");
  assert.equal(hex(await seedOf(written, WORD_LIST)), seed);
});

test("what is not a seed is refused by name", async () => {
  const words = VECTORS["7f".repeat(32)].split(" ");
  const refused = (text) => seedOf(text, WORD_LIST).then(() => assert.fail(text), (error) => error);
  const unknown = await refused([...words.slice(0, 6), "synchronia", ...words.slice(7)].join(" "));
  assert.ok(unknown instanceof WordsError && unknown.at === 6);
  assert.match(unknown.message, /Word 7 is not in the list/);
  assert.match((await refused(words.slice(1).join(" "))).message, /23 words/);
  const swapped = await refused([words[1], words[0], ...words.slice(2)].join(" "));
  assert.match(swapped.message, /do not fit together/);
  assert.match((await refused("")).message, /0 words/);
});

test("the same words give the same keys, three different ones, none of which can be read", async () => {
  const seed = fromHex("7f".repeat(32));
  const [one, other] = [await keysOf(seed), await keysOf(seed)];
  assert.equal(hex(one.identity.publicKey), hex(other.identity.publicKey));
  assert.equal(hex(one.device.publicKey), hex(other.device.publicKey));
  assert.equal(hex(one.nextKeyHash), hex(other.nextKeyHash));
  assert.notEqual(hex(one.identity.publicKey), hex(one.device.publicKey));
  const plain = await signerFromSeed(seed);
  assert.ok(![one.identity, one.device].some(({ publicKey }) => hex(publicKey) === hex(plain.publicKey)));
  for (const signer of [one.identity, one.device]) {
    assert.equal(signer.privateKey.extractable, false);
    const message = new Uint8Array([1, 2, 3]);
    assert.ok(await verify(signer.publicKey, message, await signer.sign(message)));
  }
  assert.notEqual(hex((await keysOf(fromHex("80".repeat(32)))).identity.publicKey), hex(one.identity.publicKey));
});

/** Of the seed of zeros: identity key, device key, hash of the next; test_app.py derives them too. */
const FROZEN = [
  "1c4abfdadfdb073bc29c95430e38c81be8d639917ed573c9282a87786c4e4943",
  "4e64a8374c00ce17ec4c120e0b51ec73fdd8b3740a26993cdb484a6d9d3a0730",
  "66242df27e6c5357fc3a39333a73952afa2bee190ccc24f2821911d59552328a",
];

test("the derivation is frozen: words that are on paper must work for ever", async () => {
  const { identity, device, nextKeyHash } = await keysOf(fromHex("00".repeat(32)));
  assert.deepEqual([identity.publicKey, device.publicKey, nextKeyHash].map(hex), FROZEN);
});
