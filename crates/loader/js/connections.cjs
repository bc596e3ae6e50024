'use strict';

// Owns what Node's list of a server's connections says of virtual ones. `closeAllConnections`, `closeIdleConnections` and the
// check of `headersTimeout` and `requestTimeout` (_http_server.js) ask that list, in which a connection is its parser. The
// parser of a virtual socket is in it and never reads a byte, so the list takes it for a client that sends its head too slowly.
// And whether a server takes one more.
// Must never know: frames, how a connection came.

const { connectionsKey } = require('./handover.cjs');
const { now } = require('./natives.cjs');
const { VirtualSocket } = require('./socket.cjs');

/** @type {symbol | undefined} the same for all servers */
let key;

/**
 * @param {any} server
 * @param {{virtual(server: any): any[], ownsTimeouts: boolean}} owner of its virtual sockets
 */
function join(server, owner) {
  key ??= connectionsKey(server);
  const list = key === undefined ? undefined : server[key];
  // Not there: the server does not listen. There and joined: it has had a virtual connection before.
  if (list === undefined || Object.hasOwn(list, 'idle')) return;
  const { idle, expired } = list;
  list.idle = () => [...idle.call(list), ...entries(owner.virtual(server).filter(isIdle))];
  list.expired = (/** @type {number} */ headersMs, /** @type {number} */ requestMs) => {
    const found = expired.call(list, headersMs, requestMs).filter((/** @type {any} */ parser) => !isVirtual(parser.socket));
    if (!owner.ownsTimeouts || !(requestMs > 0)) return found;
    const deadline = now() - requestMs;
    return [...found, ...entries(owner.virtual(server).filter((socket) => isLate(socket, deadline)))];
  };
}

/** Node looks at `.socket` of each entry. @param {any[]} sockets */
function entries(sockets) {
  return sockets.map((socket) => ({ socket }));
}

/** @param {any} socket */
function isVirtual(socket) {
  return socket instanceof VirtualSocket;
}

/** For Node a request without a body is not over before its handler has returned. @param {any} socket */
function isIdle(socket) {
  return !socket._responseOpen && !socket._bodyOpen && socket.parser?.incoming?.complete !== false;
}

/**
 * The head of a virtual connection is whole when it gets here, so only a body can be late. Once: as ConnectionsList of
 * node_http_parser.cc strikes those off that it named.
 * @param {any} socket @param {number} deadline
 */
function isLate(socket, deadline) {
  const late = socket._bodyOpen && socket._since < deadline;
  if (late) socket._since = Infinity;
  return late;
}

/**
 * @param {any} channel @param {any} server @param {{address: string, port: number, listener: number}} from
 * @returns {boolean} whether the server takes one more connection, which it counts then
 */
function admits(channel, server, from) {
  if (server === null) return false;
  if (server.maxConnections && server._connections >= server.maxConnections) {
    const local = channel.listeners[from.listener];
    channel.scope.runInAsyncScope(server.emit, server, 'drop', local === undefined || local.port === undefined ? undefined : {
      localAddress: local.address, localPort: local.port, localFamily: local.family,
      remoteAddress: from.address, remotePort: from.port, remoteFamily: from.address.includes(':') ? 'IPv6' : 'IPv4',
    });
    return false;
  }
  server._connections++;
  return true;
}

module.exports = { admits, join };
