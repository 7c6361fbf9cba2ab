import { glob, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir, totalmem } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { type Batch, batches } from './order.ts';

/**
 * For script/test: runs as many test files at a time as there are processors (two at least), the longest first, and
 * lists at the end which ones took longest. `node --test` would take them by name. A long file has a process of its
 * own; short ones share one.
 * Arguments: files or patterns; none is all of them, or with `--unit` all but those that boot guests or build for a
 * real kernel.
 */
const EVERY = ['{bench,demo,packages,script,test}/**/*.test.ts'];
const UNIT = ['{bench,demo,packages,script}/**/*.test.ts', 'test/run/*.test.ts'];
/** A file has a guest of 1 GiB, or the compiler. Guests that wait for each other's processors run into time limits. */
const BYTES_A_FILE = 4 * 2 ** 30;
const GUESTS = Math.max(2, Math.min(availableParallelism(), Math.floor(totalmem() / BYTES_A_FILE)));
/** Short files in one process. More save little, and the last process would run alone. */
const SHARED = 16;
const SHOWN = 12;
/** Shorter files are not worth a line of the record. */
const RECORDED_S = 5;

const root = join(import.meta.dirname, '..', '..');
const record = join(import.meta.dirname, 'seconds.json');
const { values, positionals } = parseArgs({
  options: { record: { type: 'boolean' }, unit: { type: 'boolean' } },
  allowPositionals: true,
});
/** Unit tests wait for processes and sockets a sixth of the time. */
const AT_ONCE = values.unit === true ? availableParallelism() + 1 : GUESTS;
const patterns = positionals.length > 0 ? positionals : values.unit === true ? UNIT : EVERY;

const known = z.record(z.string(), z.number()).parse(JSON.parse(await readFile(record, 'utf8')));
const files = await filesOf(patterns);
if (files.length === 0) throw new Error(`no test file: ${patterns.join(' ')}`);
const shared = await mkdtemp(join(tmpdir(), 'kmend-test-run-'));

const taken = new Map<string, number>();
const started = await Promise.all(batches(files, known, { atMost: SHARED, alone: await withHooks() }).map(fileOf));
const tests = run({ files: started, concurrency: AT_ONCE, cwd: root });
// Until the summary of the whole says otherwise.
process.exitCode = 1;
tests.on('test:summary', ({ file, success }) => {
  if (file === undefined && success) process.exitCode = 0;
});
tests.on('test:complete', ({ name, file, nesting, details }) => {
  if (nesting > 0 || file === undefined || file.startsWith(shared)) return;
  const path = relative(root, file);
  const seconds = details.duration_ms / 1000;
  // A file with a process of its own ends with an event of its name. Of the others there are only the tests' times.
  if (name === file) taken.set(path, seconds);
  else taken.set(path, (taken.get(path) ?? 0) + seconds);
});
tests.compose(spec).pipe(process.stdout);
tests.once('end', () => void finish());

/** Files whose hooks are meant for their own tests: beside others in one process, they would be run for those too. */
async function withHooks(): Promise<Set<string>> {
  const found = new Set<string>();
  for (const file of files) {
    if (/^(before|after)(Each)?\(/m.test(await readFile(resolve(root, file), 'utf8'))) found.add(file);
  }
  return found;
}

/** The file to start for a batch: the test itself, or one that imports them all. */
async function fileOf(batch: Batch, n: number): Promise<string> {
  const paths = batch.map((file) => resolve(root, file));
  if (paths.length === 1 && paths[0] !== undefined) return paths[0];
  const path = join(shared, `${n}.test.mjs`);
  await writeFile(path, paths.map((file) => `await import(${JSON.stringify(pathToFileURL(file).href)});\n`).join(''));
  return path;
}

async function finish(): Promise<void> {
  await rm(shared, { recursive: true, force: true });
  const all = [...taken].sort(([, a], [, b]) => b - a);
  process.on('exit', () => {
    if (all.length < 2) return;
    const lines = all.slice(0, SHOWN).map(([file, seconds]) => `${seconds.toFixed(0).padStart(6)} s  ${file}\n`);
    process.stdout.write(`\nslowest of ${all.length} files:\n${lines.join('')}`);
  });
  if (values.record !== true) return;
  const worth = all.filter(([, seconds]) => seconds >= RECORDED_S).map(([file, it]) => [file, Math.round(it)] as const);
  await writeFile(record, `${JSON.stringify({ ...known, ...Object.fromEntries(worth) }, undefined, 2)}\n`);
}

async function filesOf(patterns: readonly string[]): Promise<string[]> {
  const found = new Set<string>();
  for await (const path of glob(patterns, { cwd: root })) found.add(relative(root, resolve(root, path)));
  return [...found];
}
