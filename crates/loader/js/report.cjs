'use strict';

// Owns the lines to the supervisor (docs/worker-protocol.md, "Reports").
// Must never know: why something is reported.

const fs = require('fs');

let reportFd = -1;

/** @param {number | string | undefined} place a descriptor, or the path of a pipe */
function open(place) {
  reportFd = Number.isInteger(place) ? place : -1;
  if (typeof place !== 'string') return;
  const { O_WRONLY, O_NONBLOCK } = fs.constants;
  try {
    reportFd = fs.openSync(place, O_WRONLY | O_NONBLOCK);
  } catch {
    // nobody reads any more
  }
}

/** What the lines are written to; -1 if nobody reads them. */
function descriptor() {
  return reportFd;
}

/**
 * Synchronous, because the last line is written by a process that is about to end. A supervisor
 * that does not read must not stop the app: a full or closed pipe loses the line.
 * @param {object} line
 */
function report(line) {
  if (reportFd < 0) return;
  try {
    fs.writeSync(reportFd, `${JSON.stringify(line)}\n`);
  } catch (error) {
    if (error.code !== 'EAGAIN') reportFd = -1;
  }
}

module.exports = { descriptor, open, report };
