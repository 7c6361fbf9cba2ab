import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { TrustError } from '@kmend/trust';
import { answerTo } from './errors.ts';
import { statusTable } from './status.ts';

test('docs/server.md shows the status of every code that the API answers with', async () => {
  const page = await readFile(new URL('../../../../docs/server.md', import.meta.url), 'utf8');
  assert.ok(page.includes(`\n${statusTable()}\n`), `put this into docs/server.md, under "Codes":\n${statusTable()}`);
});

test('what is not meant for a client stays in the log', () => {
  const { status, body } = answerTo(new TrustError('key-damaged', 'cannot read /srv/keys/policy.json'));
  assert.deepEqual([status, body.error.code], [500, 'internal']);
  assert.doesNotMatch(JSON.stringify(body), /srv/);
});
