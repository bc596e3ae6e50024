// What the start-up self-test expects is what Node alone does with the same handler over TCP.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { NODE } from './harness.mjs';

const SCRIPT = `
  const http = require('http');
  const { listener, run, EVENTS } = require(${JSON.stringify(new URL('../js/selftest.cjs', import.meta.url).pathname)});
  const globals = Object.keys(globalThis).length;
  const result = run();
  const left = [Object.keys(globalThis).length - globals, process.getActiveResourcesInfo(), process.eventNames().length];
  const events = [];
  const server = http.createServer(listener(events)).listen(0, '127.0.0.1', () => {
    const socket = require('net').connect(server.address().port, '127.0.0.1', () =>
      socket.write('GET /a?b HTTP/1.1\\r\\nHost: h\\r\\nX-One: 1\\r\\n\\r\\n'));
    let reads = 0;
    socket.on('data', () => {
      if (reads++ === 0) socket.write('POST /p HTTP/1.1\\r\\nHost: h\\r\\nContent-Length: 3\\r\\n\\r\\nabc');
      else { socket.destroy(); server.close(); }
    });
    server.on('close', () => console.log(JSON.stringify({ result, left, events, EVENTS })));
  });`;

test('the self-test passes, leaves nothing behind, and expects what Node does', () => {
  const { result, left, events, EVENTS } = JSON.parse(execFileSync(NODE, ['-e', SCRIPT], { encoding: 'utf8' }));
  assert.equal(result.ok, true, result.why);
  assert.ok(result.us < 100000, `${result.us} us`);
  assert.deepEqual(left, [0, [], process.eventNames().length === 0 ? 0 : left[2]]);
  assert.deepEqual(events, EVENTS);
});
