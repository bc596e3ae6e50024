'use strict';

// Owns what the proxy hears about this worker's event loop: HEARTBEAT frames; and the watch (hang.cjs) of its turns.
// Must never know: requests, frames of streams.

const v8 = require('v8');
const { performance } = require('perf_hooks');
const C = require('./constants.cjs');
const { prefix, u24, u32 } = require('./frame.cjs');
const { clearTimeout, now, setTimeout } = require('./natives.cjs');

const BUSY_MS = 100;
const IDLE_MS = 1000;
const PREFIX = prefix(16, C.FRAMES_TO_PROXY.HEARTBEAT, u24(0), 0);

class Heartbeat {
  /** @param {import('./channel.cjs').Channel[]} channels @param {import('./hang.cjs').HangWatch | null} watch */
  constructor(channels, watch) {
    this.channels = channels;
    this.watch = watch;
    this.timer = null;
    this.busy = false;
    this.due = 0;
    this.delay = 0;
    this.utilization = performance.eventLoopUtilization();
  }

  start() {
    if (this.timer === null) this.arm(this.busy ? BUSY_MS : IDLE_MS);
  }

  stop() {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    if (this.watch !== null) this.watch.pause();
  }

  /** Called once per batch of frames: an idle worker that gets work beats faster from now on. */
  work() {
    if (this.busy || this.timer === null) return;
    this.busy = true;
    clearTimeout(this.timer);
    this.arm(BUSY_MS);
  }

  /** @private */
  arm(ms) {
    this.due = now() + ms;
    if (this.watch !== null) this.watch.turns(ms);
    this.timer = setTimeout(() => this.beat(), ms);
    this.timer.unref();
  }

  /** @private */
  beat() {
    const late = now() - this.due;
    let inFlight = 0;
    for (const channel of this.channels) inFlight += channel.inFlight;
    const utilization = performance.eventLoopUtilization(this.utilization).utilization;
    this.utilization = performance.eventLoopUtilization();
    const frame = PREFIX + u32(Math.max(0, Math.round(late * 1000)) >>> 0) +
      u32(Math.round((utilization || 0) * 1000)) + u32(inFlight) +
      u32(Math.round(v8.getHeapStatistics().used_heap_size / 1024));
    for (const channel of this.channels) if (channel.ready) channel.send(frame);
    this.busy = inFlight > 0;
    this.arm(this.busy ? BUSY_MS : IDLE_MS);
  }
}

module.exports = { Heartbeat };
