// The server that Nuxt builds (Nitro, preset node-server).

import assert from 'node:assert/strict';

import { check, start } from './checks.mjs';

const app = await start('.output/server/index.mjs');

async function pieces(response) {
  const found = [];
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) found.push(chunk);
  return found;
}

await check('front page', async () => {
  const response = await fetch(app.url);
  assert.equal(response.status, 200);
  assert.match(await response.text(), /<h1>front page<\/h1>/);
});

await check('a page that asks an endpoint', async () => {
  const response = await fetch(`${app.url}/item-7`, { headers: { 'User-Agent': 'compat' } });
  const text = (await response.text()).replaceAll(/<!--.*?-->/g, '');
  assert.match(text, /<p>item 7 for /);
});

await check('a page without its data', async () => {
  const response = await fetch(`${app.url}/item-none`, { headers: { Accept: 'text/html' } });
  assert.equal(response.status, 404);
});

await check('the parts of a page: scripts that it names', async () => {
  const html = await (await fetch(app.url)).text();
  const names = [...html.matchAll(/(?:src|href)="(\/_nuxt\/[^"]+)"/g)].map(([, name]) => name);
  assert.ok(names.length > 0, html);
  for (const name of new Set(names)) {
    const response = await fetch(app.url + name);
    assert.deepEqual([response.status, (await response.arrayBuffer()).byteLength > 0], [200, true], name);
    const tag = response.headers.get('etag');
    assert.equal((await fetch(app.url + name, { headers: { 'If-None-Match': tag } })).status, 304);
  }
});

await check('an endpoint', async () => {
  const response = await fetch(`${app.url}/api/item?id=gr%C3%BCn`, { headers: { 'User-Agent': 'compat' } });
  assert.deepEqual(await response.json(), { id: 'grün', agent: 'compat' });
  assert.equal((await fetch(`${app.url}/api/item?id=none`)).status, 404);
});

await check('JSON there and back', async () => {
  const body = JSON.stringify({ text: 'grün'.repeat(20_000) });
  const headers = { 'Content-Type': 'application/json' };
  const response = await fetch(`${app.url}/api/echo`, { method: 'POST', body, headers });
  assert.deepEqual([response.status, JSON.stringify(await response.json())], [201, body]);
  assert.match(response.headers.getSetCookie()[0], /^seen=yes;/);
});

await check('a form with a file', async () => {
  const form = new FormData();
  form.set('text', 'grün');
  form.set('file', new Blob([new Uint8Array(300_000)]), 'zeros.bin');
  const response = await fetch(`${app.url}/api/echo`, { method: 'POST', body: form });
  assert.deepEqual(await response.json(), [{ name: 'text', bytes: 5 }, { name: 'file', filename: 'zeros.bin', bytes: 300_000 }]);
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

await check('a file, HEAD, not found', async () => {
  assert.equal(await (await fetch(`${app.url}/file.txt`)).text(), 'a file\n');
  const head = await fetch(`${app.url}/file.txt`, { method: 'HEAD' });
  assert.deepEqual([head.status, head.headers.get('content-length'), await head.text()], [200, '7', '']);
  assert.equal((await fetch(`${app.url}/nothing`)).status, 404);
});

await check('sixty requests at once', async () => {
  const ask = () => fetch(`${app.url}/item-7`).then((response) => response.text());
  const all = await Promise.all(Array.from({ length: 60 }, ask));
  assert.ok(all.every((body) => body.includes('item')));
});

await check('the app stops', async () => {
  await app.stop();
});
process.exit();
