'use strict';

// Owns how a connection gets to Node's own parser: a handle that was accepted, with bytes that somebody else
// read from it, becomes a `net.Socket` of the app's server as if Node had just accepted and read them. Also in
// the middle of a connection, when the app knows it as a virtual socket already.
// Must never know: frames, channels, who read the bytes.

const net = require('net');
const { drainTicks, root, setImmediate } = require('./natives.cjs');

/**
 * One way into a server.
 * @typedef {object} Entrance
 * @property {any} server
 * @property {any} handle `this` of `onconnection`
 * @property {Function} onconnection Node's own (net.js)
 * @property {symbol} owner key under which a handle keeps its server or socket
 * @property {import('async_hooks').AsyncResource} scope the server's async context
 * @property {(() => void) | null} onRequest called for each request that Node's parser reads
 */

/** The key under which net.js keeps who owns a handle (`owner_symbol`). @param {any} handle @param {any} server */
function ownerKey(handle, server) {
  return Object.getOwnPropertySymbols(handle).find((key) => handle[key] === server);
}

/**
 * Node's own `onconnection`: limits, `net.Socket`, 'connection', diagnostics.
 * @param {Entrance} entrance @param {any} client handle @param {Buffer} bytes
 */
function accept(entrance, client, bytes) {
  let done = false;
  try {
    entrance.scope.runInAsyncScope(entrance.onconnection, entrance.handle, 0, client);
    drainTicks();
    done = true;
  } finally {
    // What a listener of 'connection' throws is the app's; the connection goes on as under Node alone.
    if (!done) setImmediate(accepted, entrance, client, bytes);
  }
  accepted(entrance, client, bytes);
}

/** @param {Entrance} entrance @param {any} client @param {Buffer} bytes */
function accepted(entrance, client, bytes) {
  const socket = client[entrance.owner];
  if (!(socket instanceof net.Socket)) return; // dropped: too many connections
  watch(entrance, socket);
  deliver(client, socket, bytes);
}

/** @param {Entrance} entrance @param {any} socket */
function watch(entrance, socket) {
  const { parser } = socket;
  const { onRequest } = entrance;
  if (!parser || onRequest === null) return;
  const { onIncoming } = parser;
  parser.onIncoming = (/** @type {any} */ request, /** @type {boolean} */ keepAlive) => {
    onRequest();
    return onIncoming(request, keepAlive);
  };
}

/**
 * While Node's parser consumes the handle, what is read goes past the stream into the parser: here through the listener
 * that it has for TLS sockets (socketOnData of _http_server.js). Otherwise as onStreamRead of stream_base_commons.js: a paused
 * socket keeps the bytes, a socket that app code reads gives them there.
 * @param {any} client @param {any} socket @param {Buffer} bytes
 */
function deliver(client, socket, bytes) {
  if (socket.destroyed || bytes.length === 0) return;
  count(client, 'bytesRead', bytes.length);
  socket._unrefTimer();
  if (socket.parser?._consumed && client.reading) root.runInAsyncScope(socket.emit, socket, 'data', bytes);
  else root.runInAsyncScope(socket.push, socket, bytes);
}

/** `socket.bytesRead` asks the handle, which has not seen them. @param {any} client @param {string} name @param {number} more */
function count(client, name, more) {
  let getter;
  for (let at = client; at !== null && getter === undefined; at = Object.getPrototypeOf(at)) {
    getter = Object.getOwnPropertyDescriptor(at, name)?.get;
  }
  if (getter === undefined || more === 0) return;
  const native = getter;
  Object.defineProperty(client, name, { get() { return native.call(client) + more; }, configurable: true });
}

/**
 * A virtual socket becomes the real one, in place: the app's listeners, its own properties and every `req.socket` stay
 * valid, and so does Node's state of the connection (its parser and closures), which has seen the earlier requests.
 * @param {Entrance} entrance @param {any} client @param {any} socket @param {Buffer} bytes
 */
function takeOver(entrance, client, socket, bytes) {
  socket._resource.runInAsyncScope(becomeReal, undefined, entrance.server, client, socket);
  drainTicks();
  watch(entrance, socket);
  deliver(client, socket, bytes);
}

/** What `onconnection` of net.js and `connectionListenerInternal` of _http_server.js do, where it is not done yet. */
function becomeReal(server, client, socket) {
  const { bytesRead, bytesWritten, parser, timeout } = socket;
  socket.setTimeout(0);
  Object.setPrototypeOf(socket, net.Socket.prototype);
  net.Socket.call(socket, {
    handle: client, allowHalfOpen: server.allowHalfOpen, readable: true, writable: true,
    readableHighWaterMark: server.highWaterMark, writableHighWaterMark: server.highWaterMark,
  });
  socket.server = server;
  socket._server = server;
  count(client, 'bytesRead', bytesRead);
  count(client, 'bytesWritten', bytesWritten);
  if (timeout > 0) socket.setTimeout(timeout);
  // The constructor made new stream state, which does not know the listeners: one more tells it of 'data'.
  net.Socket.prototype.on.call(socket, 'data', noop);
  socket.removeListener('data', noop);
  if (!parser) return;
  // Again, because only this puts a parser among the server's connections, from which dispatch.cjs took it.
  parser.initialize(parser.constructor.REQUEST, socket._resource, server.maxHeaderSize || 0,
    lenientFlags(server, parser.constructor), server[connectionsKey(server)]);
  if (client.isStreamBase && !client._consumed) {
    parser._consumed = true;
    client._consumed = true;
    parser.consume(client);
  }
}

function noop() {}

/** As calculateLenientFlags of _http_common.js, which has the command line's option from the same two places. */
function lenientFlags(server, HTTPParser) {
  switch (server.httpValidation) {
    case 'strict': return HTTPParser.kLenientNone | 0;
    case 'relaxed': return HTTPParser.kLenientHeaderValueRelaxed | 0;
    case 'insecure': return HTTPParser.kLenientAll | 0;
  }
  const words = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? '').split(/\s+/)];
  const lenient = server.insecureHTTPParser ?? words.includes('--insecure-http-parser');
  return (lenient ? HTTPParser.kLenientAll : HTTPParser.kLenientNone) | 0;
}

/** The key of the server's list of connections (_http_server.js). @param {any} server */
function connectionsKey(server) {
  return Object.getOwnPropertySymbols(server).find((key) => key.description === 'http.server.connections');
}

module.exports = { accept, connectionsKey, count, ownerKey, takeOver };
