'use strict';
// A small object through Koa.
const Koa = require('koa');

const app = new Koa();
app.use(async (ctx) => { ctx.body = { message: 'Hello, world!' }; });
app.listen(process.env.PORT);
