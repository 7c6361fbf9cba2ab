import { glob, readFile, writeFile } from 'node:fs/promises';
import { availableParallelism, totalmem } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { longestFirst } from './order.ts';

/**
 * For script/test: runs as many test files at a time as there are processors (two at least), each in a process of its
 * own, the longest first, and lists at the end which ones took longest. `node --test` would take them by name.
 * Arguments: files or patterns; none is all of them, or with `--unit` all but those that boot guests or build for a
 * real kernel.
 */
const EVERY = ['{bench,demo,packages,script,test}/**/*.test.ts'];
const UNIT = ['{bench,demo,packages,script}/**/*.test.ts', 'test/run/*.test.ts'];
/** A file has a guest of 1 GiB, or the compiler. Guests that wait for each other's processors run into time limits. */
const BYTES_A_FILE = 4 * 2 ** 30;
const AT_ONCE = Math.max(2, Math.min(availableParallelism(), Math.floor(totalmem() / BYTES_A_FILE)));
const SHOWN = 12;
/** Shorter files are not worth a line of the record. */
const RECORDED_S = 5;

const root = join(import.meta.dirname, '..', '..');
const record = join(import.meta.dirname, 'seconds.json');
const { values, positionals } = parseArgs({
  options: { record: { type: 'boolean' }, unit: { type: 'boolean' } },
  allowPositionals: true,
});
const patterns = positionals.length > 0 ? positionals : values.unit === true ? UNIT : EVERY;

const known = z.record(z.string(), z.number()).parse(JSON.parse(await readFile(record, 'utf8')));
const files = longestFirst(await filesOf(patterns), known);
if (files.length === 0) throw new Error(`no test file: ${patterns.join(' ')}`);

const taken = new Map<string, number>();
const tests = run({ files: files.map((file) => resolve(root, file)), concurrency: AT_ONCE, cwd: root });
// Until the summary of the whole says otherwise.
process.exitCode = 1;
tests.on('test:summary', ({ file, success }) => {
  if (file === undefined && success) process.exitCode = 0;
});
tests.on('test:complete', ({ name, file, nesting, details }) => {
  // The end of a file: what comes before it are the tests in it.
  if (nesting === 0 && file !== undefined && name === file) taken.set(relative(root, file), details.duration_ms / 1000);
});
tests.compose(spec).pipe(process.stdout);
tests.once('end', () => void finish());

async function finish(): Promise<void> {
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
