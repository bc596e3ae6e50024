// The plain path: real sockets for the app, named by the proxy's line; everything on them as under Node alone.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { CONVERSATIONS, GET, UPGRADE, bodyOf, converse, notes, run, settle } from './conversation.mjs';
import { FakeProxy, mask } from './harness.mjs';
import { RawClient, plainNode } from './raw.mjs';

const fixture = (name) => path.join(import.meta.dirname, 'fixtures', name);
const LINE = 'HOSTLER 127.0.0.1 4711 0\n';
let proxy;
let shared;
before(async () => {
  proxy = await FakeProxy.start();
  shared = await pair();
});
after(async () => {
  await shared.alone.stop();
  await proxy.stop();
});

/** The app behind the plain path and the same app alone. */
async function pair(env = {}) {
  const { worker } = await proxy.ready(fixture('handover.cjs'), { env });
  const alone = await plainNode(fixture('handover.cjs'), { env });
  return { worker, alone };
}

/** Notes of both sides until `count` are there, or the connection is known to be closed. */
async function compare({ worker, alone }, talk, closes) {
  const ours = await converse(worker.plain, { first: LINE, ...talk });
  const theirs = await converse(alone.port, talk);
  if (closes) await Promise.all([ours.closed, theirs.closed]);
  else await Promise.all([ours.end(), theirs.end()]);
  assert.equal(ours.text(), theirs.text());
  assert.deepEqual(await settle(worker.plain, LINE), await settle(alone.port));
}

for (const [name, { closes = false, ...talk }] of Object.entries(CONVERSATIONS)) {
  test(name, () => compare(shared, talk, closes));
}

for (const mode of ['data', 'readable', 'paused', 'throws', 'destroys', 'full']) {
  test(`the app at 'connection': ${mode}`, async () => {
    const two = await pair({ MODE: mode });
    const closes = mode === 'destroys';
    const pieces = closes ? [GET('/a')] : [GET('/a'), ...(mode === 'readable' ? [] : [/GET \/a$/])];
    if (mode === 'readable') {
      // Such an app reads the request away from Node; it notes what it got.
      const ours = await converse(two.worker.plain, { first: LINE, pieces });
      const theirs = await converse(two.alone.port, { pieces });
      await Promise.all([ours.end(), theirs.end()]);
    } else {
      await compare(two, { pieces }, closes);
    }
    await two.alone.stop();
  });
}

test('maxConnections counts frames and plain connections', async () => {
  const { worker, channel } = await proxy.ready(fixture('handover.cjs'), { env: { MODE: 'full' } });
  const client = channel.client();
  await client.request();
  const dropped = await converse(worker.plain, { first: LINE, pieces: [GET('/a')] });
  await dropped.closed;
  assert.equal(dropped.text(), '');
  const events = JSON.parse(bodyOf((await client.request({ target: '/notes' })).text));
  assert.ok(events.includes('drop number'), String(events));
});

test('the client of the line is the client of the app', async () => {
  const { worker } = await proxy.ready(fixture('handover.cjs'));
  const ask = async (line) => {
    const talk = await converse(worker.plain, { first: line, pieces: [GET('/socket'), /\]$/] });
    talk.end();
    return JSON.parse(bodyOf(talk.text()));
  };
  const bytes = GET('/socket').length;
  assert.deepEqual(await ask('HOSTLER 2001:db8::1 65535 0\n'),
    ['2001:db8::1', 'number', 'IPv6', '127.0.0.1', true, 'IPv4', bytes, 'Socket', true, null, 'IPv4']);
  assert.deepEqual(await ask('HOSTLER - 0 7\n'), [null, 'undefined', null, null, false, null, bytes, 'Socket', true, null, null]);
});

test('the line in single bytes', async () => {
  const { worker } = await proxy.ready(fixture('handover.cjs'));
  const talk = await converse(worker.plain, { pieces: [] });
  for (const byte of LINE + GET('/a')) {
    talk.socket.write(byte);
    await new Promise(setImmediate);
  }
  while (!talk.text().endsWith('GET /a')) await once(talk.socket, 'data');
  talk.end();
});

for (const line of ['GET / HTTP/1.1\r\nHost: h\r\n\r\n', 'HOSTLER 127.0.0.1 80\n', 'x'.repeat(200), 'HOSTLER 127.0.0.1 1234567 0\n', '']) {
  test(`not a line: ${JSON.stringify(line.slice(0, 30))}`, async () => {
    const { worker, channel } = await proxy.ready(fixture('control.cjs'));
    const talk = await converse(worker.plain, { pieces: line === '' ? [null] : [line] });
    await talk.closed;
    assert.equal(talk.text(), '');
    assert.equal(await run(channel, 'server._connections'), '1');
  });
}

test('a connection without a line does not hold server.close', async () => {
  const { worker } = await proxy.ready(fixture('control.cjs'));
  const talk = await converse(worker.plain, { pieces: ['HOSTLER 127'] });
  worker.child.kill('SIGTERM');
  await talk.closed;
  assert.equal((await worker.exited).code, 0);
});

const REFUSED = 'HOSTLER 127.0.0.1 4711 0 400\n';

for (const name of ['a bad request', 'a head that is too large', 'half a head, then FIN']) {
  test(`refused by the proxy and by Node: ${name}`, () => compare(shared, { ...CONVERSATIONS[name], first: REFUSED }, true));
}

test('refused by the proxy and by Node, in single bytes', async () => {
  const bytes = 'GET / HTTP/1.1\r\nA : b\r\n\r\n';
  const talk = await converse(shared.worker.plain, { first: REFUSED, pieces: [] });
  for (const byte of bytes) {
    talk.socket.write(byte);
    await new Promise(setImmediate);
  }
  await talk.closed;
  assert.equal(talk.text(), 'HTTP/1.1 400 Own\r\n\r\n');
  const error = await clientError(shared.worker.plain);
  assert.match(error, /^clientError HPE_INVALID_HEADER_TOKEN /);
});

/** The first one that the app notes. */
async function clientError(plain) {
  for (;;) {
    const error = (await notes(plain, LINE)).find((one) => one.startsWith('clientError'));
    if (error !== undefined) return error;
  }
}

const TAKEN = {
  'a good request': GET('/a'),
  'a good request and a bad one': `${GET('/a')}NONSENSE\r\n\r\n`,
  'a fragment': 'GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n',
  'an upgrade': UPGRADE,
  CONNECT: 'CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n',
  'an unknown coding': 'POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\nabc',
  'nothing at all': null,
};
for (const [name, bytes] of Object.entries(TAKEN)) {
  test(`refused by the proxy, but not by Node: ${name}`, async () => {
    const talk = await converse(shared.worker.plain, { first: REFUSED, pieces: [bytes] });
    await talk.closed;
    assert.equal(talk.text(), 'HOSTLER\n');
    const seen = await notes(shared.worker.plain, LINE);
    assert.deepEqual(seen.filter((one) => !one.startsWith('close')), ['connection'], 'that of the question alone');
  });
}

test('a lenient server refuses nothing: the proxy answers', async () => {
  const { worker, channel } = await proxy.ready(fixture('control.cjs'));
  await run(channel, 'server.insecureHTTPParser = true, 1');
  const talk = await converse(worker.plain, { first: REFUSED, pieces: ['NONSENSE\r\n\r\n'] });
  await talk.closed;
  assert.equal(talk.text(), 'HOSTLER\n');
});

test('a head that is late is an error of its own', async () => {
  const talk = await converse(shared.worker.plain, { first: 'HOSTLER 127.0.0.1 4711 0 408\n', pieces: ['GET / HT'] });
  await talk.closed;
  assert.equal(talk.text(), 'HTTP/1.1 400 Own\r\n\r\n');
  const error = await clientError(shared.worker.plain);
  assert.equal(error, 'clientError ERR_HTTP_REQUEST_TIMEOUT Request timeout undefined undefined true');
});

test('keep-alive requests, counted like others', async () => {
  const { worker, channel } = await proxy.ready(fixture('control.cjs'));
  const client = new RawClient(worker.plain);
  client.socket.write(LINE);
  const first = await client.request({});
  assert.equal(mask(first.text), mask((await channel.client().request()).text));
  assert.equal(bodyOf((await client.request({})).text), 'control');
  await run(channel, 'server.getConnections((e, n) => note(`connections ${n}`)), 1');
  await worker.line('connections 3');
  worker.child.kill('SIGTERM');
  await worker.exited;
  assert.equal(worker.code, 0);
});

test('transport "http": only the plain path, without lines', async () => {
  const worker = proxy.worker(fixture('control.cjs'), { settings: { transport: 'http' }, env: { LISTEN: '[8123, "127.0.0.1"]' } });
  const channels = proxy.channels.length;
  assert.equal((await worker.report('ready')).transport, 'http');
  await worker.line('listening {"address":"127.0.0.1","family":"IPv4","port":8123} true');
  assert.equal(proxy.channels.length, channels);
  const socket = net.connect(worker.plain);
  socket.write('GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n');
  let text = '';
  for await (const chunk of socket) text += chunk;
  assert.match(text, /control$/);
});

test('a server whose connections are not handled by Node gets the plain path only', async () => {
  const worker = proxy.worker(fixture('own-connection.cjs'));
  assert.equal((await worker.report('ready')).transport, 'http');
  const socket = net.connect(worker.plain);
  assert.equal(String((await once(socket, 'data'))[0]), 'raw');
  socket.destroy();
});

for (const [name, good, bad] of [
  ['in a size', '', 'nonsense\r\n'], ['behind a chunk', '3\r\nabc\r\n', 'xyz\r\n'], ['in a chunk that is too long', '1\r\nX', 'YZ\r\n'],
]) {
  test(`a body that breaks over frames: ${name}`, async () => {
    const { worker, alone } = await pair();
    const channel = proxy.channels.at(-1);
    const chunked = [['Host', 'h'], ['Transfer-Encoding', 'chunked']];
    const client = channel.client();
    client.send({ method: 'POST', target: '/p', headers: chunked, body: '', end: false });
    const lead = Buffer.alloc(4);
    lead.writeUInt32LE(good.length);
    client.write(client.frame('BROKEN', Buffer.concat([lead, Buffer.from(good + bad)])));
    const answer = await client.answer();
    assert.equal(answer.end, 'END_CLOSE');
    client.close();
    const theirs = await converse(alone.port, { pieces: ['POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n', good || 'non', good ? bad : bad.slice(3)] });
    await theirs.closed;
    assert.equal(answer.text, theirs.text());
    // How many bytes the parser had at once differs with the pieces in which they came.
    const word = (one) => one.replace(/\d+ \d+ true$/, 'true');
    assert.deepEqual((await settle(worker.plain, LINE)).map(word), (await settle(alone.port)).map(word));
    await alone.stop();
  });
}
