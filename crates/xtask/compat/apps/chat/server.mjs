// A Socket.IO chat: rooms, acknowledgements, binary messages, recovery of what a client missed.

import http from 'node:http';

import { Server } from 'socket.io';

const server = http.createServer((req, res) => res.end('chat'));
const io = new Server(server, {
  maxHttpBufferSize: 16 << 20,
  connectionStateRecovery: { maxDisconnectionDuration: 60_000 },
});

io.on('connection', (socket) => {
  socket.emit('transport', socket.conn.transport.name);
  socket.on('join', (room, done) => {
    socket.join(room);
    done(room);
  });
  socket.on('say', (room, text) => io.to(room).emit('said', text));
  socket.on('binary', (bytes, done) => done(Buffer.from(bytes).reverse()));
  // Cuts the connection as a network does, behind the client's back.
  socket.on('cut', () => socket.conn.close());
  socket.on('cut-then-say', (room, text) => {
    socket.conn.close();
    setTimeout(() => io.to(room).emit('said', text), 50);
  });
});

server.listen(Number(process.env.PORT), '127.0.0.1');
process.on('SIGTERM', () => io.close(() => process.exit(0)));
