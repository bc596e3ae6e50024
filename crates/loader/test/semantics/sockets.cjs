'use strict';
// `req.socket`: what it says, what it does, what lives as long as it. (Timers: timers.cjs.)

const events = require('events');
const net = require('net');
const stream = require('stream');
const util = require('util');

const HOST = ['Host', 'h'];
const GET = { target: '/', headers: [HOST] };
const LAST = { target: '/', headers: [HOST, ['Connection', 'close']] };
const post = (body, rest = {}) => ({ method: 'POST', target: '/', headers: [HOST, ['Content-Length', String(rest.length ?? body.length)]], body, ...rest });
const asks = (...requests) => async (side) => {
  const answers = [];
  for (const request of requests) answers.push(await side.request(request));
  return answers;
};

const cases = {};
const add = (name, app, more = {}) => { cases[name] = { app, client: asks(GET, GET), ...more }; };

/** Everything that can be read without changing anything. */
const look = (socket) => [
  ['destroyed', 'closed', 'errored', 'readable', 'readableEnded', 'readableAborted', 'readableDidRead', 'readableFlowing', 'readableLength', 'readableEncoding',
    'readableObjectMode', 'writable', 'writableEnded', 'writableFinished', 'writableAborted', 'writableLength', 'writableCorked', 'writableNeedDrain',
    'writableObjectMode', 'readyState', 'connecting', '_connecting', 'pending', 'timeout', 'allowHalfOpen', 'encrypted', 'bufferSize', 'bytesWritten', '_paused',
    '_hadError', '_parent', '_host', 'autoSelectFamilyAttemptedAddresses', 'domain', 'isServer'].map((name) => `${name}:${socket[name]}`),
  typeof socket.remoteAddress, typeof socket.remotePort, socket.remoteFamily, socket.localAddress, typeof socket.localPort, socket.localFamily,
  Object.keys(socket.address()).sort(), socket.readableHighWaterMark === socket.writableHighWaterMark,
];
const counts = (socket) => [socket.eventNames().map(String).sort(), ['close', 'data', 'drain', 'end', 'error', 'finish', 'pause', 'resume', 'timeout', 'readable', 'lookup']
  .map((name) => [name, socket.listenerCount(name), socket.listeners(name).map((one) => one.name)])];

add('what it says', (req, res, { note }) => {
  note(look(req.socket));
  res.end('x');
  note(look(req.socket));
  const { socket } = req;
  setImmediate(() => note(look(socket)));
}, { client: asks(GET, post('body'), GET, LAST) });
add('what it is', (req, res, { note, http }) => {
  const { socket } = req;
  note(socket instanceof net.Socket, socket instanceof stream.Duplex, socket instanceof stream.Readable, socket instanceof stream.Writable, socket instanceof stream.Stream,
    socket instanceof events.EventEmitter, socket.constructor.name, socket.constructor === net.Socket, Object.prototype.toString.call(socket), typeof socket._readableState,
    typeof socket._writableState, socket.server instanceof http.Server, socket._server === socket.server, socket._httpMessage === res, socket.parser?.socket === socket,
    socket.parser?.incoming === req, req.connection === socket, res.connection === socket, res.socket === socket, req.client === socket,
    stream.isReadable?.(socket), stream.isErrored?.(socket), stream.isDisturbed?.(socket), util.types.isProxy(socket), Object.isExtensible(socket), 'encrypted' in socket,
    typeof socket[Symbol.asyncIterator], typeof socket.pipe, typeof socket.setEncoding, typeof socket.connect, typeof socket.getPeerCertificate, net.Socket.prototype.isPrototypeOf(socket));
  res.end('x');
});
add('its listeners', (req, res, { note }) => { note(counts(req.socket)); res.end('x'); const { socket } = req; setImmediate(() => note(counts(socket))); });
add('it can be printed', (req, res) => { util.inspect(req.socket); util.inspect(req, { depth: 3 }); util.inspect(res, { depth: 3 }); String(req.socket); res.end(`${req.socket}`); });
add('state kept over requests', (req, res) => {
  req.socket.mine = (req.socket.mine ?? 0) + 1;
  res.end(String(req.socket.mine));
}, { client: async (side) => [await side.request(GET), await side.request(post('x')), await side.request(GET), (await side.open().request(GET)).text] });
add('a map by socket', (() => {
  const seen = new WeakMap();
  return (req, res) => { seen.set(req.socket, (seen.get(req.socket) ?? 0) + 1); res.end(String(seen.get(req.socket))); };
})());
add("server 'connection' once per connection", (req, res) => res.end(String(req.socket.greeted)), {
  server(server, { on, note }) { on(server, 'connection', (socket) => { socket.greeted = (socket.greeted ?? 0) + 1; note('connection', look(socket), socket.parser !== null, socket._httpMessage); }); },
});
add('getConnections', (req, res, { server }) => server.getConnections((error, count) => res.end(`${error} ${count}`)), {
  client: async (side) => [(await side.open().request(GET)).text, (await side.open().request(GET)).text] });
add('bytesWritten', (req, res, { note }) => {
  res.sendDate = false;
  const { socket } = req;
  note(socket.bytesWritten);
  res.write('gr\xfc\xdfe');
  note(socket.bytesWritten, socket.writableLength);
  res.write(Buffer.alloc(2000));
  note(socket.bytesWritten, socket.writableLength);
  res.end('x');
  note(socket.bytesWritten, socket.writableLength);
  setImmediate(() => note(socket.bytesWritten));
});
add('bytesRead', (req, res, { note }) => {
  if (req.method === 'GET') note(req.socket.bytesRead); // of a body Node may have read more than it has given
  req.resume().on('end', () => { note(req.socket.bytesRead); res.end('x'); });
}, { client: asks(GET, { ...GET, headers: [HOST, ['X-Long', 'v'.repeat(500)], ['Accept', '*/*'], ['accept-encoding', 'gzip']] }, { ...GET, http10: true, headers: [HOST, ['Connection', 'keep-alive']] }, post('body'),
  { method: 'M-SEARCH', target: '/long?target', headers: [HOST] }, { method: 'PUT', target: '/', headers: [HOST, ['Transfer-Encoding', 'chunked']], body: 'chunk of twenty bytes' }, GET) });
add('bytesRead of a body in pieces', (req, res, { note }) => {
  req.on('data', (chunk) => note('data', chunk.toString(), req.socket.bytesRead)).on('end', () => { note(req.socket.bytesRead); res.end('x'); });
}, {
  async client(side) {
    side.client.send({ method: 'POST', target: '/', headers: [HOST, ['Transfer-Encoding', 'chunked']], body: 'one', end: false });
    await side.noted('data one');
    side.client.body('two');
    await side.noted('data two');
    side.client.endBody();
    return [(await side.client.answer()).text, await side.request(GET)];
  },
});
add('bytes after it is closed', (req, res, { note }) => {
  const { socket } = req;
  res.sendDate = false;
  res.end('x');
  socket.on('close', () => note(socket.bytesRead, socket.bytesWritten, look(socket)[0], typeof socket.remoteAddress, socket.remoteFamily, typeof socket.localPort, socket.address()));
}, { client: asks(LAST) });

// ---- methods -----------------------------------------------------------------------------------------------------

add('methods that return the socket', (req, res, { note }) => {
  const { socket } = req;
  note(['setNoDelay', 'setKeepAlive', 'ref', 'unref', 'pause', 'resume', 'setMaxListeners', 'setDefaultEncoding'].map((name) => [name,
    name.startsWith('setDefault') ? socket[name]('utf8') === socket : name.startsWith('setMax') ? socket[name](20) === socket : socket[name]() === socket]));
  note(socket.setNoDelay(false) === socket, socket.setKeepAlive(true, 1000) === socket, socket.isPaused(), socket.setTimeout(0) === socket);
  res.end('x');
});
add('methods with wrong arguments', (req, res, { note }) => {
  const { socket } = req;
  for (const [name, work] of Object.entries({
    encoding: () => socket.setEncoding('utf8'), timeout: () => socket.setTimeout('soon'), negative: () => socket.setTimeout(-1), callback: () => socket.setTimeout(5, 'x'),
    defaultEncoding: () => socket.setDefaultEncoding('klingon'), writeNull: () => socket.write(null), writeNumber: () => socket.write(1), writeEncoding: () => socket.write('x', 'klingon'),
    writeNothing: () => socket.write(), writeArray: () => socket.write([1]), timeoutNaN: () => socket.setTimeout(NaN), timeoutNothing: () => socket.setTimeout(),
  })) {
    try { work(); note(name, 'fine'); } catch (error) { note(name, error); }
  }
  socket.setTimeout(0);
  res.end('x');
}, { client: (side) => side.probe(GET) });
add('setTypeOfService', (req, res, { note }) => { note(typeof req.socket.setTypeOfService, typeof req.socket.getTypeOfService?.()); res.end('x'); }, { versions: [24, 25] });
add('raw bytes in the place of a response', (req, res, { note }) => {
  const { socket } = req;
  note(socket.write('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n', () => note('head written')));
  socket.end('raw', () => note('ended'));
  socket.on('finish', () => note('finish')).on('close', (error) => note('close', error));
}, { client: async (side) => { side.client.send(GET); const text = await side.client.closed(); side.client.half(); await side.noted('close'); return text; } });
add('raw bytes in several turns, then destroy', (req, res, { note }) => {
  const { socket } = req;
  socket.write('HTTP/1.1 200 OK\r\n');
  setImmediate(() => { socket.write('Content-Length: 3\r\n\r\nraw', () => { note('written'); socket.destroy(); }); });
  socket.on('close', (error) => note('close', error));
}, { client: async (side) => { side.client.send(GET); return side.client.closed(); } });
add('raw bytes in every encoding', (req, res, { note }) => {
  const { socket } = req;
  for (const [text, encoding] of [['gr\xfc\xdf\u20ac', 'utf8'], ['gr\xfc\xdf', 'latin1'], ['gr\xfc\xdf', 'ascii'], ['ab', 'utf16le'], ['cafe', 'hex'], ['aGV5', 'base64'], ['x', undefined], ['y', null]]) socket.write(text, encoding);
  for (const chunk of [new Uint8Array([1, 2, 255]), Buffer.from('b'), '']) socket.write(chunk);
  socket.end('end', 'latin1', () => note('ended'));
}, { client: async (side) => { side.client.send(GET); return side.client.closed(); } });
for (const view of ['Uint16Array', 'DataView']) {
  add(`raw bytes from a ${view}`, (req, res, { note }) => {
    const chunk = view === 'DataView' ? new DataView(Uint8Array.of(97, 98).buffer) : Uint16Array.of(0x6261, 0x6463);
    try { req.socket.write(chunk); } catch (error) { note(error); }
    req.socket.end();
  }, { client: async (side) => { side.client.send(GET); return side.client.closed(); } });
}
add('raw bytes behind a response', (req, res, { note }) => {
  const { socket } = req;
  res.end('whole');
  setImmediate(() => { note(socket.write('raw', () => note('written')), socket.writableLength); });
}, { client: async (side) => { side.client.send(GET); const text = await side.client.upTo('raw'); return [text, await side.request(GET)]; } });
add('many raw bytes behind a response', (req, res, { note }) => {
  const { socket } = req;
  res.end('whole');
  if (req.url === '/') setImmediate(() => socket.write(Buffer.alloc(1e6, 'r'), (error) => note('written', error ?? 'fine', socket.writableLength)));
}, { real: true, client: async (side) => { side.client.send(GET); const { length } = await side.client.upTo('r'.repeat(1e6)); await side.noted('written'); return [length, await side.request({ ...GET, target: '/2' })]; } });
const ends = (req, { note }) => {
  const { socket } = req;
  for (const name of ['end', 'finish', 'close', 'error']) socket.on(name, (...args) => note(name, ...args));
  return () => { socket.end(); note(socket.readyState, socket.writable); socket.once('finish', () => setImmediate(() => note('later', socket.readyState, socket.destroyed))); };
};
const left = async (side) => { await side.client.closed(); await side.noted('later'); side.client.half(); await side.noted('close'); };
add('socket.end() between two requests', (req, res, tools) => { const end = ends(req, tools); res.end('whole'); res.on('close', () => setImmediate(() => setImmediate(end))); }, {
  real: true, client: async (side) => { const { text } = await side.client.request(GET); await left(side); return text; } });
add('socket.end() right behind an answer', (req, res, tools) => { const end = ends(req, tools); res.end('whole'); end(); }, {
  real: true, client: async (side) => { const { text } = await side.client.request(GET); await left(side); return text; } });
for (const answered of [false, true]) {
  add(`a request behind socket.end(), the one before is ${answered ? '' : 'not '}answered`, (req, res, tools) => {
    if (req.url === '/2') {
      tools.watch(req, res);
      tools.note('second');
      res.end('nobody reads this');
      return;
    }
    const end = ends(req, tools);
    if (answered) res.end('first');
    end();
  }, {
    real: true,
    async client(side) {
      side.client.send(GET);
      const text = await side.client.closed();
      await side.noted('later');
      side.client.send({ ...GET, target: '/2' });
      await side.noted('second');
      await side.settle();
      side.client.half();
      await side.noted('close ');
      return text;
    },
  });
}
add('half a request behind socket.end(), and FIN', (req, res, tools) => ends(req, tools)(), {
  real: true, client: async (side) => { side.client.send(GET); await side.client.closed(); await side.noted('later'); side.client.socket.write('GET / HT'); side.client.half(); await side.noted('close'); } });
add('half a request behind socket.end(), and silence', (req, res, tools) => ends(req, tools)(), {
  real: true, client: async (side) => { side.client.send(GET); await side.client.closed(); await side.noted('later'); side.client.socket.write('GET /2 HT'); await new Promise((resolve) => setTimeout(resolve, 100)); side.client.half(); await side.noted('close'); } });
add('raw bytes before a response', (req, res) => { req.socket.write('raw'); res.end('whole'); }, { client: async (side) => { side.client.send(GET); return side.client.upTo('whole'); } });
add('large raw bytes and drain', (req, res, { note }) => {
  const { socket } = req;
  note('write', socket.write(Buffer.alloc(100000, 'x')), socket.writableLength, socket.writableNeedDrain);
  note('write', socket.write(Buffer.alloc(1, 'y')), socket.writableLength, socket.writableNeedDrain);
  socket.on('drain', () => note('drain', socket.writableLength));
  setImmediate(() => setImmediate(() => { note('later', socket.writableLength, socket.writableNeedDrain); socket.end(); }));
}, { client: async (side) => { side.client.send(GET); return (await side.client.closed()).length; } });
add('write after end', (req, res, { note }) => {
  const { socket } = req;
  socket.on('error', (error) => note('error', error)).on('close', (error) => note('close', error));
  socket.end('x');
  note('write', socket.write('y', (error) => note('callback', error)), socket.destroyed, socket.errored?.code);
}, { client: (side) => { side.client.send(GET); return side.client.closed(); }, but: ({ result }) => result });
add('write after destroy', (req, res, { note }) => {
  const { socket } = req;
  socket.on('error', (error) => note('error', error)).on('close', (error) => note('close', error));
  socket.destroy();
  note('write', socket.write('y', (error) => note('callback', error)), socket.end('z', (error) => note('end callback', error)) === socket, socket.writableLength);
  note(socket.destroy(new Error('again')) === socket, socket.errored);
}, { client: (side) => { side.client.send(GET); return side.client.closed(); } });
add('end with callbacks, twice', (req, res, { note }) => {
  const { socket } = req;
  socket.end('x', (error) => note('first', error ?? 'fine'));
  socket.end((error) => note('second', error ?? 'fine'));
  socket.on('finish', () => setImmediate(() => { socket.end((error) => note('third', error ?? 'fine')); }));
  socket.on('finish', () => note('finish')).on('close', (error) => note('close', error)).on('prefinish', () => note('prefinish'));
}, { client: async (side) => { side.client.send(GET); const text = await side.client.closed(); await side.noted('third'); side.client.half(); await side.noted('close'); return text; } });
add('destroy with a callback', (req, res, { note }) => {
  const { socket } = req;
  socket.on('error', (error) => note('error', error)).on('close', (error) => note('close', error));
  socket._destroy.length;
  socket.destroy(new Error('mine'), (error) => note('callback', error ?? 'fine'));
  socket.destroy(null, (error) => note('second callback', error ?? 'fine'));
}, { client: (side) => { side.client.send(GET); return side.client.closed(); } });
add('destroySoon with bytes on their way', (req, res, { note }) => {
  const { socket } = req;
  socket.on('finish', () => note('finish')).on('close', (error) => note('close', error));
  socket.write('a'.repeat(50000));
  socket.destroySoon();
  note(socket.writable, socket.destroyed);
}, { client: async (side) => { side.client.send(GET); return (await side.client.closed()).length; } });
add('Symbol.asyncDispose and abort signals', async (req, res, { note }) => {
  const { socket } = req;
  const controller = new AbortController();
  stream.addAbortSignal(controller.signal, socket);
  socket.on('error', (error) => note('error', error)).on('close', (error) => note('close', error));
  controller.abort();
}, { client: (side) => { side.client.send(GET); return side.client.closed(); } });
add('pause and resume, with their events', (req, res, { note }) => {
  const { socket } = req;
  socket.on('pause', () => note('pause')).on('resume', () => note('resume'));
  socket.pause();
  note(socket.isPaused(), socket.readableFlowing);
  setImmediate(() => {
    socket.resume();
    note(socket.isPaused(), socket.readableFlowing);
    setImmediate(() => { res.end('x'); socket.removeAllListeners('pause'); socket.removeAllListeners('resume'); });
  });
});
add('cork and uncork', (req, res, { note }) => {
  const { socket } = req;
  socket.cork();
  socket.cork();
  socket.write('HTTP/1.1 200 OK\r\n');
  note(socket.writableCorked, socket.writableLength);
  socket.uncork();
  note(socket.writableCorked, socket.writableLength);
  setImmediate(() => { socket.write('Content-Length: 0\r\n\r\n'); socket.uncork(); note(socket.writableCorked, socket.writableLength); socket.end(); });
}, { client: async (side) => { side.client.send(GET); return side.client.closed(); } });
add('finished and pipeline on the socket', (req, res, { note }) => {
  stream.finished(req.socket, { readable: false }, (error) => note('writable side', error ?? 'fine'));
  stream.finished(req.socket, { writable: false }, (error) => note('readable side', error ?? 'fine'));
  stream.finished(req.socket, (error) => note('both', error ?? 'fine'));
  stream.pipeline(stream.Readable.from(['HTTP/1.1 200 OK\r\n', 'Content-Length: 3\r\n\r\n', 'abc']), req.socket, (error) => note('pipeline', error ?? 'fine'));
}, { client: async (side) => { side.client.send(GET); const text = await side.client.upTo('abc'); await side.settle(); side.client.half(); await side.noted('both'); await side.settle(); return text; } });
add('a response is piped to the raw socket', (req, res) => { stream.Readable.from(['HTTP/1.1 200 OK\r\n\r\n', 'abc']).pipe(req.socket); }, { client: async (side) => { side.client.send(GET); return side.client.closed(); } });
add('listeners of the app on the socket', (req, res, { note }) => {
  const { socket } = req;
  for (const name of ['close', 'error', 'end', 'timeout', 'drain', 'finish', 'lookup', 'ready', 'connect', 'prefinish']) socket.on(name, (...args) => note(name, ...args));
  socket.once('close', () => note('once'));
  socket.prependListener('close', () => note('prepended'));
  note(socket.listenerCount('close'), socket.listenerCount('end'));
  res.end('x');
}, { client: async (side) => [await side.request(GET), await side.request(LAST)] });
add('errors of the app on the socket', (req, res, { note }) => {
  const { socket } = req;
  socket.on('close', (error) => note('close', error, socket.errored?.message));
  socket.emit('error', new Error('emitted'));
  note(socket.destroyed, socket.writable);
}, { client: async (side) => { side.client.send(GET); return side.client.closed(); } });
add('the same, with clientError', cases['errors of the app on the socket'].app, {
  server(server, { on, note }) { on(server, 'clientError', (error, socket) => { note('clientError', error, socket.writable); socket.end('HTTP/1.1 400 Mine\r\n\r\n'); }); },
  client: async (side) => { side.client.send(GET); const text = await side.client.closed(); side.client.half(); await side.noted('close'); return text; },
});

// ---- limits --------------------------------------------------------------------------------------------------------

add('maxRequestsPerSocket', (req, res, { note }) => { note(res.maxRequestsOnConnectionReached, res.shouldKeepAlive); res.end('x'); }, {
  group: 'three', client: async (side) => [await side.request(GET), await side.request(GET), await side.request(GET), side.client.state] });
add('maxRequestsPerSocket, dropRequest', (req, res) => {
  // The client does not wait for the end of the third answer's connection.
  res.setHeader('Connection', 'keep-alive');
  res.end('x');
}, {
  group: 'three',
  server(server, { on, note }) { on(server, 'dropRequest', (req, socket) => note('dropRequest', req.url, socket === req.socket, socket.destroyed)); },
  client: asks(GET, GET, GET, { ...GET, target: '/dropped' }),
});
add('maxConnections', (req, res) => { res.end('x'); }, {
  group: 'two',
  server(server, { on, note }) { on(server, 'drop', (data) => note('drop', Object.keys(data ?? {}).sort(), typeof data?.remotePort, data?.localFamily)); },
  async client(side) {
    const first = await side.open().request(GET);
    const second = await side.open().request(GET);
    const third = side.open();
    third.send(GET);
    return [first.text, second.text, await third.closed()];
  },
});

const groups = {
  three: { set: { maxRequestsPerSocket: 3 } },
  two: { set: { maxConnections: 2 } },
};

module.exports = { cases, groups };
