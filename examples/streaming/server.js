// Streams in both directions, as an ES module: GET / is a clock by server-sent events, POST / sends the body
// back in upper case while it is still coming in.

import { once } from 'node:events';
import { createServer } from 'node:http';

function clock(request, response) {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  const tick = () => response.write(`data: ${new Date().toISOString()}\n\n`);
  tick();
  const timer = setInterval(tick, 1000);
  // Fires when the client leaves, with Hostler as without.
  response.on('close', () => clearInterval(timer));
}

async function shout(request, response) {
  response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' });
  request.setEncoding('utf8');
  for await (const chunk of request) {
    if (!response.write(chunk.toUpperCase())) await once(response, 'drain');
  }
  response.end();
}

const server = createServer((request, response) => {
  if (request.method === 'POST') {
    shout(request, response).catch(() => response.destroy());
  } else {
    clock(request, response);
  }
});

server.listen(process.env.PORT || 3000);
