// Uploads of many sizes, one of them large (HOSTLER_COMPAT_UPLOAD_MIB, 2048 by default), compared by checksum.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';

import { check, start } from './checks.mjs';

const LARGE = Number(process.env.HOSTLER_COMPAT_UPLOAD_MIB ?? 2048) << 10;
const BOUNDARY = 'compat-boundary';
const BLOCK = crypto.randomBytes(1 << 20);

const app = await start('server.mjs');

/** Sends `bytes` bytes as a file in a form; gives the status, the answer and the checksum of what was sent. */
async function upload(path, bytes, { chunked = false } = {}) {
  const part = (head, body = '') => `--${BOUNDARY}\r\nContent-Disposition: form-data; ${head}\r\n\r\n${body}`;
  const head = Buffer.from(
    part('name="comment"', 'grün\r\n') + part('name="file"; filename="large.bin"').replace(/\r\n\r\n$/, '\r\nContent-Type: application/octet-stream\r\n\r\n'),
  );
  const tail = Buffer.from(`\r\n--${BOUNDARY}--\r\n`);
  const headers = { 'Content-Type': `multipart/form-data; boundary=${BOUNDARY}` };
  if (!chunked) headers['Content-Length'] = head.length + bytes + tail.length;
  const request = http.request(`${app.url}${path}`, { method: 'POST', headers, agent: false });
  const answered = once(request, 'response');
  const hash = crypto.createHash('sha256');
  request.write(head);
  for (let left = bytes; left > 0; left -= BLOCK.length) {
    const block = BLOCK.subarray(0, Math.min(left, BLOCK.length));
    hash.update(block);
    if (!request.write(block)) await Promise.race([once(request, 'drain'), answered]);
  }
  request.end(tail);
  const [response] = await answered;
  const body = await new Response(response).json();
  return { status: response.statusCode, body, sha256: hash.digest('hex') };
}

for (const chunked of [false, true]) {
  for (const bytes of [0, 1, 65_535, 262_144, 262_145, 5_000_000]) {
    await check(`${bytes} bytes, ${chunked ? 'chunked' : 'of announced length'}`, async () => {
      const { status, body, sha256 } = await upload('/stream', bytes, { chunked });
      assert.deepEqual([status, body.bytes, body.sha256], [200, bytes, sha256]);
      assert.deepEqual([body.fields, body.filename], [{ comment: 'grün' }, 'large.bin']);
    });
  }
}

await check('into memory, within the limit', async () => {
  const { status, body, sha256 } = await upload('/memory', 1_000_000);
  assert.deepEqual([status, body.bytes, body.sha256], [200, 1_000_000, sha256]);
});

await check('into memory, above the limit', async () => {
  const { status, body } = await upload('/memory', 3 << 20);
  assert.deepEqual([status, body.error], [413, 'File too large']);
});

await check('eight at once', async () => {
  const all = await Promise.all(Array.from({ length: 8 }, (_, i) => upload('/stream', 1_000_000 + i)));
  all.forEach(({ body, sha256 }, i) => assert.deepEqual([body.bytes, body.sha256], [1_000_000 + i, sha256]));
});

await check('the large one', async () => {
  const bytes = LARGE * 1024;
  const { status, body, sha256 } = await upload('/stream', bytes);
  assert.deepEqual([status, body.bytes, body.sha256], [200, bytes, sha256]);
  // Were it not held back by the reader it would be here as a whole.
  assert.ok(body.rss < 512 << 20, `the app has ${body.rss} bytes of memory`);
  console.log(`${bytes} bytes, app's memory ${body.rss >> 20} MiB`);
}, 900_000);

await app.stop();
process.exit();
