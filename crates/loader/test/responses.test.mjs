// Heads and bodies of responses, byte for byte, under Node alone and over frames.
import { compareAll } from './compare.mjs';

compareAll('responses');
