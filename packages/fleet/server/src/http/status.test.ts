import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { TrustError } from '@kmend/trust';
import { answerTo } from './errors.ts';
import { answeredCodes } from './status.ts';

test('docs/server.md lists exactly the codes that the API answers with, each with its status', async () => {
  const page = await readFile(new URL('../../../../../docs/server.md', import.meta.url), 'utf8');
  const [, section = ''] = page.split('## Codes');
  const shown: Record<string, number> = {};
  for (const [, status, cell = ''] of section.matchAll(/^\| (\d{3}) \| (.+) \|$/gm))
    for (const [, code = ''] of cell.matchAll(/`([a-z][a-z-]*)`/g)) shown[code] = Number(status);
  assert.deepEqual(shown, answeredCodes());
});

test('keeps messages that are not meant for a client in the log', () => {
  const { status, body } = answerTo(new TrustError('key-damaged', 'cannot read /srv/keys/policy.json'));
  assert.deepEqual([status, body.error.code], [500, 'internal']);
  assert.doesNotMatch(JSON.stringify(body), /srv/);
});
