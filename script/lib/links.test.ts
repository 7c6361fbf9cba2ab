import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { brokenLinks } from './links.ts';

test('reports links to files and headings that do not exist', async (t) => {
  const root = await mkdtemp(join(tmpdir(), 'kmend-links-'));
  t.after(() => rm(root, { recursive: true, force: true }));
  await writeFile(join(root, 'other.md'), '# What it is, and what not\n\n## `code` in it\n');
  const good =
    '[a](other.md) [b](other.md#what-it-is-and-what-not) [c](other.md#code-in-it) [d](#title) [e](https://x.org/y)';
  const code = '`[f](gone.md)`\n\n```sh\n[g](gone.md)\n```\n';
  await writeFile(join(root, 'page.md'), `# Title\n\n${good}\n\n${code}\n[h](gone.md) [i](other.md#gone) [j](#gone)\n`);
  assert.deepEqual(await brokenLinks(root, 'page.md'), ['gone.md', 'other.md#gone', '#gone']);
});
