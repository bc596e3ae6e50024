'use strict';

// Owns what a virtual socket hands on when it becomes the real one in the middle of an exchange: output that no frame has
// carried, and the parser's place in the request.
// Must never know: frames, why the connection goes back.

/** Takes what is not written. @param {any} socket virtual */
function takeOutput(socket) {
  const { _queue, _parts, _text, _corked, _needDrain, _ending, _finished, _endCallbacks } = socket;
  const pieces = _queue === null ? [] : _queue.pieces;
  if (_parts !== null) pieces.push(..._parts);
  if (_text !== '') pieces.push(_text);
  const callbacks = [socket._callback1, socket._callback2, ...(socket._callbacks ?? [])].filter((callback) => callback !== null);
  socket._queue = socket._parts = socket._callback1 = socket._callback2 = socket._callbacks = socket._endCallbacks = null;
  socket._text = '';
  socket._bytes = socket._length = socket._corked = 0;
  socket._needDrain = socket._ending = false;
  return { pieces, callbacks, corked: _corked, needDrain: _needDrain, ending: _ending && !_finished, endCallbacks: _endCallbacks ?? [] };
}

/** @param {any} socket real @param {ReturnType<typeof takeOutput>} output */
function giveOutput(socket, { pieces, callbacks, corked, needDrain, ending, endCallbacks }) {
  for (let i = 0; i < corked; i++) socket.cork();
  const written = (/** @type {any} */ error) => { for (const callback of callbacks) callback(error); };
  const last = pieces.pop();
  for (const piece of pieces) socket.write(piece, 'latin1');
  if (last !== undefined) socket.write(last, 'latin1', written);
  else process.nextTick(written, null);
  // Who waits for it does not know that this is another stream now.
  if (needDrain && !socket.writableNeedDrain) process.nextTick(() => socket.emit('drain'));
  for (const callback of endCallbacks) socket.once('finish', callback);
  if (ending) socket.end();
}

/**
 * Brings Node's parser, which has read nothing yet, to its place in a request that the app has already.
 * @param {any} socket @param {any} parser @param {Buffer} lead what of a chunked body does so; see GIVE_BACK in docs/worker-protocol.md
 */
function prime(socket, parser, lead) {
  const { incoming: request, constructor: HTTPParser } = parser;
  if (!socket._bodyOpen || !request) return;
  const lines = [`${request.method} ${request.url} HTTP/${request.httpVersion}`];
  const { rawHeaders } = request;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const isLength = /^content-length$/i.test(rawHeaders[i]);
    lines.push(`${rawHeaders[i]}: ${isLength ? rawHeaders[i + 1] - socket._bodyBytes : rawHeaders[i + 1]}`);
  }
  const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
  // The app has heard of all this.
  const callbacks = [HTTPParser.kOnHeaders, HTTPParser.kOnHeadersComplete, HTTPParser.kOnBody, HTTPParser.kOnMessageComplete]
    .map((key) => [key, parser[key]]);
  for (const [key] of callbacks) parser[key] = silent;
  parser.execute(Buffer.concat([head, lead]));
  for (const [key, callback] of callbacks) parser[key] = callback;
}

function silent() {
  return 0;
}

module.exports = { giveOutput, prime, takeOutput };
