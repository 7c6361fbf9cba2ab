import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { run } from '@kmend/base/node';
import { parseWork } from './run.ts';

const LIBRARY = join(import.meta.dirname, '..', '..', 'guest', 'areas', 'lib.sh');
const TRIES = 5;

/** The devices and namespaces of the machine that the test runs on are not looked at. */
const WORK = `
. "$1"
losetup() { :; }; ip() { :; }; umount() { :; }
strict=1
# A subshell that is killed before it has done anything.
for i in {1..100}; do (sleep 60) & kill $!; wait $!; [ -d "$log" ] || echo "lost: $i"; done 2>/dev/null
lacking() { need no-such-tool; }
for i in {1..${TRIES}}; do try "piece $i" 61 lacking; done
try long 1 sleep 30
try last 61 true
ps -eo args | grep -x 'sleep 183'
`;

test('says why a piece of work is absent, however soon it ends, and clears up at the end alone', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'kmend-areas-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const env = { TMPDIR: folder, XDG_RUNTIME_DIR: folder };
  const { stdout } = await run('/bin/bash', ['-c', WORK, LIBRARY, LIBRARY], { env });
  const printed = stdout.toString();
  const pieces = parseWork(printed, 'files:xfs').filter(({ what }) => what !== 'lib.sh with stress-ng');
  assert.doesNotMatch(printed, /^lost/m, 'a killed subshell has cleared up');
  const why = new Set(pieces.slice(0, TRIES).map((piece) => piece.why));
  assert.deepEqual([...why], ['no no-such-tool']);
  assert.doesNotMatch(printed, /^sleep/m, 'a clock that goes on');
  const [long, last] = pieces.slice(TRIES);
  assert.deepEqual([long?.outcome, long?.why, last?.outcome], ['absent', 'not done within 3 s', 'done']);
  assert.deepEqual(await readdir(folder), []);
});
