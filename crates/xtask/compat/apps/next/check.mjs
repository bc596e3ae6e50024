// `next start` on a production build. It takes the port from PORT.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';

import { check, start } from './checks.mjs';

const app = await start('node_modules/next/dist/bin/next', {
  args: ['start', '--hostname', '127.0.0.1'],
  folder: true,
  env: { NEXT_TELEMETRY_DISABLED: '1' },
});

/** The pieces of a body as they come. */
async function pieces(response) {
  const found = [];
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) found.push(chunk);
  return found;
}

async function text(target, options) {
  const response = await fetch(app.url + target, options);
  return [response.status, await response.text()];
}

await check('static page', async () => {
  const [status, body] = await text('/');
  assert.equal(status, 200);
  assert.match(body, /<h1>static page<\/h1>/);
});

await check('a page with Suspense arrives in pieces', async () => {
  const response = await fetch(`${app.url}/slow`);
  const found = await pieces(response);
  const at = (part) => found.findIndex((piece) => piece.includes(part));
  assert.ok(at('fast part') >= 0 && at('waiting') >= 0, found.join('|'));
  assert.ok(at('slow part') > at('fast part'), found.join('|'));
});

await check('a route handler streams', async () => {
  const found = await pieces(await fetch(`${app.url}/api/ticks`));
  assert.equal(found.join(''), [1, 2, 3, 4, 5].map((number) => `tick ${number}\n`).join(''));
  assert.ok(found.length >= 3, String(found.length));
});

await check('a dynamic page', async () => {
  const [status, body] = await text('/users/7?sort=up', { headers: { 'User-Agent': 'compat' } });
  assert.equal(status, 200);
  assert.match(body, /user 7, sort up, agent compat/);
});

await check('not found', async () => {
  assert.equal((await text('/users/nobody'))[0], 404);
  assert.equal((await text('/nothing'))[0], 404);
});

await check('JSON there and back', async () => {
  const body = { list: [1, 2, 3], text: 'grün' };
  const response = await fetch(`${app.url}/api/echo`, {
    method: 'POST', body: JSON.stringify(body), headers: { Cookie: 'a=1; b=2' },
  });
  assert.deepEqual(await response.json(), { body, cookie: 'a=1; b=2' });
  assert.deepEqual(response.headers.getSetCookie(), ['seen=1; Path=/']);
});

await check('files: public, and the build with their cache header, tags and compression', async () => {
  assert.deepEqual(await text('/file.txt'), [200, 'a file\n']);
  const [, html] = await text('/');
  const script = /\/_next\/static\/[^"]+\.js/.exec(html)[0];
  const response = await fetch(app.url + script, { headers: { 'Accept-Encoding': 'gzip' } });
  const folder = path.join(import.meta.dirname, '.next/static');
  assert.equal(await response.text(), fs.readFileSync(path.join(folder, script.replace('/_next/static/', '')), 'utf8'));
  assert.match(response.headers.get('cache-control'), /immutable/);
  assert.equal(response.headers.get('content-encoding'), 'gzip');
  const tag = response.headers.get('etag');
  // Not by fetch, which adds Cache-Control: no-cache.
  const again = http.get(app.url + script, { headers: { 'If-None-Match': tag, 'Accept-Encoding': 'gzip' }, agent: false });
  const [{ statusCode }] = await once(again, 'response');
  assert.equal(statusCode, 304);
});

await check('a navigation of the client', async () => {
  const response = await fetch(`${app.url}/slow`, { headers: { RSC: '1' } });
  assert.match(response.headers.get('content-type'), /^text\/x-component/);
  assert.match(await response.text(), /slow part/);
});

await check('sixty requests at once', async () => {
  const all = await Promise.all(Array.from({ length: 60 }, (_, i) => text(`/users/${i}?sort=down`)));
  all.forEach(([status, body], i) => assert.ok(status === 200 && body.includes(`user ${i}, sort down`)));
});

await app.stop();
process.exit();
