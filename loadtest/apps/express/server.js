'use strict';
// A small object through Express 5.
const express = require('express');

const app = express();
app.get('/', (req, res) => { res.json({ message: 'Hello, world!' }); });
app.listen(process.env.PORT);
