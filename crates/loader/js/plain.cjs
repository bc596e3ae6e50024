'use strict';

// Owns the plain path: a unix socket on which Node's own parser reads real `net.Socket`s for the
// app's server (upgrades, CONNECT, whatever frames cannot carry).
// Must never know: frames, channels.

const fs = require('fs');
const net = require('net');

class PlainPath {
  /** @param {string} path @param {any} server the app's http.Server */
  constructor(path, server) {
    this.path = path;
    this.server = server;
    // The options of a connection are what http.Server asks of net.Server (_http_server.js).
    this.acceptor = net.createServer({
      allowHalfOpen: true, pauseOnConnect: server.pauseOnConnect, highWaterMark: server.highWaterMark,
    }, (socket) => this.accepted(socket));
    this.acceptor._hostler = true; // not a server of the app, see listen.cjs
  }

  /** @param {(error: Error | null) => void} callback */
  open(callback) {
    const { acceptor } = this;
    let retried = false;
    const failed = (error) => {
      if (error.code !== 'EADDRINUSE' || retried) {
        callback(error);
        return;
      }
      retried = true; // a socket file that an earlier process left behind
      fs.rmSync(this.path, { force: true });
      acceptor.listen(this.path);
    };
    acceptor.on('error', failed);
    acceptor.once('listening', () => {
      acceptor.removeListener('error', failed);
      acceptor.on('error', () => {}); // accept failed (EMFILE): the connection waits in the backlog
      callback(null);
    });
    acceptor.listen(this.path);
  }

  /** As `onconnection` of net.js would have counted it, had the app's server accepted it itself. */
  accepted(socket) {
    const { acceptor, server } = this;
    acceptor._connections--;
    if (server.maxConnections && server._connections >= server.maxConnections) {
      socket._server = null;
      socket.destroy();
      server.emit('drop');
      return;
    }
    server._connections++;
    socket.server = server;
    socket._server = server; // net.Socket._destroy counts down there
    server.emit('connection', socket);
  }

  close() {
    this.acceptor.close();
  }

  ref() {
    this.acceptor.ref();
  }

  unref() {
    this.acceptor.unref();
  }
}

module.exports = { PlainPath };
