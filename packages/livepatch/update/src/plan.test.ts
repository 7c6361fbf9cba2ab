import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ChangelogItem } from './changelog.ts';
import { planOf, type UpdateFacts } from './plan.ts';

const item = (title: string, ...cves: string[]): ChangelogItem => ({ title, cves, architectures: [] });
const record = (id: string, ...files: string[]) => [id, { id, title: id, files }] as const;

const FACTS: UpdateFacts = {
  changed: ['fs/a.c', 'fs/a.h', 'sound/b.c'],
  added: ['fs/new.c'],
  built: new Set(['fs/a.c', 'fs/a.h']),
  has: (path) => ['fs/a.c', 'fs/a.h', 'sound/b.c', 'fs/new.c', 'net/same.c'].includes(path),
  uploads: [
    { version: '6.12.2-1', suite: 'trixie', items: [item('again', 'CVE-1'), { ...item('r'), reverts: 'first' }] },
    {
      version: '6.12.1-1',
      suite: 'trixie',
      items: [
        item('first', 'CVE-1'),
        item('all', 'CVE-2', 'CVE-3', 'CVE-4', 'CVE-5', 'CVE-6'),
        { ...item('s'), reverts: 'x' },
      ],
    },
  ],
  records: new Map([
    record('CVE-1', 'fs/a.c', 'fs/a.h', 'fs/other-branch.c'),
    record('CVE-2', 'sound/b.c'),
    record('CVE-3', 'fs/a.c', 'net/same.c'),
    record('CVE-4', 'fs/other-branch.c'),
    record('CVE-5', 'fs/new.c', 'fs/a.c'),
  ]),
};

test('attributes a CVE by the files of its record alone', () => {
  const { cves } = planOf(FACTS);
  assert.deepEqual(
    cves.map(({ id, attribution }) => [id, attribution]),
    [
      ['CVE-1', 'files'],
      ['CVE-2', 'not-built'],
      ['CVE-3', 'unchanged'],
      ['CVE-4', 'no-files'],
      ['CVE-5', 'new-file'],
      ['CVE-6', 'no-record'],
    ],
  );
  const [first, , third] = cves;
  assert.deepEqual(first, {
    id: 'CVE-1',
    title: 'first',
    version: '6.12.1-1',
    attribution: 'files',
    files: ['fs/a.c', 'fs/a.h'],
    unchanged: [],
    elsewhere: ['fs/other-branch.c'],
  });
  assert.deepEqual(third?.unchanged, ['net/same.c']);
});

test('counts what changes, and what of it the kernel is built from', () => {
  const { files, uploads, reverts } = planOf(FACTS);
  assert.deepEqual(files, { sources: { changed: 2, built: 1 }, headers: { changed: 1, built: 1 }, added: 1 });
  assert.deepEqual(
    uploads.map(({ version, items, cves }) => [version, items, cves]),
    [
      ['6.12.2-1', 2, 1],
      ['6.12.1-1', 3, 6],
    ],
  );
  assert.deepEqual(reverts, [
    { title: 'x', version: '6.12.1-1', within: false },
    { title: 'first', version: '6.12.2-1', within: true },
  ]);
});
