// What HTTP through a tunnel means for the app. Node's parser reads the stream of the socket there, as it does with TLS, and not
// the handle: whoever looks at the order of microtasks within a body, or at `readableDidRead`, sees a difference.

import { compareAll } from './compare.mjs';

compareAll('requests', { tunnels: true });
compareAll('responses', { tunnels: true });
// The bridge takes everything at once; windows have tests of their own (tunnel.test.mjs).
compareAll('writes', { tunnels: true, except: ['a slow client holds a large write back', 'a slow client holds the end back', 'a slow client leaves'] });
compareAll('sockets', { tunnels: true, except: ['what it says', 'what it is', 'bytes after it is closed'] });
