// A stream of events from plain node:http: numbered from the client's Last-Event-ID on, one every 20 ms.

import http from 'node:http';

let open = 0;

const server = http.createServer((req, res) => {
  if (req.url === '/open') {
    res.end(String(open));
    return;
  }
  let number = Number(req.headers['last-event-id'] ?? 0);
  const last = Number(new URL(req.url, 'http://app').searchParams.get('last') ?? Infinity);
  res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
  res.write('retry: 10\n\n');
  open += 1;
  const timer = setInterval(() => {
    number += 1;
    res.write(`id: ${number}\ndata: ${JSON.stringify({ number, text: 'grün' })}\n\n`);
    if (number >= last) res.end();
  }, 20);
  res.on('close', () => {
    clearInterval(timer);
    open -= 1;
  });
});

server.listen(Number(process.env.PORT), '127.0.0.1');
process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  server.closeAllConnections();
});
