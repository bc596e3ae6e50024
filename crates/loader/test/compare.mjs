// Owns a comparison: the cases of one topic (semantics/TOPIC.cjs), each run under Node alone over TCP and over frames. What
// the client got, what the app noted and what became of the connections must be equal.
// Must never know: what a case is about.
//
// With HOSTLER_BIN=/path/to/hostler the other side is the real one: the app under `hostler exec`, over TCP too. With HOSTLER_MODE=run
// as well it is the app under `hostler run`: to look at, because a proxy for the public does differ.
//
// A case is { app(req, res, tools), client(side), group, versions, real, server(server, tools), but(outcome) }. `client` is one GET if
// there is none; `but` takes out of both outcomes what is allowed to differ; `real` is one for the real proxy alone.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { FakeProxy, NODE, mask } from './harness.mjs';
import { FramedClient } from './framed.mjs';
import { RawClient, plainNode } from './raw.mjs';
import { bridge } from './tunnelled.mjs';
import { UNDER_RUN, startUnderRun, withoutProxy } from './run_side.mjs';

const require = createRequire(import.meta.url);
const FOLDER = path.join(import.meta.dirname, 'semantics');
const HOST = path.join(FOLDER, 'host.cjs');
const { HOSTLER_BIN } = process.env;
const MAJOR = Number.parseInt(execFileSync(NODE, ['-p', 'process.versions.node'], { encoding: 'utf8' }), 10);

/** One of the two apps: a child process that takes cases and notes. */
class App extends EventEmitter {
  constructor(child, connect) {
    super();
    this.child = child;
    this.connect = connect;
    this.notes = [];
    this.begun = 0; // requests
    this.exit = null;
    this.rest = '';
    this.stderr = '';
    child.stdout.on('data', (text) => this.read(text));
    child.stderr.on('data', (text) => { this.stderr += text; });
    child.on('close', (code, signal) => {
      // A command that a signal ended: 128 and its number, as a shell says it.
      this.exit = signal === null ? code : 128 + os.constants.signals[signal];
      this.emit('change');
    });
  }

  read(text) {
    const lines = (this.rest + text).split('\n');
    this.rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith('note ')) this.notes.push(JSON.parse(line.slice(5)));
      else if (line === 'begun') this.begun++;
      else this.said = line;
    }
    this.emit('change');
  }

  async until(test, what) {
    const signal = AbortSignal.timeout(8000);
    while (!test()) {
      await once(this, 'change', { signal }).catch((error) => {
        throw new Error(`waited too long for ${what} after ${JSON.stringify(this.notes)} ${this.stderr}`, { cause: error });
      });
    }
  }

  async tell(line, answer) {
    if (this.exit !== null) return;
    this.said = '';
    this.child.stdin.write(`${line}\n`);
    await this.until(() => this.said === answer || this.exit !== null, answer);
  }
}

/** There is a bridge between client and app (tunnelled.mjs). */
let bridged = false;

/** What a case's client works with. */
class Side {
  /** @param {object} [like] what the other side saw, where that is to be waited for */
  constructor(app, framed, like) {
    this.app = app;
    this.framed = framed;
    this.like = like;
    this.clients = [];
    this.seen = { lengths: [], notes: 0, states: [] };
  }

  /** A new connection. @param {object} [options] for `net.connect` */
  open(options) {
    const client = this.app.connect(options);
    this.clients.push(client);
    return client;
  }

  /** The first connection. */
  get client() {
    return this.clients[0] ?? this.open();
  }

  /** The last connection, or a new one if it is closed. */
  get current() {
    const last = this.clients.at(-1);
    return last?.state === 'open' ? last : this.open();
  }

  /** One request and its answer, and what it left behind in the app. */
  async request(request) {
    const { text } = await this.current.request(request);
    await this.settle();
    return text;
  }

  /** Sends a request to which nothing may come back; what came. */
  async probe(request) {
    const client = this.current;
    const { begun } = this.app;
    client.send(request);
    await this.app.until(() => this.app.begun > begun, 'the request');
    return this.settled();
  }

  async settle() {
    await this.app.tell('settle', 'settled');
    await arrival();
  }

  /** What is here when the app has done what it had to. */
  async settled() {
    await this.settle();
    const expected = this.like?.lengths[this.seen.lengths.length] ?? 0;
    await patience(() => this.client.bytes.length >= expected);
    const { text } = this.client.take();
    this.seen.lengths.push(text.length);
    return text;
  }

  /** The client has done its part, and the app has said what it said of that. */
  async answered() {
    await patience(() => this.app.notes.length >= (this.like?.notes ?? 0));
    this.seen.notes = this.app.notes.length;
  }

  /** What became of the connections. */
  async states() {
    const now = () => this.clients.map((client) => client.state);
    await patience(() => this.like === undefined || isDeepStrictEqual(now(), this.like.states));
    return this.seen.states = now();
  }

  /** Waits until the app has noted `text` (`times` times). */
  noted(text, times = 1) {
    const count = () => this.app.notes.filter((note) => note.includes(text)).length;
    return this.app.until(() => count() >= times, `note "${text}"`);
  }

  exited() {
    return this.app.until(() => this.app.exit !== null, 'the exit');
  }
}

async function run(app, name, one, framed, like) {
  app.notes = [];
  await app.tell(`case ${name}`, 'ready');
  const side = new Side(app, framed, like);
  try {
    const result = one.client ? await one.client(side) : [await side.request()];
    await side.answered();
    await app.tell('end', 'done');
    await arrival();
    const connections = await side.states();
    const outcome = { result: masked(result), notes: [...app.notes], connections, exit: app.exit };
    return { outcome, seen: side.seen };
  } finally {
    for (const client of side.clients) client.drop();
    await app.tell('end', 'done');
  }
}

/**
 * What the app has written is in the kernel already; a real proxy is one more process on the way, and nothing tells when it is
 * done. This is long enough to see most of what should not come; for what should, see `patience`.
 */
async function arrival() {
  if (HOSTLER_BIN !== undefined || bridged) await sleep(20);
  for (let turn = 0; turn < 4; turn++) await new Promise(setImmediate);
}

/** Waits for what Node alone has shown to come. If it does not, the comparison says so. */
async function patience(test) {
  for (let ms = 0; ms < 2000 && !test(); ms += 20) await sleep(20);
}

function masked(value) {
  if (typeof value === 'string') return UNDER_RUN ? withoutProxy(mask(value)) : mask(value);
  return Array.isArray(value) ? value.map(masked) : value;
}

/** Both apps of one group. */
async function pair(file, groupName, group, tunnels) {
  const options = { args: [file, groupName], stdin: 'pipe', env: group.env, nodeArgs: group.nodeArgs };
  const plain = await plainNode(HOST, options);
  const alone = new App(plain.child, (more) => new RawClient(plain.port, { halfOpen: true, ...more }));
  const other = HOSTLER_BIN === undefined ? await framedApp(options, tunnels) : UNDER_RUN ? await runApp(options) : await execApp(options);
  return {
    alone, framed: other.app, fresh: group.fresh === true,
    async stop() {
      await other.stop();
      await plain.stop();
    },
  };
}

async function framedApp(options, tunnels) {
  const proxy = await FakeProxy.start();
  const { worker, channel } = await proxy.ready(HOST, options);
  if (tunnels) return tunnelledApp(proxy, worker, channel);
  return { app: new App(worker.child, (more) => new FramedClient(channel, more)), stop: () => proxy.stop() };
}

/** The same over TCP, each connection a tunnel. */
async function tunnelledApp(proxy, worker, channel) {
  const { port, close } = await bridge(channel);
  return {
    app: new App(worker.child, (more) => new RawClient(port, { halfOpen: true, ...more })),
    async stop() {
      close();
      await proxy.stop();
    },
  };
}

/** The same over TCP through the real proxy. */
async function execApp(options) {
  const app = await plainNode(HOST, { ...options, before: [HOSTLER_BIN, 'exec', '--'] });
  return {
    app: new App(app.child, (more) => new RawClient(app.port, { halfOpen: true, ...more })),
    async stop() {
      app.child.kill('SIGTERM');
      await app.exited;
    },
  };
}

/** The same behind `hostler run`. */
async function runApp(options) {
  const { child, stop } = await startUnderRun(HOST, options);
  let port;
  const app = new App(child, (more) => new RawClient(port, { halfOpen: true, ...more }));
  await app.until(() => /^port \d+$/.test(app.said ?? ''), 'the port');
  port = Number(app.said.slice(5));
  return { app, stop };
}

/** @param {string} topicName @param {{tunnels?: boolean, except?: string[]}} [options] */
export function compareAll(topicName, { tunnels = false, except = [] } = {}) {
  bridged = tunnels;
  const file = path.join(FOLDER, `${topicName}.cjs`);
  const topic = require(file);
  const pairs = new Map();
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hostler-semantics-'));
  after(async () => {
    // One that did not start has failed its test already; the others are to be stopped all the same.
    for (const one of await Promise.allSettled(pairs.values())) await one.value?.stop();
    fs.rmSync(folder, { recursive: true, force: true });
  });
  for (const name of except) assert.ok(name in topic.cases, `${topicName} has no case "${name}"`);
  for (const [name, one] of Object.entries(topic.cases)) {
    if (except.includes(name)) continue;
    const skip = (one.versions !== undefined && !one.versions.includes(MAJOR) && `not for Node ${MAJOR}`) ||
      (one.real === true && HOSTLER_BIN === undefined && 'no HOSTLER_BIN');
    test(`${topicName}: ${name}`, { skip }, async () => {
      const groupName = one.group ?? '';
      const group = topic.groups?.[groupName] ?? {};
      const started = { ...group, env: { HOSTLER_TEST_FOLDER: folder, ...group.env } };
      if (!pairs.has(groupName)) pairs.set(groupName, pair(file, groupName, started, tunnels));
      const both = await pairs.get(groupName);
      if (both.fresh) pairs.delete(groupName);
      try {
        const { outcome: alone, seen } = await run(both.alone, name, one, false);
        const like = HOSTLER_BIN === undefined && !tunnels ? undefined : seen;
        const { outcome: framed } = await run(both.framed, name, one, true, like);
        one.check?.(alone);
        one.but?.(framed);
        one.but?.(alone);
        assert.deepEqual(framed, alone);
      } finally {
        if (both.fresh) await both.stop();
      }
    });
  }
}
