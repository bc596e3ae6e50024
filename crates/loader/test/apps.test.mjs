// How apps build on http.Server, and how they misbehave, under Node alone and over frames.
import { compareAll } from './compare.mjs';

compareAll('apps');
