import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from '../config.ts';
import { hasCode } from '../testing/errors.ts';
import { SOUND_CONFIG } from '../testing/packages.ts';
import { fitCompiler, refuseOtherFlavours } from './fitness.ts';

test('names the compiler of a kernel that livepatches can be built for, and rejects others', () => {
  const fit = (text: string) => fitCompiler(parseConfig(text), '6.1.170-own');
  assert.deepEqual(fit(SOUND_CONFIG), { text: 'gcc-12 (Debian 12.2.0-14) 12.2.0', command: 'gcc-12' });
  assert.throws(() => fit(SOUND_CONFIG.replace('LIVEPATCH=y', 'LIVEPATCH=n')), hasCode('kernel-without-livepatch'));
  assert.throws(() => fit(SOUND_CONFIG.replace('gcc-12 (', 'clang (')), hasCode('kernel-compiler'));
  assert.throws(() => fit(`${SOUND_CONFIG}CONFIG_ARM64=y\n`), hasCode('kernel-architecture'));
});

test('says of arm64 that Debian’s kernels have no CONFIG_LIVEPATCH, and of others what is built for', () => {
  for (const release of ['6.1.0-47-arm64', '6.12.111+deb13-cloud-arm64', '6.12.111+deb13-arm64-16k'])
    assert.throws(() => refuseOtherFlavours(release), {
      code: 'kernel-architecture',
      message: /have no CONFIG_LIVEPATCH/,
    });
  for (const release of ['6.1.0-47-686-pae', '6.1.0-47-armmp', '6.12.111+deb13-s390x', '6.12.111+deb13-riscv64'])
    assert.throws(() => refuseOtherFlavours(release), {
      code: 'kernel-architecture',
      message: /for amd64 kernels only/,
    });
  for (const release of ['6.1.0-47-amd64', '6.1.0-47-cloud-amd64', '6.1.170-1']) refuseOtherFlavours(release);
});
