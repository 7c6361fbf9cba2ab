/**
 * `script/bench build [--kernel 6.12] [--cold | --sandbox]`: what a build costs, against the compiler runs that it
 * cannot do without, each in the same run.
 *
 * `--kernel 6.12`: of Debian 13, whose compiler runs, too, are those of its build root in the sandbox; without the
 * cumulative part.
 *
 * - warm: the tree is prepared, nothing of the file is cached; the time is that of the whole command, as a user runs
 *   it;
 * - cumulative: one fix more in a livepatch of a hundred, of which the others were built before;
 * - cold: a new kernel from its packages to the first livepatch;
 * - sandbox: the compiler runs of a build in the sandbox, against the same ones outside, in pairs.
 */
import { mkdir, mkdtemp, readdir, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Run } from '@kmend/base';
import { places, run, runOk } from '@kmend/base/node';
import { findTree, type PreparedTree } from '@kmend/builder';
import { FIXES, FROM, importFixes, KERNEL, KMEND, openWorkshop, SUITE, TO, TRIXIE, TRIXIE_FIXES } from '@kmend/harness';
import { sandboxed } from '@kmend/toolchain';
import { BareCompiler, type FixOfOneFile } from './lib/bare-compiler.ts';
import { hundred } from './lib/hundred.ts';
import { diskUse, median, peakMemory, seconds } from './lib/measure.ts';

const BOOKWORM = { suite: SUITE, kernel: KERNEL, from: FROM, to: TO, fixes: FIXES } as const;
const DEBIAN_13 = { ...TRIXIE, fixes: TRIXIE_FIXES } as const;
const { values: options } = parseArgs({
  options: {
    kernel: { type: 'string', default: '6.1' },
    cold: { type: 'boolean', default: false },
    sandbox: { type: 'boolean', default: false },
  },
});
const SUBJECTS: Readonly<Record<string, typeof BOOKWORM | typeof DEBIAN_13>> = { '6.1': BOOKWORM, '6.12': DEBIAN_13 };
const subject = SUBJECTS[options.kernel] ?? unknownKernel();

const ROUNDS = 5;
const PAIRS = 7;
const STARTS = 40;
const WANTED = { warm: 1.5, cumulativeSeconds: 10, coldSeconds: 60, memoryMib: 1024 } as const;

const { cache } = places();
const scratch = await mkdtemp(join(tmpdir(), 'kmend-bench-'));
const home = join(scratch, 'home');
const failures: string[] = [];

/** The environment of an operator with a home of their own. */
function environment(cacheDirectory: string): Record<string, string> {
  return { ...process.env, KMEND_CACHE: cacheDirectory, KMEND_HOME: home } as Record<string, string>;
}

function kmend(cacheDirectory: string, ...args: string[]): Promise<unknown> {
  return runOk(run, KMEND, args, { env: environment(cacheDirectory), timeoutMs: 1_800_000 });
}

/** A cache in which the kernel is prepared and the compiler's and the builder's results are missing. */
async function warmCache(name: string): Promise<string> {
  const own = join(scratch, name);
  await mkdir(own);
  for (const shared of ['kernels', 'trees', 'packages', 'sources', 'roots', 'node'])
    await symlink(join(cache, shared), join(own, shared));
  return own;
}

function check(what: string, value: number, limit: number): void {
  if (value > limit) failures.push(`${what}: ${value.toFixed(2)}, at most ${limit} wanted`);
}

try {
  await kmend(cache, 'kernel', 'add', `${subject.suite}/${subject.kernel}`);
  await importFixes((...args) => kmend(cache, ...args), subject.fixes, subject);
  if (options.cold) await cold();
  else if (options.sandbox) await sandbox();
  else {
    await warm();
    if (subject === BOOKWORM) await cumulative();
  }
} finally {
  await rm(scratch, { recursive: true, force: true });
}
for (const failure of failures) console.log(`NOT MET  ${failure}`);
if (failures.length > 0) process.exitCode = 1;

async function treeOf(): Promise<PreparedTree> {
  const workshop = openWorkshop(new AbortController().signal, undefined, { cache });
  const tree = await findTree(cache, await workshop.kernels.open(subject.kernel));
  if (tree === undefined) throw new Error(`no tree of ${subject.kernel} is prepared`);
  return tree;
}

async function bareCompiler(fix: FixOfOneFile): Promise<BareCompiler> {
  // Once, so that the tree is prepared and the flags of the file are known.
  await kmend(cache, 'build', '--kernel', subject.kernel, '--fix', fix.id, '--out', join(scratch, 'first'));
  return await BareCompiler.of(await treeOf(), home, fix, scratch);
}

/**
 * A machine that does other work at the same time slows both of a pair; which one is first changes from pair to pair.
 */
async function sandbox(): Promise<void> {
  console.log(`sandbox: medians of ${PAIRS} pairs, of two compiler runs each`);
  const confined = sandboxed(run, { root: '/', system: 'compiler', readOnly: [], writable: [] });
  const [bare, boxed] = [await startOf(run), await startOf(confined)];
  console.log(`start of a tool: ${bare.toFixed(0)} ms outside, ${boxed.toFixed(0)} ms inside (the least of ${STARTS})`);
  console.log('file                      outside, s  inside, s  ratio of a pair: median (least to most)');
  for (const fix of subject.fixes) {
    const bare = await bareCompiler(fix);
    const pairs: { outside: number; inside: number }[] = [];
    for (let pair = 0; pair < PAIRS; pair++) {
      const first = pair % 2 === 0 ? undefined : await seconds(() => bare.confinedInTurn());
      const outside = await seconds(() => bare.inTurn());
      pairs.push({ outside, inside: first ?? (await seconds(() => bare.confinedInTurn())) });
    }
    const ratios = pairs.map(({ outside, inside }) => inside / outside);
    const [outside, inside] = (['outside', 'inside'] as const).map((name) => median(pairs.map((pair) => pair[name])));
    console.log(
      `${fix.path.padEnd(24)} ${outside?.toFixed(2).padStart(11)} ${inside?.toFixed(2).padStart(10)}  ${median(ratios).toFixed(3)} (${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)})`,
    );
  }
}

/** Milliseconds of a tool that does nothing: the least, as what disturbs it only adds. */
async function startOf(by: Run): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < STARTS; round++) times.push(await seconds(() => runOk(by, 'true', [])));
  return Math.min(...times) * 1000;
}

async function warm(): Promise<void> {
  console.log(`warm: medians of ${ROUNDS} rounds, in seconds; all in turn in each round`);
  console.log('file                      two compiler runs      warm build  ratio');
  console.log('                          in turn  side by side              in turn  side by side  peak memory');
  let worst = 0;
  for (const fix of subject.fixes) {
    const bare = await bareCompiler(fix);
    const times: { inTurn: number; sideBySide: number; built: number }[] = [];
    let memory = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const build = ['build', '--kernel', subject.kernel, '--fix', fix.id, '--out', join(scratch, 'out')];
      const own = await warmCache(`cache-${fix.id}-${round}`);
      const again = await warmCache(`cache-${fix.id}-${round}-memory`);
      times.push({
        inTurn: await seconds(() => bare.inTurn()),
        sideBySide: await seconds(() => bare.sideBySide()),
        built: await seconds(() => kmend(own, ...build)),
      });
      if (round === 0) memory = await peakMemory(KMEND, build, environment(again));
    }
    const [inTurn, sideBySide, built] = (['inTurn', 'sideBySide', 'built'] as const).map((name) =>
      median(times.map((time) => time[name])),
    ) as [number, number, number];
    const show = (value: number, width: number): string => value.toFixed(2).padStart(width);
    console.log(
      `${fix.path.padEnd(24)} ${show(inTurn, 8)} ${show(sideBySide, 13)} ${show(built, 15)} ${show(built / inTurn, 8)} ${show(built / sideBySide, 13)} ${memory.toFixed(0).padStart(8)} MiB`,
    );
    worst = Math.max(worst, built / inTurn);
    check(`memory of ${fix.path}`, memory, WANTED.memoryMib);
  }
  console.log(`worst ratio to the two runs ${worst.toFixed(2)} (at most ${WANTED.warm} wanted)\n`);
  check('warm build', worst, WANTED.warm);
}

async function cumulative(): Promise<void> {
  const { ids, last } = await hundred(kmend, cache);
  const build = (wanted: readonly string[], out: string): string[] => [
    'build',
    '--kernel',
    subject.kernel,
    '--accept-review',
    '--out',
    join(scratch, out),
    '--fix',
    ...wanted,
  ];
  const own = await warmCache('cache-cumulative');
  const first = await seconds(() => kmend(own, ...build(ids, 'hundred')));
  const bare = await BareCompiler.of(await treeOf(), home, last, scratch);
  const compiles = await seconds(() => bare.sideBySide());
  const before = (await readdir(join(own, 'units'), { recursive: true })).filter((name) => name.endsWith('.json'));
  let memory = 0;
  const more = await seconds(async () => {
    memory = await peakMemory(KMEND, build([...ids, last.id], 'more'), environment(own));
  });
  const after = (await readdir(join(own, 'units'), { recursive: true })).filter((name) => name.endsWith('.json'));
  const again = await seconds(() => kmend(own, ...build([...ids, last.id], 'more')));
  console.log(`cumulative: ${ids.length} fixes, then one more (${last.path})`);
  console.log(`  all ${ids.length} from nothing cached       ${first.toFixed(1)} s`);
  console.log(
    `  one more                         ${more.toFixed(1)} s, of which its two compiler runs side by side ${compiles.toFixed(1)} s`,
  );
  console.log(`  units built for it               ${after.length - before.length}`);
  console.log(`  the same again                   ${again.toFixed(1)} s`);
  console.log(`  peak memory of kmend             ${memory.toFixed(0)} MiB`);
  check('one more fix, without its compiler runs', more - compiles, WANTED.cumulativeSeconds);
  check('units built for one more fix', after.length - before.length, 1);
  check('memory of a hundred', memory, WANTED.memoryMib);
}

async function cold(): Promise<void> {
  const empty = join(scratch, 'cache');
  const fetched = await seconds(() => kmend(empty, 'kernel', 'add', `${subject.suite}/${subject.kernel}`));
  const built = await seconds(() =>
    kmend(empty, 'build', '--kernel', subject.kernel, '--fix', subject.fixes[0].id, '--out', join(scratch, 'out')),
  );
  const disk = await Promise.all(['packages', 'kernels', 'trees'].map((name) => diskUse(join(empty, name))));
  // The packages stay: once more, with nothing else there.
  await rm(join(empty, 'kernels'), { recursive: true });
  await rm(join(empty, 'trees'), { recursive: true });
  const unpacked = await seconds(() => kmend(empty, 'kernel', 'add', `${subject.suite}/${subject.kernel}`));
  console.log(`kernel add, everything downloaded and unpacked:  ${fetched.toFixed(1)} s`);
  console.log(`kernel add, packages on disk:                    ${unpacked.toFixed(1)} s`);
  console.log(`first build, tree unpacked and prepared:         ${built.toFixed(1)} s`);
  console.log(
    `from packages on disk to the first livepatch:    ${(unpacked + built).toFixed(1)} s (at most ${WANTED.coldSeconds} wanted)`,
  );
  console.log(`disk: packages ${disk[0]} MB, kernel ${disk[1]} MB, tree ${disk[2]} MB`);
  check('cold', unpacked + built, WANTED.coldSeconds);
}

function unknownKernel(): never {
  throw new Error(`--kernel takes ${Object.keys(SUBJECTS).join(' or ')}`);
}
