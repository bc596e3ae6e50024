// Time-outs of requests, responses, sockets and servers, under Node alone and over frames.
import { compareAll } from './compare.mjs';

compareAll('timers');
