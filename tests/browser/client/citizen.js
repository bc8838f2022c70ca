/**
 * A citizen for end-to-end tests: commands as lines of JSON on standard input, events on standard output.
 *
 *   node citizen.js ws://…/v1/live
 *   {"do": "join", "slug": "emotive-commons"}
 *
 * Bytes are hexadecimal, both ways. It ends when standard input does.
 */

import { createInterface } from "node:readline";

import { fromHex, hex } from "../../../services/gateway/page/client/bytes.js";
import { Connection, newKeys, sanctuaryOf } from "../../../services/gateway/page/client/connection.js";

const plain = (_, value) => (value instanceof Uint8Array ? hex(value) : value);
const tell = (event) => process.stdout.write(`${JSON.stringify(event, plain)}\n`);

const [url, watched] = process.argv.slice(2);
const { keys } = await newKeys();
const connection = new Connection({
  url,
  keys,
  watch: watched === undefined ? null : await sanctuaryOf(watched),
  onEvent: (event) => tell(event.error ? { ...event, error: String(event.error.stack) } : event),
});
connection.open();

const room = (command) => sanctuaryOf(command.slug);
const COMMANDS = {
  join: async (command) => connection.join(await room(command)),
  leave: async (command) => connection.leave(await room(command)),
  speak: async (command) => connection.speak(await room(command), { name: command.name ?? null }),
  hush: async (command) => connection.hush(await room(command)),
  feel: async (command) => {
    for (const feeling of command.feelings) {
      tell({ type: "felt", seq: await connection.feel(await room(command), feeling) });
    }
  },
  grant: async ({ audience, tier, slug }) =>
    connection.grant({ audience, tier, sanctuary: slug ? await sanctuaryOf(slug) : null }),
  except: ({ person, tier }) => connection.except({ person: fromHex(person), tier }),
  follow: async (command) => connection.follow(await room(command), command.people.map(fromHex)),
  approve: ({ person }) => connection.approve({ person: fromHex(person) }),
  revoke: ({ person }) => connection.revoke({ person: fromHex(person) }),
  withdraw: () => connection.withdraw(),
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  await COMMANDS[command.do](command);
}
connection.close();
