// The life of a taken-over server: listen, ready, close, exit, other servers, the plain path, and what
// the app's process and its children can see of the loader.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { C, frame, mask, next } from './harness.mjs';
import { startProxy } from './proxies.mjs';
import { RawClient, plainNode } from './raw.mjs';

const fixture = (name) => path.join(import.meta.dirname, 'fixtures', name);
const bodyOf = (text) => text.slice(text.indexOf('\r\n\r\n') + 4);
const run = (channel, code) => channel.client().request({ target: `/run?${encodeURIComponent(code)}` }).then(({ text }) => bodyOf(text));

test('the reports of a start, on every shard', async () => {
  const proxy = await startProxy({ shards: 3 });
  const { worker } = await proxy.ready(fixture('hello.cjs'));
  assert.deepEqual(worker.reports.map(({ us: _us, node: _node, ...line }) => line), [
    { step: 'preload' }, { step: 'self_test', ok: true },
    { step: 'listen', requested: { port: 3000, host: null, path: null } }, { step: 'ready', transport: 'frames' },
  ]);
  assert.equal(proxy.channels.length, 3);
  for (const channel of proxy.channels) {
    await channel.until((one) => one.type === 'SETTINGS');
    assert.deepEqual(channel.frames.slice(0, 3).map((one) => one.type), ['HELLO', 'LISTEN', 'SETTINGS']);
    assert.equal((await channel.client().request()).end, 'END');
  }
});

test("'listening' waits for every channel; the address is the proxy's", async () => {
  const proxy = await startProxy({ shards: 2, auto: false });
  const worker = proxy.worker(fixture('control.cjs'), { env: { LISTEN: '[8080]' } });
  while (proxy.channels.length < 2) await next(proxy, 'channel');
  for (const channel of proxy.channels) await channel.until((one) => one.type === 'HELLO');
  const [first, second] = proxy.channels.sort((a, b) => a.shard - b.shard);
  first.sayHello({ listeners: [{ address: '0.0.0.0', port: 80, family: 'IPv4' }] });
  await worker.line('note sync true');
  assert.ok(!worker.reports.some((line) => line.step === 'ready'));
  second.sayHello();
  await worker.line('listening {"address":"0.0.0.0","family":"IPv4","port":80} true');
  assert.deepEqual((await worker.report('listen')).requested, { port: 8080, host: null, path: null });
});

test('a unix listener of the proxy, and an app that asks for a path', async () => {
  const proxy = await startProxy({ hello: { listeners: [{ path: '/run/app.sock' }] } });
  const { worker } = await proxy.ready(fixture('control.cjs'), { env: { LISTEN: '[{ path: "/nowhere/wanted.sock" }]' } });
  await worker.line('listening "/run/app.sock" true');
  assert.deepEqual((await worker.report('listen')).requested, { port: null, host: null, path: '/nowhere/wanted.sock' });
});

test('what is no text is not told as one: a path of false, as SvelteKit passes it', async () => {
  const proxy = await startProxy();
  const { worker, channel } = await proxy.ready(fixture('control.cjs'), { env: { LISTEN: '[{ path: false, host: "localhost", port: "8080" }]' } });
  assert.equal(bodyOf((await channel.client().request()).text), 'control');
  assert.deepEqual((await worker.report('listen')).requested, { port: 8080, host: 'localhost', path: null });
});

for (const args of ['[]', '[0]', '["0"]', '[0, "localhost"]', '[0, 511]', '[0, "127.0.0.1", 511]', '[{ port: 0 }]', '[{ port: 0, host: "127.0.0.1", exclusive: true }]', '[null]']) {
  test(`listen(${args.slice(1, -1)})`, async () => {
    const proxy = await startProxy();
    const { worker, channel } = await proxy.ready(fixture('control.cjs'), { env: { LISTEN: args } });
    assert.equal(bodyOf((await channel.client().request()).text), 'control');
    await worker.line('listening {"address":"127.0.0.1","family":"IPv4","port":3000} true');
  });
}

test('wrong arguments, a second listen, errors: as under Node alone', async () => {
  const code = `[
    () => server.listen(0), () => http.createServer().listen({}), () => http.createServer().listen(70000),
    () => http.createServer().listen({ port: 'x' }),
  ].map((f) => { try { f(); return 'nothing'; } catch (error) { return error.code; } })`;
  const proxy = await startProxy();
  const { channel } = await proxy.ready(fixture('control.cjs'));
  const plain = await plainNode(fixture('control.cjs'));
  const raw = await new RawClient(plain.port).request({ target: `/run?${encodeURIComponent(code)}` });
  await plain.stop();
  assert.equal(await run(channel, code), bodyOf(raw.text));
});

test('server.close: UNLISTEN first, idle connections go, the callback waits for the last response', async () => {
  const proxy = await startProxy();
  const { worker, channel } = await proxy.ready(fixture('control.cjs'));
  const idle = channel.client();
  await idle.request();
  const held = channel.client();
  held.send({ target: '/hold' });
  await worker.line('holding');
  assert.equal(await run(channel, 'server.getConnections((e, n) => note(`connections ${n}`)), server.listening'), 'true');
  await worker.line('connections 3');
  worker.child.kill('SIGTERM');
  await channel.until((one) => one.type === 'UNLISTEN');
  await channel.until((one) => one.type === 'RESET' && one.stream === idle.stream);
  const types = channel.frames.map((one) => one.type);
  assert.ok(types.indexOf('UNLISTEN') < types.indexOf('RESET'));
  assert.ok(!worker.stdout.includes('close callback'));
  assert.ok(!fs.existsSync(worker.plain));
  held.write(held.frame('CLOSE'));
  await worker.exited;
  assert.equal(worker.code, 0);
  assert.match(worker.stdout, /note SIGTERM\n(.*\n)*note closed\nnote close callback undefined\nexit 0/);
});

test('a response that ends after server.close ends its connection', async () => {
  const proxy = await startProxy();
  const { worker, channel } = await proxy.ready(fixture('control.cjs'));
  const client = channel.client();
  const code = "server.close(() => note('cb')), setImmediate(() => res.end('late')), pending";
  const answer = await client.request({ target: `/run?${encodeURIComponent(code)}` });
  assert.equal(bodyOf(answer.text), 'late');
  assert.equal(answer.end, 'END_CLOSE');
  await worker.exited;
  assert.equal(worker.code, 0);
});

test('an answer that is followed by process.exit gets away', async () => {
  for (const code of ["res.end('last'), process.exit(3)", "server.close(() => process.exit(3)), setImmediate(() => res.end('last')), pending"]) {
    const proxy = await startProxy();
    const { worker, channel } = await proxy.ready(fixture('control.cjs'));
    const answer = await channel.client().request({ target: `/run?${encodeURIComponent(code)}` });
    assert.equal(bodyOf(answer.text), 'last');
    await worker.exited;
    assert.equal(worker.code, 3);
  }
});

test("a second server for the other loopback address of the same port listens without binding", async () => {
  const proxy = await startProxy();
  const { worker, channel } = await proxy.ready(fixture('control.cjs'));
  await run(channel, `const twin = http.createServer(); twin.on('close', () => note('twin closed'));
    twin.listen(3000, '127.0.0.1', () => { note('twin ' + JSON.stringify(twin.address())); twin.close(); }), 1`);
  await worker.line('twin {"address":"127.0.0.1","family":"IPv4","port":3000}');
  await worker.line('twin closed');
  assert.ok(!worker.reports.some((line) => line.step === 'other_listen'));
});

test('requests with a body end too after server.close, and the off switch of the short dump', async () => {
  const proxy = await startProxy();
  const { worker, channel } = await proxy.ready(fixture('control.cjs'), { settings: { short_dump: false } });
  assert.equal(await run(channel, 'String(http.IncomingMessage.prototype._dump).includes("_bodyless")'), 'false');
  const client = channel.client();
  client.send({ method: 'POST', target: '/', headers: [['Host', 'h'], ['Content-Length', '3']], body: '', end: false });
  assert.equal((await client.answer()).end, 'END');
  worker.child.kill('SIGTERM');
  await channel.until((one) => one.type === 'UNLISTEN');
  client.write(client.frame('DATA', Buffer.from('abc')), client.frame('END'));
  await worker.exited;
  assert.equal(worker.code, 0);
});

test('SIGTERM without a handler ends the process at once', async () => {
  const proxy = await startProxy();
  const { worker } = await proxy.ready(fixture('hello.cjs'));
  worker.child.kill('SIGTERM');
  assert.equal((await worker.exited).signal, 'SIGTERM');
});

test('listen again after close', async () => {
  const proxy = await startProxy();
  const { worker, channel } = await proxy.ready(fixture('control.cjs'));
  await run(channel, "server.close(() => server.listen(0, () => note('again'))), 1");
  await worker.line('again');
  const listens = () => channel.frames.filter((one) => one.type === 'LISTEN').length;
  await channel.until(() => listens() === 2);
  assert.equal(bodyOf((await channel.client().request()).text), 'control');
  assert.equal(worker.reports.filter((line) => line.step === 'ready').length, 2);
});

test('unref lets the process end; closeAllConnections ends open ones', async () => {
  const proxy = await startProxy();
  const { worker, channel } = await proxy.ready(fixture('control.cjs'));
  const held = channel.client();
  held.send({ target: '/hold' });
  await worker.line('holding');
  const other = channel.client();
  other.send({ target: `/run?${encodeURIComponent("server.unref(), setImmediate(() => server.closeAllConnections()), 1")}` });
  assert.equal((await held.answer()).end, 'RESET');
  await worker.exited;
  assert.equal(worker.code, 0);
});

test('other servers listen for themselves and are reported', async () => {
  const proxy = await startProxy();
  const { worker, channel } = await proxy.ready(fixture('control.cjs'));
  const code = `[http.createServer(), require('https').createServer(), require('http2').createServer(), require('net').createServer()]
    .forEach((one, i) => one.listen(0, () => { note('other ' + i + ' ' + (one.address().port > 0 && one.address().port !== 3000)); one.close(); })), 1`;
  await run(channel, code);
  for (let i = 0; i < 4; i++) await worker.line(`other ${i} true`);
  assert.deepEqual(worker.reports.filter((line) => line.step === 'other_listen').map((line) => line.what), ['http', 'https', 'http2', 'net']);
});

test('the channel comes back after the proxy went away', async () => {
  const proxy = await startProxy();
  const { worker, channel } = await proxy.ready(fixture('control.cjs'));
  const held = channel.client();
  held.send({ target: '/hold' });
  await worker.line('holding');
  channel.socket.destroy();
  const [again] = await next(proxy, 'channel');
  await again.until((one) => one.type === 'LISTEN');
  assert.equal(bodyOf((await again.client().request()).text), 'control');
  assert.equal(await run(again, 'pending[0].destroyed'), 'true');
  assert.equal(worker.reports.filter((line) => line.step === 'ready').length, 1);
});

test('a proxy that speaks another protocol is refused, and the report says why', async () => {
  const proxy = await startProxy({ hello: { protocol: C.PROTOCOL + 1 } });
  const worker = proxy.worker(fixture('hello.cjs'));
  const report = await worker.report('channel');
  assert.equal(report.why, `the proxy speaks protocol ${C.PROTOCOL + 1}, this worker ${C.PROTOCOL}`);
});

const settingsOf = (channel) => channel.frames.filter((one) => one.type === 'SETTINGS').map((one) => JSON.parse(one.payload));

test('SETTINGS tell what the app changed, again when it changes them, and nothing when it takes that back', async () => {
  const proxy = await startProxy();
  const { channel } = await proxy.ready(fixture('control.cjs'));
  await channel.until((one) => one.type === 'SETTINGS');
  assert.deepEqual(settingsOf(channel), [{}]);
  const buffer = Number(await run(channel, 'server.keepAliveTimeoutBuffer ?? 1000'));
  await run(channel, 'server.keepAliveTimeout = 72000, server.headersTimeout = Infinity, server.maxRequestsPerSocket = 100, 1');
  const changed = { keep_alive_ms: 72000 + buffer, headers_ms: Number.MAX_SAFE_INTEGER, requests_per_connection_max: 100 };
  await run(channel, 'server.keepAliveTimeout = 5000, server.headersTimeout = 60000, server.maxRequestsPerSocket = 0, 1');
  await run(channel, 'server.requestTimeout = 0, server.keepAliveTimeout = 0, 1');
  await run(channel, 'server.requestTimeout = "soon", server.maxHeaderSize = 1e300, 1');
  const listens = 'server.listeners("clientError").length';
  const before = Number(await run(channel, `server.on("clientError", (e, socket) => socket.destroy()), ${listens}`));
  assert.ok(before > 0);
  await run(channel, 'server.insecureHTTPParser = true, server.requestTimeout = 1, 1');
  await run(channel, '1');
  await run(channel, '1');
  const rest = { keep_alive_ms: 0, header_bytes_max: Number.MAX_SAFE_INTEGER };
  assert.deepEqual(settingsOf(channel), [
    {}, changed, {}, { keep_alive_ms: 0, request_ms: 0 }, rest, { ...rest, client_error: true }, { ...rest, request_ms: 1 },
  ]);
});

test('SETTINGS tell the limit of the command line', async () => {
  const proxy = await startProxy();
  for (const [nodeArgs, env] of [[['--max_http_header_size=32768'], {}], [[], { NODE_OPTIONS: '--max-http-header-size=32768' }]]) {
    const { worker, channel } = await proxy.ready(fixture('control.cjs'), { nodeArgs, env });
    await channel.until((one) => one.type === 'SETTINGS');
    assert.deepEqual(settingsOf(channel), [{ header_bytes_max: 32768 }]);
    worker.child.kill('SIGTERM');
    await worker.exited;
  }
});

test('HEARTBEAT tells loop delay, utilisation and requests in flight', async () => {
  const proxy = await startProxy();
  const { worker, channel } = await proxy.ready(fixture('control.cjs'));
  channel.client().send({ target: '/hold' });
  await worker.line('holding');
  await run(channel, 'const until = Date.now() + 150; while (Date.now() < until); 1');
  const beat = await channel.until((one) => one.type === 'HEARTBEAT' && one.payload.readUInt32LE(8) === 1 && one.payload.readUInt32LE(0) > 20000);
  assert.equal(beat.payload.length, 16);
  assert.ok(beat.payload.readUInt32LE(4) > 300 && beat.payload.readUInt32LE(4) <= 1000);
});

test('HEARTBEAT tells the heap as it is', async () => {
  const proxy = await startProxy();
  const { channel } = await proxy.ready(fixture('control.cjs'));
  await run(channel, 'globalThis.kept = Array.from({ length: 500_000 }, (_, i) => ({ i })), 1');
  const beat = await channel.until((one) => one.type === 'HEARTBEAT', channel.frames.length);
  const heap = JSON.parse(await run(channel, 'process.memoryUsage().heapUsed')) / 1024;
  const told = beat.payload.readUInt32LE(12);
  assert.ok(told > 0.8 * heap && told < 1.25 * heap, `${told} KiB for ${heap} KiB`);
});

for (const name of ['state.mjs', 'state.cjs']) {
  test(`what the app sees of its process: ${name}`, async () => {
    const proxy = await startProxy();
    const { worker, channel } = await proxy.ready(fixture(name), { args: ['--flag', 'value'], nodeArgs: ['--no-warnings'] });
    await worker.line('port ');
    const plain = await plainNode(fixture(name), { nodeArgs: ['--no-warnings'] });
    const clean = (text) => {
      const state = JSON.parse(text.split('\n')[0]);
      delete state.argv;
      if (state.listeners) state.listeners = state.listeners.filter(([event]) => event !== 'uncaughtExceptionMonitor' && event !== 'exit');
      return state;
    };
    assert.deepEqual(clean(worker.stdout), clean(plain.stdout));
    assert.deepEqual(JSON.parse(worker.stdout.split('\n')[0]).argv, ['--flag', 'value']);
    assert.equal(worker.stderr, '');
    assert.equal((await channel.client().request()).end, 'END');
    await plain.stop();
  });
}

test('a process that is not the child of the supervisor, or not told anything, is left alone', async () => {
  const proxy = await startProxy();
  const worker = proxy.worker(fixture('control.cjs'), { settings: { parent_pid: 1 } });
  await worker.line('port ');
  const port = Number(/port (\d+)/.exec(worker.stdout)[1]);
  const client = new RawClient(port);
  assert.equal(bodyOf((await client.request({ target: `/run?${encodeURIComponent("'HOSTLER_WORKER' in process.env")}` })).text), 'false');
  client.close();
  assert.equal(proxy.channels.length, 0);
});

test('an uncaught exception: reported, and everything else as under Node', async () => {
  const proxy = await startProxy();
  const worker = proxy.worker(fixture('throws.cjs'));
  await worker.exited;
  assert.equal(worker.code, 1);
  const report = worker.reports.find((line) => line.step === 'error');
  assert.equal(report.message, 'at start');
  assert.match(report.stack, /throws\.cjs/);
  assert.match(worker.stderr, /throw new Error\('at start'\)/);
});

test('a handled exception is not reported', async () => {
  const proxy = await startProxy();
  const { worker, channel } = await proxy.ready(fixture('control.cjs'));
  await run(channel, "process.on('uncaughtException', (error) => note(`handled ${error.message}`)), setImmediate(() => { throw new Error('later'); }), 1");
  await worker.line('handled later');
  assert.ok(!worker.reports.some((line) => line.step === 'error'));
});

test('the proxy may come later than the worker', async () => {
  const proxy = await startProxy();
  proxy.servers[0].close();
  fs.rmSync(proxy.paths[0], { force: true });
  const worker = proxy.worker(fixture('hello.cjs'));
  await worker.report('listen');
  const server = net.createServer((socket) => {
    socket.once('data', () => socket.write(frame('HELLO', 0, 0, JSON.stringify({ protocol: C.PROTOCOL, shard: 0, shards: 1, window: 262144, listeners: [{ address: '::', port: 1, family: 'IPv6' }] }))));
  });
  server.listen(proxy.paths[0]);
  await worker.report('ready');
  await worker.line('"address":"::"');
  server.close();
});
