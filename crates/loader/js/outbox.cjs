'use strict';

// Owns the writing side of a channel: frames collect and leave in one write per batch.
// Must never know: what a frame means, how the connection is made.

const { now, setImmediate } = require('./natives.cjs');
const { release } = require('./written.cjs');

// A batch leaves early when it is this large, so that the proxy can work on it while we work on the rest. With as many requests
// per read as there are clients, proxy and worker would take turns, each idle while the other works.
const BATCH_ANSWERS_MAX = 16;
const BATCH_CHARS_MAX = 256 * 1024;

// A handler that keeps the event loop busy must not hold the answers of the ones before it.
const BATCH_MS_MAX = 2;

class Outbox {
  constructor() {
    /** @type {any} the connection; null while there is none */
    this.socket = null;
    /** A read is being handled: its end flushes. */
    this.reading = false;
    this.batchStart = 0;
    /** Frames of it that something in the proxy waits for. */
    this.answers = 0;
    this.flushScheduled = false;
    // The batch: everything since the last write as one latin1 string (one char = one byte), the
    // cheapest of all ways measured; large Buffers close the string and stand between.
    this.text = '';
    /** Something of it should leave with the end of the batch. */
    this.urgent = false;
    /** @type {(string | Buffer)[] | null} */
    this.parts = null;
    /** @type {any[]} virtual sockets whose Buffers are in `parts` */
    this.referring = [];
    this.onFlushTurn = () => {
      this.flushScheduled = false;
      this.flush();
    };
  }

  forget() {
    this.text = '';
    this.parts = null;
    this.referring = [];
  }

  /** @param {string} text latin1 */
  send(text) {
    this.text += text;
    this.urgent = true;
    if (!this.reading) this.schedule();
    else if (++this.answers >= BATCH_ANSWERS_MAX || this.text.length > BATCH_CHARS_MAX) this.flush();
  }

  /** With the next batch that has to leave, or behind all reads of this turn of the loop. @param {string} text latin1 */
  sendLater(text) {
    this.text += text;
    this.schedule();
  }

  /** Between two requests of a batch. */
  pace() {
    if (this.reading && now() - this.batchStart > BATCH_MS_MAX) {
      this.flush();
      this.batchStart = now();
    }
  }

  /** In front of what waits. @param {string} text latin1, a frame of the channel itself */
  sendFirst(text) {
    if (this.parts !== null) this.parts.unshift(text);
    else this.text = text + this.text;
    this.urgent = true;
    this.schedule();
  }

  /** @param {Buffer} buffer not copied; see `whenWritten` */
  sendBuffer(buffer) {
    const parts = this.parts ?? (this.parts = []);
    if (this.text !== '') parts.push(this.text);
    this.text = '';
    parts.push(buffer);
    this.urgent = true;
    if (!this.reading) this.schedule();
  }

  /** Tells `socket` when the batch that holds its Buffers is written. @param {any} socket */
  whenWritten(socket) {
    this.referring.push(socket);
  }

  /** Tells `socket` when all that was flushed is written. @param {any} socket */
  whenEmpty(socket) {
    this.afterAll(() => release(socket));
  }

  /** Calls when all that was flushed is written; never if the connection ends before. @param {() => void} action */
  afterAll(action) {
    if (this.socket !== null) this.socket.write('', 'latin1', action);
  }

  schedule() {
    if (this.flushScheduled) return;
    this.flushScheduled = true;
    setImmediate(this.onFlushTurn);
  }

  /** Writes what waits. @returns {boolean} whether the kernel has all of it */
  flushed() {
    this.flush();
    return this.socket !== null && this.socket.writableLength === 0;
  }

  flush() {
    const socket = this.socket;
    const { text, parts, referring } = this;
    if (text === '' && parts === null) return;
    this.text = '';
    this.urgent = false;
    this.answers = 0;
    this.parts = null;
    if (socket === null) return;
    if (parts === null) {
      socket.write(text, 'latin1');
      return;
    }
    if (text !== '') parts.push(text);
    this.referring = [];
    const last = parts.length - 1;
    socket.cork();
    for (let i = 0; i < last; i++) socket.write(parts[i], 'latin1');
    socket.write(parts[last], 'latin1', () => {
      for (const waiting of referring) release(waiting);
    });
    socket.uncork();
  }
}

module.exports = { Outbox };
