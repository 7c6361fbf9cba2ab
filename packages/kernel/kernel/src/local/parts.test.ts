import assert from 'node:assert/strict';
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { hasCode } from '../testing/errors.ts';
import { folder } from '../testing/folder.ts';
import { findParts } from './parts.ts';

async function folderWith(t: TestContext, ...paths: readonly string[]): Promise<string> {
  const directory = await folder(t);
  for (const path of paths) {
    await mkdir(dirname(join(directory, path)), { recursive: true });
    await writeFile(join(directory, path), path);
  }
  return directory;
}

const FLAT = ['bzImage', '.config', '.config.old', 'Module.symvers', 'System.map', 'modules/modules.order'];
const R = '6.1.170-own';

test('finds the parts in one folder, in a build tree, and as packages install them', async (t) => {
  const flat = await folderWith(t, ...FLAT);
  assert.deepEqual(await findParts([flat]), {
    vmlinuz: join(flat, 'bzImage'),
    modules: join(flat, 'modules'),
    config: join(flat, '.config'),
    moduleSymvers: join(flat, 'Module.symvers'),
    systemMap: join(flat, 'System.map'),
  });
  const tree = await folderWith(t, 'arch/x86/boot/bzImage', 'vmlinux', 'vmlinux.o', '.config', 'Module.symvers');
  const modules = await folderWith(t, `lib/modules/${R}/modules.order`);
  const found = await findParts([tree, modules]);
  assert.equal(found.vmlinuz, join(tree, 'arch/x86/boot/bzImage'));
  assert.equal(found.vmlinux, join(tree, 'vmlinux'));
  const headers = `usr/src/linux-headers-${R}`;
  const packages = await folderWith(
    t,
    `boot/vmlinuz-${R}`,
    `boot/config-${R}`,
    `usr/lib/modules/${R}/modules.order`,
    `${headers}/.config`,
    `${headers}/Module.symvers`,
  );
  // A merged /usr: one folder of modules, by two names.
  await symlink('usr/lib', join(packages, 'lib'));
  assert.equal((await findParts([packages])).config, join(packages, headers, '.config'));
});

test('names everything that is missing, and what there is twice', async (t) => {
  const directory = await folderWith(t, 'vmlinuz', 'config');
  const wanted = { code: 'kernel-incomplete', message: /lacks Module.symvers, modules/ };
  await assert.rejects(findParts([directory]), wanted);
  const twice = await folderWith(t, ...FLAT, 'vmlinuz-6.1.170-own');
  await assert.rejects(findParts([twice]), hasCode('kernel-ambiguous'));
  await rm(join(twice, 'bzImage'));
  await mkdir(join(twice, 'modules', 'other'));
  await writeFile(join(twice, 'modules', 'other', 'modules.order'), '');
  await assert.rejects(findParts([twice]), hasCode('kernel-ambiguous'));
});
