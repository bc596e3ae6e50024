// Heads that look alike: the decoder made for them gives what the loop gives, and refuses what it refuses.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { C, headPayload } from './harness.mjs';

const require = createRequire(import.meta.url);

/** The codec as a process sees it that has decoded nothing yet. */
function fresh() {
  for (const file of ['frame', 'shapes']) delete require.cache[require.resolve(`../js/${file}.cjs`)];
  return { ...require('../js/frame.cjs'), ...require('../js/shapes.cjs') };
}

const OFTEN = 100;
const numbered = C.NAMES.slice(1).filter((_, i) => i % 2 === 0);
const payloadOf = (headers) => headPayload({ method: 'GET', target: '/t?q', flags: ['NO_BODY'], headers, client: undefined, numbers: true });

function decoded(codec, payload) {
  const head = new codec.Head();
  codec.decodeHead(payload, 0, payload.length, head);
  return { ...head, keys: Object.keys(head.headers) };
}

/** Where the header table starts. */
const TABLE = 12;

test('every list of names, often enough to have a decoder of its own, gives what the loop gave', () => {
  let seed = 7;
  const random = (below) => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) % below;
  for (let round = 0; round < 200; round++) {
    const names = Array.from({ length: random(24) }, () => numbered[random(numbered.length)]);
    const headers = names.map((name, i) => [random(2) ? name : name.toLowerCase(), 'v'.repeat(random(30)) + i]);
    const codec = fresh();
    const payload = payloadOf(headers);
    const first = decoded(codec, payload);
    for (let i = 0; i < OFTEN; i++) decoded(codec, payload);
    assert.deepEqual(decoded(codec, payload), first);
    const keys = names.map((name) => name.toLowerCase());
    const regular = new Set(keys).size === keys.length && !keys.includes('set-cookie');
    assert.equal(codec.shapeOf(payload, TABLE, headers.length) !== null, regular, `${keys}`);
    // Another head with the same names has its own values.
    const other = decoded(codec, payloadOf(headers.map(([name], i) => [name, `other ${i}`])));
    assert.deepEqual(other.rawHeaders.filter((_, i) => i % 2 === 1), headers.map((_, i) => `other ${i}`));
  }
});

test('what a request gets is its own', () => {
  const codec = fresh();
  const payload = payloadOf([['Host', 'a'], ['Accept', 'b']]);
  for (let i = 0; i < OFTEN; i++) decoded(codec, payload);
  const spoiled = decoded(codec, payload);
  spoiled.rawHeaders.push('x', 'y');
  spoiled.headers.host = 'changed';
  spoiled.headers.extra = 'there';
  assert.deepEqual(decoded(codec, payload).headers, { host: 'a', accept: 'b' });
  assert.deepEqual(decoded(codec, payload).rawHeaders, ['Host', 'a', 'Accept', 'b']);
});

test('a known list with lengths that do not add up, or with a text name, is refused as ever', () => {
  const codec = fresh();
  const payload = payloadOf([['Host', 'abc'], ['Accept', 'def']]);
  for (let i = 0; i < OFTEN; i++) decoded(codec, payload);
  const short = Buffer.from(payload);
  short.writeUInt16LE(2, TABLE + 2);
  assert.throws(() => decoded(codec, short), /do not add up/);
  const long = Buffer.from(payload);
  long.writeUInt16LE(60000, TABLE + 6);
  assert.throws(() => decoded(codec, long), /do not add up/);
  const named = Buffer.from(payload);
  named[TABLE + 1] = 1;
  assert.throws(() => decoded(codec, named), /either number or text/);
  assert.deepEqual(decoded(codec, payload).headers, { host: 'abc', accept: 'def' });
});

test('ever new lists do not pile up, and the one that matters gets its decoder again', () => {
  const codec = fresh();
  const wanted = payloadOf([['Host', 'a'], ['Via', 'b']]);
  let have = 0;
  for (let i = 0; i < 400; i++) {
    const names = [numbered[i % numbered.length], numbered[(i * 7 + 1 + i % 3) % numbered.length], numbered[(i * 11 + 2) % numbered.length]];
    const payload = payloadOf(names.map((name) => [name, 'v']));
    for (let often = 0; often < OFTEN; often++) decoded(codec, payload);
    for (let often = 0; often < OFTEN; often++) decoded(codec, wanted);
    if (codec.shapeOf(wanted, TABLE, 2) !== null) have++;
  }
  assert.equal(have, 400);
});
