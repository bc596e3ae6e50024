// When a worker is ready: when it listens, or when the app has said so.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { FakeProxy } from './harness.mjs';

const APP = path.join(import.meta.dirname, 'fixtures/ready.cjs');
const bodyOf = (text) => text.slice(text.indexOf('\r\n\r\n') + 4);
const steps = (worker) => worker.reports.map(({ step }) => step).filter((step) => step !== 'preload' && step !== 'self_test');
let proxy;
before(async () => { proxy = await FakeProxy.start(); });
after(() => proxy.stop());
const start = (say, env, settings) => proxy.worker(APP, { env: { ...env, SAY: say }, settings });
const message = { HOSTLER_READY: 'message' };
const channelOf = (worker) => proxy.channels.filter((one) => one.hello?.pid === worker.child.pid).at(-1);

test('the app has said so later: no request comes before', async () => {
  const worker = start('', message);
  await worker.report('awaits_ready');
  await worker.line('listens');
  const channel = channelOf(worker);
  // What the worker writes behind this would have come behind LISTEN.
  channel.write(...channel.client().encode());
  await channel.until((one) => one.type !== 'HELLO').catch(() => {});
  assert.ok(!channel.frames.some((one) => one.type === 'LISTEN'), JSON.stringify(channel.frames));
  assert.deepEqual(steps(worker), ['listen', 'awaits_ready']);
  worker.child.kill('SIGUSR2');
  await worker.report('ready');
  await channel.until((one) => one.type === 'LISTEN');
  await worker.line('called back');
  assert.match(worker.stdout, /said true/);
  const answer = await channel.client().request();
  assert.equal(bodyOf(answer.text), 'undefined', 'requests are not in the context of the word');
  worker.child.kill('SIGUSR2');
  assert.equal((await channel.client().request()).end, 'END');
  assert.deepEqual(steps(worker), ['listen', 'awaits_ready', 'ready'], 'once');
});

for (const [say, expected] of [['before', ['listen', 'ready']], ['listening', ['listen', 'awaits_ready', 'ready']]]) {
  test(`the app says so: ${say}`, async () => {
    const worker = start(say, message);
    await worker.report('ready');
    const channel = channelOf(worker);
    await channel.until((one) => one.type === 'LISTEN');
    assert.equal((await channel.client().request()).end, 'END');
    assert.deepEqual(steps(worker), expected);
  });
}

test('over http', async () => {
  const worker = start('', message, { transport: 'http' });
  await worker.report('awaits_ready');
  assert.deepEqual(steps(worker), ['listen', 'awaits_ready']);
  worker.child.kill('SIGUSR2');
  assert.equal((await worker.report('ready')).transport, 'http');
});

test('a channel that is lost while the app thinks is there again when it has spoken', async () => {
  const worker = start('', message);
  await worker.report('awaits_ready');
  await worker.line('listens');
  const first = channelOf(worker);
  first.socket.destroy();
  await new Promise((resolve) => proxy.once('channel', resolve));
  const second = proxy.channels.at(-1);
  await second.until((one) => one.type === 'HELLO');
  worker.child.kill('SIGUSR2');
  await second.until((one) => one.type === 'LISTEN');
  assert.equal((await second.client().request()).end, 'END');
  assert.equal(second.frames.filter((one) => one.type === 'LISTEN').length, 1, 'not when the channel came back');
});

test('what stands for a parent: send, connected, disconnect', async () => {
  const worker = start('listening', message);
  await worker.report('ready');
  const channel = channelOf(worker);
  await worker.line('listens');
  assert.deepEqual(JSON.parse(worker.stdout.split('\n')[0]),
    { send: 'function', connected: true, disconnect: 'function', channel: 'undefined', env: null });
  await channel.until((one) => one.type === 'LISTEN');
  await channel.client().request({ target: '/disconnect' });
  await worker.line('disconnected false');
  await channel.client().request({ target: '/disconnect' });
  assert.equal(worker.stdout.match(/disconnected/g).length, 1);
});

for (const env of [{}, { HOSTLER_READY: 'listen' }]) {
  test(`without it nothing stands for a parent, and a guarded word is harmless: ${JSON.stringify(env)}`, async () => {
    const worker = start('listening', env);
    await worker.report('ready');
    await worker.line('said undefined');
    assert.deepEqual(JSON.parse(worker.stdout.split('\n')[0]),
      { send: 'undefined', connected: null, disconnect: 'undefined', channel: 'undefined', env: null });
    assert.deepEqual(steps(worker), ['listen', 'ready']);
  });
}

test('anything else is told', async () => {
  const worker = start('', { HOSTLER_READY: 'mesage' });
  assert.match((await worker.report('warning')).why, /HOSTLER_READY must be listen or message/);
  await worker.report('ready');
});
