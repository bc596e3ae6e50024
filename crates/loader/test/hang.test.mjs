// The watch over the event loop: what is reported of a loop that does not turn, what is not, and that the app sees nothing of it.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { FakeProxy, next } from './harness.mjs';
import { Debugger } from './debugger.mjs';

const fixture = (name) => path.join(import.meta.dirname, 'fixtures', name);
const bodyOf = (text) => text.slice(text.indexOf('\r\n\r\n') + 4);
const run = (channel, code) => channel.client().request({ target: `/run?${encodeURIComponent(code)}` }).then(({ text }) => bodyOf(text));
const threadsOf = ({ child }) => fs.readdirSync(`/proc/${child.pid}/task`).length;
const HANG_MS = 300;
let proxy;
before(async () => { proxy = await FakeProxy.start(); });
after(() => proxy.stop());

const watched = ({ env, ...options } = {}) => proxy.ready(fixture('hangs.cjs'), { ...options, env: { HOSTLER_HANG_MS: String(HANG_MS), ...env } });
/** The reports of silences so far. */
const silences = (worker) => worker.reports.filter(({ step }) => step === 'stuck' || step === 'unstuck');
/** Waits for that many of them. */
async function silence(worker, count) {
  while (silences(worker).length < count) await next(worker, 'report', `${count} silences in ${JSON.stringify(worker.reports)}`);
  return silences(worker);
}

test('a loop that does not turn: once its stack, once that it turns again', async () => {
  const { worker, channel } = await watched();
  assert.equal(await run(channel, 'spinHere(1500)'), '"turned"');
  const [stuck, unstuck] = await silence(worker, 2);
  assert.equal(stuck.step, 'stuck');
  assert.ok(stuck.silent_ms >= HANG_MS && stuck.silent_ms < 1500, JSON.stringify(stuck));
  assert.ok(stuck.stack[0].startsWith('spinHere (') && /fixtures\/hangs\.cjs:(18|19):\d+\)$/.test(stuck.stack[0]), stuck.stack[0]);
  assert.ok(stuck.stack.some((frame) => /fixtures\/control\.cjs:8:/.test(frame)));
  assert.ok(!stuck.stack.some((frame) => frame.includes(path.join(import.meta.dirname, '../js/'))), 'our own frames are of no use');
  assert.equal(stuck.why, undefined);
  assert.equal(stuck.debugged, undefined);
  assert.equal(unstuck.step, 'unstuck');
  assert.ok(unstuck.silent_ms > stuck.silent_ms);
  // Another one is another one.
  await run(channel, 'spinHere(1500)');
  assert.deepEqual((await silence(worker, 4)).map(({ step }) => step), ['stuck', 'unstuck', 'stuck', 'unstuck']);
  assert.equal(worker.stderr, '');
});

test('microtasks without end, Atomics.wait and a regular expression have stacks too', async () => {
  const { worker, channel } = await watched();
  let count = 0;
  for (const code of [
    'const until = Date.now() + 1500; (function again() { if (Date.now() < until) Promise.resolve().then(again); })()',
    '(function again() { Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1500); })()',
    '(function again() { const from = Date.now(); for (let n = 20; Date.now() - from < 1500; n++) /^(a+)+$/.test("a".repeat(n) + "b"); })()',
  ]) {
    await run(channel, code);
    count += 2;
    assert.match((await silence(worker, count))[count - 2].stack[0] ?? JSON.stringify(silences(worker)), /^again \(/, code);
  }
});

test('a deep stack is cut, and a line fits into the pipe', async () => {
  const { worker, channel } = await watched();
  const name = 'x'.repeat(70);
  await run(channel, `(function ${name}(n) { return n === 0 ? spinHere(1500) : ${name}(n - 1); })(4000)`);
  const [stuck] = await silence(worker, 2);
  assert.ok(stuck.stack.length > 20 && stuck.stack.length <= 50, `${stuck.stack.length}`);
  assert.ok(JSON.stringify(stuck).length < 4096);
  await run(channel, '(function f(n) { return n === 0 ? spinHere(1500) : f(n - 1); })(4000)');
  const [, , other] = await silence(worker, 4);
  assert.equal(other.stack.length, 50);
});

test('in native code there is no stack, but a reason', async () => {
  const { worker, channel } = await watched();
  await run(channel, 'require("child_process").execSync("sleep 3"), 1');
  const [stuck, unstuck] = await silence(worker, 2);
  assert.deepEqual(stuck.stack, []);
  assert.match(stuck.why, /native code/);
  assert.equal(unstuck.step, 'unstuck');
  // What was asked in vain is answered behind the call, and disturbs nothing.
  assert.equal(await run(channel, '"still here"'), '"still here"');
});

test('an end right behind such a call is an end as always', async () => {
  const { worker, channel } = await watched();
  channel.client().send({ target: `/run?${encodeURIComponent('require("child_process").execSync("sleep 1"); process.exit(3)')}` });
  assert.deepEqual(await worker.exited, { code: 3, signal: null });
  // Node's own words where it ends in the very moment in which the stack is taken.
  assert.match(worker.stderr, /^(Waiting for the debugger to disconnect\.\.\.\n)?$/);
});

test('a process that was stopped has not hung', async () => {
  const { worker, channel } = await watched();
  for (let i = 0; i < 3; i++) {
    worker.child.kill('SIGSTOP');
    await new Promise((resolve) => setTimeout(resolve, 4 * HANG_MS));
    worker.child.kill('SIGCONT');
    assert.equal(await run(channel, '1'), '1');
  }
  await run(channel, 'spinHere(1500)');
  const all = await silence(worker, 2);
  assert.match(all[0].stack[0], /^spinHere/, 'the first silence is the first hang');
});

for (const when of ['while the thread begins', 'later']) {
  test(`nor has one that was stopped in the middle of its work, ${when}`, async () => {
    const { worker, channel } = await watched({ env: { HOSTLER_HANG_MS: '3000' } });
    if (when === 'later') await channel.until((one) => one.type === 'HEARTBEAT');
    const end = path.join(proxy.folder, `end ${when}`);
    const answer = run(channel, `note("works"), workHere(${JSON.stringify(end)})`);
    await worker.line('works');
    worker.child.kill('SIGSTOP');
    await new Promise((resolve) => setTimeout(resolve, 4500));
    worker.child.kill('SIGCONT');
    await new Promise((resolve) => setTimeout(resolve, 500));
    fs.writeFileSync(end, '');
    assert.equal(await answer, '"worked"');
    await run(channel, '1');
    await channel.until((one) => one.type === 'HEARTBEAT', channel.frames.length);
    assert.deepEqual(silences(worker), []);
  });
}

test('a breakpoint is no hang: the report says so, and it stays', async () => {
  const { worker, channel } = await watched();
  const url = JSON.parse(await run(channel, 'require("inspector").open(0), require("inspector").url()'));
  const client = await Debugger.connect(url);
  await client.post('Debugger.enable');
  await run(channel, '1'); // a beat later the port is known
  await channel.until((one) => one.type === 'HEARTBEAT', channel.frames.length);
  channel.client().send({ target: `/run?${encodeURIComponent('(function halted() { debugger; return 1; })()')}` });
  await client.event('Debugger.paused');
  const [stuck] = await silence(worker, 1);
  assert.equal(stuck.debugged, true);
  assert.match(stuck.stack[0], /^halted/);
  assert.ok(!client.events.includes('Debugger.resumed'));
  await client.post('Debugger.resume');
  await silence(worker, 2);
  client.close();
});

test('the app does not see it', async () => {
  const { worker: unwatched, channel: control } = await proxy.ready(fixture('hangs.cjs'));
  const { worker, channel } = await watched();
  const quiet = { ...JSON.parse(await run(control, 'look()')) };
  assert.deepEqual(JSON.parse(await run(channel, 'look()')), quiet);
  assert.deepEqual(quiet.threads, []);
  assert.deepEqual(quiet.env, []);
  assert.equal(threadsOf(worker), threadsOf(unwatched) + 1);
  // Threads of its own it sees as always.
  await run(channel, 'ownThread().then(() => res.end("1")), pending');
  assert.deepEqual(JSON.parse(await run(channel, 'look()')).threads.sort(), ['channel', 'event']);
});

test('what its options and variables bring in runs in its own threads alone', async () => {
  const trace = path.join(proxy.folder, 'trace');
  const file = path.join(proxy.folder, 'option.cjs');
  fs.writeFileSync(file, `require('fs').appendFileSync(${JSON.stringify(trace)}, require('worker_threads').isMainThread ? 'main ' : 'thread ')`);
  const { worker, channel } = await watched({ nodeArgs: ['--require', file], env: { NODE_OPTIONS: `--require ${file}` } });
  await run(channel, 'spinHere(1500)');
  await silence(worker, 2); // so the thread has begun
  assert.equal(fs.readFileSync(trace, 'utf8'), 'main ');
});

test('it ends with the process, whatever way that goes', async () => {
  const ends = {
    'server.close(), 1': { code: 0, signal: null }, 'process.exit(5)': { code: 5, signal: null },
    'process.removeAllListeners("SIGTERM"), process.kill(process.pid, "SIGTERM"), 1': { code: null, signal: 'SIGTERM' },
    'setImmediate(() => { throw new Error("late"); }), 1': { code: 1, signal: null },
  };
  for (const [code, end] of Object.entries(ends)) {
    const { worker, channel } = await watched();
    const client = channel.client().send({ target: `/run?${encodeURIComponent(code)}` });
    assert.deepEqual(await worker.exited, end, code);
    assert.deepEqual(silences(worker), []);
    client.close();
  }
});

test('a closed server is not watched; one that listens again is', async () => {
  const { worker, channel } = await watched();
  const client = channel.client();
  await client.request({ target: `/run?${encodeURIComponent('server.close(() => { spinHere(1000); server.listen(0); }), 1')}` });
  client.close();
  const from = channel.frames.indexOf(await channel.until((one) => one.type === 'UNLISTEN'));
  await channel.until((one) => one.type === 'LISTEN', from);
  assert.deepEqual(silences(worker), []);
  await run(channel, 'spinHere(1500)');
  await silence(worker, 2);
});

test('over http it is watched too', async () => {
  const { worker } = await watched({ settings: { transport: 'http' } });
  process.kill(worker.child.pid, 'SIGUSR2');
  await worker.line('spun');
  const [stuck] = await silence(worker, 2);
  assert.match(stuck.stack[0], /^spinHere/);
});

test('without the setting there is no thread; with a wrong one, or where none may be made, a line says so', async () => {
  const { worker } = await proxy.ready(fixture('hangs.cjs'));
  assert.ok(!worker.reports.some(({ step }) => step === 'warning'));
  for (const wrong of ['soon', '0', '-5', '1.5', '1e99', '']) {
    const { worker: other } = await watched({ env: { HOSTLER_HANG_MS: wrong } });
    assert.match((await other.report('warning')).why, /HOSTLER_HANG_MS must be/, wrong);
  }
  // With --allow-worker the thread could be made, and would end the process later.
  const permission = Number.parseInt(worker.reports[0].node, 10) > 22 ? '--permission' : '--experimental-permission';
  const { worker: bound, channel } = await watched({ nodeArgs: [permission, '--allow-worker', '--allow-fs-read=*', '--allow-fs-write=*'] });
  assert.match((await bound.report('warning')).why, /not watched: .* permission model/);
  assert.equal(await run(channel, 'spinHere(1000)'), '"turned"');
  assert.deepEqual(silences(bound), []);
});
