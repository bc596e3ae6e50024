// GraphQL over HTTP as a browser's client speaks it, subscriptions as server-sent events.

import assert from 'node:assert/strict';

import { check, start } from './checks.mjs';

const app = await start('server.mjs');
const endpoint = `${app.url}/graphql`;

function ask(query, variables, headers = {}) {
  return fetch(endpoint, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify({ query, variables }),
  });
}

async function answer(query, variables) {
  const response = await ask(query, variables);
  return [response.status, await response.json()];
}

async function* subscribe(query, variables, signal) {
  const response = await fetch(endpoint, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Accept: 'text/event-stream' },
    body: JSON.stringify({ query, variables }),
    signal,
  });
  assert.match(response.headers.get('content-type'), /^text\/event-stream/);
  let text = '';
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
      const data = text.slice(0, end).split('\n').find((line) => line.startsWith('data: {'));
      if (data) yield JSON.parse(data.slice(6)).data;
    }
  }
}

await check('query', async () => {
  assert.deepEqual(await answer('query ($t: String!) { upper(text: $t) }', { t: 'grün' }), [
    200, { data: { upper: 'GRÜN' } },
  ]);
});

await check('query by GET', async () => {
  const response = await fetch(`${endpoint}?query=${encodeURIComponent('{ upper(text: "get") }')}`);
  assert.deepEqual(await response.json(), { data: { upper: 'GET' } });
});

await check('mistake in a query', async () => {
  const [status, body] = await answer('{ nothing }');
  assert.equal(status, 200);
  assert.match(body.errors[0].message, /Cannot query field/);
});

await check('preflight of another origin', async () => {
  const response = await fetch(endpoint, {
    method: 'OPTIONS',
    headers: { Origin: 'http://elsewhere', 'Access-Control-Request-Method': 'POST' },
  });
  assert.equal(response.status, 204);
  assert.equal(response.headers.get('access-control-allow-origin'), 'http://elsewhere');
});

await check('subscription that ends', async () => {
  const found = [];
  for await (const { countdown } of subscribe('subscription { countdown(from: 5) }')) found.push(countdown);
  assert.deepEqual(found, [5, 4, 3, 2, 1, 0]);
});

await check('subscription that hears of mutations, and is given up', async () => {
  const abort = new AbortController();
  const events = subscribe('subscription { counted }', {}, abort.signal);
  const first = events.next();
  let sum;
  // The subscription stands when its first event comes; until then the mutation is repeated.
  do {
    sum = (await answer('mutation { add(by: 2) }'))[1].data.add;
  } while (!(await Promise.race([first, new Promise((resolve) => setTimeout(resolve, 50))])));
  assert.ok((await first).value.counted <= sum);
  abort.abort();
  await assert.rejects(events.next(), { name: 'AbortError' });
  assert.equal((await answer('{ count }'))[1].data.count, sum);
});

await check('multipart upload', async () => {
  const form = new FormData();
  form.set('operations', JSON.stringify({ query: 'mutation ($f: File!) { length(file: $f) }', variables: { f: null } }));
  form.set('map', JSON.stringify({ 0: ['variables.f'] }));
  form.set('0', new Blob([new Uint8Array(300_000)]), 'zeros');
  const response = await fetch(endpoint, { method: 'POST', body: form });
  assert.deepEqual(await response.json(), { data: { length: 300_000 } });
});

await check('fifty queries at once', async () => {
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, i) => answer('query ($t: String!) { upper(text: $t) }', { t: `n${i}` })),
  );
  assert.deepEqual(answers.map(([, body]) => body.data.upper), answers.map((_, i) => `N${i}`));
});

await app.stop();
process.exit();
