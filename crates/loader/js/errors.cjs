'use strict';

// Owns the errors that Node's parser or socket would have raised had they read the connection, and their way into Node's own
// handler of them (`socketOnError` in _http_server.js: 'clientError', or an answer and the end).
// Must never know: frames, how a connection came to its error.

const os = require('os');

/** llhttp's errors carry these fields; the bytes themselves (`rawPacket`) never were here. */
function parseError(message, code, reason) {
  return Object.assign(new Error(message), { bytesParsed: 0, code, reason });
}

/** FIN before the request was whole: what `parser.finish()` returns then. */
function unexpectedEnd() {
  return parseError('Parse Error', 'HPE_INVALID_EOF_STATE', 'Invalid EOF state');
}

/** For a chunk that the proxy does not take and this Node does. */
function invalidChunk() {
  return parseError('Parse Error: Invalid character in chunk size', 'HPE_INVALID_CHUNK_SIZE', 'Invalid character in chunk size');
}

function tooManyHeaders() {
  return parseError('Parse Error: Header overflow', 'HPE_HEADER_OVERFLOW', 'Header overflow');
}

/** As ErrnoException of internal/errors.js. @param {string} syscall @param {string} name ECONNRESET, ... */
function systemError(syscall, name) {
  const number = os.constants.errno[name];
  return Object.assign(new Error(`${syscall} ${name}`), { errno: number === undefined ? undefined : -number, code: name, syscall });
}

/** The client's connection broke (onStreamRead of stream_base_commons.js). @param {string} name */
function readError(name) {
  return systemError('read', name);
}

/** The client is gone. @param {string} name */
function writeError(name) {
  return systemError('write', name);
}

/**
 * What a write ends with that the kernel had not taken when the app destroyed the socket: uv cancels it, and onWriteComplete of
 * stream_base_commons.js calls that a success before Node 22.
 */
function canceledWrite() {
  return Number.parseInt(process.versions.node, 10) < 22 ? null : systemError('write', 'ECANCELED');
}

/** As NodeError of internal/errors.js: the code is in the stack, not in the message. @param {string} code @param {string} message */
function nodeError(code, message) {
  const error = new Error(message);
  error.name = `Error [${code}]`;
  void error.stack; // composed now, with that name
  Reflect.deleteProperty(error, 'name');
  return Object.assign(error, { code });
}

/** A call that comes too late, or a write that was never begun (errorBuffer of Writable). @param {'write' | 'end'} what */
function destroyedStream(what) {
  return nodeError('ERR_STREAM_DESTROYED', `Cannot call ${what} after a stream was destroyed`);
}

/** As checkConnections of _http_server.js finds it. */
function requestTimeout() {
  return nodeError('ERR_HTTP_REQUEST_TIMEOUT', 'Request timeout');
}

function writeAfterEnd() {
  return nodeError('ERR_STREAM_WRITE_AFTER_END', 'write after end');
}

function alreadyFinished() {
  return nodeError('ERR_STREAM_ALREADY_FINISHED', 'Cannot call end after a stream was finished');
}

/** Calls Node's own handler, which takes itself off the list of 'error' listeners first. */
function raise(socket, error) {
  const handler = socket.listeners('error').find((listener) => listener.name === 'socketOnError');
  if (handler === undefined) socket.destroy(error);
  else handler.call(socket, error);
}

/** @type {boolean | null} */
let counts = null;

/**
 * Whether this Node refuses more headers than `maxHeaderPairs` instead of dropping them (a security fix of 2026 in
 * node_http_parser.cc). Asked of a parser of its own, and only when a request is over a limit.
 * @param {any} HTTPParser
 */
function countsPairs(HTTPParser) {
  if (counts === null) {
    const parser = new HTTPParser();
    parser.initialize(HTTPParser.REQUEST, {});
    parser.maxHeaderPairs = 2;
    counts = parser.execute(Buffer.from('GET / HTTP/1.1\r\nA: b\r\nC: d\r\n\r\n')) instanceof Error;
    parser.close();
  }
  return counts;
}

module.exports = {
  alreadyFinished, canceledWrite, countsPairs, destroyedStream, invalidChunk, raise, readError, requestTimeout, tooManyHeaders, unexpectedEnd, writeAfterEnd, writeError,
};
