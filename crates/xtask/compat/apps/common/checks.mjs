// Owns what the apps' checks share: starting the app, naming and reporting checks, ending everything.
// Must never know: what an app does. An app's check.mjs is a program: `node check.mjs`, alone or under `hostler exec`;
// with HOSTLER_COMPAT_SERVE, the path of the binary, the app is started by `hostler run` instead of `node`.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';

const require = createRequire(import.meta.url);
const { write } = require(path.join(process.env.HOSTLER_COMPAT_REPORTERS, 'results.cjs'));

const SERVE = process.env.HOSTLER_COMPAT_SERVE;
const START_MS_MAX = 60_000;
const STOP_MS_MAX = 15_000;

/** Runs one check and reports it. A check that takes longer than `ms` has failed. */
export async function check(name, body, ms = 30_000) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${ms} ms`)), ms);
  });
  try {
    await Promise.race([body(), late]);
    write(undefined, [name], 'pass');
  } catch (error) {
    console.log(name, error);
    write(undefined, [name], 'fail', error);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Starts the app and waits until it accepts connections. `script` listens on `process.env.PORT` at 127.0.0.1;
 * `args` are its arguments. With `folder` Hostler is given the folder: it runs what `scripts.start` says.
 */
export async function start(script, { args = [], env = {}, port = undefined, folder: isFolder = false } = {}) {
  const app = { port: port ?? (await freePort()), ended: undefined };
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'compat-'));
  // One worker: what a client left in memory is found again, as on Node alone.
  const serve = ['run', isFolder ? '.' : script, '--listen', `127.0.0.1:${app.port}`, '--runtime-dir', folder, '--workers', '1'];
  const [program, line] = SERVE ? [SERVE, isFolder ? serve : [...serve, '--', ...args]] : ['node', [script, ...args]];
  const child = spawn(program, line, {
    env: { ...process.env, ...env, PORT: String(app.port), HOST: '127.0.0.1' },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const end = once(child, 'exit').then(([code, signal]) => (app.ended = { code, signal }));
  app.url = `http://127.0.0.1:${app.port}`;
  app.pid = child.pid;
  app.stop = async () => {
    child.kill('SIGTERM');
    const late = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX);
    const ended = await end;
    clearTimeout(late);
    fs.rmSync(folder, { recursive: true, force: true });
    return ended;
  };
  await accepting(app);
  return app;
}

async function accepting(app) {
  const deadline = Date.now() + START_MS_MAX;
  while (!(await connects(app.port))) {
    if (app.ended) throw new Error(`the app ended: ${JSON.stringify(app.ended)}`);
    if (Date.now() > deadline) throw new Error('the app does not listen');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function connects(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true) || socket.destroy());
    socket.once('error', () => resolve(false));
  });
}

/** A port that nobody listens on. */
export async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}
