import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judgeMemory, leaks, roundsInAll } from './leak.ts';

const KIB = 1024;

/** KiB in use after the rounds of a sound livepatch, as measured in a guest on 6.1.0-47. */
const SOUND = [
  37_456, 37_412, 37_400, 37_444, 37_428, 37_472, 37_464, 37_396, 37_408, 37_408, 37_504, 37_488, 37_388, 37_384,
  37_376, 37_500, 37_448, 37_472, 37_404, 37_416, 37_528,
].map((value) => value * KIB);

const leaking = (rounds: number, perRound: number): number[] =>
  SOUND.slice(0, rounds + 1).map((value, index) => value + index * perRound);

test('takes measured noise for no leak, with many rounds or few', () => {
  for (const rounds of [1, 2, 3, 4, 10, 20]) {
    const judged = judgeMemory(SOUND.slice(0, rounds + 1));
    assert.ok(!leaks(judged), `${rounds} rounds: ${JSON.stringify(judged)}`);
  }
});

test('finds a leak of 64 kB a round in 20 rounds, and one of 16 kB', () => {
  assert.ok(leaks(judgeMemory(leaking(20, 64_000))));
  assert.ok(leaks(judgeMemory(leaking(20, 16 * KIB))));
});

test('finds only large leaks in few rounds, and states the bound', () => {
  const { bound } = judgeMemory(leaking(4, 0));
  assert.ok(bound > 64 * KIB && bound < 128 * KIB, String(bound));
  assert.ok(leaks(judgeMemory(leaking(4, 256 * KIB))));
  assert.ok(judgeMemory(leaking(20, 0)).bound < 12 * KIB);
});

test('takes one outlier for no leak, and finds a leak beside it', () => {
  const stray = (samples: number[], at: number) => samples.with(at, (samples[at] ?? 0) + 4096 * KIB);
  for (const at of [0, 10, 20]) {
    assert.ok(!leaks(judgeMemory(stray(leaking(20, 0), at))), `at ${at}`);
    assert.ok(leaks(judgeMemory(stray(leaking(20, 64_000), at))), `at ${at}`);
  }
});

test('widens the bound instead of raising an alarm when all samples stray', () => {
  // Single readings, taken by several processes, of a guest on a machine with six times as much to do as it can.
  const starved = [
    [40_370_176, 39_620_608, 40_136_704, 40_214_528],
    [
      37_344, 37_072, 37_248, 37_108, 37_156, 37_508, 36_920, 37_356, 36_712, 36_880, 37_204, 38_176, 37_024, 37_436,
    ].map((value) => value * KIB),
  ];
  for (const samples of starved) assert.ok(!leaks(judgeMemory(samples)), JSON.stringify(judgeMemory(samples)));
  const wild = leaking(20, 0).map((value, index) => value + ((index * 7) % 5) * 200 * KIB);
  const judged = judgeMemory(wild);
  assert.ok(judged.bound > 1.5 * judgeMemory(leaking(20, 0)).bound && !leaks(judged), JSON.stringify(judged));
});

test('does not report returned memory as a leak', () => {
  assert.ok(!leaks(judgeMemory(leaking(20, -64_000))));
});

test('makes more rounds where few look like a leak, and tells what filled up once from a leak', () => {
  // Seen on a busy machine with a sound livepatch.
  const few = [28753920, 28815360, 29474816];
  assert.equal(roundsInAll(2, few), 10);
  assert.equal(roundsInAll(2, [28753920, 28815360, 28774816]), 2);
  const level = [...few, ...Array.from({ length: 8 }, (_, index) => 29474816 + (index % 2) * 20000)];
  assert.equal(leaks(judgeMemory(level)), false);
  const growing = [...few, ...Array.from({ length: 8 }, (_, index) => 29474816 + (index + 1) * 360448)];
  assert.equal(leaks(judgeMemory(growing)), true);
});
