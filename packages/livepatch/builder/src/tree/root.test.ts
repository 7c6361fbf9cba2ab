import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Run } from '@kmend/base';
import type { Kernel } from '@kmend/kernel';
import { type BuildRoot, MACHINE } from '@kmend/toolchain';
import type { WantedRoot } from '@kmend/toolchain/roots';
import { rootFor } from './root.ts';

const TEXT = 'x86_64-linux-gnu-gcc-14 (Debian 14.2.0-19) 14.2.0';
const ROOT: BuildRoot = { directory: '/no/such/root', contents: { suite: 'trixie', digest: '00', packages: {} } };

interface Found {
  readonly root: BuildRoot;
  readonly wanted: readonly WantedRoot[];
}

/**
 * The root of a kernel on a machine whose compiler of that name calls itself `here`, where the root's calls itself
 * `there`; empty where there is none.
 */
async function rootOn(
  here: string,
  there: string,
  { text = TEXT, suite = 'trixie', isThere = false } = {},
): Promise<Found> {
  const kernel = { release: '6.12.0', suite, compiler: { text, command: text.split(' ')[0] ?? '' } } as Kernel;
  const wanted: WantedRoot[] = [];
  let isMade = isThere;
  const roots = {
    find: async () => (isMade ? ROOT : undefined),
    prepare: async (what: WantedRoot) => {
      wanted.push(what);
      isMade = true;
      return ROOT;
    },
  };
  const run: Run = async (_, args) => {
    // A root that does not exist shows nothing of itself, this machine's system does.
    const said = args.includes('/usr/bin') ? here : there;
    if (said === '') return { exitCode: 127, stdout: Buffer.alloc(0), stderr: missing(args) };
    return { exitCode: 0, stdout: Buffer.from(`${said}\nCopyright\n`), stderr: '' };
  };
  return { root: await rootFor(run, kernel, roots), wanted };
}

function missing(args: readonly string[]): string {
  return `prlimit: failed to execute ${args.at(-2)}: No such file or directory`;
}

test('this machine’s system is used where its compiler is the very one, and no root is made', async () => {
  assert.deepEqual(await rootOn(TEXT, ''), { root: MACHINE, wanted: [] });
});

test('makes a root of the suite if this machine has another compiler or none', async () => {
  const wanted = [{ suite: 'trixie', compiler: { name: 'gcc-14', version: '14.2.0-19' } }];
  for (const here of ['', 'x86_64-linux-gnu-gcc-14 (Debian 14.2.0-20) 14.2.0'])
    assert.deepEqual(await rootOn(here, TEXT), { root: ROOT, wanted });
  assert.deepEqual(await rootOn('', TEXT, { suite: 'trixie-backports' }), { root: ROOT, wanted });
});

test('uses an existing root if its compiler runs', async () => {
  assert.deepEqual(await rootOn('', TEXT, { isThere: true }), { root: ROOT, wanted: [] });
});

test('reports a compiler that Debian does not package, or that differs in the root', async () => {
  await assert.rejects(rootOn('', '', { text: 'gcc-14 (GCC) 14.2.1 20250110' }), { code: 'compiler-missing' });
  await assert.rejects(rootOn('', 'x86_64-linux-gnu-gcc-14 (Debian 14.2.0-20) 14.2.0'), { code: 'compiler-differs' });
});
