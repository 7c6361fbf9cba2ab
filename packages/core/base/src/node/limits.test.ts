import assert from 'node:assert/strict';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { errorCode } from '../error.ts';
import { bashArguments, limitedRun, run, runOk } from './process.ts';

const MIB = 1 << 20;
const code =
  (wanted: string) =>
  (error: unknown): boolean =>
    errorCode(error) === wanted;

test('runs a tool within its limits as without them', async () => {
  const limits = { memory: 512 * MIB, fileSize: MIB, cpuSeconds: 5 };
  const script = 'cat; echo "$1" >&2; exit 3';
  const plain = await run('sh', ['-c', script, 'sh', '--version'], { stdin: 'in' });
  assert.deepEqual(await run('sh', ['-c', script, 'sh', '--version'], { stdin: 'in', limits }), plain);
  assert.deepEqual([plain.exitCode, plain.stdout.toString(), plain.stderr], [3, 'in', '--version\n']);
  const shown = await runOk(limitedRun, 'sh', ['-c', 'ulimit -v; ulimit -f; ulimit -t; ulimit -c'], { limits });
  assert.deepEqual(shown.toString().trim().split('\n'), [`${512 * 1024}`, `${MIB / 512}`, '5', '0']);
  const usual = await runOk(limitedRun, 'sh', ['-c', 'ulimit -v; ulimit -f; ulimit -t']);
  assert.ok(!usual.toString().includes('unlimited'), usual.toString());
});

test('ends a tool whose file grows beyond its limit, also in a pipeline', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-limits-'));
  t.after(() => rm(directory, { recursive: true }));
  const path = join(directory, 'bomb');
  const limits = { fileSize: MIB };
  await assert.rejects(run('dd', ['if=/dev/zero', `of=${path}`, 'bs=64k', 'count=64'], { limits }), code('tool-limit'));
  assert.equal((await stat(path)).size, MIB);
  const script = 'set -o pipefail; cat /dev/zero | head -c 9999999 > "$1"';
  await assert.rejects(run('bash', bashArguments(script, path), { limits }), code('tool-limit'));
});

test('ends a tool at its memory and processor limits and leaves the machine alone', async () => {
  const hungry = await run('tail', ['/dev/zero'], { limits: { memory: 256 * MIB }, timeoutMs: 30_000 });
  assert.notEqual(hungry.exitCode, 0);
  assert.match(hungry.stderr, /memory/);
  const busy = run('sh', ['-c', 'while :; do :; done'], { limits: { cpuSeconds: 1 }, timeoutMs: 60_000 });
  await assert.rejects(busy, code('tool-limit'));
});

test('names a missing tool, with and without limits', async () => {
  for (const runner of [run, limitedRun]) {
    await assert.rejects(
      runner('no-such-tool', []),
      (error) => error instanceof Error && error.message === 'no-such-tool is not installed',
    );
  }
});
