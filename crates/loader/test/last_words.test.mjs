// What the supervisor hears of the end of a worker: exceptions of every kind, and who called `process.exit`.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { FakeProxy, next } from './harness.mjs';

const fixture = (name) => path.join(import.meta.dirname, 'fixtures', name);
const of = (worker, step) => worker.reports.filter((line) => line.step === step);
let proxy;
before(async () => { proxy = await FakeProxy.start(); });
after(() => proxy.stop());

/** Lets the app run CODE in a turn of its own, and waits for its end. */
async function end(code, options) {
  const { worker, channel } = await proxy.ready(fixture('control.cjs'), options);
  channel?.client().send({ target: `/run?${encodeURIComponent(`setImmediate(() => { ${code} }), pending`)}` });
  const { code: exitCode, signal } = await worker.exited;
  return { worker, exitCode, signal, errors: of(worker, 'error'), exits: of(worker, 'exit') };
}

test('an error: its name, message, stack and origin', async () => {
  const { errors: [error], exitCode } = await end('(function here() { throw new TypeError("first line\\nsecond line"); })()');
  assert.equal(exitCode, 1);
  const { stack, ...rest } = error;
  assert.deepEqual(rest, { step: 'error', name: 'TypeError', message: 'first line\nsecond line', origin: 'uncaughtException' });
  assert.match(stack, /^TypeError: first line\nsecond line\n {4}at here \(/);
});

test('a rejection that nobody handles', async () => {
  const { errors: [error] } = await end('Promise.reject(new RangeError("rejected"))');
  assert.deepEqual([error.name, error.message, error.origin], ['RangeError', 'rejected', 'unhandledRejection']);
  const { errors: [other] } = await end('Promise.reject("a reason")');
  assert.equal(other.origin, 'unhandledRejection');
  assert.match(other.message, /reason "a reason"/);
});

for (const [code, name, message] of [
  ['throw "text"', 'string', 'text'], ['throw null', 'object', 'null'], ['throw undefined', 'undefined', 'undefined'], ['throw 7n', 'bigint', '7n'],
  ['throw { code: "E", deep: { er: { still: 1 } } }', 'object', "{ code: 'E', deep: { er: [Object] } }"],
  ['throw Symbol("s")', 'symbol', 'Symbol(s)'],
  ['throw Object.defineProperty(new Error("x"), "stack", { get() { throw 1; } })', 'object', 'it cannot be shown'],
  ['throw new AggregateError([new Error("connect ECONNREFUSED")])', 'AggregateError', 'connect ECONNREFUSED'],
  ['throw require("vm").runInNewContext("new Error(\\"of another realm\\")")', 'Error', 'of another realm'],
]) {
  test(`anything can be thrown: ${code}`, async () => {
    const { errors: [error], exitCode } = await end(code);
    assert.equal(exitCode, 1);
    assert.deepEqual([error.name, error.message], [name, message]);
  });
}

test('causes are told, and a line fits into the pipe', async () => {
  const { errors: [error] } = await end('throw new Error("fetch failed", { cause: new Error("the reason") })');
  assert.match(error.stack, /^Error: fetch failed\n[^]*\ncaused by Error: the reason\n {4}at /);
  const { errors: [long] } = await end('throw new Error("\\u0001\\u20ac".repeat(100_000))');
  assert.ok(long.message.length > 500 && Buffer.byteLength(JSON.stringify(long)) < 4096);
  const { errors: [plain] } = await end('throw new Error("x".repeat(100_000))');
  assert.equal(plain.message.length, 1000);
  const { errors: [deep] } = await end('Error.stackTraceLimit = 500; (function f(n) { if (n === 0) throw new Error("deep"); f(n - 1); })(400)');
  assert.ok(deep.stack.length > 1000 && JSON.stringify(deep).length < 4096);
});

test('an exception that the app handles is told if it ends the process for it', async () => {
  const { errors, exitCode, exits } = await end('process.on("uncaughtException", () => setTimeout(() => process.exit(9), 50)); throw new Error("handled")');
  assert.equal(exitCode, 9);
  assert.deepEqual(errors.map(({ message }) => message), ['handled']);
  assert.equal(exits[0].code, 9);
  const capture = await end('process.setUncaughtExceptionCaptureCallback(() => process.exit(8)); throw new Error("captured")');
  assert.deepEqual([capture.exitCode, capture.errors[0].message], [8, 'captured']);
  const clean = await end('process.on("uncaughtException", () => process.exit(0)); throw new Error("handled")');
  assert.deepEqual([clean.exitCode, clean.errors], [0, []]);
  // What the handler throws ends the process without a word to anybody but stderr.
  const twice = await end('process.on("uncaughtException", () => { throw new Error("of the handler"); }); throw new Error("of the app")');
  assert.deepEqual([twice.exitCode, twice.errors[0]?.message], [7, undefined]);
});

test('process.exit: from where, and how many requests it leaves unanswered', async () => {
  const { worker, channel } = await proxy.ready(fixture('control.cjs'));
  channel.client().send({ target: '/hold' });
  channel.client().send({ target: '/hold' });
  while ((worker.stdout.match(/holding/g) ?? []).length < 2) await next(worker, 'stdout');
  channel.client().send({ target: `/run?${encodeURIComponent('process.exit(0)')}` });
  await worker.exited;
  const [exit] = of(worker, 'exit');
  assert.deepEqual({ ...exit, at: '' }, { step: 'exit', code: 0, in_flight: 3, at: '' });
  assert.match(exit.at, /fixtures\/control\.cjs:8:\d+/, 'eval tells where it was called');
});

test('process.exit of a module, and whoever is in between', async () => {
  const file = fixture('leaves.mjs');
  const { exits: [exit] } = await end(`import(${JSON.stringify(file)}).then((module) => module.leave(4))`);
  assert.deepEqual(exit, { step: 'exit', code: 4, in_flight: 1, at: `${file}:3:11` });
  // A replaced Error.prepareStackTrace and a short limit are the app's own business.
  const { exits: [odd] } = await end(`Error.stackTraceLimit = 0; Error.prepareStackTrace = () => 'mine'; import(${JSON.stringify(file)}).then((module) => module.leave(4))`);
  assert.equal(odd.at, `${file}:3:11`);
  assert.deepEqual((await end('Object.freeze(Error); process.exit(5)')).exits, []);
});

test('no exit is told that nobody called, or that is a clean one', async () => {
  const thrown = await end('throw new Error("x")');
  assert.deepEqual(thrown.exits, []);
  const { worker, channel } = await proxy.ready(fixture('control.cjs'));
  const client = channel.client();
  await client.request({ target: `/run?${encodeURIComponent('setTimeout(() => process.exit(0), 50), 1')}` });
  await worker.exited;
  assert.deepEqual(of(worker, 'exit'), []);
  const drained = await proxy.ready(fixture('control.cjs'));
  drained.worker.child.kill('SIGTERM');
  assert.equal((await drained.worker.exited).code, 0);
  assert.deepEqual(of(drained.worker, 'exit'), []);
});

test('over http the place is told', async () => {
  const { worker } = await proxy.ready(fixture('leaves.cjs'), { settings: { transport: 'http' } });
  worker.child.kill('SIGUSR2');
  assert.equal((await worker.exited).code, 6);
  assert.deepEqual(of(worker, 'exit'), [{ step: 'exit', code: 6, in_flight: 0, at: `${fixture('leaves.cjs')}:4:39` }]);
});

test('process.abort says nothing', async () => {
  const { signal, errors, exits } = await end('process.abort()');
  assert.equal(signal, 'SIGABRT');
  assert.deepEqual([errors, exits], [[], []]);
});
