// Owns an app under `hostler run` as the other side of a comparison: the worker is a command, with named pipes in the place
// of stdin and stdout. What the proxy says of itself in every answer is taken out.
// Must never know: what is compared.

import { execFileSync, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { createReadStream, createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { NODE } from './harness.mjs';

export const UNDER_RUN = process.env.HOSTLER_MODE === 'run';

/** Starts `script` behind a proxy on a free port. @returns {Promise<{child: any, stop: () => Promise<void>}>} */
export async function startUnderRun(script, { args = [], env = {}, nodeArgs = [] }) {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'hostler-run-'));
  const [input, output] = ['in', 'out'].map((name) => path.join(folder, name));
  execFileSync('mkfifo', [input, output]);
  const words = [NODE, ...nodeArgs, script, ...args].map((word) => `'${word}'`).join(' ');
  const options = ['--listen', '127.0.0.1:0', '--workers', '1', '--shards', '1', '--runtime-dir', folder];
  const hostler = spawn(process.env.HOSTLER_BIN, ['run', path.dirname(script), ...options, '--command', `exec ${words} <${input} >${output}`], {
    env: { ...process.env, NODE_TEST_CONTEXT: undefined, ...env }, stdio: ['ignore', 'ignore', 'pipe'],
  });
  const exited = once(hostler, 'close');
  const child = Object.assign(new EventEmitter(), {
    stdin: createWriteStream(input), stdout: createReadStream(output).setEncoding('utf8'), stderr: hostler.stderr.setEncoding('utf8'),
  });
  return {
    child,
    async stop() {
      hostler.kill('SIGTERM');
      await exited;
      rmSync(folder, { recursive: true });
    },
  };
}

/** Keep-alive is the proxy's business with its client, and each answer has an id. @param {string} text */
export function withoutProxy(text) {
  return text.replace(/^(?:Connection: keep-alive|Keep-Alive: timeout=\d+(?:, max=\d+)?|X-Request-Id: [^\r]+)\r\n/gm, '');
}
