import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Area, areaName, chooseAreas } from './choose.ts';
import { parseWork, systemWork } from './run.ts';

const chosen = (...sources: string[]): string[] =>
  chooseAreas([{ name: 'vmlinux', functions: sources.map((source) => ({ name: 'f', sympos: 0, source })) }]).map(
    areaName,
  );

test('chooses what to exercise by what a livepatch patches', () => {
  assert.deepEqual(chosen('fs/btrfs/inode.c', 'fs/btrfs/ioctl.c'), ['files:btrfs']);
  assert.deepEqual(chosen('fs/smb/server/auth.c'), ['files:ksmbd']);
  assert.deepEqual(chosen('fs/smb/client/ioctl.c'), ['files:smb']);
  assert.deepEqual(chosen('fs/smb/common/smb2.c'), ['files:ksmbd', 'files:smb']);
  assert.deepEqual(chosen('fs/fat/namei_vfat.c'), ['files:vfat']);
  assert.deepEqual(chosen('fs/isofs/rock.c', 'fs/nfsd/vfs.c'), ['files:isofs', 'files:nfs']);
  assert.deepEqual(chosen('drivers/md/raid5.c'), ['block:mapper', 'block:md']);
  assert.deepEqual(chosen('net/ipv4/netfilter/nft_fib_ipv4.c'), ['netfilter:iptables4', 'netfilter:nft']);
  assert.deepEqual(chosen('security/keys/keyring.c'), [
    'kernel:audit',
    'kernel:integrity',
    'kernel:keys',
    'system:all',
  ]);
});

test('does not exercise what no part of the lab uses', () => {
  assert.deepEqual(chosen('drivers/gpu/drm/i915/i915_gem.c', 'arch/x86/kvm/x86.c'), []);
});

test('chooses only parts that their script knows', async () => {
  const text = await readFile(join(import.meta.dirname, 'choose.ts'), 'utf8');
  const names = [...text.matchAll(/'(\w+):(\w+)'/g)].map(([, script = '', part = '']) => ({ script, part }));
  const folder = join(import.meta.dirname, '..', '..', 'guest', 'areas');
  const scripts = new Map<string, string>();
  for (const name of await readdir(folder))
    scripts.set(name.replace('.sh', ''), await readFile(join(folder, name), 'utf8'));
  const missing = names.filter(({ script, part }) => {
    if (script === 'system') return false;
    const body = scripts.get(script) ?? '';
    return !new RegExp(script === 'files' ? `^ +(?:\\w+ \\| )*${part}\\)` : `^${part}\\(\\) `, 'm').test(body);
  });
  assert.ok(names.length > 40);
  assert.deepEqual(missing, []);
});

test('reads the lines of an area, whatever else it prints', () => {
  const area: Area = { script: 'files', part: 'ext4' };
  const printed = 'done ext4\nabsent nfs: no rpc.nfsd\nmkfs says something\nfailed smb: status 1: mount: no\n';
  assert.deepEqual(parseWork(printed, areaName(area)), [
    { area: 'files:ext4', what: 'ext4', outcome: 'done' },
    { area: 'files:ext4', what: 'nfs', outcome: 'absent', why: 'no rpc.nfsd' },
    { area: 'files:ext4', what: 'smb', outcome: 'failed', why: 'status 1: mount: no' },
  ]);
});

test('passes a long program to the guest in pieces', () => {
  const said = {
    operations: 7,
    areas: { ipv4: 5, huge: 2 },
    skipped: ['bpf: no bpf'],
    failures: ['huge: 1 failures, first line 7: x'],
  };
  assert.deepEqual(systemWork(said, 'system:all'), [
    { area: 'system:all', what: 'ipv4', outcome: 'done' },
    { area: 'system:all', what: 'huge', outcome: 'failed', why: '1 failures, first line 7: x' },
    { area: 'system:all', what: 'bpf', outcome: 'absent', why: 'no bpf' },
  ]);
});
