'use strict';
// How apps build on http.Server (own classes, patched methods, requests that never came from a socket), and how they misbehave.

const events = require('events');
const stream = require('stream');
const util = require('util');

const HOST = ['Host', 'h'];
const GET = { target: '/', headers: [HOST] };
const post = (body) => ({ method: 'POST', target: '/', headers: [HOST, ['Content-Length', String(body.length)]], body });
const asks = (...requests) => async (side) => {
  const answers = [];
  for (const request of requests) answers.push(await side.request(request));
  return answers;
};

const cases = {};
const groups = {};
const add = (name, app, more = {}) => { cases[name] = { app, client: asks(GET, post('some'), GET), ...more }; };
/** A case with a process of its own. */
const alone = (name, app, group, more = {}) => { groups[name] = group; add(name, app, { group: name, ...more }); };
const echo = (req, res) => { let body = ''; req.on('data', (chunk) => { body += chunk; }).on('end', () => res.end(`${req.method} ${req.url} ${body}`)); };

// ---- classes ------------------------------------------------------------------------------------------------

alone('own IncomingMessage and ServerResponse', (req, res) => { req.resume(); res.end(`${req.constructor.name} ${req.mine} ${res.constructor.name} ${res.mine()} ${req.headers.added}`); }, {
  create({ http }) {
    class Request extends http.IncomingMessage {
      constructor(socket) { super(socket); this.mine = socket !== null && typeof socket.remoteAddress === 'string'; }
      get secure() { return Boolean(this.socket.encrypted); }
    }
    class Response extends http.ServerResponse { mine() { return this.req instanceof Request && this.req.secure; } }
    return http.createServer({ IncomingMessage: Request, ServerResponse: Response });
  },
});
alone('an IncomingMessage with its own headers', (req, res) => { req.resume(); res.end(JSON.stringify([req.headers, req.rawHeaders, req.lines])); }, {
  create({ http }) {
    class Request extends http.IncomingMessage {
      _addHeaderLine(name, value, dest) { (this.lines ??= []).push(name); dest[`my-${name.toLowerCase()}`] = value; }
    }
    return http.createServer({ IncomingMessage: Request, requireHostHeader: false });
  },
});
alone('a server by util.inherits', echo, {
  create({ http }) {
    function MyServer(...args) { http.Server.apply(this, args); this.mine = true; }
    util.inherits(MyServer, http.Server);
    return new MyServer();
  },
});
alone('a class that extends http.Server', echo, {
  create({ http, note }) {
    return new (class MyServer extends http.Server {
      emit(event, ...args) { if (event !== 'listening') note('emit', event); return super.emit(event, ...args); }
    })();
  },
});
alone('emit is wrapped on the prototype', echo, {
  before({ http, note }) {
    const { emit } = http.Server.prototype;
    http.Server.prototype.emit = function (event, ...args) { if (event === 'request') note('wrapped', args[0].url, args[1].headersSent); return emit.call(this, event, ...args); };
  },
});
alone('emit is wrapped on the server', echo, {
  create({ http, note }) {
    const server = http.createServer();
    const { emit } = server;
    server.emit = (event, req, ...args) => {
      if (event !== 'request') return emit.call(server, event, req, ...args);
      note('redirected', req.url);
      req.url = `/prefix${req.url}`;
      return emit.call(server, event, req, ...args);
    };
    return server;
  },
});
alone('ServerResponse is patched', echo, {
  before({ http, note }) {
    const { end, writeHead, setHeader, write } = http.ServerResponse.prototype;
    http.ServerResponse.prototype.end = function (...args) { note('end'); return end.apply(this, args); };
    http.ServerResponse.prototype.write = function (...args) { note('write'); return write.apply(this, args); };
    http.ServerResponse.prototype.writeHead = function (...args) { note('writeHead', args[0]); return writeHead.apply(this, args); };
    http.ServerResponse.prototype.setHeader = function (...args) { note('setHeader', args[0]); return setHeader.apply(this, args); };
  },
});
alone('listeners are stolen', echo, {
  create({ http, note }) {
    const server = http.createServer((req, res) => res.end('never'));
    const stolen = server.listeners('request').slice();
    server.removeAllListeners('request');
    server.on('request', (req) => { if (req.url === '/stolen') note('stolen', stolen.length); });
    return server;
  },
}, { client: asks(GET, { ...GET, target: '/stolen' }) });
add('listeners come and go', (req, res, { server, note }) => {
  const extra = () => note('extra');
  server.once('request', extra);
  server.prependOnceListener('request', () => note('before'));
  note(server.listenerCount('request'));
  res.end('x');
});
add('two listeners answer', (req, res, { note }) => { note(res.headersSent, res.writableEnded); if (!res.writableEnded) res.end('second'); }, {
  server(server, { later }) { const first = (req, res) => res.end('first'); server.prependListener('request', first); later(() => server.removeListener('request', first)); } });
add('prototypes are replaced, as Express does', (req, res, { http }) => {
  Object.setPrototypeOf(req, Object.create(http.IncomingMessage.prototype, { path: { get() { return this.url; } } }));
  Object.setPrototypeOf(res, Object.create(http.ServerResponse.prototype, { send: { value(text) { return this.end(text); } } }));
  req.res = res;
  res.req = req;
  req.on('data', () => {}).on('end', () => res.send(`${req.path} ${req.headers.host} ${req.rawHeaders.length}`));
});
add('request and response are proxied', (req, res) => {
  const request = new Proxy(req, { get: (target, key) => (key === 'mine' ? 'proxied' : typeof target[key] === 'function' ? target[key].bind(target) : target[key]) });
  request.on('end', () => res.end(`${request.mine} ${request.method}`)).resume();
});
add('a new response for the same socket', (req, res, { http, note }) => {
  const { socket } = req;
  res.detachSocket(socket);
  const other = new http.ServerResponse(req);
  other.assignSocket(socket);
  other.on('finish', () => { note('finish'); other.detachSocket(socket); socket.end(); });
  other.shouldKeepAlive = false;
  other.end('other');
}, { client: async (side) => { side.client.send(GET); return side.client.closed(); } });
add('emit request with an injected pair', (req, res, { server, http }) => {
  if (req.injected) return void res.end('inner');
  const inner = new http.IncomingMessage(null);
  Object.assign(inner, { method: 'GET', url: '/inner', injected: true, headers: { host: 'h' } });
  inner.push(null);
  const response = new http.ServerResponse(inner);
  const chunks = [];
  response.assignSocket(Object.assign(new stream.Writable({ write(chunk, encoding, callback) { chunks.push(chunk); callback(); } }), { destroySoon() {} }));
  response.on('finish', () => res.end(Buffer.concat(chunks).toString().split('\r\n\r\n')[1]));
  server.emit('request', inner, response);
});
add('events.once and events.on', async (req, res, { note }) => {
  const finish = events.once(res, 'finish');
  const close = events.once(req, 'close');
  req.resume();
  res.end('x');
  await finish;
  note('finished');
  await close;
  note('closed');
});
add('server properties', (req, res, { server }) => {
  req.resume();
  res.end(JSON.stringify([server.listening, server.timeout, server.keepAliveTimeout, server.headersTimeout, server.requestTimeout, server.maxHeadersCount, server.maxRequestsPerSocket,
    server.maxConnections, server.httpAllowHalfOpen, server.allowHalfOpen, server.pauseOnConnect, server.noDelay, server.keepAlive, server.highWaterMark > 0, server.connections,
    typeof server._handle, typeof server.address().port, server._connections, server._connectionKey?.split(':')[0], server.eventNames().map(String), server.listenerCount('connection')]));
});
for (const [name, options] of Object.entries({
  optimizeEmptyRequests: { optimizeEmptyRequests: true }, insecureHTTPParser: { insecureHTTPParser: true }, highWaterMark: { highWaterMark: 1000 }, noDelay: { noDelay: false, keepAlive: true, keepAliveInitialDelay: 1000 },
  shouldUpgradeCallback: { shouldUpgradeCallback: () => false }, httpValidation: { httpValidation: 'relaxed' },
})) {
  alone(`option ${name}`, (req, res, { watch, note }) => {
    watch(req, res);
    note(req.readableHighWaterMark, res.writableHighWaterMark);
    try { res.setHeader('X', '\x01'); } catch (error) { note('threw', error); }
    echo(req, res);
  }, { options }, { versions: name === 'optimizeEmptyRequests' || name === 'httpValidation' || name === 'shouldUpgradeCallback' ? [24] : undefined,
    client: name === 'optimizeEmptyRequests' ? async (side) => { side.client.send(GET); await side.noted('high').catch(() => {}); return (await side.request(post('some'))); } : undefined });
}
cases['option optimizeEmptyRequests'].app = (req, res, { watch, note }) => { watch(req, res); note(req.readableEnded, req.destroyed, req._dumped); if (req.method === 'GET') res.end('x'); else echo(req, res); };
cases['option optimizeEmptyRequests'].client = asks(GET, post('some'), GET);

// ---- bad behaviour ---------------------------------------------------------------------------------------------

const other = async (side) => (await side.open().request({ ...GET, target: '/fine' })).text;
/** The bad request, and another client's good one. */
const bad = (name, app, more = {}) => add(`bad: ${name}`, (req, res, tools) => (req.url === '/fine' ? res.end('fine') : app(req, res, tools)), {
  client: async (side) => { const first = await side.probe(GET); return [first, await other(side)]; }, ...more });
bad('never answers', (req, res, { watch }) => { watch(req, res); });
bad('never answers, the client leaves', (req, res, { watch, note }) => { watch(req, res); note('started'); }, {
  client: async (side) => { side.client.send(GET); await side.noted('started'); side.client.reset(); await side.noted('req close'); return other(side); } });
bad('answers twice', (req, res, { watch }) => { watch(req, res); res.end('first'); res.end('second'); res.writeHead(200); });
bad('throws after the head', (req, res, { watch }) => { watch(req, res); res.writeHead(200, { 'Content-Length': 100 }); res.write('part'); throw new Error('bad'); });
bad('throws in the middle of chunks', (req, res, { watch }) => { watch(req, res); res.write('part'); setImmediate(() => { throw new Error('bad'); }); });
bad('destroys the socket', (req, res, { watch }) => { watch(req, res); req.socket.destroy(); });
bad('destroys the socket with an error', (req, res, { watch }) => { watch(req, res); req.socket.destroy(new Error('bad')); });
bad('writes after end', (req, res, { watch }) => { watch(req, res); res.end('x'); res.write('more'); setImmediate(() => res.write('even more')); });
bad('blocks the loop', (req, res) => { const until = Date.now() + 300; while (Date.now() < until); res.end('at last'); }, {
  client: async (side) => { const slow = side.open(); slow.send(GET); const fine = side.open(); fine.send({ ...GET, target: '/fine' }); return [(await slow.answer()).text, (await fine.answer()).text]; } });
bad('too small a Content-Length', (req, res, { watch }) => { watch(req, res); res.setHeader('Content-Length', 3); res.end('abcdef'); });
bad('too large a Content-Length', (req, res, { watch }) => { watch(req, res); res.setHeader('Content-Length', 30); res.end('abc'); });
bad('a Content-Length that is no number', (req, res, { note }) => { try { res.setHeader('Content-Length', 'many'); res.end('abc'); } catch (error) { note('threw', error); } });
bad('an invalid header', (req, res, { note }) => { try { res.setHeader('X', 'a\nb'); } catch (error) { note('threw', error); } res.end('x'); });
bad('a header that is valid for Node and odd', (req, res) => { res.setHeader('X', '\xff\t "'); res.statusMessage = '\xff'; res.end('x'); });
bad('an enormous header', (req, res, { note }) => { try { res.setHeader('X', 'v'.repeat(1e6)); res.end('x'); } catch (error) { note('threw', error); } }, {
  client: async (side) => { const { text } = await side.client.request(GET); return [text.length, text.slice(-5), await other(side)]; } });
bad('a rejected promise', async () => { await null; throw new Error('bad'); });
bad('ends in the middle of another handler', (req, res, { watch }) => { watch(req, res); req.socket.end('HTTP/1.1 200 OK\r\nConte'); });
bad('wrong methods of a wrong object', (req, res, { note }) => { for (const work of [() => res.json({}), () => res.status(1), () => null.x]) { try { work(); } catch (error) { note(error.name); } } res.end('x'); });

const exits = (name, app) => {
  groups[`exit: ${name}`] = { fresh: true };
  cases[`exit: ${name}`] = { app, group: `exit: ${name}`, client: async (side) => { side.client.send(GET); const text = await side.client.closed(); await side.exited(); return text; } };
};
exits('process.exit before an answer', () => process.exit(3));
exits('process.exit in the middle of the answer', (req, res) => { res.write('part'); setImmediate(() => process.exit(3)); });
exits('process.exit behind the answer', (req, res) => { res.end('whole'); process.exit(3); });
exits('process.exit behind half the answer', (req, res) => { res.write('part'); process.exit(3); });
exits('an uncaught error', () => { process.removeAllListeners('uncaughtException'); throw new Error('deadly'); });
exits('an uncaught error behind the answer', (req, res) => { process.removeAllListeners('uncaughtException'); res.end('whole'); throw new Error('deadly'); });
exits('SIGKILL', (req, res) => { res.write('part'); setImmediate(() => process.kill(process.pid, 'SIGKILL')); });
exits('process.exit in finish', (req, res) => { res.on('finish', () => process.exit(4)); res.end('whole'); });
exits('server.close and nothing left', (req, res, { server }) => { process.stdin.destroy(); res.setHeader('Connection', 'close'); server.close(); res.end('whole'); });

module.exports = { cases, groups };
