// Tunnels: connections of the app's server inside a channel; everything on them as under Node alone.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { CONVERSATIONS, GET, UPGRADE, bodyOf, converse, run, settle } from './conversation.mjs';
import { C, FakeProxy } from './harness.mjs';
import { plainNode } from './raw.mjs';
import { Tunnel, bridge } from './tunnelled.mjs';

const fixture = (name) => path.join(import.meta.dirname, 'fixtures', name);
let proxy;
let shared;
before(async () => {
  proxy = await FakeProxy.start();
  shared = await pair();
});
after(async () => {
  await stop(shared);
  await proxy.stop();
});

/** The app behind tunnels and the same app alone. */
async function pair(env = {}) {
  const { channel } = await proxy.ready(fixture('handover.cjs'), { env });
  const alone = await plainNode(fixture('handover.cjs'), { env });
  return { channel, tunnels: await bridge(channel), alone };
}

async function stop({ tunnels, alone }) {
  tunnels.close();
  await alone.stop();
}

async function compare({ tunnels, alone }, talk, closes) {
  const ours = await converse(tunnels.port, talk);
  const theirs = await converse(alone.port, talk);
  if (closes) await Promise.all([ours.closed, theirs.closed]);
  else await Promise.all([ours.end(), theirs.end()]);
  assert.equal(ours.text(), theirs.text());
  assert.deepEqual(await settle(tunnels.port), await settle(alone.port));
}

for (const [name, { closes = false, ...talk }] of Object.entries(CONVERSATIONS)) {
  test(name, () => compare(shared, talk, closes));
}

// Not 'paused': where Node reads a socket's stream instead of its handle, as it does with TLS, a pause holds.
for (const mode of ['data', 'throws', 'destroys', 'full']) {
  test(`the app at 'connection': ${mode}`, async () => {
    const two = await pair({ MODE: mode });
    const closes = mode === 'destroys';
    await compare(two, { pieces: closes ? [GET('/a')] : [GET('/a'), /GET \/a$/] }, closes);
    await stop(two);
  });
}

test('the client of a tunnel is the client of the app', async () => {
  const ask = async (from) => {
    const tunnel = new Tunnel(shared.channel, from);
    tunnel.data(GET('/socket'));
    const { text } = await tunnel.until(({ text }) => text.endsWith(']'));
    tunnel.write('TUNNEL_CLOSE');
    return JSON.parse(bodyOf(text));
  };
  const bytes = GET('/socket').length;
  assert.deepEqual(await ask({ address: '2001:db8::1', port: 65535 }),
    ['2001:db8::1', 'number', 'IPv6', '127.0.0.1', true, 'IPv4', bytes, 'Socket', true, null, 'IPv4']);
  assert.deepEqual(await ask({ address: '', port: 0, listener: 7 }),
    [null, 'undefined', null, null, false, null, bytes, 'Socket', true, null, null]);
});

test('maxConnections counts streams and tunnels', async () => {
  const { channel } = await proxy.ready(fixture('handover.cjs'), { env: { MODE: 'full' } });
  const client = channel.client();
  await client.request();
  const dropped = new Tunnel(channel);
  assert.equal((await dropped.until(({ ended }) => ended)).text, '');
  assert.match((await client.request({ target: '/notes' })).text, /drop number/);
});

/** A tunnel that echoes. */
async function echo(channel) {
  const tunnel = new Tunnel(channel);
  tunnel.data(UPGRADE);
  const { text } = await tunnel.until(({ text }) => text.endsWith('\r\n\r\n'));
  return { tunnel, head: text.length };
}

test('the app writes no more than its credit, and goes on when it gets some', async () => {
  const { tunnel, head } = await echo(shared.channel);
  const piece = 'x'.repeat(C.WINDOW_BYTES / 8);
  for (let i = 0; i < 16; i++) {
    tunnel.data(piece);
    // The client's credit comes back as the app reads.
    if (i < 7) await tunnel.until(({ text }) => text.length >= head + (i + 1) * piece.length);
  }
  await run(await control(), '1');
  const full = tunnel.received();
  assert.equal(full.text.length, C.WINDOW_BYTES);
  tunnel.grant(C.WINDOW_BYTES);
  await tunnel.until(({ text }) => text.length === 2 * C.WINDOW_BYTES);
  tunnel.grant(C.WINDOW_BYTES);
  const { text, credit } = await tunnel.until(({ text }) => text.length === head + 2 * C.WINDOW_BYTES);
  assert.equal(text.slice(head), 'x'.repeat(2 * C.WINDOW_BYTES));
  assert.ok(credit >= C.WINDOW_BYTES && credit <= 2 * C.WINDOW_BYTES + UPGRADE.length, String(credit));
  tunnel.write('TUNNEL_CLOSE');
});

/** Some other worker, to spend a turn or two. */
let other;
async function control() {
  other ??= (await proxy.ready(fixture('control.cjs'))).channel;
  return other;
}

test('an app that does not read gives no credit', async () => {
  const { channel } = await proxy.ready(fixture('control.cjs'));
  await run(channel, `server.removeAllListeners('upgrade').on('upgrade', (request, socket) => { globalThis.socket = socket; socket.write('HTTP/1.1 101 S\\r\\n\\r\\n'); }), 0`);
  const { tunnel } = await echo(channel);
  for (let i = 0; i < 4; i++) tunnel.data('y'.repeat(C.WINDOW_BYTES / 8));
  assert.equal(await run(channel, 'socket.readableLength <= socket.readableHighWaterMark + 65536'), 'true');
  // What fills its buffer is read; the rest stays with us.
  const { credit } = tunnel.received();
  assert.ok(credit <= C.WINDOW_BYTES / 4 + UPGRADE.length, String(credit));
  const length = `socket.on('data', (chunk) => { globalThis.sum = (globalThis.sum ?? 0) + chunk.length; }), 0`;
  await run(channel, length);
  await tunnel.until((now) => now.credit >= C.WINDOW_BYTES / 2);
  assert.equal(await run(channel, 'sum'), String(C.WINDOW_BYTES / 2));
});

test('the error of the client is the error of the socket', async () => {
  const { channel } = await proxy.ready(fixture('control.cjs'));
  await run(channel, `server.removeAllListeners('upgrade').on('upgrade', (request, socket) => {
    globalThis.seen = [];
    socket.on('error', (error) => seen.push(error.code + ' ' + error.syscall)).on('close', (failed) => seen.push('close ' + failed));
    socket.write('HTTP/1.1 101 S\\r\\n\\r\\n');
  }), 0`);
  const { tunnel } = await echo(channel);
  tunnel.write('TUNNEL_CLOSE', Buffer.from('ECONNRESET'));
  while (JSON.parse(await run(channel, 'seen')).length < 2);
  assert.deepEqual(JSON.parse(await run(channel, 'seen')), ['ECONNRESET read', 'close true']);
});

test('a late frame reaches nobody, and a tunnel may follow another on its stream', async () => {
  const { tunnel } = await echo(shared.channel);
  tunnel.write('TUNNEL_CLOSE');
  tunnel.data('late');
  tunnel.generation++;
  tunnel.write('TUNNEL', Buffer.from([0, 0, 1, 0]));
  tunnel.generation--;
  tunnel.data('later');
  tunnel.generation++;
  tunnel.data(GET('/a'));
  assert.match((await tunnel.until(({ text }) => text.endsWith('GET /a'))).text, /^HTTP\/1.1 200 OK/);
  tunnel.write('TUNNEL_CLOSE');
});

test('the channel goes: so do its tunnels', async () => {
  const { worker, channel } = await proxy.ready(fixture('control.cjs'));
  await run(channel, `server.removeAllListeners('upgrade').on('upgrade', (request, socket) => {
    socket.on('end', () => { console.log('end'); socket.end(); }).on('close', () => console.log('closed')).resume();
    socket.write('HTTP/1.1 101 S\\r\\n\\r\\n');
  }), 0`);
  await echo(channel);
  channel.socket.destroy();
  await worker.line('end\nclosed');
});
