import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Judge } from './judge.ts';
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

test('knows which functions the source of a function calls', async () => {
  const tree = await mkdtemp(join(tmpdir(), 'kmend-judge-'));
  try {
    await writeFile(join(tree, 'a.c'), SOURCE);
    const words = ChangedWords.of({ patches: [PATCH], tree });
    assert.ok(words !== undefined);
    const judge = new Judge(words, 'a.c', [], { names: () => [], text: () => undefined });
    assert.equal(await judge.calls('find', 'validate'), true);
    assert.equal(await judge.calls('find.isra.0', 'validate.constprop.0'), true);
    assert.equal(await judge.calls('other', 'validate'), false);
  } finally {
    await rm(tree, { recursive: true, force: true });
  }
});
