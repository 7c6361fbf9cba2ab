import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type AuditedSource, audit, type Finding, World } from '@kmend/audit';
import { silentProgress } from '@kmend/base';
import { type BuildResult, importFromPatch } from '@kmend/builder';
import { type ElfFile, readElf, SHN_LIVEPATCH, writeElf } from '@kmend/elf';
import { KERNEL, Operator, openWorkshop, patchOf, SUITE } from '@kmend/harness';

/** The audit on livepatches of the real kernel: one whose new code calls from the patched module into another. */
const signal = new AbortController().signal;
const operator = await Operator.make(signal);
const workshop = openWorkshop(signal, silentProgress, { cache: operator.cache });
let world: World;
let built: BuildResult;
let source: AuditedSource;

before(async () => {
  await operator.kmend('kernel', 'add', `${SUITE}/${KERNEL}`);
  const kernel = await workshop.kernels.open(KERNEL);
  const check = (text: string) =>
    text.replace(/(static int vfat_mkdir\([^{]*\{[^}]*?int err, cluster;\n)/, '$1\n\tif (!dir)\n\t\treturn -EINVAL;\n');
  const path = await patchOf(operator, 'fs/fat/namei_vfat.c', check);
  const fix = await importFromPatch({ id: 'vfat', severity: 'unknown', hardware: false }, path);
  const builder = await workshop.builder(kernel);
  built = await builder.build({ fixes: [fix], kind: 'cumulative', acceptReview: true });
  source = { patches: [await readFile(path, 'utf8')], tree: builder.sourceTree };
  world = await World.open(kernel);
});
after(async () => {
  await operator.remove();
});

/** Findings of the livepatch after an edit. */
async function findings(edit: (file: ElfFile) => void): Promise<readonly Finding[]> {
  assert.ok(built.module !== undefined);
  const file = readElf(Buffer.from(built.module));
  edit(file);
  const { findings: found } = await audit(world, { module: writeElf(file), manifest: built.manifest, source });
  return found;
}

/** Puts what refers to a module into one table, of the patched object or of another. */
function inTableOf(object: string): (file: ElfFile) => void {
  return (file) => {
    const late = file.livepatchRelocations.filter(({ name }) => !name.startsWith('.klp.rela.vmlinux.'));
    const [first] = late;
    assert.ok(first !== undefined);
    const others = file.livepatchRelocations.filter((table) => !late.includes(table));
    const relocations = late.flatMap((table) => table.relocations);
    file.livepatchRelocations = [
      ...others,
      { name: `.klp.rela.${object}.${first.target.name}`, target: first.target, relocations },
    ];
  };
}

test('applies calls from a patched module into another by the table of the patched one alone', async () => {
  assert.deepEqual(await findings(inTableOf('vfat')), []);
  const wrong = await findings(inTableOf('fat'));
  const unapplied = wrong.filter(({ code }) => code === 'relocation-unapplied').map(({ message }) => message);
  assert.match(unapplied.join('\n'), /vfat_mkdir, which runs for vfat, refers to .klp.sym.fat.fat_/);
  assert.match(unapplied.join('\n'), /is for fat, which the livepatch does not patch/);
});

test('finds a reference that differs from the shipped code', async () => {
  const inOrder = inTableOf('vfat');
  const edits: readonly (readonly [string, (file: ElfFile) => void])[] = [
    [
      'reference-differs',
      (file) => {
        const symbol = file.symbols.find(({ place }) => place === SHN_LIVEPATCH);
        if (symbol !== undefined) symbol.name = '.klp.sym.vfat.vfat_hashi,0';
      },
    ],
    [
      'reference-differs',
      (file) => {
        const symbol = file.symbols.find(({ name }) => name === 'mutex_lock');
        if (symbol !== undefined) symbol.name = 'mutex_lock_io';
      },
    ],
    [
      'relocation-missing',
      (file) => {
        const section = file.sections.find(({ name }) => name === '.text.vfat_mkdir');
        section?.relocations.splice(2, 1);
      },
    ],
  ];
  for (const [code, edit] of edits) {
    const found = await findings((file) => {
      inOrder(file);
      edit(file);
    });
    assert.ok(
      found.some((one) => one.code === code),
      `${code}: ${found.map(({ message }) => message).join('; ')}`,
    );
  }
});

test('kmend build leaves no livepatch with an audit finding', async () => {
  const patch = await patchOf(operator, 'fs/fat/namei_vfat.c', (text) =>
    text.replace(
      '\tmutex_lock(&MSDOS_SB(sb)->s_lock);\n\n\tts = current_time(dir);\n\tcluster',
      '\tif (!dir)\n\t\treturn -EINVAL;\n$&',
    ),
  );
  const out = join(operator.home, 'out');
  const { exitCode, json } = await operator.run('build', '--kernel', KERNEL, '--patch', patch, '--out', out);
  const { file, reasons } = json as { file?: unknown; reasons: readonly { readonly code: string }[] };
  assert.equal(file === undefined, exitCode === 3);
  if (file !== undefined) assert.equal((await operator.run('audit', out)).exitCode, 0);
  else assert.ok(reasons.every(({ code }) => code === 'audit-failed'));
});
