// Server-sent events: each event arrives when it is written, the server notices that a client leaves, a client goes on
// where it was.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';

import { check, start } from './checks.mjs';

const app = await start('server.mjs');

function open(path, headers = {}) {
  const request = http.get(`${app.url}${path}`, { headers: { Accept: 'text/event-stream', ...headers }, agent: false });
  return once(request, 'response').then(([response]) => response.setEncoding('utf8'));
}

async function* events(response) {
  let text = '';
  for await (const chunk of response) {
    text += chunk;
    for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) yield text.slice(0, end);
  }
}

await check('events arrive one by one', async () => {
  const response = await open('/events');
  assert.equal(response.headers['content-type'], 'text/event-stream');
  const times = [];
  for await (const event of events(response)) {
    times.push(Date.now());
    if (event.startsWith('id: 3')) break;
  }
  // Three events cannot come together: the server writes the later ones when the first is there.
  assert.equal(times.length, 4);
  assert.ok(times[3] - times[1] >= 10, String(times));
});

await check('the server notices that its clients leave', async () => {
  const responses = await Promise.all(Array.from({ length: 20 }, () => open('/events')));
  assert.equal(await count(), 20);
  for (const response of responses) response.destroy();
  while ((await count()) > 0) await new Promise((resolve) => setTimeout(resolve, 10));
});

await check('a client goes on behind its last event', async () => {
  const found = [];
  for await (const event of events(await open('/events?last=45', { 'Last-Event-ID': '41' }))) found.push(event);
  const numbers = found.slice(1).map((event) => JSON.parse(event.split('data: ')[1]));
  assert.deepEqual(numbers, [42, 43, 44, 45].map((number) => ({ number, text: 'grün' })));
});

await check('the app stops while streams are open', async () => {
  const response = await open('/events');
  response.on('error', () => {});
  const ended = await app.stop();
  assert.equal(ended.code, 0, JSON.stringify(ended));
});
process.exit();

async function count() {
  const response = await fetch(`${app.url}/open`);
  return Number(await response.text());
}
