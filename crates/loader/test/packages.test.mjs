// Packages of others that reach deep into Node's http (OpenTelemetry, supertest, light-my-request, frameworks), under Node alone and
// over frames. They are the end-to-end tests' fixtures: `cargo xtask test` installs them, or `npm ci` in tests/fixtures.
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { compareAll } from './compare.mjs';

const folder = path.join(import.meta.dirname, '../../../tests/fixtures/node_modules');
if (fs.existsSync(path.join(folder, '@opentelemetry/instrumentation-http'))) compareAll('packages');
else test('packages', { skip: `SKIPPED: nothing is installed in ${folder}` }, () => {});
