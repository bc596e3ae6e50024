// Request bodies, and the ends that a request can come to, under Node alone and over frames.
import { compareAll } from './compare.mjs';

compareAll('bodies');
