'use strict';

// Owns how a connection gets to Node's own parser: a handle that was accepted, with bytes that somebody else
// read from it, becomes a `net.Socket` of the app's server as if Node had just accepted and read them. Also in
// the middle of a connection, when the app knows it as a virtual socket already.
// Must never know: frames, channels, who read the bytes.

const net = require('net');
const { count } = require('./face.cjs');
const leave = require('./leave.cjs');
const { drainTicks, root, setImmediate } = require('./natives.cjs');

/**
 * @typedef {object} Owner
 * @property {any} server
 * @property {Function} onconnection Node's own (net.js)
 * @property {((request: any) => void | false) | null} onRequest called for each request that Node's parser reads; false keeps it
 *   from the app
 *
 * @typedef {object} Entrance one way into a server, for handles that the app does not know yet
 * @property {any} handle `this` of `onconnection`
 * @property {symbol} owner key under which a handle keeps its server or socket
 * @property {import('async_hooks').AsyncResource} scope the server's async context
 */

/** The key under which net.js keeps who owns a handle (`owner_symbol`). @param {any} handle @param {any} server */
function ownerKey(handle, server) {
  return Object.getOwnPropertySymbols(handle).find((key) => handle[key] === server);
}

/**
 * Node's own `onconnection`: limits, `net.Socket`, 'connection', diagnostics.
 * @param {Owner & Entrance} entrance @param {any} client handle @param {Buffer} bytes
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

/** @param {Owner & Entrance} entrance @param {any} client @param {Buffer} bytes */
function accepted(entrance, client, bytes) {
  const socket = client[entrance.owner];
  if (!(socket instanceof net.Socket)) return; // dropped: too many connections
  watch(entrance, socket);
  deliver(client, socket, bytes);
}

/** @param {Owner & Entrance} entrance @param {any} socket */
function watch(entrance, socket) {
  const { parser } = socket;
  const { onRequest } = entrance;
  if (!parser || onRequest === null) return;
  const { onIncoming } = parser;
  parser.onIncoming = (/** @type {any} */ request, /** @type {boolean} */ keepAlive) => {
    return onRequest(request) === false ? 0 : onIncoming(request, keepAlive);
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

/**
 * A virtual socket becomes the real one, in place: the app's listeners, its own properties and every `req.socket` stay
 * valid, and so does Node's state of the connection (its parser and closures), which may have seen requests.
 * @param {Owner} owner @param {any} client @param {any} socket
 * @param {Buffer} lead brings Node's parser to its place (leave.cjs) @param {Buffer} bytes
 */
function takeOver(owner, client, socket, lead, bytes) {
  socket._resource.runInAsyncScope(becomeReal, undefined, owner.server, client, socket, lead);
  watch(owner, socket);
  if (bytes.length === 0) return;
  drainTicks();
  deliver(client, socket, bytes);
}

/** What `onconnection` of net.js and `connectionListenerInternal` of _http_server.js do, where it is not done yet. */
function becomeReal(server, client, socket, lead) {
  const { bytesRead, _bytesDispatched: bytesWritten, _finished: finished, parser, timeout } = socket;
  const paused = socket.isPaused();
  const raw = rawListeners(socket);
  const output = leave.takeOutput(socket);
  socket.setTimeout(0);
  // The constructor adds it again.
  for (const listener of socket.listeners('end')) if (listener.name === 'onReadableStreamEnd') socket.removeListener('end', listener);
  Object.setPrototypeOf(socket, net.Socket.prototype);
  net.Socket.call(socket, {
    handle: client, allowHalfOpen: server.allowHalfOpen, readable: true, writable: !finished,
    readableHighWaterMark: server.highWaterMark, writableHighWaterMark: server.highWaterMark,
  });
  socket.server = server;
  socket._server = server;
  count(client, 'bytesRead', bytesRead);
  count(client, 'bytesWritten', bytesWritten);
  if (timeout > 0) socket.setTimeout(timeout);
  leave.giveOutput(socket, output);
  if (!parser) return;
  leave.prime(socket, parser, lead);
  tell(socket, ['data', ...raw]);
  if (client.isStreamBase && !client._consumed) {
    parser._consumed = true;
    client._consumed = true;
    parser.consume(client);
  }
  // Node's own wrapper of `on` (generateSocketListenerWrapper) ends that again.
  if (raw.length > 0) {
    socket.on('data', noop);
    socket.removeListener('data', noop);
  }
  if (paused) socket.pause();
}

/** The constructor made new stream state, which learns of listeners when they come. @param {any} socket @param {string[]} events */
function tell(socket, events) {
  for (const event of events) net.Socket.prototype.on.call(socket, event, noop);
  for (const event of events) socket.removeListener(event, noop);
}

function noop() {}

/** What the app, and not Node's http code, reads the socket with. @param {any} socket @returns {string[]} */
function rawListeners(socket) {
  return ['data', 'readable'].filter((event) => socket.listenerCount(event) > (event === 'data' && socket.parser ? 1 : 0));
}

/** Whether the app reads the socket itself. @param {any} socket */
function isRaw(socket) {
  return rawListeners(socket).length > 0;
}

/** The key of the server's list of connections (_http_server.js). @param {any} server */
function connectionsKey(server) {
  return Object.getOwnPropertySymbols(server).find((key) => key.description === 'http.server.connections');
}

module.exports = { accept, connectionsKey, isRaw, ownerKey, takeOver };
