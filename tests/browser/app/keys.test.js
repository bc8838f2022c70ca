import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";

import { Keystore } from "../../../services/gateway/page/app/keys.js";
import { newKeys } from "../../../services/gateway/page/client/connection.js";

const WAIT_MS = 3000;

/** A request of IndexedDB's that is answered when the test says so, or never. */
class Request extends EventTarget {
  result = null;

  answer(result) {
    this.result = result;
    this.onsuccess();
    this.dispatchEvent(new Event("success"));
  }
}

let request;
beforeEach((t) => {
  request = new Request();
  globalThis.indexedDB = { open: () => request };
  t.mock.timers.enable({ apis: ["setTimeout"] });
});

test("storage that never answers is as storage that is denied: the page goes on, and says so", async (t) => {
  const opening = Keystore.open();
  let store = null;
  opening.then((opened) => {
    store = opened;
  });
  t.mock.timers.tick(WAIT_MS - 1);
  await turn();
  assert.equal(store, null, "a slow disk is waited for");
  t.mock.timers.tick(1);
  await turn();
  assert.notEqual(store, null);
  assert.equal(store.kept, null);
  const { keys } = await newKeys();
  await store.take(keys, { seed: new Uint8Array(32) });
  await store.keep({ name: "Ada" });
  await store.refresh();
  assert.deepEqual([store.kept.name, store.kept.identityKey], ["Ada", keys.identity.privateKey]);
  assert.equal(store.isPersistent, false, "then the page says that the keys may be lost");
});

test("a database that comes too late is closed", async (t) => {
  const opening = Keystore.open();
  t.mock.timers.tick(WAIT_MS);
  await opening;
  let isClosed = false;
  request.answer({ close: () => {
    isClosed = true;
  } });
  assert.ok(isClosed);
});

test("storage that is denied is none either", async () => {
  delete globalThis.indexedDB;
  const store = await Keystore.open();
  assert.deepEqual([store.kept, store.isPersistent], [null, false]);
});
