import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSymvers } from '../symvers.ts';
import { hasCode } from '../testing/errors.ts';
import type { VmlinuxFacts } from './memory-facts.ts';
import { checkConfig, checkEmbedded, checkModule, checkSource, checkSymvers, checkSystemMap } from './together.ts';

const COMPILER = 'gcc (Debian 12.2.0-14+deb12u1) 12.2.0';
const VERMAGIC = '6.1.170-own SMP mod_unload modversions';
const FACTS: VmlinuxFacts = {
  banner: `Linux version 6.1.170-own (me@here) (${COMPILER}, GNU ld 2.40) #1 SMP Mon Nov 30`,
  release: '6.1.170-own',
  vermagic: VERMAGIC,
  exports: new Map([
    ['klp_enable_patch', 0x11],
    ['kfree', 0x22],
  ]),
  config: undefined,
};
const CONFIG = `# Linux/x86 6.1.170 Kernel Configuration
CONFIG_CC_VERSION_TEXT="${COMPILER}"
CONFIG_LOCALVERSION="-own"
CONFIG_SMP=y
CONFIG_LIVEPATCH=y
CONFIG_MODULE_UNLOAD=y
CONFIG_MODVERSIONS=y
`;
const SYMBOLS = [{ name: 'klp_enable_patch', address: 0xffff_ffff_8100_0000n, type: 'T' }];
const SYMVERS = `0x00000011\tklp_enable_patch\tvmlinux\tEXPORT_SYMBOL_GPL\t
0x00000022\tkfree\tvmlinux\tEXPORT_SYMBOL\t
0x00000033\tfat_get\tfs/fat/fat\tEXPORT_SYMBOL_GPL\t
`;
const MAKEFILE = '# SPDX\nVERSION = 6\nPATCHLEVEL = 1\nSUBLEVEL = 170\nEXTRAVERSION =\nNAME = Curry\n';
const differs = hasCode('kernel-parts-differ');

test('takes a config that fits what the kernel says of itself', () => {
  checkConfig(FACTS, CONFIG, SYMBOLS);
  checkConfig({ ...FACTS, config: `${CONFIG}# CONFIG_X is not set\n` }, CONFIG, SYMBOLS);
});

for (const [what, from, to] of [
  ['another compiler', '+deb12u1', ''],
  ['another local version', '-own', '-other'],
  ['a flag that the modules do not have', 'CONFIG_SMP=y', ''],
  ['an option that leaves a function', 'CONFIG_LIVEPATCH=y', ''],
  ['an option whose function is not there', 'CONFIG_SMP=y', 'CONFIG_SMP=y\nCONFIG_BLOCK=y'],
] as const) {
  test(`rejects a config that names ${what}`, () => {
    assert.throws(() => checkConfig(FACTS, CONFIG.replace(from, to), SYMBOLS), differs);
  });
}

test('rejects a config that is not the one the kernel carries, and names an option', () => {
  const carried = CONFIG.replace('MODVERSIONS=y', 'MODVERSIONS=y\nCONFIG_HZ=250');
  assert.throws(() => checkConfig({ ...FACTS, config: carried }, CONFIG, SYMBOLS), /CONFIG_HZ is 250 there/);
  assert.throws(() => checkEmbedded('the module configs', carried, CONFIG), differs);
});

test('rejects a Module.symvers with another CRC, another name, or one name less', () => {
  checkSymvers(FACTS, SYMVERS);
  for (const [from, to] of [
    ['0x00000022', '0x00000023'],
    ['kfree', 'kvfree'],
    ['0x00000022\tkfree\tvmlinux\tEXPORT_SYMBOL\t\n', ''],
    ['fs/fat/fat', 'vmlinux'],
  ] as const)
    assert.throws(() => checkSymvers(FACTS, SYMVERS.replace(from, to)), differs, from);
});

test('rejects a module of another build by its version words, by the kernel’s CRCs, and by those of Module.symvers', () => {
  const symvers = parseSymvers(SYMVERS);
  const imports = new Map([
    ['kfree', 0x22],
    ['fat_get', 0x33],
  ]);
  const module = { vermagic: VERMAGIC, imports, hasSymbols: true };
  checkModule('vfat', module, FACTS, symvers);
  const check = (changed: Partial<typeof module>): void =>
    checkModule('vfat', { ...module, ...changed }, FACTS, symvers);
  assert.throws(() => check({ vermagic: `${VERMAGIC} retpoline` }), /modules and the kernel do not belong together/);
  assert.throws(() => check({ imports: new Map([['kfree', 0x23]]) }), /modules and the kernel do not belong together/);
  assert.throws(() => check({ imports: new Map([['fat_get', 0x34]]) }), /Module.symvers and the modules/);
  assert.throws(() => check({ hasSymbols: false }), hasCode('module-unreadable'));
});

test('rejects a System.map that has a symbol elsewhere, and ignores Debian’s stub', () => {
  checkSystemMap('ffffffff81000000 T klp_enable_patch\nffffffff81000010 T x\n', SYMBOLS);
  checkSystemMap('ffffffffffffffff B The real System.map is in the linux-image-<version>-dbg package\n', SYMBOLS);
  const moved = 'ffffffff81000020 T klp_enable_patch\nffffffff81000010 T x\n';
  assert.throws(() => checkSystemMap(moved, SYMBOLS), differs);
});

test('reads the version of a source, and rejects one of another kernel or config', () => {
  assert.equal(checkSource(MAKEFILE, FACTS, CONFIG), '6.1.170');
  const packaged = {
    release: '6.1.0-47-amd64',
    banner: 'Linux version 6.1.0-47-amd64 ... #1 SMP Debian 6.1.170-3 (2026)',
  };
  assert.equal(checkSource(MAKEFILE, packaged, CONFIG), '6.1.170');
  const older = MAKEFILE.replace('170', '17');
  assert.throws(() => checkSource(older, FACTS, ''), /the source is of 6.1.17, and the kernel is 6.1.170-own/);
  assert.throws(() => checkSource(MAKEFILE, FACTS, CONFIG.replace('6.1.170', '6.1.171')), /source and the config/);
  assert.throws(() => checkSource('all:\n', FACTS, CONFIG), hasCode('kernel-incomplete'));
});
