'use strict';

// Owns the frames of tunnels: which tunnel one is for, when one begins, what is late.
// Must never know: what a socket does with bytes (tunnel.cjs), how frames are read.

const diagnostics = require('diagnostics_channel');
const C = require('./constants.cjs');
const { admits } = require('./connections.cjs');
const { ProtocolError, copied, decodeTunnel, prefix, u24 } = require('./frame.cjs');
const { connect } = require('./tunnel.cjs');

const { TUNNEL, TUNNEL_DATA, TUNNEL_END, TUNNEL_CLOSE, TUNNEL_WINDOW } = C.FRAMES_TO_WORKER;

const socketChannel = diagnostics.channel('net.server.socket');

/**
 * @param {any} channel @param {number} type @param {number} stream @param {number} generation
 * @param {Buffer} buffer @param {number} start @param {number} end payload @param {boolean} owned it may be kept without a copy
 */
function onFrame(channel, type, stream, generation, buffer, start, end, owned) {
  if (type === TUNNEL) {
    const from = decodeTunnel(buffer, start, end);
    if (channel.tunnels[stream] !== undefined) channel.fail(new ProtocolError(`TUNNEL on stream ${stream}, which has one`));
    else if (admits(channel, channel.server, from)) channel.scope.runInAsyncScope(openTunnel, undefined, channel, stream, generation, from);
    else channel.send(prefix(0, C.FRAMES_TO_PROXY.TUNNEL_END, u24(stream), generation));
    return;
  }
  const handle = channel.tunnels[stream];
  if (handle === undefined || handle.generation !== generation) return; // late
  switch (type) {
    case TUNNEL_DATA:
      handle.receive(owned ? buffer : copied(buffer, start, end));
      break;
    case TUNNEL_END:
      handle.receiveEnd();
      break;
    case TUNNEL_CLOSE:
      handle.receiveClose(buffer.latin1Slice(start, end));
      break;
    case TUNNEL_WINDOW:
      handle.receiveWindow(buffer.readUInt32LE(start));
      break;
  }
}

/** Called in the async context that the server had when it began to listen. */
function openTunnel(channel, stream, generation, from) {
  const { server } = channel;
  const socket = connect(channel, server, stream, generation, from);
  server.emit('connection', socket);
  if (socketChannel.hasSubscribers) socketChannel.publish({ socket });
}

module.exports = { onFrame };
