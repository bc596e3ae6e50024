// Async contexts, hooks, diagnostics, domains and uncaught errors, under Node alone and over frames.
import { compareAll } from './compare.mjs';

compareAll('context');
