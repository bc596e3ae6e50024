// Writing a response: return values, back-pressure, callbacks, corks and the order of it all, under Node alone and over frames.
import { compareAll } from './compare.mjs';

compareAll('writes');
