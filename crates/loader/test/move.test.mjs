// One proxy takes the place of another: the worker has channels to both, and goes on with the new one.

import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { frame, next } from './harness.mjs';
import { startProxy } from './proxies.mjs';

const fixture = (name) => path.join(import.meta.dirname, 'fixtures', name);

const move = (channel, to) => channel.write(frame('MOVE', 0, 0, JSON.stringify({ channel: to })));
const isClosed = (channel) => (channel.socket.closed ? Promise.resolve() : next(channel, 'close'));

/** The newest channel of `proxy` to each shard, when all of them are served. */
async function arrived(proxy, count) {
  while (proxy.channels.length < count) await next(proxy, 'channel', `${count} channels`);
  const channels = proxy.channels.slice(-count);
  for (const channel of channels) await channel.until((one) => one.type === 'LISTEN');
  return channels.sort((a, b) => a.shard - b.shard);
}

test('channels to the new proxy beside the old ones, and none to the old one again', async () => {
  const [old, young] = [await startProxy({ shards: 2 }), await startProxy({ shards: 2 })];
  const { worker } = await old.ready(fixture('hello.cjs'));
  const before = await arrived(old, 2);
  for (const channel of before) move(channel, young.paths[channel.shard]);
  const now = await arrived(young, 2);
  assert.deepEqual(now.map((channel) => channel.hello.pid), [worker.child.pid, worker.child.pid]);
  // Both serve, also one connection after the other of the same stream number.
  for (const channel of [...before, ...now]) assert.match((await channel.client().request()).text, /^HTTP\/1.1 200/);
  for (const channel of before) channel.socket.destroy();
  for (const channel of now) {
    // A beat that was sent after the old ones had gone.
    const seen = channel.frames.length;
    await channel.until((one) => one.type === 'HEARTBEAT', seen);
    assert.match((await channel.client().request()).text, /^HTTP\/1.1 200/);
  }
  assert.equal(old.channels.length, 2, 'nobody has connected again');
  // The new one is the proxy from now on.
  now[0].socket.destroy();
  await next(young, 'channel');
  const again = young.channels.at(-1);
  await again.until((one) => one.type === 'LISTEN');
  assert.match((await again.client().request()).text, /^HTTP\/1.1 200/);
});

test('a move that is taken back', async () => {
  const [old, young] = [await startProxy(), await startProxy()];
  await old.ready(fixture('hello.cjs'));
  const [before] = await arrived(old, 1);
  move(before, young.paths[0]);
  const [tried] = await arrived(young, 1);
  move(before, old.paths[0]);
  // In the order of the channel: when this is answered, the move has been read.
  assert.match((await before.client().request()).text, /^HTTP\/1.1 200/);
  tried.socket.destroy();
  await isClosed(tried);
  before.socket.destroy();
  await next(old, 'channel');
  assert.equal(young.channels.length, 1, 'the one that failed is not tried again');
  await old.channels.at(-1).until((one) => one.type === 'LISTEN');
});

test('a new proxy that does not answer is tried again, the old one serves', async () => {
  const old = await startProxy();
  const { worker } = await old.ready(fixture('hello.cjs'));
  const [before] = await arrived(old, 1);
  const young = await startProxy();
  const [to] = young.paths;
  await young.stop();
  move(before, to);
  assert.match((await before.client().request()).text, /^HTTP\/1.1 200/);
  move(before, before.proxy.paths[0]);
  assert.match((await before.client().request()).text, /^HTTP\/1.1 200/);
  assert.equal(worker.code, undefined);
});

test('an app that closes its server tells both', async () => {
  const [old, young] = [await startProxy(), await startProxy()];
  await old.ready(fixture('control.cjs'));
  const [before] = await arrived(old, 1);
  move(before, young.paths[0]);
  const [now] = await arrived(young, 1);
  await now.client().request({ target: `/run?${encodeURIComponent('server.close()')}` });
  for (const channel of [before, now]) await channel.until((one) => one.type === 'UNLISTEN');
});

test('a MOVE to nowhere is a broken rule', async () => {
  const proxy = await startProxy();
  const { worker } = await proxy.ready(fixture('hello.cjs'));
  const [channel] = await arrived(proxy, 1);
  move(channel, '');
  await isClosed(channel);
  assert.match((await worker.report('channel')).why, /MOVE leads nowhere/);
});
