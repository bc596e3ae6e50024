// A chat over polling alone, over WebSocket alone, and over both with the upgrade; reconnects with what was missed.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { once } from 'node:events';

import { io } from 'socket.io-client';

import { check, start } from './checks.mjs';

const app = await start('server.mjs');
const clients = [];

async function connect(options = {}) {
  const client = io(app.url, { forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 50, ...options });
  clients.push(client);
  await once(client, 'connect');
  return client;
}

for (const transports of [['polling'], ['websocket'], ['polling', 'websocket']]) {
  const name = transports.join(', then ');

  await check(`${name}: two clients talk`, async () => {
    const [one, other] = await Promise.all([connect({ transports }), connect({ transports })]);
    const room = crypto.randomUUID();
    for (const client of [one, other]) assert.equal(await client.emitWithAck('join', room), room);
    if (transports.length === 2 && one.io.engine.transport.name === 'polling') {
      await new Promise((resolve) => one.io.engine.once('upgrade', resolve));
    }
    assert.equal(one.io.engine.transport.name, transports.at(-1));
    const heard = [];
    const all = new Promise((resolve) => {
      other.on('said', (text) => heard.push(text) === 200 && resolve());
    });
    for (let i = 0; i < 200; i += 1) one.emit('say', room, `grüße ${i}`);
    await all;
    assert.deepEqual(heard, Array.from({ length: 200 }, (_, i) => `grüße ${i}`));
  });

  for (const size of [100, 100_000, 5_000_000]) {
    await check(`${name}: ${size} bytes there and back`, async () => {
      const client = await connect({ transports });
      const bytes = crypto.randomBytes(size);
      const back = await client.emitWithAck('binary', bytes);
      assert.ok(Buffer.from(back).reverse().equals(bytes));
    });
  }

  await check(`${name}: ten cut connections come back, with what was missed`, async () => {
    const client = await connect({ transports });
    const room = crypto.randomUUID();
    await client.emitWithAck('join', room);
    for (let i = 0; i < 10; i += 1) {
      const [missed, again] = [once(client, 'said'), once(client, 'connect')];
      client.emit('cut-then-say', room, `missed ${i}`);
      await again;
      // Behind the text comes the offset that recovery needs.
      assert.equal((await missed)[0], `missed ${i}`);
      assert.ok(client.recovered, 'the session is the same');
    }
  });
}

await check('fifty clients at once', async () => {
  const all = await Promise.all(Array.from({ length: 50 }, () => connect()));
  await Promise.all(all.map((client, i) => client.emitWithAck('join', `room ${i % 5}`)));
  const heard = Promise.all(all.filter((_, i) => i % 5 === 0).map((client) => once(client, 'said')));
  all[0].emit('say', 'room 0', 'hello');
  assert.equal((await heard).length, 10);
});

await check('clients come back after the app was started again', async () => {
  const client = await connect();
  const again = once(client, 'connect');
  await app.stop();
  const { stop } = await start('server.mjs', { port: app.port });
  app.stop = stop;
  await again;
  assert.ok((await client.emitWithAck('binary', Buffer.from('abc'))).equals(Buffer.from('cba')));
});

await check('the app stops while clients are connected', async () => {
  const ended = await app.stop();
  assert.equal(ended.code, 0, JSON.stringify(ended));
});
for (const client of clients) client.disconnect();
process.exit();
