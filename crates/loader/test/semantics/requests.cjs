'use strict';
// Requests: methods, targets, versions, heads, trailers, expectations. (Bodies: bodies.cjs.)

const HOST = ['Host', 'h'];
const chunked = ['Transfer-Encoding', 'chunked'];
const get = (target, ...headers) => ({ target, headers: [HOST, ...headers] });
const post = (body, ...headers) => ({ method: 'POST', target: '/p', headers: [HOST, ['Content-Length', String(body.length)], ...headers], body });

/** All that a request tells before its body. */
function head(req, res) {
  res.end(JSON.stringify([
    req.method, req.url, req.httpVersion, req.httpVersionMajor, req.httpVersionMinor, req.rawHeaders, Object.entries(req.headers),
    req.headersDistinct, Object.getPrototypeOf(req.headers) === Object.prototype, Object.getPrototypeOf(req.headersDistinct), req.complete,
    req.upgrade, req.aborted, req.statusCode, req.statusMessage, req.readableLength, req.readableHighWaterMark, Object.keys(req).sort(),
    req.trailers, req.trailersDistinct, req.rawTrailers, req.joinDuplicateHeaders, res.shouldKeepAlive, res.useChunkedEncodingByDefault,
  ]));
}

/** The same, when the body is over. */
function whole(req, res) {
  let body = '';
  req.setEncoding('latin1').on('data', (text) => { body += text; });
  req.on('end', () => res.end(JSON.stringify([
    req.method, body, req.complete, req.headers, req.trailers, req.trailersDistinct, req.rawTrailers, req.readableEnded, req.readableAborted,
  ])));
}

const asks = (...requests) => async (side) => {
  const answers = [];
  for (const request of requests) answers.push(await side.request(request));
  return answers;
};

const cases = {};

// llhttp's methods (CONNECT goes the plain path) with and without a body.
const METHODS = ['DELETE', 'GET', 'HEAD', 'POST', 'PUT', 'OPTIONS', 'TRACE', 'COPY', 'LOCK', 'MKCOL', 'MOVE', 'PROPFIND', 'PROPPATCH', 'SEARCH',
  'UNLOCK', 'BIND', 'REBIND', 'UNBIND', 'ACL', 'REPORT', 'MKACTIVITY', 'CHECKOUT', 'MERGE', 'M-SEARCH', 'NOTIFY', 'SUBSCRIBE', 'UNSUBSCRIBE',
  'PATCH', 'PURGE', 'MKCALENDAR', 'LINK', 'UNLINK', 'SOURCE'];
cases['every method without a body'] = { app: head, client: asks(...METHODS.map((method) => ({ ...get('/m'), method }))) };
cases['every method with a body'] = { app: whole, client: asks(...METHODS.map((method) => ({ ...post('some'), method }))) };
cases['QUERY'] = { app: whole, versions: [22, 24, 25], client: asks({ ...post('some'), method: 'QUERY' }) };

// Bytes from 0x80 on are not among them: llhttp answers those with 400.
const TARGETS = ['/', '//', '//a//b', '/a/../b', '/%41%zz%', '/?', '/?a?b=c&&', '/#x', '/a?b#c', '/a b'.replace(' ', '%20'), '*',
  'http://h/abs?x', 'HTTP://h:80/', 'http://other/', 'https://h/', '/;a=b', "/'\"<>\\^`{|}", `/${'a'.repeat(7000)}`];
for (const target of TARGETS) {
  cases[`target ${JSON.stringify(target.slice(0, 20))}`] = { app: head, client: asks({ ...get(target), method: target === '*' ? 'OPTIONS' : 'GET' }) };
}

const HEADS = {
  'odd case': [['HOST', 'h'], ['uSeR-aGeNt', 'x'], ['COOKIE', 'z'], ['X-ABC', 'v'], ['x-AbC', 'w']],
  'repeated, joined': [HOST, ['Accept', 'a'], ['Accept', 'b'], ['accept', 'c'], ['X-Multi', '1'], ['x-multi', '2'], ['Via', 'a'], ['VIA', 'b']],
  'repeated, first wins': [HOST, ...['User-Agent', 'Authorization', 'Referer', 'Content-Type', 'From', 'Max-Forwards', 'If-Modified-Since',
    'If-Unmodified-Since', 'Proxy-Authorization', 'Location', 'Retry-After', 'ETag', 'Expires', 'Last-Modified', 'Server', 'Age']
    .flatMap((name) => [[name, 'a'], [name.toLowerCase(), 'b']])],
  'cookies': [HOST, ['Cookie', 'a=1'], ['cookie', 'b=2'], ['COOKIE', ''], ['Cookie', 'c=3']],
  'set-cookie': [HOST, ['Set-Cookie', 'a=1'], ['set-cookie', 'b=2'], ['Accept', 'x']],
  'names of Object.prototype': [HOST, ['constructor', 'a'], ['__proto__', 'b'], ['toString', 'c'], ['hasOwnProperty', 'd'], ['constructor', 'e'], ['Accept', 'x']],
  'empty values': [HOST, ['Accept', ''], ['X-Empty', ''], ['Accept', 'x'], ['Cookie', ''], ['Cookie', 'a']],
  'latin1 and tabs': [HOST, ['X-Name', 'Zo\xeb'], ['Cookie', '\xfc'], ['X-Tab', 'a\tb'], ['X-Space', 'a  b'], ['X-High', '\x80\x81\xff']],
  'odd names': [HOST, ["!#$%&'*+-.^_`|~", 'v'], ['0', 'zero'], ['1', 'one'], ['a', 'b'], ['10', 'ten']],
  'many': [HOST, ...Array.from({ length: 120 }, (_, i) => [`X-${i}`, String(i)])],
  'a long value': [HOST, ['X-Long', 'v'.repeat(12000)]],
  'two hosts': [HOST, ['Host', 'other']],
  'an empty host': [['Host', '']],
  'upgrade that nobody listens for': [HOST, ['Connection', 'Upgrade'], ['Upgrade', 'foo']],
  'keep-alive words': [HOST, ['Connection', 'Keep-Alive, X-Hop'], ['X-Hop', '1'], ['Keep-Alive', 'timeout=3'], ['TE', 'trailers, chunked']],
};
for (const [name, headers] of Object.entries(HEADS)) {
  cases[`head: ${name}`] = { app: head, client: asks({ target: '/', headers }, get('/again')) };
  cases[`head: ${name}, names as text`] = { app: head, client: asks({ target: '/', headers, numbers: false }) };
  cases[`head: ${name}, joinDuplicateHeaders`] = { app: head, group: 'join', client: asks({ target: '/', headers }) };
}
const overflowing = { app: head, group: 'maxHeadersCount', server: noteClientErrors };
cases['more than maxHeadersCount'] = { app: head, group: 'maxHeadersCount', client: asks({ target: '/', headers: HEADS.many }) };
cases['more than maxHeadersCount, with a body'] = { ...overflowing, client: asks({ ...post('some'), headers: [...HEADS.many, ['Content-Length', '4']] }) };
for (const count of [5, 6, 7, 31, 32, 33, 62, 63, 64]) {
  cases[`${count} headers and maxHeadersCount 5`] = { ...overflowing, client: asks({ target: '/', headers: HEADS.many.slice(0, count) }) };
}
cases['maxHeadersCount 0'] = { app: head, group: 'maxHeadersCount0', client: asks({ target: '/', headers: HEADS.many }) };
cases['no Host'] = { app: head, client: (side) => asks({ target: '/', headers: [] })(side).then(async (all) => [all, await side.client.closed()]) };
cases['no Host is allowed'] = { app: head, group: 'noHost', client: asks({ target: '/', headers: [] }, get('/')) };
cases['no Host in 1.0'] = { app: head, client: asks({ target: '/', headers: [], http10: true }) };
cases['headers are changed by the app'] = {
  app(req, res) {
    req.headers['x-new'] = 'set';
    delete req.headers.host;
    req.rawHeaders.push('Raw', 'added');
    const before = JSON.stringify([req.headers, req.headersDistinct]);
    req.headers = { own: 'object' };
    res.end(`${before} ${JSON.stringify(req.headers)}`);
  },
};

// ---- versions and connections ---------------------------------------------------------------------

const closes = (...requests) => async (side) => {
  const answers = await asks(...requests)(side);
  return [answers, await side.client.closed()];
};
const http10 = (...headers) => ({ target: '/', headers: [HOST, ...headers], http10: true });
cases['HTTP/1.0'] = { app: head, client: closes(http10()) };
cases['HTTP/1.0 with keep-alive'] = { app: head, client: asks(http10(['Connection', 'keep-alive']), http10(['Connection', 'Keep-Alive'])) };
cases['HTTP/1.0 with a body'] = { app: whole, client: closes({ ...post('some'), http10: true }) };
cases['HTTP/1.0, unknown length'] = { app(req, res) { res.write('a'); res.end('b'); }, client: closes(http10()) };
cases['HTTP/1.0, keep-alive, unknown length'] = {
  app(req, res) { res.write('a'); res.end('b'); }, client: closes(http10(['Connection', 'keep-alive'])) };
cases['HTTP/1.0 and TE: chunked'] = { app(req, res) { res.write('a'); res.end('b'); }, client: asks(http10(['TE', 'chunked'], ['Connection', 'keep-alive'])) };
cases['Connection: close'] = { app: head, client: closes(get('/', ['Connection', 'close'])) };
cases['Connection: close in other words'] = { app: head, client: closes(get('/', ['connection', 'x, CLOSE'])) };
cases['Connection: close on the second request'] = { app: head, client: closes(get('/'), get('/', ['Connection', 'close'])) };

// ---- trailers ----------------------------------------------------------------------------------------

const withTrailers = (trailers, headers = []) => ({ method: 'POST', target: '/', headers: [HOST, chunked, ...headers], body: 'chunks', trailers });
cases['trailers'] = { app: whole, client: asks(withTrailers('X-T\0one\0x-u\0two\0'), withTrailers('')) };
cases['trailers: repeated and known'] = { app: whole, client: asks(withTrailers('X-T\0one\0X-t\0two\0ETag\0a\0ETag\0b\0Set-Cookie\0a\0Set-Cookie\0b\0')) };
cases['trailers: those that no proxy forwards'] = { app: whole, client: asks(withTrailers('Host\0b\0Connection\0close\0Upgrade\0x\0Expect\x00100-continue\0TE\0trailers\0Keep-Alive\0a\0Proxy-Connection\0a\0Trailer\0X\0')) };
for (const name of ['Content-Length', 'Transfer-Encoding']) {
  cases[`trailers: ${name}`] = {
    app: whole, real: true,
    async client(side) { side.client.send(withTrailers(`X\0y\0${name}\x003\0`)); return side.client.closed(); },
    server(server, { on, note }) { on(server, 'clientError', (error, socket) => { note(error, error.reason); socket.end('HTTP/1.1 499 Mine\r\n\r\n'); }); },
  };
}
cases['trailers: names of Object.prototype, empty, latin1'] = { app: whole, client: asks(withTrailers('__proto__\0one\0X-Empty\0\0X-L\0\xe9\0')) };
cases['trailers: asked for before they are there'] = {
  app(req, res) {
    const early = JSON.stringify([req.trailers, req.trailersDistinct, req.rawTrailers]);
    req.on('data', () => {}).on('end', () => res.end(early + JSON.stringify([req.trailers, req.trailersDistinct, req.rawTrailers])));
  },
  client: asks(withTrailers('X-T\0one\0')),
};
cases['trailers: joinDuplicateHeaders'] = { app: whole, group: 'join', client: asks(withTrailers('ETag\0a\0ETag\0b\0')) };
cases['trailers: more than maxHeadersCount'] = {
  app: whole, group: 'maxHeadersCount', client: asks(withTrailers(Array.from({ length: 9 }, (_, i) => `X-${i}\0v\0`).join(''))) };
cases['Trailer header without a trailer'] = { app: whole, client: asks(withTrailers('', [['Trailer', 'X-T']])) };

// ---- expectations -------------------------------------------------------------------------------------

const expecting = (expectation, rest = {}) => ({ ...post('body', ['Expect', expectation]), ...rest });
for (const expectation of ['100-continue', '100-Continue', 'x, 100-continue', '100-continued', 'wonders', '']) {
  cases[`Expect: ${expectation}`] = { app: whole, client: asks(expecting(expectation), get('/')) };
  cases[`Expect: ${expectation}, with listeners`] = {
    app: whole, server: expectListeners, client: asks(expecting(expectation), get('/')) };
}
cases['Expect: 100-continue, the body waits'] = {
  app: whole,
  async client(side) {
    side.client.send(expecting('100-continue', { body: '', end: false }));
    const first = await side.client.upTo('\r\n\r\n');
    side.client.body('body').endBody();
    return [first, (await side.client.answer()).text];
  },
};
cases['Expect: 100-continue without a body'] = { app: head, client: asks(get('/', ['Expect', '100-continue']), get('/')) };
cases['Expect: 100-continue in HTTP/1.0'] = { app: whole, client: closes(expecting('100-continue', { http10: true })) };
cases['checkContinue answers without 100'] = {
  app() {},
  server(server, { on, note }) {
    on(server, 'checkContinue', (req, res) => {
      note('checkContinue', req.method, res._sent100, res._expect_continue, req.complete);
      res.writeHead(413, { Connection: 'close' });
      res.end('too large');
    });
  },
  async client(side) {
    side.client.send(expecting('100-continue', { body: '', end: false }));
    return side.client.closed();
  },
};
cases['checkContinue keeps the connection and the client sends its body anyway'] = {
  app: whole,
  server(server, { on }) {
    on(server, 'checkContinue', (req, res) => { res.writeHead(403); res.end('no'); });
  },
  client: asks(expecting('100-continue'), get('/')),
};

function noteClientErrors(server, { on, note }) {
  on(server, 'clientError', (error, socket) => {
    note('clientError', error, error.reason, socket.writable, socket.destroyed);
    socket.end('HTTP/1.1 499 Mine\r\nContent-Length: 0\r\n\r\n');
  });
}

function expectListeners(server, { on, note }) {
  on(server, 'checkContinue', (req, res) => {
    note('checkContinue', req.headers.expect, res.headersSent);
    res.writeContinue(() => note('continue written'));
    server.emit('request', req, res);
  });
  on(server, 'checkExpectation', (req, res) => {
    note('checkExpectation', req.headers.expect);
    res.statusCode = 417;
    res.end('cannot');
  });
}

const groups = {
  join: { options: { joinDuplicateHeaders: true } },
  maxHeadersCount: { set: { maxHeadersCount: 5 } },
  maxHeadersCount0: { set: { maxHeadersCount: 0 } },
  noHost: { options: { requireHostHeader: false } },
};

module.exports = { cases, groups };
