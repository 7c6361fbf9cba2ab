import assert from 'node:assert/strict';
import { mkdir, rm, symlink } from 'node:fs/promises';
import { test } from 'node:test';
import { TestKernel } from '../testing/kernel.ts';
import { foreignKernel } from './place.ts';

const cases: Record<string, [code: string, change: (kernel: TestKernel) => Promise<unknown>]> = {
  'a capture kernel': ['capture-kernel', (kernel) => kernel.write('/proc/vmcore', '')],
  'a container of systemd': ['foreign-kernel', (kernel) => kernel.write('/run/systemd/container', 'systemd-nspawn\n')],
  'a container of Docker': ['foreign-kernel', (kernel) => kernel.write('/.dockerenv', '')],
  'a container of Podman': ['foreign-kernel', (kernel) => kernel.write('/run/.containerenv', '')],
  'a user namespace': [
    'foreign-kernel',
    (kernel) => kernel.write('/proc/self/uid_map', '         0     100000      65536\n'),
  ],
  'a process namespace': [
    'foreign-kernel',
    async (kernel) => {
      await mkdir(kernel.path('/proc/self/ns'), { recursive: true });
      await symlink('pid:[4026532201]', kernel.path('/proc/self/ns/pid'));
    },
  ],
  'a chroot': ['foreign-kernel', (kernel) => kernel.write('/proc/1/root/etc/hostname', 'the host around it\n')],
  'an image, where no systemd runs': [
    'foreign-kernel',
    (kernel) => rm(kernel.path('/run/systemd'), { recursive: true }),
  ],
};

for (const [what, [code, change]] of Object.entries(cases)) {
  test(`recognises ${what}`, async (t) => {
    const kernel = await TestKernel.make();
    t.after(() => kernel.remove());
    await change(kernel);
    assert.equal((await foreignKernel(kernel.edges()))?.code, code);
  });
}

test('recognises an ordinary host', async (t) => {
  const kernel = await TestKernel.make();
  t.after(() => kernel.remove());
  await kernel.write('/proc/self/uid_map', '         0          0 4294967295\n');
  await mkdir(kernel.path('/proc/self/ns'), { recursive: true });
  await symlink('pid:[4026531836]', kernel.path('/proc/self/ns/pid'));
  await mkdir(kernel.path('/proc/1'), { recursive: true });
  await symlink(kernel.path('/'), kernel.path('/proc/1/root'));
  assert.equal(await foreignKernel(kernel.edges()), undefined);
});
