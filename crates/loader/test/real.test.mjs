// The same conversations with the same app, under Node alone and under `hostler exec`: the real proxy decides what goes over
// frames. HOSTLER_BIN=/path/to/hostler; skipped without.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { CONVERSATIONS, GET, UPGRADE, converse, settle } from './conversation.mjs';
import { NODE, mask } from './harness.mjs';
import { plainNode } from './raw.mjs';

const { HOSTLER_BIN } = process.env;
const options = { skip: HOSTLER_BIN === undefined && 'no HOSTLER_BIN' };
const fixture = (name) => path.join(import.meta.dirname, 'fixtures', name);

/** Starts `hostler exec -- node SCRIPT`; the app prints `port N`. */
async function underExec(script, { env = {}, args = [] } = {}) {
  const child = spawn(HOSTLER_BIN, ['exec', '--summary', '--', NODE, script, ...args], {
    cwd: path.dirname(script), stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, NODE_TEST_CONTEXT: undefined, ...env },
  });
  const app = Object.assign(new EventEmitter(), { child, stdout: '', stderr: '' });
  child.stdout.setEncoding('utf8').on('data', (text) => { app.stdout += text; app.emit('change'); });
  child.stderr.setEncoding('utf8').on('data', (text) => { app.stderr += text; });
  app.exited = once(child, 'close').then(([code]) => {
    app.code = code;
    app.emit('change');
    return code;
  });
  app.line = async (pattern) => {
    while (!pattern.test(app.stdout)) {
      if (app.code !== undefined) throw new Error(`ended with ${app.code}: ${app.stdout}${app.stderr}`);
      await once(app, 'change');
    }
    return pattern.exec(app.stdout);
  };
  app.port = Number((await app.line(/port (\d+)/))[1]);
  /** SIGTERM to the command, as a terminal's Ctrl-C or a test runner would. */
  app.stop = async () => {
    child.kill('SIGTERM');
    await app.exited;
    const [, servers, requests, frames, http] = /servers=(\d+) requests=(\d+) frames=(\d+) http=(\d+)/.exec(app.stderr).map(Number);
    return { servers, requests, frames, http };
  };
  return app;
}

const MORE = {
  'requests with and without bodies, kept alive': { pieces: [GET('/a'), /GET \/a$/,
    'POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc', /POST \/p$/, GET('/b'), /GET \/b$/] },
  'a head in two pieces': { pieces: ['GET /a HTTP/1.1\r\nHo', 'st: h\r\n\r\n', /GET \/a$/] },
  'an upgrade after two requests': { pieces: [GET('/mark'), /mark$/, GET('/b'), /b$/, UPGRADE, /101.*\r\n\r\n$/s, 'ping', /ping$/, null], closes: true },
  'Connection: close': { pieces: [GET('/a', 'Connection: close\r\n')], closes: true },
  'HTTP/1.0': { pieces: ['GET /a HTTP/1.0\r\n\r\n'], closes: true },
};

let ours;
let theirs;
before(async () => {
  if (options.skip) return;
  ours = await underExec(fixture('handover.cjs'));
  theirs = await plainNode(fixture('handover.cjs'));
});
after(async () => {
  if (options.skip) return;
  const counts = await ours.stop();
  assert.ok(counts.frames > 20 && counts.http > 5, JSON.stringify(counts));
  assert.equal(counts.servers, 1);
  await theirs.stop();
});

for (const [name, { closes = false, ...talk }] of Object.entries({ ...CONVERSATIONS, ...MORE })) {
  test(name, options, async () => {
    const talks = [await converse(ours.port, talk), await converse(theirs.port, talk)];
    await Promise.all(talks.map((one) => (closes ? one.closed : one.end())));
    // The bytes of a request that came over frames are not told.
    const text = (value) => value.replace(/Content-Length: \d+(\r\n\r\n\[.*"IPv4",)\d+,/, 'Content-Length: N$1N,');
    const noted = (list) => list.map((one) => one.replace(/(upgrade \S+ \d+ Socket) \d+/, '$1 N'));
    assert.equal(text(talks[0].text()), text(talks[1].text()));
    assert.deepEqual(noted(await settle(ours.port)), noted(await settle(theirs.port)));
  });
}

for (const mode of ['data', 'paused', 'throws', 'destroys', 'timeout', 'full']) {
  test(`the app at 'connection': ${mode}`, options, async () => {
    const env = { MODE: mode };
    const two = [await underExec(fixture('handover.cjs'), { env }), await plainNode(fixture('handover.cjs'), { env })];
    const closes = mode === 'destroys' || mode === 'timeout';
    const pieces = mode === 'destroys' ? [GET('/a')] : [GET('/a'), /GET \/a$/];
    const talks = await Promise.all(two.map(({ port }) => converse(port, { pieces })));
    await Promise.all(talks.map((one) => (closes ? one.closed : one.end())));
    assert.equal(talks[0].text(), talks[1].text());
    assert.deepEqual(await settle(two[0].port), await settle(two[1].port));
    await Promise.all(two.map((one) => one.stop()));
  });
}

for (const place of ['thread', 'fork', 'cluster', 'cluster-none', 'fake-timers', 'domain']) {
  test(`servers in other places: ${place}`, options, async () => {
    const app = await underExec(fixture('places.cjs'), { args: [place] });
    for (let i = 0; i < 3; i++) {
      const talk = await converse(app.port, { pieces: [GET('/'), new RegExp(`${place} \\d+ (true|false)`)] });
      await talk.end();
    }
    const { frames, http } = await app.stop();
    assert.deepEqual({ frames, http }, { frames: 3, http: 0 });
  });
}

test('servers that come and go', options, async () => {
  const child = spawn(HOSTLER_BIN, ['exec', '--summary', '--', NODE, fixture('many.cjs')], { stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  child.stdout.on('data', (chunk) => { text += chunk; });
  child.stderr.on('data', (chunk) => { text += chunk; });
  assert.deepEqual(await once(child, 'close'), [0, null], text);
  assert.equal(mask(text), 'done\nhostler exec: servers=320 requests=320 frames=320 http=0\n');
});
