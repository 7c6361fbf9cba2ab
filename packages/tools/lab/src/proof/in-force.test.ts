import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PatchedObject } from '@kmend/protocol';
import { ProofFailure } from './failure.ts';
import { judgeInForce, judgeNothingLeft } from './in-force.ts';

const NAME = 'kmend_0123456789ab';
const object = (name: string, ...functions: [string, number][]): PatchedObject => ({
  name,
  functions: functions.map(([entry, sympos]) => ({ name: entry, sympos, source: 'a.c' })),
});
const OBJECTS = [object('vmlinux', ['open', 0], ['twin', 2], ['twin', 3]), object('af_alg', ['send', 0])];
const KLP = '(1)   I  \ttramp: 0xffffffffc0349000 (klp_ftrace_handler+0x0/0x110)';
const LINES = [
  'module af_alg',
  `module ${NAME}`,
  `ftrace open ${KLP}`,
  `ftrace twin ${KLP}`,
  `ftrace twin ${KLP}`,
  `ftrace send [af_alg] ${KLP}`,
  `livepatch ${NAME}`,
  'state enabled=1 transition=0',
  'object vmlinux 1',
  'object af_alg 1',
  'function vmlinux/open,1',
  'function vmlinux/twin,2',
  'function vmlinux/twin,3',
  'function af_alg/send,1',
];
const without = (...gone: RegExp[]): string => LINES.filter((line) => !gone.some((it) => it.test(line))).join('\n');

test('finds every function of every object in memory in force', () => {
  const all = judgeInForce(LINES.join('\n'), NAME, OBJECTS);
  assert.deepEqual(all, { patched: ['vmlinux', 'af_alg'], absent: [], functions: 4 });
  const text = without(/^module af_alg/, /af_alg 1/, /af_alg\//, /\[af_alg\]/);
  const without_module = judgeInForce(`${text}\nobject af_alg 0`, NAME, OBJECTS);
  assert.deepEqual(without_module, { patched: ['vmlinux'], absent: ['af_alg'], functions: 3 });
});

test('names what is not in force', () => {
  const changed = (from: string, to: string): string => LINES.join('\n').replace(from, to);
  for (const [text, words] of [
    [without(/^state/), /not in force: not there/],
    [changed('transition=0', 'transition=1'), /not in force: enabled=1 transition=1/],
    [changed('object af_alg 1', 'object af_alg 0'), /af_alg is in memory and not patched/],
    [without(/^module af_alg/), /af_alg is patched without being in memory/],
    [changed(`ftrace open ${KLP}`, 'ftrace open (1)   \ttramp: 0x1 (function_trace_call+0x0/0x1)'), /vmlinux: open/],
    [changed(`ftrace twin ${KLP}\n`, ''), /vmlinux: twin/],
    [changed('function vmlinux/twin,3', ''), /vmlinux: twin/],
    [`${LINES.join('\n')}\nlivepatch other`, /beside kmend_0123456789ab there is other/],
  ] as const) {
    assert.throws(
      () => judgeInForce(text, NAME, OBJECTS),
      (error) => error instanceof ProofFailure && words.test([error.message, ...error.details].join(' ')),
      String(words),
    );
  }
});

test('finds nothing left after a revert, and ignores other tracers', () => {
  judgeNothingLeft('module af_alg\nftrace open (1)   \ttramp: 0x1 (function_trace_call+0x0/0x1)');
  for (const rest of [`livepatch ${NAME}`, `module ${NAME}`, `ftrace open ${KLP}`]) {
    assert.throws(() => judgeNothingLeft(`module af_alg\n${rest}`), ProofFailure, rest);
  }
});
