import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { systemClock } from '@kmend/base/node';
import { KERNEL, type KmendResult, Operator, openLab, PatchedHost, patchOf, SUITE, unload } from '@kmend/harness';
import type { Host } from '@kmend/lab';
import type { Livepatch } from '@kmend/protocol';

/**
 * Fixes adapted by hand, as docs/authoring.md tells: a shadow variable on message queues, and callbacks for vmlinux (of
 * two files) and for a module that is loaded later. Everything says what it does in the kernel's log.
 */
const signal = new AbortController().signal;
const operator = await Operator.make(signal);
const { lab, kernels } = openLab(operator.cache, signal);
let host: Host;

before(async () => {
  await operator.kmend('kernel', 'add', `${SUITE}/${KERNEL}`);
  host = await lab.boot(await kernels.open(KERNEL), { name: 'authoring' });
});
after(async () => {
  await lab.close();
  await operator.remove();
});

const SHADOW_ID = '0x6b6d656e6401';

/** Callbacks called `name` that log their phase; `extra`: more for the last one; `refuse`: what the first returns. */
function callbacks(tag: string, name: string, extra = '', refuse = '0'): string {
  const log = (phase: string): string =>
    `pr_info("kmend-test: ${tag} ${name} ${phase} %s\\n", obj->name ?: "vmlinux");`;
  return `
static int ${name}_pre_patch(struct klp_object *obj) { ${log('pre_patch')} return ${refuse}; }
static void ${name}_post_patch(struct klp_object *obj) { ${log('post_patch')} }
static void ${name}_pre_unpatch(struct klp_object *obj) { ${log('pre_unpatch')} }
static void ${name}_post_unpatch(struct klp_object *obj) { ${log('post_unpatch')} ${extra} }
KMEND_CALLBACKS(${name}, .pre_patch = ${name}_pre_patch, .post_patch = ${name}_post_patch,
		.pre_unpatch = ${name}_pre_unpatch, .post_unpatch = ${name}_post_unpatch);
`;
}

/** Patches of three files. `tag` comes first in every line they log. */
async function patches(tag: string, refuse = '0'): Promise<string[]> {
  const include = (text: string, behind: string): string =>
    text.replace(behind, `${behind}#include <kmend/livepatch.h>\n`);
  const queues = await patchOf(
    operator,
    'ipc/msg.c',
    (text) =>
      `${include(text, '#include <linux/percpu_counter.h>\n')
        .replace(
          /(static void freeque\([\s\S]*?\n)(\tipc_rcu_putref\()/,
          `$1\tklp_shadow_free(msq, ${SHADOW_ID}, NULL);\n$2`,
        )
        .replace(
          /(static int sysvipc_msg_proc_show\([\s\S]*?container_of\(ipcp, struct msg_queue, q_perm\);\n)/,
          `$1\tint *seen = klp_shadow_get_or_alloc(msq, ${SHADOW_ID}, sizeof(*seen), GFP_ATOMIC, NULL, NULL);

	if (seen)
		pr_info("kmend-test: ${tag} queue %d seen %d\\n", msq->q_perm.id, ++*seen);
`,
        )}${callbacks(tag, 'queues', `klp_shadow_free_all(${SHADOW_ID}, NULL);`)}`,
  );
  const semaphores = await patchOf(
    operator,
    'ipc/sem.c',
    (text) => `${include(text, '#include <linux/uaccess.h>\n')}${callbacks(tag, 'semaphores', '', refuse)}`,
  );
  const hashes = await patchOf(
    operator,
    'crypto/algif_hash.c',
    (text) => `${include(text, '#include <net/sock.h>\n')}${callbacks(tag, 'hashes')}`,
  );
  return [queues, semaphores, hashes];
}

async function build(files: readonly string[], ...more: string[]): Promise<KmendResult & { manifest: Livepatch }> {
  const out = join(operator.home, 'out');
  const result = await operator.run('build', '--kernel', KERNEL, '--patch', ...files, '--out', out, ...more);
  return { ...result, manifest: result.json as Livepatch };
}

/** Builds the livepatch and brings it into the guest; its name. */
async function bring(tag: string, refuse = '0'): Promise<string> {
  const { exitCode, stderr, manifest } = await build(await patches(tag, refuse), '--accept-review');
  assert.equal(exitCode, 0, stderr);
  const { file, module } = manifest;
  assert.ok(file !== undefined);
  await host.copyIn(join(operator.home, 'out', file.name), `/root/${module}.ko`);
  return module;
}

async function load(module: string): Promise<void> {
  await host.check(['insmod', `/root/${module}.ko`]);
  await settled(module);
}

async function settled(module: string): Promise<void> {
  const wait = `for i in $(seq 300); do [ "$(cat /sys/kernel/livepatch/${module}/transition 2>/dev/null || echo 0)" = 0 ] && exit 0; sleep 0.2; done; exit 1`;
  await host.check(wait, { timeoutMs: 90_000 });
}

let told = 0;
/** What the fixes logged since the last question. */
async function log(): Promise<string[]> {
  const lines = [...(await host.kernelLog()).matchAll(/kmend-test: (.*)$/gm)].map(([, line = '']) => line);
  const fresh = lines.slice(told);
  told = lines.length;
  return fresh;
}

const first = { module: '' };
const second = { module: '' };
let queue = '';

test('builds shadow variables and callbacks, asks for a review of the callbacks, and names them', async () => {
  const files = await patches('first');
  const waiting = await build(files);
  assert.equal(waiting.exitCode, 4, waiting.stderr);
  assert.deepEqual(
    waiting.manifest.reasons.map(({ code, source }) => `${code} ${source}`).sort(),
    ['crypto/algif_hash.c', 'ipc/msg.c', 'ipc/sem.c'].map((source) => `callback-declared ${source}`),
  );
  const objects = waiting.manifest.objects.map(({ name, functions, callbacks: declared }) => [
    name,
    functions.map((entry) => entry.name).sort(),
    declared?.map((entry) => entry.name),
  ]);
  assert.deepEqual(objects.sort(), [
    ['algif_hash', [], ['hashes']],
    ['vmlinux', ['freeque', 'sysvipc_msg_proc_show'], ['queues', 'semaphores']],
  ]);
});

test('runs callbacks of vmlinux at the load, in order, and those of a module when it comes', async () => {
  queue = /\d+/.exec(await host.check('ipcmk -Q'))?.[0] ?? '';
  first.module = await bring('first');
  await load(first.module);
  assert.deepEqual(await log(), [
    'first queues pre_patch vmlinux',
    'first semaphores pre_patch vmlinux',
    'first queues post_patch vmlinux',
    'first semaphores post_patch vmlinux',
  ]);
});

test('attaches a shadow variable to old and new objects', async () => {
  await host.check('cat /proc/sysvipc/msg && cat /proc/sysvipc/msg');
  assert.deepEqual(await log(), [`first queue ${queue} seen 1`, `first queue ${queue} seen 2`]);
  const other = /\d+/.exec(await host.check('ipcmk -Q'))?.[0];
  await host.check('cat /proc/sysvipc/msg');
  assert.deepEqual((await log()).sort(), [`first queue ${other} seen 1`, `first queue ${queue} seen 3`].sort());
  await host.check(`ipcrm -q ${other}`);
});

test('runs the callbacks of a module without changed functions at every load and unload', async () => {
  await host.check('modprobe algif_hash');
  assert.deepEqual(await log(), ['first hashes pre_patch algif_hash', 'first hashes post_patch algif_hash']);
  await host.check('modprobe -r algif_hash');
  assert.deepEqual(await log(), ['first hashes pre_unpatch algif_hash', 'first hashes post_unpatch algif_hash']);
  await host.check('modprobe algif_hash');
  assert.deepEqual(await log(), ['first hashes pre_patch algif_hash', 'first hashes post_patch algif_hash']);
});

test('runs only the callbacks of a replacing livepatch, which finds the variables', async () => {
  second.module = await bring('second');
  await load(second.module);
  assert.deepEqual((await log()).sort(), [
    'second hashes post_patch algif_hash',
    'second hashes pre_patch algif_hash',
    'second queues post_patch vmlinux',
    'second queues pre_patch vmlinux',
    'second semaphores post_patch vmlinux',
    'second semaphores pre_patch vmlinux',
  ]);
  await unload(host, first.module);
  await host.check('cat /proc/sysvipc/msg');
  assert.deepEqual(await log(), [`second queue ${queue} seen 4`]);
});

test('stops the load at a refusing pre-patch callback, and undoes those before it', async () => {
  const third = await bring('third', '-EBUSY');
  const refused = await host.run(['insmod', `/root/${third}.ko`]);
  assert.notEqual(refused.exitCode, 0);
  await settled(third);
  assert.deepEqual(
    (await log()).filter((line) => !line.includes('hashes')),
    ['third queues pre_patch vmlinux', 'third semaphores pre_patch vmlinux', 'third queues post_unpatch vmlinux'],
  );
  assert.equal(await host.check(`cat /sys/kernel/livepatch/${second.module}/enabled`), '1');
  // Its post-unpatch callback freed the variables of the one that stays: they start again.
  await host.check('cat /proc/sysvipc/msg');
  assert.deepEqual(await log(), [`second queue ${queue} seen 1`]);
});

test('runs the callbacks in reverse order at a revert, and leaves nothing behind', async () => {
  await host.check(`echo 0 >/sys/kernel/livepatch/${second.module}/enabled`);
  await settled(second.module);
  assert.deepEqual(
    (await log()).filter((line) => line.endsWith('vmlinux')),
    [
      'second semaphores pre_unpatch vmlinux',
      'second queues pre_unpatch vmlinux',
      'second semaphores post_unpatch vmlinux',
      'second queues post_unpatch vmlinux',
    ],
  );
  await unload(host, second.module);
  await host.check('cat /proc/sysvipc/msg');
  assert.deepEqual(await log(), []);
  await host.check(`ipcrm -q ${queue}`);
  const patched = new PatchedHost(host, lab, operator, systemClock);
  assert.deepEqual(await patched.loadedModules(), []);
  // The one that a callback refused, above, is all that the kernel complains of.
  const complaints = (await patched.complaints()).map((line) =>
    line.replace(/^\[[^\]]*\] /, '').replace(/kmend_\w+/, 'it'),
  );
  assert.deepEqual(complaints, [
    "livepatch: pre-patch callback failed for object 'vmlinux'",
    "livepatch: failed to enable patch 'it'",
  ]);
});
