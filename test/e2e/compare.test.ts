import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { run, runOk } from '@kmend/base/node';
import { compareObjects, type ObjectComparison } from '@kmend/builder';
import { compiled, decodeInstruction } from '@kmend/builder/testing';
import { readElf, SHF_EXECINSTR } from '@kmend/elf';
import { KERNEL, Operator, openLab, preparedTree, SUITE } from '@kmend/harness';
import { structLayouts } from '@kmend/kernel';

/** `kmend compare` on what kernels were shipped with. */
const { signal } = new AbortController();
const operator = await Operator.make(signal);
const { kernels } = openLab(operator.cache, signal);
const scratch = await mkdtemp(join(tmpdir(), 'kmend-e2e-compare-'));
let modules: string[] = [];

before(async () => {
  await operator.kmend('kernel', 'add', `${SUITE}/${KERNEL}`);
  modules = await modulesOf(KERNEL);
});
after(async () => {
  await rm(scratch, { recursive: true, force: true });
  await operator.remove();
});

async function modulesOf(release: string): Promise<string[]> {
  const { modules: directory } = (await kernels.open(release)).paths;
  const order = await readFile(join(directory, 'modules.order'), 'utf8');
  return order
    .trim()
    .split('\n')
    .map((line) => join(directory, line.replace(/\.o$/, '.ko')));
}

const compare = (original: string, patched: string, symbols?: string): Promise<ObjectComparison> =>
  compareObjects({ run, signal }, { original, patched, ...(symbols !== undefined && { symbols }) });

/** Every n-th, and the ones named. */
function sample(paths: readonly string[], count: number, ...named: string[]): string[] {
  const step = Math.max(1, Math.floor(paths.length / count));
  return paths.filter((path, index) => index % step === 0 || named.some((name) => path.endsWith(`/${name}.ko`)));
}

test('finds no change between modules and themselves, and infers the kernel’s entry sizes of tables', async () => {
  const vmlinux = readElf(await readFile((await kernels.open(KERNEL)).paths.vmlinux));
  const structs = { bug_entry: '__bug_table', exception_table_entry: '__ex_table', alt_instr: '.altinstructions' };
  const others = { jump_entry: '__jump_table', paravirt_patch_site: '.parainstructions' };
  const layouts = structLayouts(vmlinux, Object.keys({ ...structs, ...others }));
  const sizes = new Map(
    Object.entries({ ...structs, ...others }).map(([struct, table]) => [table, layouts.get(struct)?.size]),
  );
  const seen = new Set<string>();
  for (const path of sample(modules, 200, 'xfs', 'kvm', 'btrfs', 'nf_tables')) {
    const comparison = await compare(path, path);
    assert.equal(comparison.verdict, 'unchanged', path);
    assert.ok(comparison.functions.same > 0 || comparison.data.same > 0, path);
    for (const { section, entrySize } of comparison.tables) {
      if (sizes.get(section) === undefined) continue;
      assert.equal(entrySize, sizes.get(section), `${path} ${section}`);
      seen.add(section);
    }
  }
  assert.deepEqual([...seen].sort(), [...sizes.keys()].sort());
});

test('decodes instructions of real modules with the lengths and relative operands that binutils sees', async () => {
  let count = 0;
  for (const path of modules.filter((each) =>
    /\/(?:kvm|ext4|aesni-intel|sha512-ssse3|poly1305-x86_64)\.ko$/.test(each),
  )) {
    const file = readElf(await readFile(path));
    const code = new Map(
      file.sections.filter(({ flags }) => (flags & SHF_EXECINSTR) !== 0).map(({ name, data }) => [name, data]),
    );
    const text = (await runOk(run, 'objdump', ['-d', '-w', '-z', path], { maxOutput: 512 << 20 })).toString('latin1');
    let data: Uint8Array = new Uint8Array(0);
    for (const line of text.split('\n')) {
      const heading = /^Disassembly of section (.*):$/.exec(line)?.[1];
      if (heading !== undefined) data = code.get(heading) ?? data;
      const [, at = '', bytes = '', words = ''] = /^\s+([0-9a-f]+):\t((?:[0-9a-f]{2} )+)\s*\t?(.*)$/.exec(line) ?? [];
      if (bytes === '') continue;
      const found = decodeInstruction(data, Number.parseInt(at, 16));
      const isBranch =
        /^(?:(?:bnd|notrack|data16|addr32|cs|ds) )*(?:j[a-z]+|call|loop[a-z]*)(?:,p[nt])? +[0-9a-f]+/.test(words);
      const isRelative = isBranch || words.includes('(%rip)');
      assert.deepEqual(
        [found?.length, found?.relative !== undefined],
        [bytes.trim().split(' ').length, isRelative],
        line,
      );
      count++;
    }
  }
  assert.ok(count > 200_000, `${count}`);
});

test('reports what differs for every changed function of two kernels of a series', async () => {
  const NEXT = '6.1.0-50-amd64';
  await operator.kmend('kernel', 'add', `${SUITE}/${NEXT}`);
  const later = new Map((await modulesOf(NEXT)).map((path) => [path.split('/').at(-1), path]));
  let [same, changed] = [0, 0];
  for (const path of sample(modules, 40, 'ext4', 'xfs')) {
    const other = later.get(path.split('/').at(-1));
    if (other === undefined) continue;
    const { functions } = await compare(path, other);
    same += functions.same;
    changed += functions.changed.length;
    for (const { name, difference } of functions.changed) {
      if (difference.kind !== 'instruction') continue;
      assert.notEqual(difference.original, difference.patched, `${path} ${name}`);
    }
  }
  // Most functions stay as they are, wherever in their section they come to lie; members that moved change the others.
  assert.ok(changed > 0 && same > 4 * changed, `${same} same, ${changed} changed`);
});

const UNIT = `
int printk(const char *, ...); int lookup(int); extern int limit;
static __attribute__((noipa)) int early(int a) { if (a > limit) printk("too large: %d", a); return lookup(a) * 3; }
static __attribute__((noipa)) int late(int a) { return early(a) + lookup(a + 1); }
int first(int a) { return late(a) + early(a); }
int (*hook(void))(int) { return late; }
`;

test("compares objects that the kernel's objtool has processed", async () => {
  const objtool = join(await preparedTree(operator), 'tools', 'objtool', 'objtool');
  const flags = ['-mindirect-branch=thunk-extern', '-mfunction-return=thunk-extern', '-fno-stack-protector'];
  const object = async (name: string, text: string, isChecked: boolean): Promise<string> => {
    const path = join(scratch, `${name}.o`);
    await writeFile(path, await compiled(text, { layout: 'joined', flags }));
    const args = ['--orc', '--retpoline', '--rethunk', '--static-call', '--uaccess', '--hacks=jump_label', '--module'];
    if (isChecked) await runOk(run, objtool, [...args, path]);
    return path;
  };
  const grown = UNIT.replace('lookup(a) * 3', '(a > 7 ? lookup(a) : limit) * 3');
  const [before, patched] = [await object('before', UNIT, true), await object('patched', grown, true)];
  assert.equal((await compare(before, before)).verdict, 'unchanged');
  const { verdict, functions, checks } = await compare(before, patched);
  assert.deepEqual([verdict, functions.changed.map(({ name }) => name), functions.same], ['patchable', ['early'], 3]);
  assert.equal(checks.find(({ check }) => check === 'objtool')?.made, true);
  const plain = await object('plain', UNIT, false);
  const mixed = await compare(plain, patched);
  assert.equal(mixed.checks.find(({ check }) => check === 'objtool')?.made, false);
});
