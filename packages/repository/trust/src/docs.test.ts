import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

test('docs/trust.md explains every error code of this package', async () => {
  // Types are gone when the code runs: the members of the union as the source has them.
  const source = await readFile(new URL('error.ts', import.meta.url), 'utf8');
  const union = /type TrustErrorCode =([^;]+);/.exec(source)?.[1] ?? '';
  const codes = [...union.matchAll(/^ {2}\| '([^']+)'/gm)].map(([, code]) => code ?? '');
  assert.ok(codes.length > 20, 'nothing was found to look for');
  const page = await readFile(new URL('../../../../docs/trust.md', import.meta.url), 'utf8');
  const [, table = ''] = page.split('## Codes');
  assert.deepEqual(
    codes.filter((code) => !table.includes(`\`${code}\``)),
    [],
  );
});
