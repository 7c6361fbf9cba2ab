import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { silentProgress } from '@kmend/base';
import { run } from '@kmend/base/node';
import { smallTree } from '../testing/small-tree.ts';
import { headerTree } from './header-tree.ts';

const FILES = {
  'net/bridge/br_private.h': 'int br;\n',
  // No header lies beside it.
  'net/bridge/netfilter/nf_conntrack_bridge.c': '#include "../br_private.h"\n',
  'include/net/helper.h': 'int old;\n',
};

test('finds a header by ../ from a folder without headers, and leaves the tree as it is', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-headers-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const source = join(directory, 'source');
  for (const [path, text] of Object.entries(FILES)) {
    await mkdir(dirname(join(source, path)), { recursive: true });
    await writeFile(join(source, path), text);
  }
  const edges = { run, progress: silentProgress, signal: new AbortController().signal };
  const tree = smallTree(directory, source);
  const changed = new Map([['include/net/helper.h', 'int fresh;\n']]);
  const root = await headerTree(edges, tree, changed);
  const unit = join(root, 'net/bridge/netfilter');
  assert.equal(await readFile(join(unit, '../br_private.h'), 'utf8'), FILES['net/bridge/br_private.h']);
  assert.equal(await readFile(join(root, 'include/net/helper.h'), 'utf8'), 'int fresh;\n');
  assert.equal(await readFile(join(source, 'include/net/helper.h'), 'utf8'), 'int old;\n');
  assert.equal(await headerTree(edges, tree, new Map()), source);
  // The compiler's view, which is what counts.
  const gcc = ['-fsyntax-only', '-iquote', unit, '-x', 'c', '-'];
  const { exitCode, stderr } = await run('gcc', gcc, { stdin: FILES['net/bridge/netfilter/nf_conntrack_bridge.c'] });
  assert.equal(exitCode, 0, stderr);
});
