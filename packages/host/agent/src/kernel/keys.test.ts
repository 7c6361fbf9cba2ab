import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cpuMs } from '@kmend/base/testing';
import { keysOf } from './keys.ts';

/** A Debian 12 host with Secure Boot and a machine owner key, as security/keys/proc.c prints it. */
const SECURE_BOOT = `01a25a7c I--Q---     1 perm 1f3f0000     0 65534 keyring   _uid.0: empty
0a93d3a5 I------     1 perm 1f030000     0     0 asymmetri Debian Secure Boot CA: 6ccece7e4c6c0d1f6149f3dd27dfcc5cbb419ea1: X509.rsa bb419ea1 []
0dbc3a2c I------     1 perm 1f0f0000     0     0 keyring   .secondary_trusted_keys: 2
12ae9d0a I------     1 perm 1f030000     0     0 asymmetri Microsoft Corporation: Microsoft Corporation UEFI CA 2011: 13adbf4309bd82709c8cd54f316ed522988a1bd4: X509.rsa 988a1bd4 []
1db6d4f9 I--Q---     3 perm 3f030000  1000  1000 keyring   _ses: 1
24c7b1a6 I------     1 perm 1f0b0000     0     0 keyring   .machine: 1
2b0f1d44 I------     1 perm 1f030000     0     0 asymmetri kmend modules: 00f2c4a1: X509.ecdsa []
2e6b5ff0 I------     1 perm 1f0b0000     0     0 keyring   .builtin_trusted_keys: 1
30e4cafe I------     1 perm 1f0b0000     0     0 keyring   .platform: 1
32c2aa53 I--Q---     1 perm 3f010000  1000  1000 user      invocation_id: 16
`;

test('lists certificates with subject and identifier, whatever the subject holds', () => {
  assert.deepEqual(keysOf(SECURE_BOOT), [
    { subject: 'Debian Secure Boot CA', id: '6ccece7e4c6c0d1f6149f3dd27dfcc5cbb419ea1', usable: true },
    {
      subject: 'Microsoft Corporation: Microsoft Corporation UEFI CA 2011',
      id: '13adbf4309bd82709c8cd54f316ed522988a1bd4',
      usable: true,
    },
    { subject: 'kmend modules', id: '00f2c4a1', usable: true },
  ]);
});

test('ignores an incomplete list of kernel keys', () => {
  assert.equal(keysOf(''), undefined);
  assert.equal(keysOf(SECURE_BOOT.replace('.builtin_trusted_keys', '.other')), undefined);
  assert.equal(keysOf(SECURE_BOOT.replace('.builtin_trusted_keys: 1', '.builtin_trusted_keys: 2')), undefined);
  assert.equal(keysOf(SECURE_BOOT.replace('.platform: 1', '.platform: 78')), undefined);
  assert.deepEqual(
    keysOf('2e6b5ff0 I------     1 perm 1f0b0000     0     0 keyring   .builtin_trusted_keys: empty\n'),
    [],
  );
});

test('ignores revoked, dead, invalidated, negative and expired keys', () => {
  const first = 'I------     1 perm 1f030000     0     0 asymmetri Debian';
  for (const state of [
    'IR-----     1 perm',
    'I-D----     1 perm',
    'I----N-     1 perm',
    'I-----i     1 perm',
    'I------     1 expd',
    '-------     1 perm',
  ]) {
    const text = SECURE_BOOT.replace(first, `${state} 1f030000     0     0 asymmetri Debian`);
    assert.notEqual(text, SECURE_BOOT);
    assert.deepEqual(
      keysOf(text)?.map((it) => it.usable),
      [false, true, true],
      state,
    );
  }
});

test('reads a hostile list in linear time', () => {
  const long = `2b0f1d44 I------     1 perm 1f030000     0     0 asymmetri ${': aa'.repeat(100_000)}\n`;
  const began = cpuMs();
  assert.equal(keysOf(long.repeat(20)), undefined);
  assert.ok(cpuMs() - began < 1000);
});
