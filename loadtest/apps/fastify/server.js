'use strict';
// A small object through Fastify, as its guide writes a route.
const fastify = require('fastify')({ logger: false });

fastify.get('/', async () => ({ message: 'Hello, world!' }));
const port = Number(process.env.PORT);
fastify.listen(Number.isNaN(port) ? { path: process.env.PORT } : { port });
