import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { silentProgress } from '@kmend/base';
import { campaign, groups, Rig, remarks, SHORT_ROUNDS, table } from '@kmend/campaign';
import { isLong } from '../lib/long-form.ts';

/**
 * The short form of script/bench faults: one fault of each group that needs no long way, on one guest. Of a power cut
 * agent-boots.test.ts has one, too.
 */
test('keeps the host up, loads nothing unverified and shows a true status after every fault', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-faults-test-'));
  const rig = await Rig.make(t.signal, silentProgress, 1);
  try {
    const say = (line: string): void => t.diagnostic(line);
    const rows = await campaign([rig], {
      groups: groups.filter((it) => it.name in SHORT_ROUNDS && (it.name !== 'power' || isLong())),
      rounds: (group) => SHORT_ROUNDS[group],
      short: true,
      directory,
      signal: t.signal,
      say,
    });
    const failures = await readFile(join(directory, 'failures.log'), 'utf8').catch(() => '');
    for (const line of table(rows).split('\n')) t.diagnostic(line);
    assert.deepEqual(
      remarks(rows).filter((line) => line.startsWith('FAILED')),
      [],
      failures,
    );
    // A fault that never struck shows nothing.
    for (const { group, results } of rows)
      assert.ok(
        results.some((it) => it.struck),
        group,
      );
  } finally {
    await rig.close();
    await rm(directory, { recursive: true, force: true });
  }
});
