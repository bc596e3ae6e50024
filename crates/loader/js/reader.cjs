'use strict';

// Owns the way from reads to whole frames: the memory that is read into, frames that go over several reads, a handler that
// throws in the middle of a batch. Calls `onFrame(type, stream, generation, buffer, start, end, owned)` for each; `owned` tells
// that the buffer holds this payload alone and is never used again, so that it may be kept without a copy.
// Must never know: what a frame means, what is read from.
//
// Many small frames share one buffer. The rest of a long one is read straight into memory of its own: a body then costs the
// worker one copy, the kernel's.

const { PREFIX_BYTES, ProtocolError, refusal } = require('./frame.cjs');

const EMPTY = Buffer.alloc(0);
const READ_BYTES = 64 * 1024;
/** From here on a read of its own is cheaper than a copy. */
const DIRECT_BYTES_MIN = 8 * 1024;
/** Behind a long frame there is often the next one: the less of it is read with its prefix, the less is copied. */
const LONG_BYTES = 32 * 1024;
const BETWEEN_BYTES = 2 * 1024;

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
    this.shared = Buffer.allocUnsafeSlow(READ_BYTES);
    /** What the next read goes into: `shared`, its start, or the rest of `payload`. */
    this.target = this.shared;
    this.direct = false;
    /** The last frame was a long one. */
    this.wasLong = false;
    /** The start of a prefix that a read cut off. */
    this.prefix = Buffer.alloc(PREFIX_BYTES);
    this.prefixLength = 0;
    /** The frame that a read cut off. @type {Buffer | null} */
    this.payload = null;
    this.payloadLength = 0;
    this.type = this.stream = this.generation = 0;
    /** A handler threw: the rest of its batch waits for `resume`, later reads queue behind it. */
    this.interrupted = false;
    this.rest = EMPTY;
  }

  /** The memory for the next read, which may not be that of the last one: see `direct`. @returns {Buffer} */
  room() {
    const { payload, payloadLength, wasLong } = this;
    const missing = payload === null ? 0 : payload.length - payloadLength;
    this.wasLong = false;
    // A frame that waits for `resume` comes first.
    this.direct = missing >= DIRECT_BYTES_MIN && !this.interrupted;
    if (this.direct) return this.target = payload.subarray(payloadLength);
    const isLong = wasLong || (payload !== null && payload.length >= LONG_BYTES);
    return this.target = isLong ? this.shared.subarray(0, missing + BETWEEN_BYTES) : this.shared;
  }

  /** @param {number} length bytes that were read into what `room` gave */
  push(length) {
    if (this.stopped) return;
    if (this.direct) {
      this.payloadLength += length;
      if (this.payloadLength === this.payload.length) this.deliver();
    } else if (this.interrupted) {
      this.rest = Buffer.concat([this.rest, this.target.subarray(0, length)]);
    } else {
      this.run(this.target, length);
    }
  }

  /** Handles what an exception left behind. */
  resume() {
    if (!this.interrupted) return;
    this.interrupted = false;
    const rest = this.rest;
    this.rest = EMPTY;
    this.run(rest, rest.length);
  }

  /** @private */
  run(buffer, length) {
    const onFrame = this.onFrame;
    let at = 0;
    let done = false;
    try {
      while (at < length && !this.stopped) {
        if (this.payload !== null || this.prefixLength > 0 || length - at < PREFIX_BYTES) {
          const from = at;
          // Before the call: a frame whose handler throws is not handled again.
          at = Math.min(length, at + this.missing());
          this.goOn(buffer, from, at);
          continue;
        }
        const bytes = this.check(buffer, at);
        if (this.stopped) break;
        const start = at + PREFIX_BYTES;
        if (start + bytes > length) {
          this.begin(buffer, at, bytes);
          at = start;
          continue;
        }
        const prefix = at;
        at = start + bytes;
        onFrame(
          buffer[prefix + 3],
          buffer[prefix + 4] | (buffer[prefix + 5] << 8) | (buffer[prefix + 6] << 16),
          buffer[prefix + 7], buffer, start, at, false,
        );
      }
      done = true;
    } finally {
      // No re-throw: the exception goes on as it is, so that Node's stack, domains and handlers of
      // uncaught exceptions see what they would see without us.
      if (!done) {
        this.interrupted = true;
        this.rest = Buffer.from(buffer.subarray(at, length));
      }
    }
  }

  /** @private How much the frame or the prefix that was cut off still needs. */
  missing() {
    return this.payload === null ? PREFIX_BYTES - this.prefixLength : this.payload.length - this.payloadLength;
  }

  /** @private More of what was cut off. */
  goOn(buffer, from, to) {
    if (this.payload !== null) {
      buffer.copy(this.payload, this.payloadLength, from, to);
      this.payloadLength += to - from;
    } else {
      buffer.copy(this.prefix, this.prefixLength, from, to);
      this.prefixLength += to - from;
      if (this.prefixLength < PREFIX_BYTES) return;
      const bytes = this.check(this.prefix, 0);
      if (this.stopped) return;
      this.prefixLength = 0;
      this.begin(this.prefix, 0, bytes);
    }
    if (this.payloadLength === this.payload.length) this.deliver();
  }

  /** @private A frame of which not all is there. */
  begin(buffer, at, bytes) {
    this.type = buffer[at + 3];
    this.stream = buffer[at + 4] | (buffer[at + 5] << 8) | (buffer[at + 6] << 16);
    this.generation = buffer[at + 7];
    this.payload = Buffer.allocUnsafeSlow(bytes);
    this.payloadLength = 0;
  }

  /** @private The frame is whole. */
  deliver() {
    const payload = this.payload;
    this.payload = null;
    this.wasLong = payload.length >= LONG_BYTES;
    this.onFrame(this.type, this.stream, this.generation, payload, 0, payload.length, true);
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
}

module.exports = { FrameReader };
