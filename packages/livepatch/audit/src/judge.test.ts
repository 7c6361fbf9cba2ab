import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Judge } from './judge.ts';
import type { Likened } from './likeness.ts';
import { ChangedWords } from './source-words.ts';

const SOURCE = `
bool validate(struct header *h, int len)
{
	return h->length > len;
}

struct header *find(struct packet *p)
{
	if (!validate(p->header, p->len))
		return NULL;
	return p->header;
}

struct header *other(struct packet *p)
{
	return p->header;
}
`;
const PATCH = `--- a/a.c
+++ b/a.c
@@ -3,3 +3,5 @@
 {
+	if (len < 8)
+		return false;
 	return h->length > len;
 }
`;

const CALLING = `--- a/a.c
+++ b/a.c
@@ -9,3 +9,3 @@
 {
-	if (!validate(p->header, p->len))
+	if (!validate(p->header, p->len) || !is_zero(p))
 		return NULL;
`;

/** A judge of a unit with this text and change; what is referred to is called by its key. */
async function judging(patch: string, use: (judge: Judge) => Promise<void>): Promise<void> {
  const tree = await mkdtemp(join(tmpdir(), 'kmend-judge-'));
  try {
    await writeFile(join(tree, 'a.c'), SOURCE);
    const words = ChangedWords.of({ patches: [patch], tree });
    assert.ok(words !== undefined);
    await use(new Judge(words, 'a.c', [], { names: ({ key }) => [key], text: () => undefined }));
  } finally {
    await rm(tree, { recursive: true, force: true });
  }
}

function reference(key: string): Likened {
  const field = { at: 1, size: 4 };
  const call = { kind: 'call', at: 0, field, target: 0, isShifted: false, isPerCpu: false } as const;
  return { reference: call, where: '+0x0', field: 0, key };
}

test('takes a call that the fix adds where the compiler copied by a call', async () => {
  await judging(CALLING, async (judge) => {
    assert.equal(await judge.comesFromFix(reference('is_zero'), reference('memcpy'), false), true);
    assert.equal(await judge.comesFromFix(reference('is_zero'), reference('kfree'), false), false);
    assert.equal(await judge.comesFromFix(reference('kfree'), reference('memcpy'), false), false);
  });
});

test('knows which functions the source of a function calls', async () => {
  await judging(PATCH, async (judge) => {
    assert.equal(await judge.calls('find', 'validate'), true);
    assert.equal(await judge.calls('find.isra.0', 'validate.constprop.0'), true);
    assert.equal(await judge.calls('other', 'validate'), false);
  });
});
