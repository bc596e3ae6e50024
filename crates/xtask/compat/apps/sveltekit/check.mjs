// The server that adapter-node builds.

import assert from 'node:assert/strict';

import { check, freePort, start } from './checks.mjs';

const port = await freePort();
const origin = `http://127.0.0.1:${port}`;
// It adds `Connection: close` and ends idle connections by itself when it is asked to stop.
const app = await start('build/index.js', { port, env: { ORIGIN: origin } });

async function pieces(response) {
  const found = [];
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) found.push(chunk);
  return found;
}

await check('front page', async () => {
  const response = await fetch(app.url);
  assert.match(await response.text(), /<h1>front page<\/h1>/);
});

await check('a page with a promise arrives in pieces', async () => {
  const response = await fetch(`${app.url}/slow`);
  const found = await pieces(response);
  const at = (part) => found.findIndex((piece) => piece.includes(part));
  assert.ok(at('fast part for') >= 0 && at('waiting') >= 0, found.join('|'));
  assert.ok(at('slow part') > at('waiting'), found.join('|'));
  assert.match(found.join('').replaceAll(/<!--.*?-->/g, ''), /fast part for (::ffff:)?127\.0\.0\.1/);
});

await check('data of a page, as a navigation asks for it', async () => {
  const response = await fetch(`${app.url}/slow/__data.json`);
  const found = await pieces(response);
  assert.ok(found.length >= 2 && found.at(-1).includes('slow part'), found.join('|'));
});

await check('a form with a file', async () => {
  const form = new FormData();
  form.set('text', 'grün');
  form.set('file', new Blob([new Uint8Array(200_000)]), 'zeros.bin');
  const headers = { Origin: origin, Accept: 'text/html' };
  const response = await fetch(`${app.url}/form`, { method: 'POST', body: form, headers, redirect: 'manual' });
  assert.deepEqual([response.status, response.headers.get('location')], [303, '/']);
  assert.match(decodeURIComponent(response.headers.getSetCookie()[0]), /^sent=grün 200000;/);
  form.delete('file');
  assert.equal((await fetch(`${app.url}/form`, { method: 'POST', body: form, headers })).status, 422);
});

await check('a form of another origin is refused', async () => {
  const headers = { Origin: 'http://elsewhere', 'Content-Type': 'application/x-www-form-urlencoded' };
  const response = await fetch(`${app.url}/form`, { method: 'POST', body: 'text=1', headers });
  assert.equal(response.status, 403);
});

await check('an endpoint streams', async () => {
  const found = await pieces(await fetch(`${app.url}/api/ticks`));
  assert.equal(found.join(''), [1, 2, 3, 4, 5].map((number) => `tick ${number}\n`).join(''));
  assert.ok(found.length >= 3, String(found.length));
});

await check('a client leaves in the middle of a stream', async () => {
  const abort = new AbortController();
  const response = await fetch(`${app.url}/api/ticks?last=100000`, { signal: abort.signal });
  await response.body.getReader().read();
  abort.abort();
  assert.equal((await fetch(app.url)).status, 200);
});

await check('JSON there and back', async () => {
  const body = JSON.stringify({ text: 'grün'.repeat(20_000) });
  const response = await fetch(`${app.url}/api/ticks`, {
    method: 'PUT', body, headers: { 'Content-Type': 'application/json' },
  });
  assert.deepEqual([response.status, await response.text()], [201, body]);
});

await check('files, ranges, not found', async () => {
  const file = await fetch(`${app.url}/file.txt`);
  const tag = file.headers.get('etag');
  assert.equal(await file.text(), 'a file\n');
  assert.equal((await fetch(`${app.url}/file.txt`, { headers: { 'If-None-Match': tag } })).status, 304);
  const part = await fetch(`${app.url}/file.txt`, { headers: { Range: 'bytes=2-5' } });
  assert.deepEqual([part.status, await part.text()], [206, 'file']);
  assert.equal((await fetch(`${app.url}/nothing`)).status, 404);
});

await check('sixty requests at once', async () => {
  const all = await Promise.all(Array.from({ length: 60 }, () => fetch(app.url).then((response) => response.text())));
  assert.ok(all.every((body) => body.includes('front page')));
});

await check('the app stops by itself', async () => {
  const ended = await app.stop();
  assert.deepEqual([ended.code, ended.signal], [0, null]);
});
process.exit();
