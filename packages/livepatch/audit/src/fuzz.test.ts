import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeFuzz, fuzz } from '@kmend/base/testing';
import { readElf, writeElf } from '@kmend/elf';
import { mutateElf } from '@kmend/elf/testing';
import { Findings } from './finding.ts';
import { Loaded } from './loaded.ts';
import { OwnCode } from './own-code.ts';
import { checkReach } from './reach.ts';
import { SmallModule, smallKernel } from './testing/module.ts';

const kernel = smallKernel({ 'vmlinux.kfree': -0x7e00_0000, 'vfat.add': -0x3e00_0000 });

test('loads a damaged module with findings, or refuses it by code', async (t) => {
  const module = new SmallModule();
  const helper = module.function('helper', 2);
  const main = module.function('main', 3);
  main.section.relocations.push(SmallModule.call(0, helper.symbol), SmallModule.call(1, module.undefined('kfree')));
  module.table('vfat', main.section, [SmallModule.call(2, module.undefined('.klp.sym.vfat.add,0'))]);
  const bytes = Buffer.from(writeElf(module.file));
  const outcome = await fuzz({
    name: 'the audit’s loader',
    cases: 5000,
    make: (random) => mutateElf(random, bytes),
    attempt(damaged) {
      const findings = new Findings();
      const loaded = new Loaded(readElf(damaged));
      loaded.relocate(kernel, findings);
      const own = new OwnCode(loaded, findings);
      const functions = own.functions.map(({ name, address }) => ({
        oldName: name,
        sympos: 0,
        newFunction: address,
        heldAt: 0,
      }));
      checkReach(loaded, own, { replace: true, objects: [{ name: 'vfat', functions, callbacks: [] }] }, findings);
    },
  });
  t.diagnostic(describeFuzz(outcome));
  assert.ok(outcome.refused.size > 0 && outcome.accepted > 0);
});
