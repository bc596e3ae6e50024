// `hostler exec`: connections that Node accepted are offered, served as streams, given back. Compared with Node alone
// wherever Node alone can do it.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { GET, converse } from './conversation.mjs';
import { bodyOf, fixture, run } from './exec_app.mjs';
import { Front, u32 } from './front.mjs';
import { frame } from './harness.mjs';
import { RawClient, plainNode } from './raw.mjs';

let front;
before(async () => { front = await Front.start(); });
after(() => front.stop());
const app = (options) => front.app(fixture('exec.cjs'), options);
/** A connection that is served as a stream, after its first answer. */
async function opened(worker, request) {
  const { offer, ...rest } = await front.connect(worker.port);
  const client = offer.open(request);
  return { offer, client, ...rest };
}

test('requests of given-back connections are counted', async () => {
  const worker = await app();
  const talking = converse(worker.port, { pieces: [GET('/a'), /exec$/, GET('/a'), /exec$/] });
  const talk = await talking;
  const channel = front.channelOf(worker);
  const sum = () => channel.frames.filter((one) => one.type === 'COUNT').reduce((all, one) => all + JSON.parse(one.payload).http, 0);
  await channel.until(() => sum() === 2);
  await talk.end();
  const { socket } = await front.connect(worker.port).then(({ socket, offer }) => (offer.giveBack(GET(run('setImmediate(() => process.exit()), 1').target)), { socket }));
  await worker.exited;
  socket.destroy();
  assert.equal(sum(), 3);
});

// ---- opened -------------------------------------------------------------------------------------

test('HELLO, LISTEN, OFFER: what the proxy is told', async () => {
  const worker = await app({ env: { SERVER: '{ maxHeaderSize: 5000 }' } });
  const { socket, offer } = await front.connect(worker.port);
  const { channel } = offer;
  assert.deepEqual(channel.hello, { protocol: 2, worker: 0, app: '', slot: 0, pid: worker.child.pid, node: channel.hello.node, exec: true });
  const listen = channel.frames.find((one) => one.type === 'LISTEN');
  assert.deepEqual(JSON.parse(listen.payload), { requested: { port: 0, host: '127.0.0.1', path: null }, server: 1 });
  assert.deepEqual([offer.server, offer.headerBytesMax, offer.fd > 2], [1, 5000, true]);
  const client = offer.open(run('server.close(), 1'));
  await client.answer();
  await channel.until((one) => one.type === 'UNLISTEN' && JSON.parse(one.payload).server === 1);
  client.close();
  await worker.exited;
  socket.destroy();
});

test("'connection': the client's address, the server's async context, diagnostics", async () => {
  const worker = await app();
  const { socket, client } = await opened(worker, { target: '/als' });
  assert.equal(bodyOf((await client.answer()).text), 'at listen');
  const { localPort } = socket;
  await worker.line(`note connection at listen 127.0.0.1 ${localPort} {"address":"127.0.0.1","family":"IPv4","port":${worker.port}}`);
  await worker.line('note published true');
  assert.equal(bodyOf((await client.request(run('[req.socket.remotePort, req.socket.localPort, req.socket.remoteFamily]'))).text),
    `[${localPort},${worker.port},"IPv4"]`);
  // And as Node's own connections have it.
  const talk = await converse(worker.port, { pieces: [GET('/als'), /at listen$/] });
  talk.end();
  client.close();
  socket.destroy();
});

test('a unix socket', async () => {
  const file = path.join(front.proxy.folder, 'app.sock');
  const worker = await app({ env: { LISTEN: JSON.stringify({ path: file }) } });
  assert.equal(worker.port, file);
  const { socket, client } = await opened(worker);
  assert.equal(bodyOf((await client.answer()).text), 'exec');
  await worker.line('note connection at listen undefined undefined {}');
  const channel = front.channelOf(worker);
  const listen = JSON.parse(channel.frames.find((one) => one.type === 'LISTEN').payload);
  assert.deepEqual(listen.requested, { port: null, host: null, path: file });
  client.close();
  socket.destroy();
});

test('the connection of a stream ends when its socket is destroyed, and not before', async () => {
  const worker = await app();
  const { closed, client } = await opened(worker);
  await client.answer();
  assert.equal((await client.request(run('res.end("bye", () => req.socket.destroy()), 1'))).end, 'END');
  assert.equal(await closed, undefined);
  await worker.line('note close false');
});

for (const [name, request] of [['Connection: close', { headers: [['Host', 'h'], ['Connection', 'close']], keepAlive: false }], ['the keep-alive time', {}]]) {
  test(`ends as under Node: ${name}`, async () => {
    const worker = await app({ env: { SERVER: '{ keepAliveTimeout: 50 }' } });
    const { closed, client } = await opened(worker, request);
    const answer = await client.answer();
    assert.equal(answer.end, name === 'Connection: close' ? 'END_CLOSE' : 'END');
    await closed; // after keepAliveTimeout and the second that Node adds
    await worker.line('note close false');
  });
}

test('server.timeout and requestTimeout', async () => {
  const worker = await app({ env: { SERVER: '{ timeout: 100 }' } });
  const first = await opened(worker, { target: '/hold' });
  await first.closed;
  await worker.line('note aborted');

  const late = await app({ env: { SERVER: '{ requestTimeout: 100, headersTimeout: 50 }', CHECK_MS: '50' } });
  const body = [['Host', 'h'], ['Content-Length', '3']];
  const second = await opened(late, { method: 'POST', target: '/body', headers: body, body: '', end: false });
  const answer = await second.client.answer();
  assert.equal(answer.text, 'HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n');
  await second.closed;
  await late.line('note socket ERR_HTTP_REQUEST_TIMEOUT');
});

test("the client's error arrives as Node's own", async () => {
  const env = { CLIENT_ERROR: '1' };
  const worker = await app({ env });
  const theirs = await plainNode(fixture('exec.cjs'), { env });
  const plain = net.connect(theirs.port, '127.0.0.1').on('error', () => {});
  plain.write(GET('/hold'));
  await theirs.line('holding');
  plain.resetAndDestroy();
  await theirs.line('note req');
  const { socket, client } = await opened(worker, { target: '/hold' });
  await worker.line('holding');
  client.write(client.frame('CLOSE', Buffer.from('ECONNRESET')));
  await worker.line('note req');
  const strip = (text) => text.split('\n').filter((line) => !/^(note connection|port)/.test(line));
  assert.deepEqual(strip(worker.stdout), strip(theirs.stdout));
  socket.destroy();
  await theirs.stop();
});

test('FIN between requests', async () => {
  const worker = await app();
  const { closed, client } = await opened(worker);
  await client.answer();
  client.write(client.frame('HALF_CLOSE'));
  await closed;
  await worker.line('note end');
  await worker.line('note close false');
});

test('resetAndDestroy ends the connection with RST', async () => {
  const worker = await app();
  const { closed, client } = await opened(worker);
  await client.answer();
  client.send(run('req.socket.resetAndDestroy(), pending'));
  assert.equal(await closed, 'ECONNRESET');
});

// ---- the server ---------------------------------------------------------------------------------

test('getConnections and maxConnections count offers and streams', async () => {
  const worker = await app({ env: { SERVER: '{ maxConnections: 2 }' } });
  const first = await opened(worker);
  await first.client.answer();
  const second = await front.connect(worker.port);
  const third = net.connect(worker.port, '127.0.0.1');
  await once(third.resume(), 'close');
  await worker.line('note drop number at listen');
  await first.client.request(run('server.getConnections((error, count) => note(`connections ${count}`)), 1'));
  await worker.line('note connections 2');
  second.offer.giveBack();
  first.client.close();
  first.socket.destroy();
  second.socket.destroy();
});

test('close waits for offers and requests, closes idle connections', async () => {
  const worker = await app();
  const idle = await opened(worker);
  await idle.client.answer();
  const held = await opened(worker, { target: '/hold' });
  await worker.line('holding');
  const offered = await front.connect(worker.port);
  const last = await opened(worker, run('server.close(() => note("callback")), 1'));
  assert.equal((await last.client.answer()).end, 'END');
  await idle.closed;
  // It was not idle when the server closed, so it lives as long as under Node.
  last.client.close();
  held.client.write(held.client.frame('CLOSE'));
  assert.ok(!worker.stdout.includes('callback'));
  offered.offer.giveBack(GET('/', 'Connection: close\r\n'));
  await worker.line('note callback');
  assert.equal((await worker.exited).code, 0);
  for (const { socket } of [held, last, offered]) socket.destroy();
});

test('closeAllConnections takes offers too; their handles wait for the answer', async () => {
  const worker = await app();
  const offered = [await front.connect(worker.port), await front.connect(worker.port)];
  const last = await opened(worker, run('server.close(() => note("callback")), server.closeAllConnections(), setInterval(() => {}, 1000), 1'));
  assert.equal((await last.client.answer()).end, 'RESET');
  await worker.line('note callback');
  // Both are closed only now: a descriptor that was closed could mean another connection.
  offered[0].offer.giveBack('GET / HTTP/1.1\r\n\r\n');
  const client = offered[1].offer.open();
  assert.equal((await client.answer()).end, 'RESET');
  await Promise.all(offered.map(({ closed }) => closed));
  assert.equal(worker.stdout.match(/note close false/g).length, 3);
});

test('listen, close, listen: hundreds of times; many servers at once', async () => {
  const worker = front.proxy.exec(fixture('many.cjs'));
  assert.deepEqual(await worker.exited, { code: 0, signal: null }, worker.stderr);
  assert.equal(worker.stdout, 'done\n');
  const channel = front.channelOf(worker);
  const of = (type) => channel.frames.filter((one) => one.type === type).map((one) => JSON.parse(one.payload).server);
  assert.equal(of('LISTEN').length, 320);
  assert.deepEqual(of('UNLISTEN').sort((a, b) => a - b), of('LISTEN'));
});

test('an answer that is followed by process.exit gets away', async () => {
  const worker = await app();
  const { client, socket } = await opened(worker, run('res.end("last"), process.exit(3)'));
  assert.equal(bodyOf((await client.answer()).text), 'last');
  assert.equal((await worker.exited).code, 3);
  socket.destroy();
});

// ---- the channel --------------------------------------------------------------------------------

test('no proxy: Node serves alone', async () => {
  const worker = await app({ settings: { channel: path.join(front.proxy.folder, 'nobody.sock') } });
  const client = new RawClient(worker.port);
  assert.equal(bodyOf((await client.request({})).text), 'exec');
  client.close();
});

test('another protocol, or nonsense in the variable: Node serves alone', async () => {
  for (const options of [{ settings: { protocol: 1 } }, { env: { HOSTLER_EXEC: '{' } }]) {
    const { settings, env } = options;
    const worker = await front.app(fixture('exec.cjs'), { settings, env });
    if (env) assert.equal(worker.stderr, '');
    const client = new RawClient(worker.port);
    const offers = front.offers.length;
    assert.equal(bodyOf((await client.request({})).text), 'exec');
    if (settings) assert.equal(front.offers.length, offers);
    client.close();
  }
});

test('the channel is lost: offers are served by Node, streams are closed, and so it goes on', async () => {
  const worker = await app();
  const stream = await opened(worker);
  await stream.client.answer();
  const { socket, until, offer } = await front.connect(worker.port);
  socket.write(GET('/'));
  offer.channel.socket.destroy();
  await until(/exec$/);
  await stream.closed;
  const client = new RawClient(worker.port);
  assert.equal(bodyOf((await client.request({})).text), 'exec');
  client.close();
  socket.destroy();
});

test('offers wait for the HELLO of the proxy', async () => {
  const slow = await Front.start({ auto: false });
  const worker = await slow.app(fixture('exec.cjs'));
  const client = new RawClient(worker.port);
  client.socket.write(GET('/'));
  while (slow.proxy.channels.length === 0) await once(slow.proxy, 'channel');
  const [channel] = slow.proxy.channels;
  await channel.until((one) => one.type === 'HELLO');
  assert.equal(slow.offers.length, 0);
  channel.sayHello();
  assert.equal(bodyOf((await client.answer()).text), 'exec');
  assert.equal(slow.offers.length, 1);
  client.close();
  await slow.stop();
});

test('an answer to an offer that was not made breaks the channel', async () => {
  const worker = await app();
  const { socket, offer } = await front.connect(worker.port);
  offer.giveBack();
  const closed = once(offer.channel, 'close');
  offer.channel.write(frame('OPEN', 77, 1, u32(4242)));
  await closed;
  socket.destroy();
  const client = new RawClient(worker.port);
  assert.equal(bodyOf((await client.request({})).text), 'exec');
  client.close();
});

// ---- processes ----------------------------------------------------------------------------------

for (const name of ['state.mjs', 'state.cjs']) {
  test(`what the app sees of its process: ${name}`, async () => {
    const ours = await front.app(fixture(name), { nodeArgs: ['--no-warnings'], nodeOptions: '--no-deprecation' });
    const theirs = await plainNode(fixture(name), { nodeArgs: ['--no-warnings'], env: { NODE_OPTIONS: '--no-deprecation' } });
    const clean = (text) => {
      const state = JSON.parse(text.split('\n')[0]);
      if (state.listeners) state.listeners = state.listeners.filter(([event]) => event !== 'exit');
      if (state.env) state.env = [];
      if (state.nodeOptions) state.nodeOptions = state.nodeOptions.replace(/--require \S+preload\.cjs ?/, '');
      return state;
    };
    assert.deepEqual(clean(ours.stdout), clean(theirs.stdout));
    assert.equal(ours.stderr, theirs.stderr);
    await theirs.stop();
  });
}

for (const name of ['thread', 'fork', 'cluster', 'cluster-none', 'fake-timers', 'domain']) {
  test(`servers in other places: ${name}`, async () => {
    const offers = front.offers.length;
    const worker = await front.app(fixture('places.cjs'), { args: [name] });
    const { socket, offer } = await front.connect(worker.port);
    const client = offer.open();
    const body = bodyOf((await client.answer()).text);
    assert.match(body, new RegExp(`^${name} `));
    const talk = await converse(worker.port, { pieces: [GET('/'), new RegExp(`${name} \\d+ `)] });
    talk.end();
    assert.equal(front.offers.length, offers + 2);
    client.close();
    socket.destroy();
    worker.child.kill('SIGTERM');
    await worker.exited;
  });
}
