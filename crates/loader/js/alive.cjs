'use strict';

// Owns the end of a worker that nobody looks after any more: supervisor and proxy hold the writing end of a pipe, and when both
// are dead, in whatever way that came, it ends.
// Must never know: which of them lives.

const fs = require('fs');
const net = require('net');

/** @param {string | number | undefined} place a descriptor, or the path of the pipe */
function endWithSupervisor(place) {
  if (place === undefined) return; // of an older supervisor
  const { O_RDONLY, O_NONBLOCK } = fs.constants;
  try {
    const fd = typeof place === 'number' ? place : fs.openSync(place, O_RDONLY | O_NONBLOCK);
    const pipe = new net.Socket({ fd, readable: true, writable: false });
    pipe.on('end', () => process.kill(process.pid, 'SIGKILL')).on('error', () => {}).resume().unref();
  } catch {
    // then it lives on: no reason not to serve
  }
}

module.exports = { endWithSupervisor };
