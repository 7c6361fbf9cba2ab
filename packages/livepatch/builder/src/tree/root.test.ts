import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Run } from '@kmend/base';
import type { Kernel, LocalOrigin } from '@kmend/kernel';
import { type BuildRoot, MACHINE } from '@kmend/toolchain';
import type { WantedRoot } from '@kmend/toolchain/roots';
import { rootFor } from './root.ts';

const TEXT = 'x86_64-linux-gnu-gcc-14 (Debian 14.2.0-19) 14.2.0';
const ROOT: BuildRoot = { directory: '/no/such/root', contents: { suite: 'trixie', digest: '00', packages: {} } };

interface Found {
  readonly root: BuildRoot;
  readonly wanted: readonly WantedRoot[];
}

interface Machine {
  readonly text?: string;
  readonly suite?: string;
  /** Whether the root exists. */
  readonly isThere?: boolean;
  readonly local?: LocalOrigin;
}

/**
 * The root of a kernel on a machine whose compiler of that name calls itself `here`, where the root's calls itself
 * `there`; empty where there is none.
 */
async function rootOn(
  here: string,
  there: string,
  { text = TEXT, suite = 'trixie', isThere = false, local }: Machine = {},
): Promise<Found> {
  const compiler = { text, command: text.split(' ')[0] ?? '' };
  const kernel = { release: '6.12.0', suite, compiler, ...(local === undefined ? {} : { local }) } as Kernel;
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
    const said = args[args.indexOf('--ro-bind') + 1] === '/usr/bin' ? here : there;
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

test('compiles a kernel of one’s own in this machine’s system or in the named one, and makes no root', async (t) => {
  const buildRoot = await mkdtemp(join(tmpdir(), 'kmend-given-'));
  t.after(() => rm(buildRoot, { recursive: true }));
  await mkdir(join(buildRoot, 'usr/bin'), { recursive: true });
  await writeFile(join(buildRoot, 'usr/bin/gcc-14'), '');
  assert.deepEqual(await rootOn(TEXT, '', { local: {} }), { root: MACHINE, wanted: [] });
  await assert.rejects(rootOn('', TEXT, { local: {} }), { code: 'compiler-missing', hint: /--build-root/ });
  // The one that was named, though this machine's would do.
  const found = await rootOn(TEXT, TEXT, { local: { buildRoot } });
  assert.deepEqual([found.root.directory, found.root.contents?.suite, found.wanted], [buildRoot, 'local', []]);
  await assert.rejects(rootOn(TEXT, '', { local: { buildRoot } }), { code: 'compiler-missing' });
  const other = 'x86_64-linux-gnu-gcc-14 (Debian 14.2.0-20) 14.2.0';
  await assert.rejects(rootOn(TEXT, other, { local: { buildRoot } }), { code: 'compiler-differs' });
  await assert.rejects(rootOn(TEXT, TEXT, { local: { buildRoot: '/no/such/root' } }), { code: 'root-missing' });
});
