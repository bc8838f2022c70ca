import assert from "node:assert/strict";
import { test } from "node:test";

import { signerFromSeed } from "../../../services/gateway/page/client/ed25519.js";
import { Session } from "../../../services/gateway/page/client/session.js";
import { Viewer } from "../../../services/gateway/page/client/viewer.js";

const filled = (length, byte) => new Uint8Array(length).fill(byte);
const [ROOM, STRAND] = [filled(16, 2), filled(32, 4)];
const T0 = 1_700_000_000_000;
const HELLO = {
  type: "hello", version: 1, session: filled(16, 10), nowMs: T0, origin: "http://here", city: filled(32, 1),
  gateway: "gateway-0", limits: [65536, 64, 128, 256, 30000, 5],
};
const WELCOME = { type: "welcome", session: filled(16, 10), citizen: filled(16, 3), expiresMs: T0 + 300_000 };

test("the key of an earlier visit's strand is published once welcome, and not before its time", async () => {
  const session = new Session({
    keys: {
      device: await signerFromSeed(filled(32, 6)), identity: await signerFromSeed(filled(32, 7)),
      nextKeyHash: filled(32, 8),
    },
    createdMs: T0, viewer: new Viewer(), random: (count) => filled(count, 9),
    strandSigner: () => assert.fail("no new strand"),
  });
  const releases = async (nowMs) => {
    await session.tick(nowMs);
    return session.takeMessages().filter(([name]) => name === "release");
  };
  const signer = await signerFromSeed(filled(32, 5), { extractable: true });
  session.voices.release({ sanctuary: ROOM, strand: STRAND, signer, atMs: T0 + 70_000 });
  await session.receive(HELLO, T0);
  assert.deepEqual(await releases(T0 + 70_000), []); // nobody is welcome yet
  await session.receive(WELCOME, T0);
  assert.deepEqual(await releases(T0 + 69_999), []);
  assert.deepEqual(await releases(T0 + 70_000), [["release", ROOM, STRAND, filled(32, 5)]]);
  assert.deepEqual(await releases(T0 + 80_000), []);
});
