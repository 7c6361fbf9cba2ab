import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { FROM, KERNEL, Operator, SUITE, TO } from '@kmend/harness';
import type { PlannedUpdate } from '@kmend/pipeline';

/** Plans of a real update: Debian 12's of 2026 from the kernel of the other tests. */
const operator = await Operator.make(new AbortController().signal);
before(() => operator.kmend('kernel', 'add', `${SUITE}/${KERNEL}`));
after(() => operator.remove());

/** Real CVEs of that update, with the files of their records. */
const RECORDS = [
  { id: 'CVE-2025-38627', files: ['fs/f2fs/compress.c', 'fs/f2fs/f2fs.h'] },
  { id: 'CVE-2023-53292', files: ['block/blk-mq.c'] },
];

test('plans a real update: uploads, files of this kernel, CVEs by the files of their records', async () => {
  const records = join(operator.home, 'records.jsonl');
  const lines = RECORDS.map((record) => JSON.stringify({ ...record, state: 'PUBLISHED', title: '' }));
  await writeFile(records, `${lines.join('\n')}\nno record\n`);
  const words = ['update', 'plan', '--kernel', KERNEL, '--to', TO, '--records', records];
  const plan = await operator.kmend<PlannedUpdate>(...words);
  assert.deepEqual([plan.kernel, plan.from, plan.to], [KERNEL, FROM, TO]);
  assert.deepEqual(
    plan.uploads.map(({ version }) => version),
    ['6.1.176-1', '6.1.174-1', '6.1.172-1'],
  );
  // As counted on 1 December 2026. The others are of other architectures, and of drivers that Debian leaves out.
  assert.deepEqual(plan.files.sources, { changed: 1109, built: 780 });
  assert.equal(plan.cves.length, 502);
  assert.deepEqual(
    RECORDS.map(({ id }) => plan.cves.find((cve) => cve.id === id)?.attribution),
    ['files', 'files'],
  );
  assert.deepEqual(plan.records, { used: 2, unreadable: 1 });
});

test('refuses an earlier version, another series, and records that are not there', async () => {
  for (const [words, code] of [
    [['--to', '6.1.1-1'], 'update-version'],
    [['--to', '6.12.118-1'], 'update-version'],
    [['--to', TO, '--records', '/nonexistent'], 'records-unreadable'],
  ] as const) {
    const { exitCode, json } = await operator.run('update', 'plan', '--kernel', KERNEL, ...words);
    assert.deepEqual([exitCode, (json as { error?: { code: string } }).error?.code], [1, code]);
  }
});
