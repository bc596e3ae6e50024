// The claim: which process below a command is the worker.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const NODE = process.env.HOSTLER_TEST_NODE ?? process.execPath;
const CLAIM = fileURLToPath(new URL('../js/claim.cjs', import.meta.url));

/** Processes that claim at once, and what each has in its environment then. */
async function race(count, nodeOptions) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hostler-claim-'));
  const settings = { claim: path.join(folder, 'claim'), alive: path.join(folder, 'alive'), option: '--require "/run/h/loader/preload.cjs"' };
  const code = `
    const { claim } = require(${JSON.stringify(CLAIM)});
    process.stdin.once('data', () => {
      process.env.NODE_OPTIONS = ${JSON.stringify(nodeOptions)}; // as if it had been inherited
      const mine = claim(JSON.parse(process.env.HOSTLER_WORKER));
      console.log(JSON.stringify([mine, process.env.HOSTLER_WORKER === undefined, process.env.NODE_OPTIONS ?? null]));
      process.exit(0);
    });
    console.log('here');`;
  const env = { ...process.env, NODE_OPTIONS: '', HOSTLER_WORKER: JSON.stringify(settings) };
  const children = Array.from({ length: count }, () => spawn(NODE, ['-e', code], { env, stdio: ['pipe', 'pipe', 'inherit'] }));
  const outputs = children.map((child) => {
    const output = { text: '' };
    child.stdout.setEncoding('utf8').on('data', (text) => { output.text += text; });
    return output;
  });
  await Promise.all(children.map((child) => once(child.stdout, 'data')));
  const ended = children.map((child) => once(child, 'close'));
  for (const child of children) child.stdin.write('go');
  await Promise.all(ended);
  fs.rmSync(folder, { recursive: true });
  return outputs.map(({ text }) => JSON.parse(text.trim().split('\n').at(-1)));
}

test('one of many processes is the worker, and only its environment is cleaned', async () => {
  const option = '--require "/run/h/loader/preload.cjs"';
  const results = await race(6, `--no-warnings ${option}`);
  const winners = results.filter(([mine]) => mine);
  assert.deepEqual(winners, [[true, true, '--no-warnings']]);
  for (const result of results.filter(([mine]) => !mine)) {
    assert.deepEqual(result, [false, false, `--no-warnings ${option}`]);
  }
});

test('options that are ours alone leave no variable behind', async () => {
  assert.deepEqual(await race(1, '--require "/run/h/loader/preload.cjs"'), [[true, true, null]]);
});

test('without its folder there is nothing to claim', () => {
  const child = spawn(NODE, ['-e', `
    const { claim } = require(${JSON.stringify(CLAIM)});
    process.exit(claim({ claim: '/nonexistent/claim', option: 'x' }) ? 1 : 0);`]);
  return once(child, 'close').then(([code]) => assert.equal(code, 0));
});
