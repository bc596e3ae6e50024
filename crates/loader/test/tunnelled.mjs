// Owns a way from real connections to tunnels: what a client writes to the bridge's port goes through a tunnel of a channel, as
// the proxy would send it, and back. So every script for a TCP port drives a tunnel too.
// Must never know: what passes.

import { once } from 'node:events';
import net from 'node:net';
import { C, frame } from './harness.mjs';

/** Credit is given back in such steps, as the proxy does. */
const CREDIT_BYTES = C.WINDOW_BYTES / 2;

/** One tunnel, by hand. */
export class Tunnel {
  /** @param {import('./harness.mjs').ProxyChannel} channel */
  constructor(channel, { address = '127.0.0.1', port = 4711, listener = 0 } = {}) {
    this.channel = channel;
    this.stream = channel.nextStream++;
    this.generation = 1;
    const fixed = Buffer.from([listener, 0, port & 255, port >> 8]);
    this.write('TUNNEL', Buffer.concat([fixed, Buffer.from(address)]));
  }

  write(type, payload) {
    this.channel.write(frame(type, this.stream, this.generation, payload));
  }

  /** @param {number} bytes of credit */
  grant(bytes) {
    const payload = Buffer.alloc(4);
    payload.writeUInt32LE(bytes);
    this.write('TUNNEL_WINDOW', payload);
  }

  /** @param {string | Buffer} bytes of the client */
  data(bytes) {
    this.write('TUNNEL_DATA', Buffer.from(bytes, 'latin1'));
  }

  /** What has come of the app, and how much of its credit is left. */
  received() {
    const mine = this.channel.frames.filter((one) => one.stream === this.stream && one.generation === this.generation);
    return {
      text: Buffer.concat(mine.filter((one) => one.type === 'TUNNEL_DATA').map((one) => one.payload)).toString('latin1'),
      credit: mine.filter((one) => one.type === 'TUNNEL_WINDOW').reduce((sum, one) => sum + one.payload.readUInt32LE(0), 0),
      ended: mine.filter((one) => one.type === 'TUNNEL_END').length,
    };
  }

  /** Waits for a state of that. */
  async until(test) {
    while (!test(this.received())) await once(this.channel, `frame ${this.stream}`, { signal: AbortSignal.timeout(8000) });
    return this.received();
  }
}

/** A port whose connections are tunnels of `channel`. */
export async function bridge(channel) {
  const server = net.createServer({ allowHalfOpen: true }, (socket) => carry(channel, socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { port: server.address().port, close: () => server.close() };
}

function carry(channel, socket) {
  const tunnel = new Tunnel(channel, { port: socket.remotePort });
  let over = false;
  let owed = 0;
  const onFrame = (one) => {
    if (one.type === 'TUNNEL_DATA') {
      owed += one.payload.length;
      socket.write(one.payload, () => {
        if (over || owed < CREDIT_BYTES) return;
        tunnel.grant(owed);
        owed = 0;
      });
    } else if (one.type === 'TUNNEL_END') {
      close('');
      socket.end();
      // As the proxy, which has no use for what still comes.
      socket.resume();
    }
  };
  const close = (why) => {
    if (over) return;
    over = true;
    channel.off(`frame ${tunnel.stream}`, onFrame);
    tunnel.write('TUNNEL_CLOSE', Buffer.from(why));
  };
  channel.on(`frame ${tunnel.stream}`, onFrame);
  socket.on('data', (bytes) => { if (!over) tunnel.data(bytes); });
  socket.on('end', () => { if (!over) tunnel.write('TUNNEL_END'); });
  socket.on('error', (error) => close(error.code));
  socket.on('close', () => close(''));
}
