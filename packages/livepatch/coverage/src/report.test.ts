import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Outcome } from '@kmend/pipeline';
import { reportText, summarise } from './report.ts';

const range = { suite: 'bookworm', from: '6.1.170-3', to: '6.1.176-1' };

function outcome(path: string, equal: number, compared: number, more: Partial<Outcome> = {}): Outcome {
  const difference = { name: 'f', source: path, version: range.to, files: [], message: 'f differs' };
  const different = Array.from({ length: compared - equal }, () => ({ ...difference, cause: 'own-file' as const }));
  const fixed = { compared, equal, kernels: [], different, notCompared: [] };
  return { paths: [path], fix: '', verdict: 'patchable', reasons: [], seconds: 1, fixed, ...more };
}

test('counts the functions that equal the fixed kernel, in all and by file, including companions', () => {
  const outcomes = [
    outcome('net/a.c', 3, 4),
    outcome('net/b.c', 0, 2, { together: outcome('net/b.c', 2, 2) }),
    { paths: ['net/c.c'], fix: '', error: { code: 'unit-not-built', message: 'off' }, seconds: 1 },
  ];
  const kinds = [
    { kind: 'owner changed', found: 3, of: 3 },
    { kind: 'addend changed', found: 1, of: 2 },
  ];
  const mutants = {
    livepatches: 2,
    withFindings: 0,
    auditMs: 9,
    seed: 2,
    kinds,
    missed: ['addend changed: net/a.c: f'],
  };
  const text = reportText({ kernel: '6.1.0-47-amd64', range, outcomes, summary: summarise(outcomes), mutants });
  assert.match(text, /fixed kernel of 6\.1\.176-1: \*\*5 of 6\*\* replaced functions; the others: own-file 1\.$/m);
  assert.match(text, /finds 4 of 5 mutants\*\* of 2 livepatches/);
  assert.match(text, /^\| addend changed \| 1 \| 2 \|$/m);
  assert.match(text, /^\| net\/a\.c \| patchable \| 3 of 4 \|/m);
  assert.match(text, /^\| net\/b\.c \| patchable \| 2 of 2 \|/m);
  assert.match(text, /^\| net\/c\.c \| not-built \| {2}\|/m);
});
