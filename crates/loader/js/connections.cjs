'use strict';

// Owns the place of virtual connections in Node's list of a server's connections. `closeAllConnections`,
// `closeIdleConnections` and the check of `requestTimeout` (_http_server.js) ask that list; it knows the parsers that
// read bytes. Here it is made to name the virtual sockets too, so that all three stay Node's own code.
// Must never know: frames, how a connection came.

const { connectionsKey } = require('./handover.cjs');
const { now } = require('./natives.cjs');

/** @type {symbol | undefined} the same for all servers */
let key;

/**
 * @param {any} server
 * @param {{virtual(server: any): any[], offered(server: any): any[], ownsTimeouts: boolean}} owner of its virtual
 *   sockets, and of what was accepted and is not a socket yet
 */
function join(server, owner) {
  key ??= connectionsKey(server);
  const list = key === undefined ? undefined : server[key];
  // Not there: the server does not listen. There and joined: it has had a virtual connection before.
  if (list === undefined || Object.hasOwn(list, 'all')) return;
  const { all, idle, expired } = list;
  list.all = () => [...all.call(list), ...entries(owner.virtual(server)), ...entries(owner.offered(server))];
  list.idle = () => [...idle.call(list), ...entries(owner.virtual(server).filter(isIdle))];
  if (!owner.ownsTimeouts) return;
  list.expired = (/** @type {number} */ headersMs, /** @type {number} */ requestMs) => {
    const found = expired.call(list, headersMs, requestMs);
    if (!(requestMs > 0)) return found;
    const deadline = now() - requestMs;
    return [...found, ...entries(owner.virtual(server).filter((socket) => isLate(socket, deadline)))];
  };
}

/** As the list holds parsers, Node looks at `.socket` of each entry. @param {any[]} sockets */
function entries(sockets) {
  return sockets.map((socket) => ({ socket }));
}

/** @param {any} socket */
function isIdle(socket) {
  return !socket._responseOpen && !socket._bodyOpen;
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

module.exports = { join };
