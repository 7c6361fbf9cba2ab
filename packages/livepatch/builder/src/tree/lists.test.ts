import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { limitedRun } from '@kmend/base/node';
import { KBUILD } from './built.ts';
import { linkedObjects, parseLists } from './lists.ts';

/** A tree of Makefiles that is like the kernel's as far as kbuild/tree.mk looks. */
const SKELETON: Readonly<Record<string, string>> = {
  Makefile: [
    'srctree := .',
    'export srctree',
    'libs-y := lib/ drivers/stub/lib.a',
    'export ARCH_LIB := $(filter %/, $(libs-y))',
    'include include/config/auto.conf',
  ].join('\n'),
  'include/config/auto.conf': 'CONFIG_YES=y\nCONFIG_MODULE=m\n',
  'scripts/Kbuild.include': '',
  'scripts/Makefile.compiler': '',
};

async function linked(files: Readonly<Record<string, string>>): Promise<string[]> {
  const root = await mkdtemp(join(tmpdir(), 'kmend-lists-'));
  try {
    for (const [path, text] of Object.entries({ ...SKELETON, ...files })) {
      await mkdir(dirname(join(root, path)), { recursive: true });
      await writeFile(join(root, path), `${text}\n`);
    }
    const args = ['-s', '-C', root, '-f', join(KBUILD, 'tree.mk'), 'kmend-lists'];
    const { stdout, stderr, exitCode } = await limitedRun('make', args);
    assert.equal(exitCode, 0, stderr);
    const lists = parseLists(stdout.toString('utf8'));
    assert.ok(lists !== undefined);
    return linkedObjects(lists)
      .map(({ target, object }) => `${target} ${object}`)
      .sort();
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

test('finds what the configuration links, and leaves out what it does not', async () => {
  const found = await linked({
    Kbuild: 'obj-$(CONFIG_YES) += kernel/\nobj-$(CONFIG_NO) += off/\nobj-y += $(ARCH_LIB) drivers/',
    'kernel/Makefile': 'obj-y := fork.o\nobj-$(CONFIG_NO) += never.o',
    'off/Makefile': 'obj-y := off.o',
    'lib/Makefile': 'lib-y := ctype.o fork.o\nobj-y += fork.o',
    'drivers/Makefile': 'obj-$(CONFIG_MODULE) += net/ af-alg.o\nsubdir-y += program\nobj-y += stub/',
    'drivers/net/Makefile': 'obj-y := not-linked.o\nobj-m := dummy.o',
    'drivers/program/Makefile': 'obj-y := not-linked.o\nobj-m := not-linked-either.o',
    'drivers/stub/Makefile': 'lib-y := of-another-image.o',
  });
  assert.deepEqual(found, [
    'drivers/af-alg.o af_alg',
    'drivers/net/dummy.o dummy',
    'kernel/fork.o vmlinux',
    'lib/ctype.o vmlinux',
    'lib/fork.o vmlinux',
  ]);
});

test('takes composite objects apart as scripts/Makefile.lib does', async () => {
  const found = await linked({
    Kbuild: 'obj-y += a/ b/',
    'a/Makefile': [
      'obj-m := pf.o vf.o both.o empty.o',
      'obj-y := core.o both.o',
      'common := device.o',
      'pf-y := pf_main.o $(common)',
      'vf-objs := vf_main.o $(common) ../far/away.o',
      'core-y := core-$(CONFIG_YES)_main.o',
      'core-m := not-of-vmlinux.o',
      'empty-$(CONFIG_NO) := left-out.o',
    ].join('\n'),
    // A module of the same name as the composite of the other folder.
    'b/Kbuild': 'obj-m := core.o',
    'b/Makefile': 'obj-m := not-read.o',
  });
  assert.deepEqual(found, [
    'a/../far/away.o vf',
    'a/both.o vmlinux',
    'a/core-y_main.o vmlinux',
    'a/device.o pf',
    'a/device.o vf',
    'a/pf_main.o pf',
    'a/vf_main.o vf',
    'b/core.o core',
  ]);
});

test('rejects a truncated answer', () => {
  assert.equal(parseLists('kmend: libraries lib\nkmend: folder .\nkmend: obj-y init/\n'), undefined);
});
