import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { Livepatch, VerdictReason } from './livepatch.ts';
import { verdictCodes } from './verdict-codes.ts';

test('docs/builder.md explains exactly the codes of verdicts, with the verdicts that each leads to', async () => {
  const page = await readFile(new URL('../../../../docs/builder.md', import.meta.url), 'utf8');
  const list = page.slice(page.indexOf('Each reason has a code'), page.indexOf('Errors before there is a verdict'));
  const shown: Record<string, string[]> = {};
  for (const [, codes = '', verdicts = ''] of list.matchAll(/^- ((?:`[a-z-]+`,?\s)+)\(([^)]+)\)/gm))
    for (const [, code = ''] of codes.matchAll(/`([a-z-]+)`/g))
      shown[code] = ['refused', 'needs-review'].filter((verdict) => verdicts.includes(verdict));
  assert.deepEqual(shown, verdictCodes);
});

test('reads a manifest of a newer builder with an unknown code', () => {
  const reason = { code: 'of-the-future', verdict: 'refused', message: 'no' };
  assert.equal(VerdictReason.safeParse(reason).success, false);
  assert.equal(Livepatch.shape.reasons.safeParse([reason]).success, true);
});
