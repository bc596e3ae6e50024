'use strict';

// Owns what the proxy hears about the app's server: SETTINGS frames, with the time-outs and limits that the app changed.
// Must never know: what the proxy does with them, requests.

const http = require('http');
const C = require('./constants.cjs');
const { jsonFrame } = require('./frame.cjs');

/** Node's own options; it takes `_` for `-`. */
const options = [...process.execArgv, process.env.NODE_OPTIONS ?? ''].join(' ').replaceAll('_', '-');
/** What this Node gives every server: not the app's word. */
const fresh = read(new http.Server());

/** The last SETTINGS of one server; compared once per batch, so it must be cheap. */
class Settings {
  constructor() {
    this.last = read({});
    this.listens = this.clientError = false;
  }

  /** @param {any} server @returns {boolean} whether they differ from the last time */
  changed(server) {
    const { last } = this;
    const listens = server.listenerCount('clientError') > 0;
    if (this.listens === listens && last.keepAlive === server.keepAliveTimeout &&
        last.keepAliveBuffer === server.keepAliveTimeoutBuffer && last.headers === server.headersTimeout &&
        last.request === server.requestTimeout && last.headerBytes === server.maxHeaderSize &&
        last.requests === server.maxRequestsPerSocket) return false;
    this.last = read(server);
    this.listens = listens;
    this.clientError = listens && !isLenient(server);
    return true;
  }

  frame() {
    const { last } = this;
    const idle = last.keepAlive !== fresh.keepAlive || last.keepAliveBuffer !== fresh.keepAliveBuffer;
    const changed = (/** @type {'headers' | 'request'} */ key) => last[key] === fresh[key] ? undefined : whole(last[key]);
    return jsonFrame(C.FRAMES_TO_PROXY.SETTINGS, {
      keep_alive_ms: idle ? whole(idleTime(last)) : undefined, headers_ms: changed('headers'), request_ms: changed('request'),
      header_bytes_max: headerBytes(last.headerBytes), client_error: this.clientError || undefined,
      requests_per_connection_max: last.requests > 0 ? whole(last.requests) : undefined,
    });
  }
}

/** @param {any} server */
function read(server) {
  return {
    keepAlive: server.keepAliveTimeout, keepAliveBuffer: server.keepAliveTimeoutBuffer, headers: server.headersTimeout,
    request: server.requestTimeout, headerBytes: server.maxHeaderSize, requests: server.maxRequestsPerSocket,
  };
}

/** Node waits somewhat longer than it tells the client (resOnFinish of _http_server.js). */
function idleTime({ keepAlive, keepAliveBuffer }) {
  return keepAlive > 0 ? keepAlive + (keepAliveBuffer ?? 1000) : keepAlive;
}

/** The server's own limit, else that of the command line. @param {any} own */
function headerBytes(own) {
  if (own > 0) return whole(own);
  return options.includes('--max-http-header-size') ? http.maxHeaderSize : undefined;
}

/** Such a server takes what neither llhttp nor the proxy should: only the proxy refuses then. @param {any} server */
function isLenient(server) {
  return server.insecureHTTPParser ?? options.includes('--insecure-http-parser');
}

/** An app may assign anything to its server; what is no number is left out. @param {any} value */
function whole(value) {
  if (typeof value !== 'number' || !(value >= 0)) return undefined;
  return Math.min(Math.round(value), Number.MAX_SAFE_INTEGER);
}

module.exports = { Settings, isLenient };
