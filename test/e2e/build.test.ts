import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { sha256File } from '@kmend/base/node';
import { readElf } from '@kmend/elf';
import { patchOf as editOf, FIXES, importFixes, KERNEL, type KmendResult, Operator, SUITE } from '@kmend/harness';
import type { Livepatch } from '@kmend/protocol';

/** Everything here runs `bin/kmend` on the real kernel, as an operator would. */
const operator = await Operator.make(new AbortController().signal);
const kmend = (...args: string[]): Promise<KmendResult> => operator.run(...args);

before(async () => {
  await operator.kmend('kernel', 'add', `${SUITE}/${KERNEL}`);
  await importFixes((...args) => operator.kmend(...args));
});
after(() => operator.remove());

function codeOf({ json }: KmendResult): string | undefined {
  return (json as { error?: { code: string } } | undefined)?.error?.code;
}

const patchOf = (path: string, edit: (text: string) => string): Promise<string> => editOf(operator, path, edit);

async function build(...more: string[]): Promise<KmendResult & { readonly manifest: Livepatch; readonly out: string }> {
  const out = join(operator.home, 'out');
  const result = await kmend('build', '--kernel', KERNEL, '--out', out, ...more);
  return { ...result, manifest: result.json as Livepatch, out };
}

const SOURCE = FIXES[0].path;
const codes = (manifest: Livepatch): string[] => [...new Set(manifest.reasons.map(({ code }) => code))].sort();

test('builds three fixes in vmlinux and a module as one livepatch, proves every function, and repeats the same bytes', async () => {
  const ids = FIXES.map(({ id }) => id);
  const first = await build('--fix', ...ids);
  assert.equal(first.exitCode, 0, first.stderr);
  assert.deepEqual(
    first.manifest.objects.map(({ name, functions }) => [name, functions.map((entry) => entry.name)]).sort(),
    [
      ['af_alg', ['af_alg_sendmsg']],
      ['vmlinux', ['io_submit_sqes', 'ip_options_get']],
    ],
  );
  const { compared, equal } = first.manifest.byteProof;
  assert.ok(compared > 200 && compared === equal);
  const file = first.manifest.file;
  assert.ok(file !== undefined);
  assert.equal(await sha256File(join(first.out, file.name)), file.sha256);
  // What its maker says it is as good as changes nothing of what it is.
  const effectiveVersion = '6.1.176-1';
  const again = await build('--fix', ...ids, '--effective-version', effectiveVersion);
  assert.deepEqual(again.manifest, { ...first.manifest, effectiveVersion });
  assert.equal(await sha256File(join(again.out, file.name)), file.sha256);
  assert.deepEqual((await readdir(again.out)).sort(), [file.name, 'livepatch.json', 'provenance.json'].sort());
});

test('refuses a patch that does not apply, does not compile, or is no patch', async () => {
  const patch = await patchOf(SOURCE, (text) => text.replace('kfree(opt);', 'kfree(opt); /* x */'));
  const text = await readFile(patch, 'utf8');
  const misplaced = join(operator.home, 'edits', 'misplaced.patch');
  await writeFile(misplaced, text.replace(/^ .*return.*$/m, ' 	return nonsense;'));
  const broken = await patchOf(SOURCE, (it) => it.replace('kfree(opt);', 'kfree(opt, no_such_thing);'));
  const none = join(operator.home, 'edits', 'none.patch');
  await writeFile(none, 'not a patch\n');
  for (const [file, code] of [
    [misplaced, 'patch-does-not-apply'],
    [broken, 'patch-does-not-compile'],
    [none, 'fix-empty'],
    [join(operator.home, 'absent.patch'), 'fix-without-origin'],
  ] as const) {
    const result = await build('--patch', file);
    assert.deepEqual([result.exitCode, codeOf(result)], [1, code], result.stderr);
    assert.match(result.stderr, /\[[a-z-]+\]/);
  }
});

test('keeps the operator’s files out of a fix, and asks for a review of new assembler code', async () => {
  const key = join(operator.home, 'release.key');
  await writeFile(key, 'SECRET_OF_THE_OPERATOR');
  const changed = (text: string): string => text.replace('GFP_KERNEL);', 'GFP_KERNEL | __GFP_NOWARN);');
  // The asm is seen behind macros alone.
  const orders =
    '#define CAT(a, b) a##b\nCAT(as, m)(".globl something");\nstatic int placed __attribute__((section(".data.x")));';
  const cases = [
    [1, ['include-outside-tree'], `asm(".incbin \\"${key}\\"");`],
    [3, ['assembler-include'], 'asm(".pushsection .x\\n.incbin \\"net/ipv4/Kconfig\\"\\n.popsection");'],
    [4, ['asm-added', 'attribute-added'], orders],
  ] as const;
  for (const [exitCode, wanted, added] of cases) {
    const result = await build('--patch', await patchOf(SOURCE, (text) => `${changed(text)}\n${added}\n`));
    assert.equal(result.exitCode, exitCode, `${added}: ${result.stderr}`);
    const found = exitCode === 1 ? [codeOf(result)] : codes(result.manifest);
    for (const code of wanted) assert.ok(found.includes(code), `${code}: ${found.join()}`);
    assert.doesNotMatch(result.stderr, /SECRET_OF_THE_OPERATOR/);
  }
});

test('refuses a patch that changes no code', async () => {
  const comment = await patchOf(SOURCE, (text) => text.replace('kfree(opt);', 'kfree(opt); /* a comment */'));
  const result = await build('--patch', comment);
  assert.deepEqual([result.exitCode, codes(result.manifest)], [3, ['no-function-changed']], result.stderr);
  assert.deepEqual(await readdir(result.out), ['livepatch.json']);
});

test('leaves every other function unchanged when a line is added', async () => {
  const patch = await patchOf('net/ipv4/tcp_input.c', (text) =>
    text
      .replace(/^/, '/* three\n * more\n * lines */\n')
      .replace(
        'void tcp_fin(struct sock *sk)\n{\n',
        'void tcp_fin(struct sock *sk)\n{\n\tbarrier();\n\tWRITE_ONCE(sk->sk_mark, 1);\n\n',
      ),
  );
  const result = await build('--patch', patch);
  assert.equal(result.manifest.verdict, 'patchable', result.stderr);
  const changed = result.manifest.objects.flatMap(({ functions }) => functions.map(({ name }) => name));
  assert.deepEqual(changed, ['tcp_fin']);
});

test('keeps the running kernel’s constants that inodes point to, and asks for a review of new ones', async () => {
  const patch = await patchOf('fs/inode.c', (text) =>
    text
      .replace(
        'static int no_open(',
        'static int kmend_open(struct inode *inode, struct file *file)\n{\n\treturn -EPERM;\n}\n\n$&',
      )
      .replace('inode->dirtied_when = 0;\n', '$&\tif (!sb->s_op)\n\t\tinode->i_private = kmend_open;\n'),
  );
  const { exitCode, manifest, out, stderr } = await build('--accept-review', '--patch', patch);
  const reasons = manifest.reasons.map(({ code, symbol }) => [code, symbol]);
  assert.deepEqual([exitCode, reasons], [0, [['address-kept', 'inode_init_always']]], stderr);
  const module = readElf(await readFile(join(out, manifest.file?.name ?? '')));
  const names = module.symbols.map(({ name }) => name).filter((name) => /empty_iops|no_open_fops/.test(name));
  // The numbers are those of the running kernel.
  assert.match(
    names.sort().join(),
    /^\.klp\.sym\.vmlinux\.empty_iops\.\d+,0,\.klp\.sym\.vmlinux\.no_open_fops\.\d+,0$/,
  );
});

test('refuses a file that this kernel is not built from, and files that cannot be patched live', async () => {
  const unbuilt = await patchOf('mm/kasan/init.c', (text) => text.replace('{\n', '{\n\tbarrier();\n'));
  const result = await build('--patch', unbuilt);
  assert.deepEqual([result.exitCode, codeOf(result)], [1, 'unit-not-built'], result.stderr);
  const header = await patchOf('include/linux/list.h', (text) =>
    text.replace('static inline void list_add(struct list_head *new, struct list_head *head)\n{\n', '$&\tbarrier();\n'),
  );
  const wide = await build('--patch', header);
  assert.deepEqual([wide.exitCode, codeOf(wide)], [1, 'header-too-wide'], wide.stderr);
  const comment = await patchOf('include/net/ip.h', (text) => `${text}\n/* more */\n`);
  const nothing = await build('--patch', comment);
  assert.deepEqual([nothing.exitCode, codes(nothing.manifest)], [3, ['no-function-changed']], nothing.stderr);
  const assembler = await patchOf('arch/x86/lib/memcpy_64.S', (text) =>
    text.replace('\tmovq %rdi, %rax\n', '$&\tnop\n'),
  );
  const refused = await build('--patch', assembler);
  assert.deepEqual([refused.exitCode, codeOf(refused)], [1, 'source-unsupported'], refused.stderr);
});

test('refuses what would break live objects or have no effect, with the reason', async () => {
  const cases: [string, string, (text: string) => string][] = [
    [
      'type-layout-changed',
      'fs/eventpoll.c',
      (text) => text.replace('struct eventpoll {\n', 'struct eventpoll {\n\tlong added;\n'),
    ],
    ['init-changed', 'net/ipv4/tcp_cubic.c', (text) => text.replace('beta_scale = ', 'beta_scale = 1 + ')],
    [
      'not-traceable',
      'kernel/rcu/tree.c',
      (text) =>
        text.replace(/(noinstr|notrace) (\w+ \w+\([^)]*\)\n\{\n)/, '$1 $2\tbarrier();\n\tREAD_ONCE(jiffies);\n'),
    ],
    [
      'data-changed',
      'net/ipv4/tcp_cubic.c',
      (text) => text.replace('static int beta __read_mostly = 717', 'static int beta __read_mostly = 718'),
    ],
  ];
  for (const [code, path, edit] of cases) {
    const result = await build('--patch', await patchOf(path, edit));
    assert.equal(result.exitCode, 3, `${code}: ${result.stderr}`);
    const found = codes(result.manifest);
    assert.ok(
      found.includes(code) || (code === 'not-traceable' && found.includes('section-unpatchable')),
      `${code}: ${found.join()}`,
    );
    assert.equal(result.manifest.file, undefined);
  }
});

test("refuses Debian's own change of struct eventpoll, and names the members and the functions", async () => {
  const versions = ['--from', '6.1.170-3', '--to', '6.1.176-1', '--path', 'fs/eventpoll.c'];
  await operator.kmend('fix', 'import', '--id', 'eventpoll', ...versions);
  const result = await build('--fix', 'eventpoll');
  assert.equal(result.exitCode, 3, result.stderr);
  const reasons = result.manifest.reasons.filter(({ code }) => code.startsWith('type-'));
  assert.deepEqual(
    reasons.map(({ code, verdict, source, symbol }) => [code, verdict, source, symbol]),
    [['type-layout-changed', 'refused', 'fs/eventpoll.c', 'struct eventpoll']],
  );
  const said = reasons[0]?.message ?? '';
  assert.match(said, /size 176 -> 200; member rcu added at 176; member napi_id moved from 172 to 192/);
  assert.match(said, /ep_free \(ep: struct eventpoll \*\)/);
});

test('judges a struct of a header that thousands of files include by whether the compiler moves anything in it', async () => {
  const header = 'include/net/dst.h';
  const moved = await build(
    '--patch',
    await patchOf(header, (text) => text.replace('*lwtstate;\n', '$&\tunsigned long more;\n')),
  );
  assert.equal(moved.exitCode, 3, moved.stderr);
  assert.deepEqual(codes(moved.manifest), ['type-layout-changed']);
  assert.match(
    moved.manifest.reasons[0]?.message ?? '',
    /struct dst_entry changes: size 112 -> 120; member more added at 88.*no other file that includes that was looked at/,
  );
  const renamed = await build(
    '--patch',
    await patchOf(header, (text) =>
      text.replace('\tstruct net_device       *dev;\n', '\tunion {\n$&\t\tstruct net_device *dev_rcu;\n\t};\n'),
    ),
  );
  assert.equal(renamed.exitCode, 3, renamed.stderr);
  assert.deepEqual(codes(renamed.manifest), ['no-function-changed']);
});

test('asks for a review of a new struct if the running kernel has a smaller one', async () => {
  const versions = ['--from', '6.1.170-3', '--to', '6.1.176-1', '--path', 'net/core/net-procfs.c'];
  await operator.kmend('fix', 'import', '--id', 'ptype', ...versions);
  const result = await build('--fix', 'ptype');
  assert.equal(result.exitCode, 4, result.stderr);
  // /proc/net/ptype was made at boot, with 8 bytes for each reader.
  assert.deepEqual(
    result.manifest.reasons.map(({ code, source, symbol }) => [code, source, symbol]),
    [['type-added', 'net/core/net-procfs.c', 'struct ptype_iter_state']],
  );
  assert.match(
    result.manifest.reasons[0]?.message ?? '',
    /16 bytes.*ptype_seq_show \(iter: struct ptype_iter_state \*\)/,
  );
});

test('asks for a review of a locking change, which --accept-review accepts', async () => {
  const patch = await patchOf(SOURCE, (text) =>
    text.replace('kfree(opt);', 'rcu_read_lock(); rcu_read_unlock(); kfree(opt);'),
  );
  const waiting = await build('--patch', patch);
  assert.deepEqual(
    [waiting.exitCode, codes(waiting.manifest), waiting.manifest.file],
    [4, ['rcu-protocol'], undefined],
  );
  const accepted = await build('--patch', patch, '--accept-review');
  assert.deepEqual([accepted.exitCode, accepted.manifest.reviewAccepted], [0, true], accepted.stderr);
  assert.ok(accepted.manifest.file !== undefined);
});

test('rejects unknown kernels, fixes and words, and a folder that holds something else', async () => {
  const unknown = await kmend('kernel', 'add', `${SUITE}/6.1.0-9999-amd64`);
  assert.deepEqual([unknown.exitCode, codeOf(unknown)], [1, 'kernel-unknown']);
  assert.match(unknown.stderr, /similar names: 6\.1\.0-/);
  for (const [args, exitCode, code] of [
    [['kernel', 'add', 'nonsense'], 1, 'kernel-spec'],
    [['kernel', 'add', 'nosuchsuite/6.1.0-9998-amd64'], 1, 'kernel-unknown'],
    [['kernel', 'add', `trixie/${KERNEL}`], 1, 'kernel-unknown'],
    [
      ['build', '--kernel', '6.1.0-48-amd64', '--fix', FIXES[0].id, '--out', join(operator.home, 'x')],
      1,
      'kernel-not-added',
    ],
    [['build', '--kernel', KERNEL, '--fix', 'CVE-0000-1', '--out', join(operator.home, 'x')], 1, 'fix-unknown'],
    [['build', '--kernel', KERNEL, '--out', join(operator.home, 'x')], 2, 'usage'],
    [['build', '--kernel', KERNEL, '--fix', FIXES[0].id, '--out', operator.home], 1, 'output-exists'],
    [['fix', 'import', '--id', 'X'], 2, 'usage'],
    [
      ['fix', 'import', '--id', 'X', '--from', '6.1.170-3', '--to', '6.1.176-1', '--path', 'no/such.c'],
      1,
      'fix-without-origin',
    ],
    [['fix', 'import', '--id', 'X', '--from', '6.1.1-99', '--to', '6.1.176-1', '--path', SOURCE], 1, undefined],
  ] as const) {
    const result = await kmend(...args);
    assert.equal(result.exitCode, exitCode, `${args.join(' ')}: ${result.stderr}`);
    if (code !== undefined) assert.equal(codeOf(result), code, args.join(' '));
  }
  assert.deepEqual((await readdir(operator.home)).includes('x'), false);
});

test('shows with kernel show what decides about livepatches', async () => {
  const shown = await operator.kmend<{ buildId: string; symbols: number; options: Record<string, string> }>(
    'kernel',
    'show',
    KERNEL,
  );
  assert.equal(shown.buildId, '12f1e1ca032e499318c5cc64e024d3e617624bf6');
  assert.equal(shown.symbols, 94_105);
  assert.equal(shown.options['CONFIG_LIVEPATCH'], 'y');
});
