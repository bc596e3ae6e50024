// Requests as the app sees them, under Node alone and over frames.
import { compareAll } from './compare.mjs';

compareAll('requests');
