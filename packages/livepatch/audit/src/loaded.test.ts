import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Section, STT_SECTION } from '@kmend/elf';
import { Findings } from './finding.ts';
import { Loaded, parseKlpName, type SymbolSource, tableObject } from './loaded.ts';
import { OwnCode } from './own-code.ts';
import { checkReach } from './reach.ts';
import { SmallModule, smallKernel } from './testing/module.ts';

const kernel = smallKernel(
  {
    'vmlinux.kfree': -0x7e00_0000,
    'fat.fat_free': -0x3f00_0000,
    'vfat.add': -0x3e00_0000,
    'other.there': -0x3d00_0000,
  },
  { vfat: ['fat'] },
);

function load(
  module: SmallModule,
  source: SymbolSource = kernel,
): { readonly loaded: Loaded; readonly findings: Findings } {
  const findings = new Findings();
  const loaded = new Loaded(module.file);
  loaded.relocate(source, findings);
  return { loaded, findings };
}

/** What is found when a function of a module that calls into another is in a table for some object. */
function patched(table: string): string[] {
  const module = new SmallModule();
  const { section } = module.function('vfat_mkdir');
  module.table(table, section, [SmallModule.call(0, module.undefined('.klp.sym.fat.fat_free,0'))]);
  const { loaded, findings } = load(module);
  const own = new OwnCode(loaded, findings);
  const newFunction = own.functions[0]?.address ?? 0;
  const functions = [{ oldName: 'vfat_mkdir', sympos: 0, newFunction, heldAt: 0 }];
  checkReach(loaded, own, { replace: true, objects: [{ name: 'vfat', functions, callbacks: [] }] }, findings);
  return findings.list.map(({ code }) => code);
}

test('applies a call into another module by the table of the patched one, never by the owner’s', () => {
  assert.deepEqual(patched('vfat'), []);
  assert.deepEqual(patched('fat'), ['relocation-unapplied', 'relocation-unapplied']);
});

test('reports code that several objects reach and that only one of them fills in', () => {
  const module = new SmallModule();
  const shared = module.function('helper');
  const first = module.function('first');
  first.section.relocations.push(SmallModule.call(0, shared.symbol));
  module.table('vfat', shared.section, [SmallModule.call(0, module.undefined('.klp.sym.vfat.add,0'))]);
  const { loaded, findings } = load(module);
  const own = new OwnCode(loaded, findings);
  const newFunction = own.functions.find(({ name }) => name === 'first')?.address ?? 0;
  const functions = [{ oldName: 'first', sympos: 0, newFunction, heldAt: 0 }];
  const objects = [
    { name: 'vmlinux', functions, callbacks: [] },
    { name: 'vfat', functions, callbacks: [] },
  ];
  checkReach(loaded, own, { replace: true, objects }, findings);
  assert.deepEqual(
    findings.list.map(({ code, object }) => [code, object]),
    [['relocation-unapplied', 'vmlinux']],
  );
});

test('follows jumps of code without symbols piece by piece, without mixing objects', () => {
  const module = new SmallModule();
  const names = ['of_kernel', 'of_vfat'];
  const functions = names.map((name) => module.function(name, 2));
  // `jmp 6b`, as the tests of features that are not known yet end (arch/x86/include/asm/cpufeature.h).
  const aux: Section = {
    ...module.function('aux').section,
    name: '.altinstr_aux',
    data: Uint8Array.from([0xe9, 0, 0, 0, 0, 0xe9, 0, 0, 0, 0]),
    size: 10,
    relocations: functions.map(({ symbol }, number) => SmallModule.call(number, symbol)),
  };
  const start = { name: '', value: 0n, size: 0, bind: 0, type: STT_SECTION, other: 0, place: aux };
  module.file.sections.push(aux);
  module.file.symbols.push(start);
  for (const [number, { section }] of functions.entries()) {
    // The code of a function begins with a jump into its piece.
    section.data[0] = 0xe9;
    section.relocations.push({ ...SmallModule.call(0, start), addend: BigInt(number * 5 - 4) });
  }
  const [, vfat] = functions;
  assert.ok(vfat !== undefined);
  module.table('vfat', vfat.section, [SmallModule.call(1, module.undefined('.klp.sym.vfat.add,0'))]);
  const { loaded, findings } = load(module);
  const own = new OwnCode(loaded, findings);
  const objects = ['vmlinux', 'vfat'].map((name, index) => ({
    name,
    functions: own.functions
      .filter((one) => one.name === names[index])
      .map(({ address }) => ({ oldName: name, sympos: 0, newFunction: address, heldAt: 0 })),
    callbacks: [],
  }));
  checkReach(loaded, own, { replace: true, objects }, findings);
  assert.deepEqual(findings.list, []);
});

test('refuses a module’s table with a symbol of vmlinux, or of a module that does not come with it', () => {
  for (const symbol of [
    '.klp.sym.vmlinux.kfree,0',
    '.klp.sym.other.there,0',
    '.klp.sym.vfat.absent,0',
    '.klp.sym.vfat',
  ]) {
    const module = new SmallModule();
    const { section } = module.function('vfat_mkdir');
    module.table('vfat', section, [SmallModule.call(0, module.undefined(symbol))]);
    assert.deepEqual(
      load(module).findings.list.map(({ code }) => code),
      ['object-refused'],
      symbol,
    );
  }
});

test('refuses what no module exports, a field that is filled in twice, and one that is not empty', () => {
  const unknown = new SmallModule();
  unknown.function('f').section.relocations.push(SmallModule.call(0, unknown.undefined('nowhere')));
  assert.match(load(unknown).findings.list[0]?.message ?? '', /nothing exports it/);
  const twice = new SmallModule();
  const kfree = twice.undefined('kfree');
  twice.function('f').section.relocations.push(SmallModule.call(0, kfree), SmallModule.call(0, kfree));
  assert.match(load(twice).findings.list[0]?.message ?? '', /two relocations/);
  const full = new SmallModule();
  const { section } = full.function('f');
  section.data[2] = 1;
  section.relocations.push(SmallModule.call(0, full.undefined('kfree')));
  assert.match(load(full).findings.list[0]?.message ?? '', /not zero/);
});

test('refuses two tables of one name, because sysfs has one file each', () => {
  const module = new SmallModule();
  const { section } = module.function('f', 2);
  const symbol = module.undefined('.klp.sym.vfat.add,0');
  module.table('vfat', section, [SmallModule.call(0, symbol)]);
  module.table('vfat', section, [SmallModule.call(1, symbol)]);
  assert.deepEqual(
    load(module).findings.list.map(({ code }) => code),
    ['load-refused'],
  );
});

test('reads names as the kernel’s sscanf does', () => {
  assert.deepEqual(parseKlpName('.klp.sym.vmlinux.foo.isra.0,12'), {
    object: 'vmlinux',
    name: 'foo.isra.0',
    sympos: 12,
  });
  for (const name of ['.klp.sym.vmlinux.foo', '.klp.sym..foo,0', `.klp.sym.${'m'.repeat(56)}.foo,0`, 'foo'])
    assert.equal(parseKlpName(name), undefined);
  assert.equal(tableObject('.klp.rela.vfat..text.f'), 'vfat');
  assert.equal(tableObject('.klp.rela...text'), undefined);
});
