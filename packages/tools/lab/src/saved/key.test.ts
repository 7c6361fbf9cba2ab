import assert from 'node:assert/strict';
import { mkdtemp, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { MachineSpec } from '../qemu.ts';
import { someMachine } from '../testing/machine.ts';
import { type SavedParts, savedKey } from './key.ts';

const home = await mkdtemp(join(tmpdir(), 'kmend-key-test-'));
after(() => rm(home, { recursive: true }));
const root = join(home, 'root.ext4');
await writeFile(root, 'root');

const spec: MachineSpec = { ...someMachine, kernelArguments: ['systemd.hostname=saved'] };
const parts: SavedParts = { qemu: 'QEMU 7.2', kernelBuildId: 'aa', files: [root] };
const key = await savedKey(spec, parts);

test('shares a saved machine between hosts that differ only in renewed parts', async () => {
  const other: MachineSpec = {
    ...spec,
    name: 'web-2',
    uuid: '00000000-0000-4000-8000-000000000001',
    disk: '/runs/web-2.qcow2',
    forwards: [{ guestPort: 22, hostPort: 0 }],
    reachesOperator: true,
  };
  assert.equal(await savedKey(other, parts), key);
  assert.match(key, /^[0-9a-f]{32}$/);
});

test('changes the key of a saved machine with every relevant input', async () => {
  const keys = new Set([key]);
  const specs: readonly Partial<MachineSpec>[] = [
    { memoryMb: 2048 },
    { cpus: 1 },
    { kernelArguments: ['systemd.hostname=saved', 'panic=1'] },
    { initramfs: '/cache/other.gz' },
    { modulesImage: '/cache/other.ext4' },
  ];
  for (const change of specs) keys.add(await savedKey({ ...spec, ...change }, parts));
  const others: readonly Partial<SavedParts>[] = [
    { qemu: 'QEMU 8' },
    { kernelBuildId: 'bb' },
    { preparation: 'a package' },
    { preparation: 'another package' },
  ];
  for (const change of others) keys.add(await savedKey(spec, { ...parts, ...change }));
  await utimes(root, 1, 1);
  keys.add(await savedKey(spec, parts));
  await writeFile(root, 'another root');
  await utimes(root, 1, 1);
  keys.add(await savedKey(spec, parts));
  assert.equal(keys.size, 1 + specs.length + others.length + 2);
});
