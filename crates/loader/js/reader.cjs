'use strict';

// Owns the way from reads to whole frames: a read may end anywhere, and a handler may throw in the
// middle of a batch. Calls `onFrame(type, stream, generation, buffer, start, end, owned)` for each;
// `owned` tells that the buffer is not the re-used one, so the frame may be kept without a copy.
// Must never know: what a frame means.

const { PREFIX_BYTES, ProtocolError, refusal } = require('./frame.cjs');

const EMPTY = Buffer.alloc(0);

class FrameReader {
  /**
   * @param {(type: number, stream: number, generation: number, buffer: Buffer, start: number,
   *          end: number, owned: boolean) => void} onFrame
   * @param {(error: Error) => void} onBroken the bytes are no frames; nothing is read after it
   */
  constructor(onFrame, onBroken) {
    this.onFrame = onFrame;
    this.onBroken = onBroken;
    this.stopped = false;
    /** Bytes that are read but not handled: the start of one frame, or the rest of a batch. */
    this.rest = EMPTY;
    this.restLength = 0;
    /** A handler threw: the rest of its batch waits for `resume`, later reads queue behind it. */
    this.interrupted = false;
  }

  /**
   * @param {Buffer} buffer re-used by the caller after the call
   * @param {number} length
   */
  push(buffer, length) {
    if (this.stopped) return;
    let from = 0;
    if (this.restLength > 0) {
      if (this.interrupted) {
        this.keep(Buffer.concat([this.rest.subarray(0, this.restLength), buffer.subarray(0, length)]));
        return;
      }
      from = this.fill(buffer, length);
      if (from < 0) return;
      const frame = this.rest;
      const total = this.restLength;
      this.rest = EMPTY;
      this.restLength = 0;
      let done = false;
      try {
        this.run(frame, 0, total, true);
        done = true;
      } finally {
        if (!done) this.keep(Buffer.from(buffer.subarray(from, length)));
      }
    }
    this.run(buffer, from, length, false);
  }

  /** Handles what an exception left behind. */
  resume() {
    if (!this.interrupted) return;
    this.interrupted = false;
    const rest = this.rest;
    const length = this.restLength;
    this.rest = EMPTY;
    this.restLength = 0;
    this.run(rest, 0, length, true);
  }

  /** @private */
  run(buffer, at, length, owned) {
    const onFrame = this.onFrame;
    let done = false;
    try {
      while (length - at >= PREFIX_BYTES && !this.stopped) {
        const bytes = this.check(buffer, at);
        const end = at + PREFIX_BYTES + bytes;
        if (end > length || this.stopped) break;
        const prefix = at;
        at = end; // before the call: a frame whose handler throws is not handled again
        onFrame(
          buffer[prefix + 3],
          buffer[prefix + 4] | (buffer[prefix + 5] << 8) | (buffer[prefix + 6] << 16),
          buffer[prefix + 7], buffer, prefix + PREFIX_BYTES, end, owned,
        );
      }
      done = true;
    } finally {
      // No re-throw: the exception goes on as it is, so that Node's stack, domains and handlers of
      // uncaught exceptions see what they would see without us.
      if (!done) this.interrupted = true;
      if (at < length) this.keep(Buffer.from(buffer.subarray(at, length)));
    }
  }

  /** @private @returns {number} the payload's length; a prefix that cannot be right stops the reader */
  check(buffer, at) {
    const bytes = buffer[at] | (buffer[at + 1] << 8) | (buffer[at + 2] << 16);
    const type = buffer[at + 3];
    const stream = buffer[at + 4] | (buffer[at + 5] << 8) | (buffer[at + 6] << 16);
    const why = refusal(type, stream, bytes);
    if (why !== '') {
      this.stopped = true;
      this.onBroken(new ProtocolError(why));
    }
    return bytes;
  }

  /** @private @param {Buffer} bytes */
  keep(bytes) {
    this.rest = bytes;
    this.restLength = bytes.length;
  }

  /**
   * Completes the frame that began in an earlier read.
   * @private
   * @returns {number} how many bytes of `buffer` it took; -1 when the frame needs more
   */
  fill(buffer, length) {
    let from = 0;
    if (this.restLength < PREFIX_BYTES) {
      from = this.take(buffer, 0, length, PREFIX_BYTES);
      if (this.restLength < PREFIX_BYTES) return -1;
    }
    const bytes = this.check(this.rest, 0);
    if (this.stopped) return -1;
    const total = PREFIX_BYTES + bytes;
    from += this.take(buffer, from, length, total);
    return this.restLength < total ? -1 : from;
  }

  /** @private Grows `rest` to `want` bytes, as far as `buffer` has them. */
  take(buffer, from, length, want) {
    if (this.rest.length < want) {
      const grown = Buffer.allocUnsafe(want);
      this.rest.copy(grown, 0, 0, this.restLength);
      this.rest = grown;
    }
    const count = Math.min(want - this.restLength, length - from);
    buffer.copy(this.rest, this.restLength, from, from + count);
    this.restLength += count;
    return count;
  }
}

module.exports = { FrameReader };
