'use strict';

// Owns the bytes that Node writes to a virtual socket: corking, frames, the end of a response, the
// response window. The functions `write`, `uncork` and `end` are methods of the virtual socket.
// Must never know: HTTP (the bytes are Node's), how a channel writes. (Callbacks: written.cjs.)

const { Writable } = require('stream');
const C = require('./constants.cjs');
const errors = require('./errors.cjs');
const written = require('./written.cjs');
const { prefix } = require('./frame.cjs');

const { DATA, END, END_CLOSE } = C.FRAMES_TO_PROXY;
/** A stream like any other, asked what it thinks of odd chunks. @type {Writable | null} */
let judge = null;
// Larger Buffers become their own entry of the channel's writev: below this a copy is cheaper.
const COPY_BYTES_MAX = 2048;

/** As Writable.write; `_length` and 'drain' follow writeOrBuffer and afterWrite there. */
function write(chunk, encoding, callback) {
  if (this._stream === 0 && this._offer !== null && this._offer.used()) return this.write(chunk, encoding, callback);
  if (typeof encoding === 'function') {
    callback = encoding;
    encoding = undefined;
  }
  if (this._ending || this._destroyed) {
    check(chunk, encoding);
    return written.refuse(this, callback);
  }
  if (typeof chunk === 'string' && encoding === 'latin1') {
    this._text += chunk;
    this._bytes += chunk.length;
    this._length += chunk.length;
  } else {
    const bytes = toBytes(chunk, encoding || this._writableState.defaultEncoding);
    this._length += typeof chunk === 'string' ? chunk.length : bytes.length;
    if (bytes.length !== 0) addBytes(this, bytes);
  }
  if (typeof callback === 'function') {
    if (this._callback1 === null) this._callback1 = callback;
    else if (this._callback2 === null) this._callback2 = callback;
    else if (this._callbacks === null) this._callbacks = [callback];
    else this._callbacks.push(callback);
  }
  if (this._timed) this._unrefTimer();
  if (this._corked === 0) flush(this);
  const enough = this._length < this._writableState.highWaterMark || this._length === 0;
  if (!enough) this._needDrain = true;
  return enough;
}

function uncork() {
  if (this._corked > 0 && --this._corked === 0) flush(this);
}

/** As Writable.end. */
function end(chunk, encoding, callback) {
  if (this._stream === 0 && this._offer !== null && this._offer.used()) return this.end(chunk, encoding, callback);
  if (typeof chunk === 'function') {
    callback = chunk;
    chunk = undefined;
  } else if (typeof encoding === 'function') {
    callback = encoding;
    encoding = undefined;
  }
  let error = null;
  if (chunk !== undefined && chunk !== null) {
    if (this._ending || this._destroyed) error = this._destroyed ? errors.destroyedStream('write') : errors.writeAfterEnd();
    this.write(chunk, encoding);
  }
  if (error === null) {
    if (!this._ending && !this._destroyed) {
      this._ending = true;
      this._corked = 0;
      flush(this);
      written.schedule(this);
    } else if (this._finished) {
      error = errors.alreadyFinished();
    } else if (this._destroyed) {
      error = errors.destroyedStream('end');
    }
  }
  if (typeof callback !== 'function') return this;
  if (error !== null) process.nextTick(callback, error);
  else if (this._endCallbacks === null) this._endCallbacks = [callback];
  else this._endCallbacks.push(callback);
  return this;
}

/**
 * Everything written since the last flush becomes one frame. It ends the response when Node's
 * `OutgoingMessage.end` flushes (states.cjs knows), or when the response was finished while it was
 * queued behind another one.
 */
function flush(socket) {
  const message = socket._httpMessage;
  let type = DATA;
  if (socket._messageEnds || (message && message.finished && message !== socket._endedMessage)) {
    socket._messageEnds = false;
    socket._endedMessage = message;
    // Nobody will ask a closed server again, and END_CLOSE lets the client read the answer first.
    const last = (message && message._last) || socket._channel.isOver(socket.server);
    type = last ? END_CLOSE : END;
  }
  if (socket._ending) type = END_CLOSE;
  // Nobody asked: raw bytes of the app, or it ends an idle connection. Under exec that is a FIN; otherwise RESET follows.
  if (!socket._responseOpen && !(socket._ending && !socket._closeSent && socket._offer !== null && socket._stream !== 0)) type = DATA;
  if (type === DATA && socket._bytes === 0) {
    if (socket._callback1 !== null && socket._queue === null) written.sent(socket);
    return;
  }
  if (socket._stream === 0 && type === DATA) return; // offered: they are in front of the first answer, or go out when Node has it back
  const bytes = socket._bytes;
  if (socket._parts !== null || socket._queue !== null || bytes > socket._credit || socket._leaving) {
    enqueue(socket, type);
    return;
  }
  const text = prefix(bytes, type, socket._streamText, socket._generation) + socket._text;
  socket._credit -= bytes;
  socket._bytesOut += bytes;
  socket._text = '';
  socket._bytes = 0;
  socket._channel.send(text);
  if (type !== DATA) ended(socket, type);
  written.sent(socket);
}

/** The response is complete, as far as the proxy is concerned. */
function ended(socket, type) {
  if (socket._responseOpen) socket._channel.inFlight--;
  socket._responseOpen = false;
  if (type === END_CLOSE) socket._closeSent = true;
}

/** The slow path: Buffers by reference, or more bytes than the window has room for. */
function enqueue(socket, type) {
  const queue = socket._queue ?? (socket._queue = { pieces: [], bytes: 0, type: DATA, refers: false });
  if (socket._parts !== null) {
    queue.pieces.push(...socket._parts);
    queue.refers = true;
    socket._parts = null;
  }
  if (socket._text !== '') queue.pieces.push(socket._text);
  queue.bytes += socket._bytes;
  if (type !== DATA) queue.type = type;
  socket._text = '';
  socket._bytes = 0;
  pump(socket);
}

/** Sends as much of the queue as the window allows. Called again when it grows. */
function pump(socket) {
  const queue = socket._queue;
  if (queue === null || socket._leaving) return;
  do {
    const bytes = Math.min(queue.bytes, socket._credit, C.FRAME_PAYLOAD_BYTES_MAX);
    if (bytes === 0 && queue.bytes > 0) break;
    const last = bytes === queue.bytes;
    if (bytes > 0 || queue.type !== DATA) {
      socket._channel.send(prefix(bytes, last ? queue.type : DATA, socket._streamText, socket._generation));
      sendPieces(socket._channel, queue, bytes);
      socket._credit -= bytes;
      socket._bytesOut += bytes;
    }
    if (last) {
      socket._queue = null;
      if (socket._stopped) socket._channel.weigh(socket);
      if (socket._timed) socket._unrefTimer();
      if (queue.type !== DATA) ended(socket, queue.type);
      if (queue.refers) written.hold(socket, queue.type !== DATA);
      else written.sent(socket);
      written.away(socket);
      return;
    }
  } while (true);
  if (socket._stopped) socket._channel.weigh(socket);
  socket._length = queue.bytes + socket._bytes;
  written.wait(socket);
}

function sendPieces(channel, queue, bytes) {
  queue.bytes -= bytes;
  const pieces = queue.pieces;
  let whole = 0;
  while (bytes > 0) {
    const piece = pieces[whole];
    const take = Math.min(bytes, piece.length);
    const rest = take < piece.length;
    const part = !rest ? piece : typeof piece === 'string' ? piece.slice(0, take) : piece.subarray(0, take);
    if (typeof part === 'string') channel.send(part);
    else channel.sendBuffer(part);
    if (rest) pieces[whole] = typeof piece === 'string' ? piece.slice(take) : piece.subarray(take);
    else whole++;
    bytes -= take;
  }
  pieces.splice(0, whole);
}

function addBytes(socket, bytes) {
  socket._bytes += bytes.length;
  if (typeof bytes === 'string') {
    socket._text += bytes;
    return;
  }
  const parts = socket._parts ?? (socket._parts = []);
  if (socket._text !== '') parts.push(socket._text);
  socket._text = '';
  parts.push(bytes);
}

/** @returns {string | Buffer} a latin1 string (one char = one byte) or a large Buffer */
function toBytes(chunk, encoding) {
  let bytes = chunk;
  if (typeof chunk === 'string') {
    switch (encoding) {
      case 'utf8': case 'utf-8':
        // As long in bytes as in characters: ASCII, and so the same in latin1.
        if (Buffer.byteLength(chunk) === chunk.length) return chunk;
        bytes = Buffer.from(chunk);
        break;
      case 'latin1': case 'binary': case 'ascii':
        return chunk;
      default:
        check(chunk, encoding);
        bytes = Buffer.from(chunk, encoding);
    }
  } else if (!Buffer.isBuffer(chunk)) {
    check(chunk, encoding);
    bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  }
  return bytes.length <= COPY_BYTES_MAX ? bytes.latin1Slice() : bytes;
}

/** Throws what Writable.write throws for it. */
function check(chunk, encoding) {
  judge ??= new Writable({ decodeStrings: false, write(_chunk, _encoding, callback) { callback(); } });
  judge.write(chunk, encoding);
}

module.exports = { end, pump, sendPieces, toBytes, uncork, write };
