'use strict';
// Responses: heads, framing, interim responses, what is refused. (Back-pressure, callbacks and orders: writes.cjs.)

const HOST = ['Host', 'h'];
const GET = { target: '/', headers: [HOST] };
const HEAD = { ...GET, method: 'HEAD' };
const OLD = { ...GET, http10: true };

const cases = {};
/** The app runs for GET, then HEAD, then GET, on one connection as long as it stays open. */
function add(name, app, more = {}) {
  cases[name] = { app: app.constructor.name === 'AsyncFunction' ? app : (req, res, tools) => attempt(() => app(req, res, tools), res, tools), client: asks(GET, HEAD, GET), ...more };
}
const asks = (...requests) => async (side) => {
  const answers = [];
  for (const request of requests) answers.push(await side.request(request));
  return answers;
};
/** For answers whose end only the app knows. */
const quiet = { client: (side) => side.probe(GET) };
/** Notes what throws, and answers if nothing did. */
function attempt(work, res, { note }) {
  try {
    work();
  } catch (error) {
    note('threw', error);
    if (!res.headersSent) res.statusCode = 500;
    if (!res.writableEnded) res.end('threw');
  }
}
/** Each step is tried on its own. */
const steps = (...list) => (req, res, tools) => {
  for (const step of list) {
    try {
      const value = step(res, req);
      if (value !== undefined && value !== res) tools.note('value', value);
    } catch (error) {
      tools.note('threw', error);
    }
  }
};

// ---- heads -------------------------------------------------------------------------------------------------

add('implicit head', (_req, res) => { res.setHeader('X-A', '1'); res.statusCode = 201; res.end('x'); });
add('implicit head, statusMessage', (_req, res) => { res.statusMessage = 'Very Well'; res.end('x'); });
add('an odd status', (_req, res) => { res.statusCode = 799; res.end('x'); });
add('every kind of status', (req, res) => { res.writeHead(Number(req.headers['x-status'])); res.end('x'); },
  { client: asks(...[200, 201, 202, 203, 204, 205, 206, 226, 300, 301, 304, 307, 400, 404, 412, 417, 418, 421, 429, 431, 451, 500, 503, 511, 599, 999]
    .map((status) => ({ ...GET, headers: [HOST, ['X-Status', String(status)]] }))) });
add('writeHead with an object', (_req, res) => { res.writeHead(200, { 'x-a': 1, 'X-B': ['1', '2'], 'Set-Cookie': ['a=1', 'b=2'] }); res.end('x'); });
add('writeHead with a message', (_req, res) => { res.writeHead(200, 'Fine', { 'X-A': '1' }); res.end('x'); });
add('writeHead with a flat array', (_req, res) => { res.writeHead(200, ['A', '1', 'a', '2', 'Content-Type', 'text/plain']); res.end('x'); });
add('writeHead with a flat array over headers that are set', (_req, res) => { res.setHeader('a', '0'); res.setHeader('Other', 'o'); res.writeHead(200, ['A', '1', 'a', '2']); res.end('x'); });
add('writeHead with an array of pairs', (_req, res) => { res.writeHead(200, [['A', '1'], ['a', '2'], ['B', ['3', '4']]]); res.end('x'); });
add('writeHead with an odd array', (_req, res) => { res.writeHead(200, ['A', '1', 'B']); res.end('x'); });
add('writeHead merges with headers that are set', (_req, res) => { res.setHeader('X-A', '0'); res.setHeader('X-B', 'b'); res.writeHead(200, { 'x-a': '1' }); res.end('x'); });
add('writeHead is chained', (_req, res) => { res.writeHead(200).end('x'); });
add('writeHead twice', steps((res) => { res.writeHead(200); }, (res) => { res.writeHead(201); }, (res) => { res.end('x'); }));
add('writeHead after write', steps((res) => { res.write('a'); }, (res) => { res.writeHead(201); }, (res) => { res.setHeader('X', '1'); }, (res) => { res.removeHeader('X'); },
  (res) => { res.appendHeader('X', '1'); }, (res) => { res.flushHeaders(); }, (res) => { res.statusCode = 500; }, (res) => { res.end('x'); }));
add('wrong status codes', steps(...[0, 99, 1000, '200x', NaN, null, 'abc'].map((code) => (res) => { res.writeHead(code); }), (res) => { res.end('x'); }));
add('raw case of names', (_req, res) => { res.setHeader('x-LOWER-Upper', '1'); res.setHeader('CONTENT-TYPE', 'a/b'); res.setHeader('DATE', 'mine'); res.end('x'); });
add('setHeader, getHeader and relatives', steps((res) => { res.setHeader('X-A', ['1', '2']); }, (res) => res.getHeader('x-a'), (res) => { res.appendHeader('X-A', '3'); },
  (res) => res.getHeaders(), (res) => res.getHeaderNames(), (res) => res.getRawHeaderNames(), (res) => res.hasHeader('X-a'), (res) => { res.removeHeader('x-A'); },
  (res) => res.hasHeader('X-a'), (res) => { res.setHeader('X-N', 7); }, (res) => { res.setHeaders(new Map([['M', '1'], ['N', '2']])); },
  (res) => { res.setHeaders(new Headers({ h: '1' })); }, (res) => { res.setHeaders({}); }, (res) => { res.end('x'); }));
add('invalid names and values', steps(...[['a b', 'x'], ['', 'x'], ['ä', 'x'], ['X', undefined], ['X', 'a\nb'], ['X', 'a\rb'], ['X', 'a\0b'], ['X', '\u0100'], ['X', '\x7f'], ['X', 'é'], ['T', 'a\tb']]
  .map(([name, value]) => (res) => { res.setHeader(name, value); }), (res) => { res.statusMessage = 'a\nb'; }, (res) => { res.end('x'); }), quiet);
add('invalid values in writeHead', steps((res) => { res.writeHead(200, { X: 'a\r\nInjected: 1' }); }, (res) => { res.writeHead(200, { 'a:b': '1' }); }, (res) => { res.writeHead(200, 'bad\nmessage'); }, (res) => { res.end('x'); }), quiet);
add('latin1 in names and reason', (_req, res) => { res.statusMessage = 'F\xfcr'; res.setHeader('X-L', 'Zo\xeb \xff'); res.end('x'); });
add('Content-Disposition in utf8', (_req, res) => { res.setHeader('Content-Disposition', 'attachment; filename="\u00e9"'); res.setHeader('Content-Length', 1); res.end('x'); });
add('sendDate off', (_req, res) => { res.sendDate = false; res.end('x'); });
add('own Date, own Keep-Alive', (_req, res) => { res.setHeader('Date', 'yesterday'); res.setHeader('Keep-Alive', 'timeout=9'); res.end('x'); });
add('Date removed', (_req, res) => { res.removeHeader('Date'); res.end('x'); });
add('Connection removed', (_req, res) => { res.removeHeader('Connection'); res.end('x'); });
add('Content-Length removed', (_req, res) => { res.removeHeader('Content-Length'); res.end('x'); });
add('Transfer-Encoding removed', (_req, res) => { res.removeHeader('Transfer-Encoding'); res.write('x'); res.end('y'); });
add('flushHeaders', (_req, res) => { res.setHeader('X', '1'); res.flushHeaders(); setImmediate(() => { res.write('a'); res.end('later'); }); });
add('flushHeaders and nothing more', (_req, res) => { res.flushHeaders(); res.end(); });
add('uniqueHeaders', (_req, res) => { res.setHeader('X-U', ['1', '2']); res.setHeader('X-O', ['1', '2']); res.end('x'); }, { group: 'unique' });
add('a head of 1 MB', (_req, res) => { for (let i = 0; i < 100; i++) res.setHeader(`X-${i}`, 'v'.repeat(10000)); res.end('x'); });
add('one header of 2 MB', (_req, res) => { res.setHeader('X', 'v'.repeat(2000000)); res.end('x'); });

// ---- connection --------------------------------------------------------------------------------------------

add('shouldKeepAlive = false', (_req, res) => { res.shouldKeepAlive = false; res.end('x'); });
add('Connection: close', (_req, res) => { res.setHeader('Connection', 'close'); res.end('x'); });
add('Connection: close and chunks', (_req, res) => { res.setHeader('Connection', 'close'); res.write('x'); res.end('y'); });
add('Connection: keep-alive by the app', (_req, res) => { res.setHeader('Connection', 'keep-alive'); res.end('x'); });
add('Connection: keep-alive by the app, the client closes', (_req, res) => { res.setHeader('Connection', 'keep-alive'); res.end('x'); },
  { client: asks({ ...GET, headers: [HOST, ['Connection', 'close']] }) });
add('Connection: upgrade, odd words', (_req, res) => { res.setHeader('Connection', 'X-Hop, foo'); res.end('x'); });
add('keepAliveTimeout 0', (_req, res) => { res.end('x'); }, { group: 'noKeepAlive' });
add('keepAliveTimeout 61000', (_req, res) => { res.end('x'); }, { group: 'longKeepAlive' });
for (const request of [OLD, { ...OLD, headers: [HOST, ['Connection', 'keep-alive']] }]) {
  const name = `HTTP/1.0${request.headers.length > 1 ? ' with keep-alive' : ''}`;
  add(`${name}: known length`, (_req, res) => { res.setHeader('Content-Length', 1); res.end('x'); }, { client: asks(request, request) });
  add(`${name}: two writes`, (_req, res) => { res.write('x'); res.end('y'); }, { client: asks(request, request) });
  add(`${name}: 204, 304`, (_req, res) => { res.writeHead(304); res.end(); }, { client: asks(request, request) });
  add(`${name}: chunked by the app`, (_req, res) => { res.setHeader('Transfer-Encoding', 'chunked'); res.end('x'); }, { client: asks(request, request) });
  add(`${name}: interim responses`, (_req, res) => { res.writeContinue(); res.writeProcessing(); res.end('x'); }, { client: asks(request, request) });
}

// ---- framing -----------------------------------------------------------------------------------------------

add('nothing', (_req, res) => { res.end(); });
add('an empty string', (_req, res) => { res.write(''); res.end(''); });
add('two chunks', (_req, res) => { res.write('one'); res.end('two'); });
add('an empty chunk between two', (_req, res) => { res.write('one'); res.write(''); res.write(Buffer.alloc(0)); res.end('two'); });
add('chunks in several turns', async (_req, res) => { for (const text of ['a', 'b', 'c']) { res.write(text); await new Promise(setImmediate); } res.end(); });
add('Content-Length, several writes', (_req, res) => { res.setHeader('Content-Length', 6); res.write('one'); res.end('two'); });
add('Content-Length in writeHead', (_req, res) => { res.writeHead(200, { 'Content-Length': 3 }); res.end('abc'); });
add('Transfer-Encoding by the app', (_req, res) => { res.setHeader('Transfer-Encoding', 'chunked'); res.end('x'); });
add('Transfer-Encoding: gzip, chunked', (_req, res) => { res.setHeader('Transfer-Encoding', 'gzip, chunked'); res.end('x'); }, quiet);
add('Transfer-Encoding: identity', (_req, res) => { res.setHeader('Transfer-Encoding', 'identity'); res.end('x'); }, quiet);
add('Transfer-Encoding and Content-Length', (_req, res) => { res.setHeader('Transfer-Encoding', 'chunked'); res.setHeader('Content-Length', 1); res.end('x'); });
add('useChunkedEncodingByDefault off', (_req, res) => { res.useChunkedEncodingByDefault = false; res.write('x'); res.end('y'); });
add('chunkedEncoding off', (_req, res) => { res.chunkedEncoding = false; res.write('x'); res.end('y'); });
for (const status of [204, 205, 304]) {
  add(`${status} with a body`, (_req, res) => { res.statusCode = status; res.write('x', () => {}); res.end('ignored'); });
  add(`${status} with Content-Length`, (_req, res) => { res.writeHead(status, { 'Content-Length': 0 }); res.end(); });
  add(`${status} with Transfer-Encoding`, (_req, res) => { res.writeHead(status, { 'Transfer-Encoding': 'chunked' }); res.end(); });
}
add('HEAD with explicit lengths', (_req, res) => { res.setHeader('Content-Length', 1000); res.end(); }, { client: asks(HEAD, HEAD) });
add('HEAD with Transfer-Encoding', (_req, res) => { res.setHeader('Transfer-Encoding', 'chunked'); res.end(); }, { client: asks(HEAD, HEAD) });
add('HEAD and writes', (_req, res, { note }) => { note(res.write('x', () => note('callback'))); res.end('y', () => note('end callback')); }, { client: asks(HEAD, GET) });
add('rejectNonStandardBodyWrites', (_req, res) => { res.write('x'); res.end(); }, { group: 'reject', client: (side) => side.probe(HEAD) });
add('too few bytes', (_req, res) => { res.setHeader('Content-Length', 10); res.end('abc'); }, { client: async (side) => { side.client.send(GET); return side.client.upTo('abc'); } });
add('too many bytes', (_req, res) => { res.setHeader('Content-Length', 3); res.end('abcdef'); }, { client: async (side) => { side.client.send(GET); return side.client.upTo('abcdef'); } });
add('strictContentLength', (_req, res) => { res.strictContentLength = true; res.setHeader('Content-Length', 5); res.write('abc'); res.end('de'); });
add('strictContentLength, too few', steps((res) => { res.strictContentLength = true; res.setHeader('Content-Length', 5); res.write('abc'); }, (res) => { res.end('d'); }, (res) => { res.end('de'); }));
add('strictContentLength, too many', steps((res) => { res.strictContentLength = true; res.setHeader('Content-Length', 3); res.write('abcd'); }, (res) => { res.end('abc'); }), quiet);
add('strictContentLength, end without bytes', steps((res) => { res.strictContentLength = true; res.setHeader('Content-Length', 3); res.end(); }, (res) => { res.write('abc'); res.end(); }));

// ---- encodings ---------------------------------------------------------------------------------------------

const ENCODINGS = ['utf8', 'UTF-8', 'utf16le', 'ucs2', 'latin1', 'binary', 'ascii', 'hex', 'base64', 'base64url'];
for (const encoding of ENCODINGS) {
  const text = encoding === 'hex' ? 'cafe00ff' : encoding.startsWith('base64') ? 'aGV5IQ' : 'gr\xfc\xdfe \u20ac \ud83d\ude00 x';
  add(`write and end in ${encoding}`, (_req, res) => { res.write(text, encoding); res.write('', encoding); res.end(text, encoding); });
  add(`only end in ${encoding}`, (_req, res) => { res.end(text, encoding); });
  add(`end in ${encoding} after flushHeaders`, (_req, res) => { res.flushHeaders(); res.end(text, encoding); });
  add(`Content-Length and ${encoding}`, (_req, res) => { res.setHeader('Content-Length', Buffer.byteLength(text, encoding)); res.write(text, encoding); res.end(); });
}
add('an unknown encoding', steps((res) => { res.write('x', 'klingon'); }, (res) => { res.end('y'); }), quiet);
add('an unknown encoding in end', steps((res) => { res.end('x', 'klingon'); }, (res) => { res.end('y'); }), quiet);
add('lone surrogates', (_req, res) => { res.write('a\ud800b'); res.end('\udc00'); });
add('Uint8Array', (_req, res) => { res.write(new Uint8Array([97, 98])); res.end(new Uint8Array(new Uint8Array([99, 100, 101, 102]).buffer, 1, 2)); });
add('a Buffer and an encoding', (_req, res) => { res.write(Buffer.from('ab'), 'hex'); res.end(Buffer.from('cd'), 'latin1'); });
add('what is no body', steps(...[undefined, null, 1, true, {}, [], new Uint16Array(2), new DataView(new ArrayBuffer(2)), new ArrayBuffer(2), Symbol('x')].map((chunk) => (res) => { res.write(chunk); }),
  ...[1, true, {}, [], new Uint16Array(2)].map((chunk) => (res) => { res.end(chunk); }), (res) => { res.end('x'); }));
add('large pieces of every kind', (_req, res) => { res.write('a'.repeat(5000)); res.write(Buffer.alloc(5000, 'b')); res.write('\xfc'.repeat(5000)); res.write('c'.repeat(3000), 'latin1'); res.end(new Uint8Array(5000).fill(100)); });
add('a Buffer that is changed after its callback', (_req, res) => {
  const buffer = Buffer.alloc(5000, 'a');
  res.write(buffer, () => { buffer.fill('b'); res.write(buffer, () => { buffer.fill('c'); res.end(); }); });
});
add('many small writes', (_req, res) => { for (let i = 0; i < 500; i++) res.write(String(i)); res.end(); });

// ---- interim responses and trailers ----------------------------------------------------------------------------

add('writeContinue', (_req, res, { note }) => { res.writeContinue(() => note('continue')); note(res._sent100); res.end('x'); });
add('writeProcessing', (_req, res, { note }) => { res.writeProcessing(() => note('processing')); res.end('x'); });
add('writeEarlyHints', (_req, res, { note }) => {
  res.writeEarlyHints({ link: '</a.css>; rel=preload; as=style' }, () => note('hints'));
  res.writeEarlyHints({ link: ['</a.js>; rel=preload', '</b.js>; rel=preload'], 'X-Trace': 'id' });
  setImmediate(() => res.end('x'));
});
add('writeEarlyHints of nothing and of nonsense', steps((res) => { res.writeEarlyHints({}); }, (res) => { res.writeEarlyHints({ link: [] }); }, (res) => { res.writeEarlyHints({ link: 'bad' }); },
  (res) => { res.writeEarlyHints('bad'); }, (res) => { res.writeEarlyHints({ link: '</a>; rel=x', 'bad name': '1' }); }, (res) => { res.end('x'); }));
add('interim responses after the head', steps((res) => { res.write('a'); }, (res) => { res.writeContinue(); }, (res) => { res.writeProcessing(); }, (res) => { res.writeEarlyHints({ link: '</a>; rel=x' }); }, (res) => { res.end('x'); }), quiet);
add('writeInformation', steps((res) => res.writeInformation(104, { 'X-A': '1' }), (res) => res.writeInformation(199, ['A', '1', 'a', '2']), (res) => res.writeInformation(101), (res) => res.writeInformation(200), (res) => { res.end('x'); }), { versions: [24, 25] });
add('trailers', (_req, res) => { res.writeHead(200, { Trailer: 'X-Sum' }); res.write('body'); res.addTrailers({ 'X-Sum': '4', 'X-Many': ['1', '2'] }); res.end(); });
add('trailers as pairs', (_req, res) => { res.write('body'); res.addTrailers([['X-Sum', '4'], ['X-Sum', '5']]); res.end(); });
add('trailers without chunks', (_req, res) => { res.setHeader('Content-Length', 4); res.addTrailers({ 'X-Sum': '4' }); res.end('body'); });
add('trailers that are invalid', steps((res) => { res.write('a'); }, (res) => { res.addTrailers({ 'a b': '1' }); }, (res) => { res.addTrailers({ X: 'a\nb' }); }, (res) => { res.end(); }));
add('Trailer header and Content-Length', steps((res) => { res.writeHead(200, { Trailer: 'X', 'Content-Length': 1 }); }, (res) => { res.end('x'); }));
add('what pipe and the rest do on a response', steps((res) => { res.on('error', () => {}); res.pipe(process.stderr); }, (res) => { res.setTimeout(0); }, (res) => { res.end('x'); }));

const groups = {
  unique: { options: { uniqueHeaders: ['x-u'] } },
  reject: { options: { rejectNonStandardBodyWrites: true } },
  noKeepAlive: { options: { keepAliveTimeout: 0 } },
  longKeepAlive: { options: { keepAliveTimeout: 61000 } },
};

module.exports = { cases, groups };
