import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { runKmend, type Said } from '../testing/run.ts';
import { fixCommands } from './fix.ts';

const HUNK = '@@ -1,3 +1,3 @@\n one\n-two\n+"\xF6"\n three\n';
const file = (path: string): string =>
  `diff --git a/${path} b/${path}\nindex 1..2\n--- a/${path}\n+++ b/${path}\n${HUNK}`;

test('names what it leaves out of a patch and what was chosen, on import and later; shows bytes unchanged', async (t) => {
  const home = await mkdtemp(join(tmpdir(), 'kmend-cli-fix-'));
  t.after(() => rm(home, { recursive: true, force: true }));
  const kmend = (...argv: string[]): Promise<Said> => runKmend([fixCommands], { KMEND_HOME: home }, 'fix', ...argv);
  const patch = join(home, 'f.patch');
  const text = ['kernel/fork.c', 'mm/mmap.c', 'Documentation/x.rst'].map(file).join('').replaceAll('\n', '\r\n');
  await writeFile(patch, text, 'latin1');
  const all = await kmend('import', '--id', 'all', '--patch', patch);
  assert.deepEqual([all.exitCode, all.err], [0, '']);
  assert.match(
    all.out,
    /^ {2}kernel\/fork\.c\n {2}mm\/mmap\.c\nleft out: Documentation\/x\.rst \(documentation\)\nnote: .*CR LF/m,
  );
  const part = await kmend('import', '--id', 'part', '--patch', patch, '--path', 'mm', '--path', 'kernel/sched/core.c');
  assert.deepEqual([part.exitCode, /kernel\/sched\/core\.c.*\[fix-empty\]/s.test(part.err)], [1, true], part.err);
  await kmend('import', '--id', 'part', '--patch', patch, '--path', 'mm');
  const { out } = await kmend('show', 'part');
  assert.match(out, /"paths":\["mm"\]/);
  assert.match(out, /left out: kernel\/fork\.c \(not-chosen\)/);
  const shown = JSON.parse((await kmend('show', 'part', '--json')).out);
  assert.deepEqual([shown.patch, shown.patchEncoding], [file('mm/mmap.c').replace(/^.*\n.*\n/, ''), 'latin1']);
});
