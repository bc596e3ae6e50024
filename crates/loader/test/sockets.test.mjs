// The socket that an app sees behind a request, under Node alone and over frames.
import { compareAll } from './compare.mjs';

compareAll('sockets');
