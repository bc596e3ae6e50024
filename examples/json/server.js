'use strict';
// A small object, made and serialised anew for each request.

const http = require('node:http');

let requests = 0;

const server = http.createServer((request, response) => {
  requests += 1;
  const text = JSON.stringify({
    message: 'Hello, world!',
    path: request.url,
    requests,
    pid: process.pid,
  });
  response.writeHead(200, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
  });
  response.end(text);
});

server.listen(process.env.PORT || 3000);
