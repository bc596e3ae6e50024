// Owns raw conversations over any byte connection: pieces to send, what to wait for, what came back. For everything
// that Node's own parser reads, so that the same script runs against Node alone.
// Must never know: frames.

import net from 'node:net';
import { mask } from './harness.mjs';

/**
 * Sends each piece when what it waits for is there, then waits for the end.
 * @param {number | string} address port or path
 * @param {{first?: string, pieces: (string | RegExp | null)[]}} talk strings are sent; a RegExp is waited for; null sends FIN
 */
export async function converse(address, { first = '', pieces }) {
  const socket = typeof address === 'number' ? net.connect(address, '127.0.0.1') : net.connect(address);
  socket.setNoDelay(true).setMaxListeners(0);
  let text = '';
  let from = 0;
  let over = '';
  socket.setEncoding('latin1').on('data', (chunk) => { text += chunk; });
  socket.on('error', (error) => { over = error.code; });
  const closed = new Promise((resolve) => socket.once('close', resolve));
  const data = () => new Promise((resolve) => socket.once('data', resolve));
  if (first !== '') socket.write(first, 'latin1');
  for (const piece of pieces) {
    if (piece === null) socket.end();
    else if (typeof piece === 'string') socket.write(piece, 'latin1');
    else {
      while (!piece.test(text.slice(from))) {
        if (socket.closed) throw new Error(`closed (${over}) before ${piece}: ${text}`);
        await Promise.race([data(), closed]);
      }
      from = text.length;
    }
  }
  /** Until `pattern` is in what came, behind what `before` gives. */
  const until = async (pattern, before = () => '') => {
    while (!pattern.test(before() + text)) {
      if (socket.closed) throw new Error(`closed (${over}) before ${pattern}: ${before()}${text}`);
      await Promise.race([data(), closed, new Promise((resolve) => setTimeout(resolve, 20))]);
    }
  };
  return { text: () => mask(text), until, closed, end: () => { socket.destroy(); return closed; }, socket };
}

/** @param {string} text of an answer */
export const bodyOf = (text) => text.slice(text.indexOf('\r\n\r\n') + 4);

/** Evaluates code in the app of fixtures/control.cjs. */
export const run = (channel, code) => channel.client().request({ target: `/run?${encodeURIComponent(code)}` }).then(({ text }) => bodyOf(text));

export const GET = (target, headers = '') => `GET ${target} HTTP/1.1\r\nHost: h\r\n${headers}\r\n`;
export const UPGRADE = GET('/up', 'Connection: Upgrade\r\nUpgrade: echo\r\n');

/** What Node's parser makes of these is the same however they got to it. `closes`: the server ends the connection. */
export const CONVERSATIONS = {
  'one request': { pieces: [GET('/a'), /GET \/a$/] },
  'two requests, one after the other': { pieces: [GET('/a'), /GET \/a$/, GET('/b'), /GET \/b$/] },
  'two requests in one piece': { pieces: [GET('/a') + GET('/b'), /GET \/b$/] },
  'the socket': { pieces: [GET('/socket'), /\]$/] },
  'a body': { pieces: ['POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n', 'abc', /POST \/p$/] },
  'a chunked body in pieces': { pieces: ['POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab', 'c\r\n0\r\n\r\n', /POST \/p$/] },
  'Expect': { pieces: ['POST /p HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n', /100 Continue\r\n\r\n$/, 'abc', /POST \/p$/] },
  'an upgrade': { pieces: [UPGRADE, /101.*\r\n\r\n$/s, 'ping', /ping$/, null], closes: true },
  'an upgrade with first bytes': { pieces: [`${UPGRADE}early`, /early$/, ' late', / late$/, null], closes: true },
  'an upgrade after a request': { pieces: [GET('/mark'), /mark$/, UPGRADE, /101.*\r\n\r\n$/s, 'ping', /ping$/, null], closes: true },
  'CONNECT with first bytes': { pieces: ['CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\nearly'], closes: true },
  'a bad request': { pieces: ['GET / HTTP/9.x\r\n\r\n'], closes: true },
  'a bad request after a good one': { pieces: [GET('/a'), /GET \/a$/, 'NONSENSE\r\n\r\n'], closes: true },
  'bad bytes in a body': { pieces: ['POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n'], closes: true },
  'a head that is too large': { pieces: [GET('/a', `X: ${'x'.repeat(20000)}\r\n`)], closes: true },
  'half a head, then FIN': { pieces: ['GET /a HTT', null], closes: true },
  'FIN at once': { pieces: [null], closes: true },
  'a request, then FIN': { pieces: [GET('/a'), /GET \/a$/, null], closes: true },
};

/** The notes of the app, without those about asking for them. */
export async function notes(address, first = '') {
  const request = GET('/notes', 'Connection: close\r\n');
  const talk = await converse(address, { first, pieces: [request] });
  await talk.closed;
  const text = talk.text();
  if (text === '') return []; // dropped: the connection before is still counted
  const list = JSON.parse(text.slice(text.indexOf('[', text.indexOf('\r\n\r\n'))).replace(/\r\n0\r\n\r\n$/, ''));
  return list.filter((one) => one !== 'GET /notes' && one !== `data ${request.length}`);
}

/** Notes of the app until a connection is closed, without the connections that asked for notes. */
export async function settle(address, first = '') {
  const all = [];
  while (!all.some((one) => one.startsWith('close '))) all.push(...await notes(address, first));
  return all.slice(0, all.findIndex((one) => one.startsWith('close ')) + 1)
    .filter((one, i) => i === 0 || (one !== 'connection' && !one.startsWith('drop')));
}
