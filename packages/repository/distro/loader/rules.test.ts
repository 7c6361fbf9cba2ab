import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  blamedForCrash,
  claimText,
  coldPart,
  directCall,
  headingPrefix,
  headings,
  hookedFunction,
  hostRefusalOf,
  hostRefusals,
  isOverdue,
  isRivalModule,
  isSoaked,
  kprobeAsleep,
  kprobeOnEntry,
  logPatterns,
  manifestRule,
  mostCuts,
  neededMemory,
  patternOf,
  refusingFlags,
  reportEnds,
  retryAfter,
  rivalModule,
  sharedCall,
  taintMask,
  timing,
  toEre,
  type WatchedLoad,
} from '@kmend/rules';
import fc from 'fast-check';
import { allShells, TestHost } from './testing/host.ts';
import { runParts } from './testing/shell.ts';

/**
 * The same inputs to a rule of @kmend/rules and to the loader's function. Many inputs a shell: each start costs more
 * than all of them.
 */
const sample = <T>(arbitrary: fc.Arbitrary<T>, numRuns: number): T[] => fc.sample(arbitrary, { numRuns, seed: 17 });

const patterns: Readonly<Record<string, string>> = {
  ...Object.fromEntries(headings.map(({ pattern }, index) => [`heading ${index}`, pattern])),
  ...logPatterns,
  ...reportEnds,
  headingPrefix,
  hookedFunction,
  directCall,
  sharedCall,
  kprobeAsleep,
  kprobeOnEntry,
  coldPart,
  rivalModule,
  function: manifestRule.function,
  object: manifestRule.object,
};

/** Printable ASCII and tabs: what dmesg and the listings print. */
const letter = fc.constantFrom(...Array.from({ length: 95 }, (_, index) => String.fromCharCode(32 + index)), '\t');

/** Texts that a pattern fits, most of them changed in one place so that it just does not, or still does. */
function nearly(source: string): fc.Arbitrary<string> {
  const fitting = fc.stringMatching(new RegExp(source.replaceAll('.+', '[ -~]+').replaceAll('.*', '[ -~]*')));
  return fc
    .tuple(fitting, fc.constantFrom('as it is', 'without', 'another', 'one more'), fc.nat(), letter)
    .map(([text, change, where, char]) => {
      const line = text.replaceAll(/[^\t -~]/g, '~').slice(0, 1000);
      const at = where % (line.length + 1);
      if (change === 'without') return line.slice(0, at) + line.slice(at + 1);
      if (change === 'another') return line.slice(0, at) + char + line.slice(at + 1);
      return change === 'one more' ? line.slice(0, at) + char + line.slice(at) : line;
    });
}

for (const [name, shell] of Object.entries(allShells)) {
  test(`${name}: reads each pattern in awk as JavaScript does`, () => {
    for (const [what, source] of Object.entries(patterns)) {
      const texts = sample(nearly(source), 60);
      const wanted = texts.map((text) => (patternOf(source).test(text) ? '1' : '0'));
      const script = `awk '{ print match($0, /${toEre(source)}/) ? 1 : 0 }'`;
      const found = runParts(shell, [], script, `${texts.join('\n')}\n`);
      const differs = texts.filter((_, index) => found[index] !== wanted[index]);
      assert.deepEqual(differs, [], what);
      assert.ok(wanted.includes('1'), `no text fits ${what}`);
    }
  });

  test(`${name}: refuses a load for taint as the rule does`, () => {
    const masks = sample(
      fc.oneof(
        fc.bigInt(0n, (1n << 20n) - 1n).map(String),
        fc.bigInt(0n, 10n ** 20n).map(String),
        fc.nat(18).map((bit) => String(1n << BigInt(bit))),
        fc.constantFrom('', '0', '00', '0128', '08', '-1', '1 2', '0x80', 'none', '9'.repeat(18), '1'.repeat(19)),
      ),
      300,
    );
    const found = runParts(
      shell,
      ['rules', 'kernel'],
      'while IFS= read -r mask; do if why=$(tainted "$mask"); then echo "$why" | cut -d " " -f 1; else echo sound; fi; done',
      `${masks.join('\n')}\n`,
    );
    const wanted = masks.map((text) => {
      const mask = taintMask(text);
      if (mask === undefined) return 'kernel-unknown';
      return refusingFlags(mask).length > 0 ? 'kernel-tainted' : 'sound';
    });
    assert.deepEqual(found, wanted);
    assert.deepEqual([...new Set(wanted)].sort(), ['kernel-tainted', 'kernel-unknown', 'sound']);
  });

  test(`${name}: requires the memory for a load that the rule does`, () => {
    const needs = sample(fc.record({ moduleSize: fc.nat(manifestRule.moduleBytes), functions: fc.nat(5000) }), 200);
    const lines = needs.map(({ moduleSize, functions }) => `${moduleSize} ${functions}\n`).join('');
    const script = 'while read -r size functions; do memory_needed "$size" "$functions"; done';
    const found = runParts(shell, ['rules', 'sync'], script, lines);
    assert.deepEqual(
      found,
      needs.map((need) => String(Math.ceil(neededMemory(need) / 1024))),
    );
  });

  test(`${name}: reverses a transition, and retries it, when the rule does`, () => {
    const tries = Array.from({ length: 40 }, (_, index) => index + 1);
    const pauses = runParts(shell, ['rules', 'deferred'], `for n in ${tries.join(' ')}; do pause_after "$n"; done`);
    assert.deepEqual(pauses, tries.map(retryAfter).map(String));
    const near = (limit: number): fc.Arbitrary<number> =>
      fc.integer({ min: -300, max: 300 }).map((it) => limit * 100 + it);
    const times = sample(
      fc.oneof(
        fc.tuple(fc.nat(10_000_000), fc.nat(100_000)),
        fc.constantFrom(0, 1, timing.transitionLimit).chain((limit) => fc.tuple(near(limit), fc.constant(limit))),
      ),
      200,
    );
    const lines = times.map((it) => `${it.join(' ')}\n`).join('');
    const script =
      'while read -r elapsed limit; do if is_late "$elapsed" "$limit"; then echo late; else echo in time; fi; done';
    assert.deepEqual(
      runParts(shell, ['rules', 'deferred'], script, lines),
      times.map(([elapsed, limit]) => (isOverdue(elapsed, limit * 100) ? 'late' : 'in time')),
    );
  });

  test(`${name}: ends the soak of a livepatch when the rule does`, () => {
    const times = sample(
      fc.oneof(
        fc.tuple(fc.nat(10_000_000), fc.nat(100_000)),
        fc.nat(1000).chain((soak) =>
          fc.tuple(
            fc.integer({ min: -2, max: 2 }).map((it) => soak * 100 + it),
            fc.constant(soak),
          ),
        ),
      ),
      200,
    );
    const script =
      'while read -r elapsed soak_seconds; do if is_soaked "$elapsed"; then echo yes; else echo no; fi; done';
    assert.deepEqual(
      runParts(shell, ['rules', 'guard'], script, times.map((it) => `${it.join(' ')}\n`).join('')),
      times.map(([elapsed, soak]) => (isSoaked(elapsed, soak * 100) ? 'yes' : 'no')),
    );
  });

  test(`${name}: reads what insmod says of the host as the rule does`, () => {
    const words = fc.constantFrom(...hostRefusals.map(([text]) => text), 'Invalid module format', 'Exec format error');
    const said = sample(
      fc
        .tuple(words, fc.constantFrom('insmod: ERROR: x.ko: ', 'x', ': ', ''), fc.constantFrom('', '.', ' '))
        .map(([text, before, after]) => before + text + after),
      200,
    );
    const found = runParts(
      shell,
      ['rules'],
      'while IFS= read -r said; do refusal_of "$said"; done',
      `${said.join('\n')}\n`,
    );
    const names: Record<string, string> = { 'not-permitted': 'module-refused', 'key-untrusted': 'module-refused' };
    const wanted = said.map(hostRefusalOf).map((it) => (it === undefined ? 'load-refused' : (names[it] ?? it)));
    assert.deepEqual(found, wanted);
  });

  test(`${name}: blames a crash on the loads that the rule names`, () => {
    const load = fc.record({
      phase: fc.constantFrom<WatchedLoad['phase'] | 'good'>(
        'loading',
        'transition',
        'soak',
        'soak',
        'reverting',
        'good',
      ),
      wasGood: fc.boolean(),
      isTrusted: fc.boolean(),
      boot: fc.constantFrom('crashed', 'crashed', 'crashed', 'this', 'last'),
    });
    // A third of them as a boot leaves them: everything was trusted before.
    const boots = sample(
      fc.tuple(fc.array(load, { maxLength: 6 }), fc.nat(mostCuts + 1), fc.nat(2)).map(([loads, cuts, kind]) => ({
        cuts,
        loads:
          kind > 0 ? loads : loads.map((it) => ({ ...it, phase: 'soak' as const, wasGood: true, isTrusted: true })),
      })),
      150,
    );
    const script = boots
      .map(({ loads, cuts }) => {
        const lines = loads.flatMap(({ phase, wasGood, isTrusted, boot }, index) => [
          `livepatch m${index} ${boot} ${phase} 100 ${wasGood ? 'good' : 'new'} -`,
          ...(isTrusted ? [`trusted b m${index}`] : []),
        ]);
        return `state='cuts ${cuts}\n${lines.join('\n')}'\necho $(blamed last)`;
      })
      .join('\n');
    const found = runParts(
      shell,
      ['say', 'rules', 'state', 'guard'],
      `build_id=b boot_id=this state_dir= state_file=\n${script}`,
    );
    const wanted = boots.map(({ loads, cuts }) => {
      const watched = loads.flatMap(({ phase, boot, ...it }, index): WatchedLoad[] =>
        phase === 'good' || boot !== 'crashed' ? [] : [{ ...it, phase, module: `m${index}` }],
      );
      const blamed = blamedForCrash(watched, cuts);
      return blamed === 'counted' ? '-' : blamed.join(' ');
    });
    assert.deepEqual(found, wanted);
    assert.ok(wanted.filter((it) => it === '-').length > 5);
  });

  test(`${name}: knows modules of other live patch systems as the rule does`, () => {
    const names = sample(nearly(rivalModule), 200).map((it) => it.replaceAll(/[\s/]/g, '_'));
    const script = `awk "$rival_rules"'{ print is_rival($0) ? "rival" : "other" }'`;
    assert.deepEqual(
      runParts(shell, ['rules'], script, `${names.join('\n')}\n`),
      names.map((it) => (isRivalModule(it) ? 'rival' : 'other')),
    );
  });

  test(`${name}: reads a claim of the agent as it was written, and no other text as one`, (t) => {
    const host = new TestHost(t, shell);
    const file = host.path('/claim');
    const claims = sample(
      fc.record({
        module: fc.stringMatching(/^kmend_[0-9a-f]{12}$/),
        state: fc.constantFrom('loading' as const, 'loaded' as const),
      }),
      30,
    );
    const read = (text: string): string => {
      host.write('/claim', text);
      return runParts(shell, ['rules', 'sync'], `claim_read ${file} || echo none`).join('|');
    };
    for (const claim of claims.slice(0, 8)) {
      const text = claimText(claim);
      assert.equal(read(text), `${claim.module} ${claim.state}`);
      assert.equal(read(text.slice(0, -2)), 'none');
    }
    for (const [at, claim] of claims.slice(8).entries()) {
      const text = claimText(claim);
      const place = (at * 37) % text.length;
      assert.equal(read(`${text.slice(0, place)}Z${text.slice(place + 1)}`), 'none');
    }
  });
}
