import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { systemClock } from '@kmend/base/node';
import { KERNEL, type KmendResult, Operator, openLab, PatchedHost, patchOf, SUITE, unload } from '@kmend/harness';
import type { Host } from '@kmend/lab';
import type { Livepatch } from '@kmend/protocol';

/**
 * The special cases of the comparison (docs/builder.md) that small fixtures cannot show, on the kernel's own units: one
 * cumulative livepatch with tables that the kernel acts on, keys, per-cpu data and references between units, loaded
 * before the modules it patches.
 */
const signal = new AbortController().signal;
const operator = await Operator.make(signal);
const { lab, kernels } = openLab(operator.cache, signal);
let host: Host;

before(async () => {
  await operator.kmend('kernel', 'add', `${SUITE}/${KERNEL}`);
  // The tree is there once a fix was tried in it.
  const versions = ['--from', '6.1.170-3', '--to', '6.1.176-1', '--path', 'ipc/util.c'];
  await operator.kmend('fix', 'import', '--id', 'any', ...versions);
  host = await lab.boot(await kernels.open(KERNEL), { name: 'special-cases' });
});
after(async () => {
  await lab.close();
  await operator.remove();
});

async function build(...patches: string[]): Promise<KmendResult & { readonly manifest: Livepatch }> {
  const out = join(operator.home, 'out');
  const result = await operator.run(
    'build',
    '--kernel',
    KERNEL,
    '--out',
    out,
    '--accept-review',
    '--patch',
    ...patches,
  );
  return { ...result, manifest: result.json as Livepatch };
}

const edits: readonly (readonly [path: string, edit: (text: string) => string])[] = [
  // A new function, exported, that other units of the livepatch use.
  [
    'fs/proc/cmdline.c',
    (text) =>
      text
        .replace('#include <linux/seq_file.h>\n', '$&#include <linux/export.h>\n')
        .replace(
          'static int cmdline_proc_show',
          'int kmend_double(int number);\nint kmend_double(int number)\n{\n\treturn number * 2;\n}\nEXPORT_SYMBOL_GPL(kmend_double);\n\n$&',
        )
        .replace("seq_putc(m, '\\n');\n", '$&\tseq_printf(m, "double %d\\n", kmend_double(4));\n'),
  ],
  // A static key of the livepatch, one of vmlinux, per-cpu data, dynamic debugging, and the function of the other unit.
  [
    'fs/proc/version.c',
    (text) =>
      text
        .replace(
          '#include "internal.h"\n',
          `$&#include <linux/jump_label.h>
#include <linux/percpu.h>
#include <net/sock.h>

int kmend_double(int number);
DEFINE_STATIC_KEY_FALSE(kmend_key);
static DEFINE_PER_CPU(int, kmend_reads) = 40;
`,
        )
        .replace(
          '\treturn 0;\n}\n\nstatic int __init',
          `	{
		int cpu, reads = 0;

		this_cpu_inc(kmend_reads);
		for_each_online_cpu(cpu)
			reads += per_cpu(kmend_reads, cpu) - 40;
		seq_printf(m, "reads %d\\n", kmend_double(reads));
	}
	if (static_branch_unlikely(&kmend_key))
		seq_puts(m, "key on\\n");
	else
		static_branch_enable(&kmend_key);
	if (static_branch_unlikely(&net_high_order_alloc_disable_key))
		seq_puts(m, "high orders off\\n");
	pr_debug("kmend-test: version read\\n");
	return 0;
}

static int __init`,
        ),
  ],
  // An exception table and alternatives (stac, clac): writes to user memory.
  [
    'fs/readdir.c',
    (text) =>
      text.replace(
        /(static bool filldir64[\s\S]*?\n)(\tbuf->error = verify_dirent_name)/,
        '$1\tif (namlen == 12 && !memcmp(name, "kmend-hidden", 12))\n\t\treturn true;\n$2',
      ),
  ],
  // A tracepoint of a module.
  [
    'fs/btrfs/async-thread.c',
    (text) => text.replace('\ttrace_btrfs_work_sched(work);\n', '$&\tREAD_ONCE(work->flags);\n'),
  ],
  // Static calls whose keys are a module's.
  ['arch/x86/kvm/pmu.c', (text) => text.replace('\tpmu->need_cleanup = false;\n', '$&\tREAD_ONCE(vcpu->mode);\n')],
  // A module that uses a function which the livepatch adds to vmlinux.
  [
    'crypto/af_alg.c',
    (text) =>
      text
        .replace('static int alg_bind(', 'int kmend_double(int number);\n\n$&')
        .replace(
          '\tif (sock->state == SS_CONNECTED)\n\t\treturn -EINVAL;\n\n\tBUILD_BUG_ON(',
          '\tpr_info("kmend-test: bind %d\\n", kmend_double(addr_len));\n$&',
        ),
  ],
  // A module that calls another one, and uses a function which the livepatch adds to that.
  [
    'fs/fat/namei_vfat.c',
    (text) =>
      text
        .replace('static int vfat_mkdir(', 'int kmend_fat_taboo(int length);\n\n$&')
        .replace(
          /(static int vfat_mkdir\([\s\S]*?)(\tmutex_lock)/,
          '$1\tif (kmend_fat_taboo(dentry->d_name.len))\n\t\treturn -EXDEV;\n$2',
        ),
  ],
  [
    'fs/fat/misc.c',
    (text) =>
      text.replace(
        'int fat_clusters_flush(',
        'int kmend_fat_taboo(int length);\nint kmend_fat_taboo(int length)\n{\n\treturn length == 12;\n}\nEXPORT_SYMBOL_GPL(kmend_fat_taboo);\n\n$&',
      ),
  ],
];

let module = '';

test('builds one livepatch of all cases, and proves every function', async () => {
  const patches: string[] = [];
  for (const [path, edit] of edits) patches.push(await patchOf(operator, path, edit));
  const { exitCode, stderr, manifest } = await build(...patches);
  assert.equal(exitCode, 0, stderr);
  assert.deepEqual(
    manifest.objects.map(({ name, functions }) => [name, functions.map((entry) => entry.name).sort()]).sort(),
    [
      ['af_alg', ['alg_bind']],
      ['btrfs', ['btrfs_work_helper']],
      ['kvm', ['kvm_pmu_init']],
      ['vfat', ['vfat_mkdir']],
      ['vmlinux', ['cmdline_proc_show', 'filldir64', 'version_proc_show']],
    ],
  );
  module = manifest.module;
  await host.copyIn(join(operator.home, 'out', `${module}.ko`), `/root/${module}.ko`);
});

const settle = `for i in $(seq 300); do [ "$(cat /sys/kernel/livepatch/*/transition 2>/dev/null || echo 0)" = 0 ] && exit 0; sleep 0.2; done; exit 1`;
const version = async (): Promise<string[]> => (await host.check('tail -n +2 /proc/version')).trim().split('\n');

test('loads before the modules that it patches, and patches them when they come', async () => {
  await host.check('touch /root/kmend-hidden /root/kmend-shown');
  await host.check(['insmod', `/root/${module}.ko`]);
  await host.check(settle, { timeoutMs: 90_000 });
  await host.check('modprobe btrfs && modprobe kvm && modprobe algif_hash && modprobe vfat', { timeoutMs: 120_000 });
  const patched = await host.check(`cd /sys/kernel/livepatch/${module} && grep -H . */patched | sort`);
  assert.deepEqual(
    patched.trim().split('\n'),
    ['af_alg', 'btrfs', 'kvm', 'vfat', 'vmlinux'].map((name) => `${name}/patched:1`),
  );
});

test('uses a new static key, new per-cpu data and a key of vmlinux in the new code', async () => {
  assert.deepEqual(await version(), ['reads 2']);
  assert.deepEqual(await version(), ['reads 4', 'key on']);
  await host.check('sysctl -q net.core.high_order_alloc_disable=1');
  assert.deepEqual(await version(), ['reads 6', 'key on', 'high orders off']);
  await host.check('sysctl -q net.core.high_order_alloc_disable=0');
  assert.deepEqual(await version(), ['reads 8', 'key on']);
});

test('uses what one unit adds in another one and in a module', async () => {
  assert.equal((await host.check('tail -n 1 /proc/cmdline')).trim(), 'double 8');
  // sockaddr_alg: a hash by its name; 88 bytes.
  await host.check(
    `perl -e 'socket(S, 38, 5, 0) or die; bind(S, pack("S a14 L L a64", 38, "hash", 0, 0, "sha256")) or die $!'`,
  );
  assert.match(await host.kernelLog(), /kmend-test: bind 176$/m);
});

/**
 * A FAT12 volume with one FAT of 8 sectors (Microsoft's fatgen103, "Boot Sector and BPB"), as there is no mkfs.vfat in
 * the guest.
 */
const MAKE_FAT = `truncate -s 2M /root/fat && perl -e 'open(F, "+<", "/root/fat") or die;
print F pack("a3 a8 v C v C v v C v", "\\xeb\\x3c\\x90", "kmend", 512, 4, 1, 1, 64, 4096, 0xf8, 8);
seek(F, 510, 0); print F "\\x55\\xaa\\xf8\\xff\\xff"'`;

test('calls a module from the new code of another one, and what the livepatch adds to it', async () => {
  await host.check(`${MAKE_FAT} && mkdir -p /root/volume && mount -t vfat -o loop /root/fat /root/volume`);
  await host.check('mkdir /root/volume/plain && [ -d /root/volume/plain ]');
  const refused = await host.run('mkdir /root/volume/kmend-marker');
  assert.match(refused.stderr, /cross-device link/);
  await host.check('umount /root/volume');
});

test('handles an exception in the new code', async () => {
  const list = (await host.check('ls /root')).split('\n');
  assert.ok(list.includes('kmend-shown') && !list.includes('kmend-hidden'));
  // getdents64 into an address that is not mapped: EFAULT.
  const failed = await host.check(
    `perl -e 'open(D, "<", "/root"); my $n = syscall(217, fileno(D), 0x10000, 4096); print "$n ", $!+0, "\\n"'`,
  );
  assert.equal(failed.trim(), '-1 14');
});

test('lists the new code in dynamic debugging under the name of the livepatch', async () => {
  await host.check(`echo 'module ${module} +p' >/proc/dynamic_debug/control`);
  await version();
  assert.match(await host.kernelLog(), /kmend-test: version read$/m);
});

test('reverts with the modules loaded, and leaves nothing behind', async () => {
  await host.check(`echo 0 >/sys/kernel/livepatch/${module}/enabled`);
  await host.check(settle, { timeoutMs: 90_000 });
  await unload(host, module);
  assert.deepEqual(await version(), ['']);
  assert.match(await host.check('ls /root'), /kmend-hidden/);
  const patched = new PatchedHost(host, lab, operator, systemClock);
  assert.deepEqual(await patched.loadedModules(), []);
  assert.deepEqual(await patched.complaints(), []);
});

/**
 * Shifts every number that the compiler gives out, every string and every entry of a table, and changes nothing that
 * was there.
 */
const SHIFT = `
int kmend_shift(int number);
int kmend_shift(int number)
{
	static int __warned, calls;

	if (WARN_ON_ONCE(number > 3))
		printk_ratelimited(KERN_WARNING "%s: %d\\n", __func__, number);
	pr_debug("shifted %d\\n", __warned);
	might_sleep();
	switch (number) {
	case 0: return 31;
	case 1: return 7;
	case 2: return -5;
	case 3: return 99;
	case 4: return 12;
	}
	return ++calls;
}
`;

test('finds no change in whole units in which everything shifted', async () => {
  for (const path of ['net/ipv4/tcp_input.c', 'fs/namei.c', 'kernel/workqueue.c', 'mm/slub.c', 'fs/btrfs/inode.c']) {
    const patch = await patchOf(operator, path, (text) =>
      text.replace(/(?:#include .*\n)(?![\s\S]*#include)/, `$&${SHIFT}`),
    );
    const { exitCode, stderr, manifest } = await build(patch);
    assert.deepEqual(
      [
        exitCode,
        manifest.objects.flatMap(({ functions }) => functions),
        manifest.reasons.map(({ code }) => code).sort(),
      ],
      [3, [], ['no-function-changed', 'static-local-added']],
      `${path}: ${stderr}`,
    );
  }
});

test('refuses a changed type behind an export for the modules that were built for the old one', async () => {
  const patch = await patchOf(operator, 'include/crypto/if_alg.h', (text) =>
    text.replace('struct af_alg_sgl {\n', '$&\tlong added;\n'),
  );
  const { exitCode, stderr, manifest } = await build(patch);
  assert.equal(exitCode, 3, stderr);
  const reason = manifest.reasons.find(({ code }) => code === 'export-abi-changed');
  assert.match(reason?.message ?? '', /af_alg_make_sg/);
});

test("refuses a static branch on a module's own key, and code of other images", async () => {
  const cases: readonly (readonly [code: string, path: string, edit: (text: string) => string])[] = [
    [
      'jump-label-module-key',
      'net/netfilter/nf_tables_core.c',
      (text) => text.replace('if (static_branch_unlikely(&nft_counters_enabled))\n', '$&\t\tREAD_ONCE(jiffies),\n'),
    ],
    [
      'unit-outside-kernel',
      'arch/x86/entry/vdso/vclock_gettime.c',
      (text) => text.replace('return __cvdso_time(t);', 'return __cvdso_time(t) + 1;'),
    ],
    ['unit-outside-kernel', 'arch/x86/boot/compressed/misc.c', (text) => text.replace('{\n', '{\n\tbarrier();\n')],
  ];
  for (const [code, path, edit] of cases) {
    const { exitCode, stderr, manifest } = await build(await patchOf(operator, path, edit));
    // The vDSO's file is included by that for 32 bits too.
    const codes = new Set(manifest.reasons.map((reason) => reason.code));
    codes.delete('no-function-changed');
    assert.deepEqual([exitCode, [...codes]], [3, [code]], `${path}: ${stderr}`);
  }
});
