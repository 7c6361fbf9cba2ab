import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { code } from '../testing/errors.ts';
import { withCarried } from './carried.ts';

test('accepts a bundle only as a regular file of a bounded size, and keeps it readable while it is used', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'kmend-carried-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const [path, place] = [join(folder, 'bundle.tar'), join(folder, 'place')];
  writeFileSync(path, 'b'.repeat(3_000_000), { mode: 0o600 });
  const work = async (): Promise<string> => {
    assert.equal(statSync(place).mode & 0o777, 0o644);
    return readFileSync(place, 'utf8');
  };
  assert.equal((await withCarried(path, place, work)).length, 3_000_000);
  // Nothing is copied of a file that fills the disk, nor waited for where it is none.
  truncateSync(path, 100 * 2 ** 30);
  execFileSync('mkfifo', [join(folder, 'pipe')]);
  for (const bad of [path, join(folder, 'pipe'), '/dev/zero', folder, join(folder, 'nothing')]) {
    await assert.rejects(
      withCarried(bad, place, async () => assert.fail('it was taken')),
      code('bundle-unreadable'),
      bad,
    );
    assert.ok(!existsSync(place), bad);
  }
});
