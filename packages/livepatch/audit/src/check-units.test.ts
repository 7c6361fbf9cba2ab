import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { run } from '@kmend/base/node';
import type { Livepatch } from '@kmend/protocol';
import type { Replacement } from './check-functions.ts';
import { type CopySource, checkUnits } from './check-units.ts';
import { Findings } from './finding.ts';
import type { Located } from './shipped-module.ts';

const PATCH = '--- a/fs/one.c\n+++ b/fs/one.c\n@@ -1 +1 @@\n-int load(int a)\n+int load(int b)\n';
const FILES = {
  'fs/one.c': '\nint open(int a)\n{\n}\n\nint load(int a)\n{\n}\n\nint close(int a)\n{\n}\n',
  'fs/both.c': '#include "one.c"\n',
};

/** A kernel with functions in this order, sixteen bytes each. */
function kernelOf(names: readonly string[]): CopySource {
  const places = names.map((name, index): Located => {
    const start = -0x7f00_0000 + index * 16;
    return {
      object: 'vmlinux',
      names: [name],
      start,
      end: start + 16,
      isCode: true,
      isWritable: false,
      isLocal: true,
      isInit: false,
    };
  });
  const named = (name: string): Located[] => places.filter((one) => one.names.includes(name));
  return {
    kernel: { paths: { modules: '/nowhere' } } as CopySource['kernel'],
    moduleFiles: new Map(),
    load: async () => undefined,
    module: () => undefined,
    count: (_, name) => named(name).length,
    find: (_, name, sympos) => {
      const found = named(name)[sympos - 1];
      return found === undefined ? { fault: 'absent' } : { address: found.start };
    },
    locate: (address) => places.find((one) => address >= one.start && address < one.end),
    neighbours: () => places,
  };
}

async function found(
  t: { after(run: () => Promise<void>): void },
  names: readonly string[],
  units: Livepatch['units'],
): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'kmend-audit-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const tree = join(folder, 'source');
  for (const [path, text] of Object.entries(FILES)) {
    await mkdir(dirname(join(tree, path)), { recursive: true });
    await writeFile(join(tree, path), text);
  }
  const kernel = kernelOf(names);
  const first = kernel.find('vmlinux', 'load', 1);
  const oldAddress = 'address' in first ? first.address : 0;
  const replacement: Replacement = {
    object: 'vmlinux',
    name: 'load',
    sympos: 1,
    oldAddress,
    oldEnd: oldAddress + 16,
    newAddress: 0,
  };
  const functions = [{ name: 'load', sympos: 1, source: 'fs/both.c' }];
  // The check reads these two fields of a manifest alone.
  const manifest = { objects: [{ name: 'vmlinux', functions }], units } as unknown as Livepatch;
  const findings = new Findings();
  const source = { patches: [PATCH], tree };
  await checkUnits(run, kernel, { manifest, replacements: [replacement], source }, findings);
  return findings.list.map(({ code }) => code);
}

const TWICE = ['open', 'load', 'close', 'open', 'load', 'close'];

test('requires a file that is a unit and is included by another to be covered twice', async (t) => {
  const units = [{ source: 'fs/both.c', object: 'vmlinux' }];
  assert.deepEqual(await found(t, TWICE, units), ['unit-uncovered']);
  assert.deepEqual(await found(t, TWICE, undefined), ['unit-uncovered']);
});

test('requires nothing of a unit that was compared and is equal, or that shares only the name', async (t) => {
  const units = [{ source: 'fs/both.c', object: 'vmlinux' }];
  assert.deepEqual(await found(t, TWICE, [...units, { source: 'fs/one.c', object: 'vmlinux' }]), []);
  assert.deepEqual(await found(t, ['open', 'load', 'close'], units), []);
});
