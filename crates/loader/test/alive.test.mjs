// `hostler exec`: what keeps a process alive, and what lets it end, as under Node.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { bodyOf, fixture, run } from './exec_app.mjs';
import { Front } from './front.mjs';
import { RawClient, plainNode } from './raw.mjs';

const wait = (ms, value) => new Promise((resolve) => setTimeout(resolve, ms, value));
let front;
before(async () => { front = await Front.start(); });
after(() => front.stop());
const app = (options) => front.app(fixture('exec.cjs'), options);
/** A connection that is served as a stream. */
async function opened(worker, request) {
  const { offer, ...rest } = await front.connect(worker.port);
  return { client: offer.open(request), ...rest };
}

test('an idle connection keeps the process alive as under Node; unref lets it go', async () => {
  const worker = await app();
  const { socket, client } = await opened(worker, run('server.unref(), 1'));
  await client.answer();
  assert.equal(bodyOf((await client.request(run('"alive"'))).text), '"alive"');
  client.send(run('req.socket.unref(), 1'));
  await client.answer();
  assert.equal((await worker.exited).code, 0);
  socket.destroy();

  const other = await app({ env: { UNREF: '1' } });
  const second = await opened(other, run('server.unref(), 1'));
  await second.client.answer();
  assert.equal((await other.exited).code, 0);
  second.socket.destroy();
});

/** A request with more body than Node reads ahead, which the app leaves unread while `code` runs. */
const unread = (code) => ({
  method: 'POST', ...run(`${code}, server.close(), pending.push(res), pending`), headers: [['Host', 'h'], ['Content-Length', '1000000']],
  body: 'x'.repeat(200_000), end: false,
});

test('a connection that nobody reads does not keep the process alive, as under Node', async () => {
  const theirs = await plainNode(fixture('exec.cjs'));
  const alone = new RawClient(theirs.port);
  alone.send(unread('1'));
  assert.equal((await theirs.exited).code, 0);
  alone.drop();

  const worker = await app();
  const { socket } = await opened(worker, unread('1'));
  assert.equal((await worker.exited).code, 0);
  socket.destroy();
});

test('it does while it has something to write, or is read again', async () => {
  const worker = await app();
  const { client, socket } = await opened(worker, unread('res.write(Buffer.alloc(4_000_000))'));
  const early = await Promise.race([worker.exited, wait(300, 'alive')]);
  assert.equal(early, 'alive');
  client.close();
  assert.equal((await worker.exited).code, 0);
  socket.destroy();

  const other = await app();
  const second = await opened(other, unread('setTimeout(() => req.resume(), 100)'));
  await wait(300);
  second.client.write(second.client.frame('DATA', Buffer.alloc(100_000)));
  await second.client.channel.until((one) => one.type === 'WINDOW');
  assert.equal(await Promise.race([other.exited, 'alive']), 'alive');
  second.client.close();
  assert.equal((await other.exited).code, 0);
  second.socket.destroy();
});

test('a process ends when its server is closed, and one that never listens is not touched', async () => {
  const worker = await app();
  const { client, socket } = await opened(worker, { ...run('server.close(), 1'), headers: [['Host', 'h'], ['Connection', 'close']], keepAlive: false });
  await client.answer();
  assert.equal((await worker.exited).code, 0);
  socket.destroy();
  const channels = front.proxy.channels.length;
  const idle = front.proxy.exec(fixture('never.cjs'));
  assert.equal((await idle.exited).code, 0);
  assert.equal(front.proxy.channels.length, channels);
});
