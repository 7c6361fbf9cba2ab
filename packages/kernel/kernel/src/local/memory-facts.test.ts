import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { readElf } from '@kmend/elf';
import { hasCode } from '../testing/errors.ts';
import { makeVmlinux, RODATA_ADDRESS } from '../testing/vmlinux.ts';
import { readFacts } from './memory-facts.ts';

const BANNER = 'Linux version 6.1.170-own (me@here) (gcc (Debian 12.2.0-14) 12.2.0) #1 SMP\n';

/** Read-only data with the texts, two exports and their CRCs; symbols say where. */
function madeUp() {
  const data = Buffer.alloc(0x400);
  const symbols: { name: string; address: bigint; type: string }[] = [];
  const at = (name: string, offset: number): void => {
    symbols.push({ name, address: RODATA_ADDRESS + BigInt(offset), type: 'R' });
  };
  data.write(BANNER, 0x10, 'latin1');
  at('linux_banner', 0x10);
  data.write('6.1.170-own SMP mod_unload ', 0x80, 'latin1');
  at('vermagic', 0x80);
  data.write('kfree\0printk\0', 0x100, 'latin1');
  for (const [index, name] of [0x100, 0x106].entries())
    data.writeInt32LE(name - (0x204 + 12 * index), 0x204 + 12 * index);
  at('__start___ksymtab', 0x200);
  at('__stop___ksymtab', 0x218);
  at('__start___ksymtab_gpl', 0x218);
  at('__stop___ksymtab_gpl', 0x218);
  data.writeUInt32LE(0xdead_beef, 0x300);
  data.writeUInt32LE(0x1234, 0x304);
  at('__start___kcrctab', 0x300);
  at('__stop___kcrctab', 0x308);
  const config = Buffer.concat([Buffer.from('IKCFG_ST'), gzipSync('CONFIG_X=y\n'), Buffer.from('IKCFG_ED')]);
  // The last text ends with its section.
  const end = data.length + config.length;
  data.writeInt32LE(end - (0x204 + 12), 0x204 + 12);
  return { data: Buffer.concat([data, config, Buffer.from('printk\0')]), symbols };
}

test('reads from a kernel its banner, vermagic, exports with CRCs, and the config that it carries', () => {
  const { data, symbols } = madeUp();
  const facts = readFacts(readElf(makeVmlinux(data)), symbols);
  assert.equal(facts.banner, BANNER.trim());
  assert.equal(facts.release, '6.1.170-own');
  assert.equal(facts.vermagic, '6.1.170-own SMP mod_unload');
  assert.deepEqual(
    facts.exports,
    new Map([
      ['kfree', 0xdead_beef],
      ['printk', 0x1234],
    ]),
  );
  assert.equal(facts.config, 'CONFIG_X=y\n');
});

test('says that symbols are stripped, and does without tables of exports that it does not know', () => {
  const { data, symbols } = madeUp();
  const without = (name: string) => symbols.filter((symbol) => symbol.name !== name);
  const elf = readElf(makeVmlinux(data));
  assert.throws(() => readFacts(elf, without('linux_banner')), hasCode('kallsyms-not-found'));
  assert.equal(readFacts(elf, without('__start___ksymtab')).exports, undefined);
});
