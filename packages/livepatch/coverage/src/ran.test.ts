import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ranByFolder, ranText } from './ran.ts';

const entry = (source: string, name: string, count: number | null, inMemory = true) => ({
  object: 'vmlinux',
  name,
  sympos: 0,
  source,
  count,
  inMemory,
});
const RAN = [
  entry('fs/smb/client/ioctl.c', 'cifs_ioctl', 0, false),
  entry('fs/smb/server/auth.c', 'ksmbd_auth', 3),
  entry('kernel/fork.c', 'copy_process', 70),
  entry('net/ipv4/netfilter/nft_fib.c', 'nft_fib', null),
];

test('counts functions by the first two folders of their source', () => {
  assert.deepEqual(ranByFolder(RAN), [
    { folder: 'fs/smb', ran: 1, of: 2 },
    { folder: 'kernel', ran: 1, of: 1 },
    { folder: 'net/ipv4', ran: 0, of: 1 },
  ]);
});

test('shows the share, and names what did not run with the reason', () => {
  const text = ranText(RAN);
  assert.match(text, /Ran 2 of 4 replaced functions \(50 %\).*of the 3 in objects that were in memory, 2/);
  assert.match(text, /- fs\/smb\/client\/ioctl\.c: cifs_ioctl \(vmlinux\): its module was not in memory/);
  assert.match(text, /- net\/ipv4\/netfilter\/nft_fib\.c: nft_fib \(vmlinux\): the kernel takes no probe there/);
  assert.doesNotMatch(text, /copy_process/);
});
