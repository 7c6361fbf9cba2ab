import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import { run, systemClock } from '@kmend/base/node';
import { SavedMachines } from './store.ts';

const home = await mkdtemp(join(tmpdir(), 'kmend-saved-test-'));
const steps: string[] = [];
const progress = { step: (text: string) => void steps.push(text), advance() {} };
const edges = { run, clock: systemClock, progress, signal: new AbortController().signal };
const cache = join(home, 'saved');
const disk = join(home, 'host.qcow2');
const saved = (key: string): string => join(cache, key, 'disk.qcow2');
let made = 0;

after(() => rm(home, { recursive: true }));
beforeEach(async () => {
  await rm(cache, { recursive: true, force: true });
  await rm(disk, { force: true });
  made = 0;
  steps.length = 0;
});

/** Takes the machine `key`, made with `text` where it has to be made; what is on the host's disk then. */
async function take(key: string, text = 'machine', place = disk, mostBytes?: number): Promise<string> {
  await new SavedMachines(edges, cache, mostBytes).take(key, place, async () => {
    made++;
    await writeFile(place, text);
  });
  return await readFile(place, 'utf8');
}

test('makes a machine once and copies it from then on', async () => {
  assert.equal(await take('a'), 'machine');
  await writeFile(disk, 'what the first host wrote');
  assert.equal(await take('a', 'another'), 'machine');
  assert.equal(made, 1);
  assert.equal(await take('b', 'another'), 'another');
});

test('makes a damaged or half-written machine again and says so', async () => {
  const damages: readonly (() => Promise<unknown>)[] = [
    () => writeFile(saved('a'), 'mashine'),
    () => writeFile(saved('a'), 'mach'),
    () => rm(saved('a')),
    () => writeFile(join(cache, 'a', 'sha256'), ''),
  ];
  for (const [index, damage] of damages.entries()) {
    await take('a');
    await damage();
    assert.equal(await take('a'), 'machine');
    assert.equal(made, index + 2);
    assert.match(steps.at(-1) ?? '', /damaged/);
    assert.equal(steps.length, index + 1);
  }
});

test('does not use what an ended process left half-written', async () => {
  await mkdir(join(cache, 'a.tmp'), { recursive: true });
  await writeFile(join(cache, 'a.tmp', 'disk.qcow2'), 'half');
  assert.equal(await take('a'), 'machine');
  assert.equal(made, 1);
  assert.deepEqual((await readdir(cache)).sort(), ['a', 'a.lock']);
});

test('keeps nothing of a machine that could not be made', async () => {
  const fails = new SavedMachines(edges, cache).take('a', disk, async () => {
    await writeFile(disk, 'half');
    throw new Error('no boot');
  });
  await assert.rejects(fails, /no boot/);
  assert.equal(await take('a'), 'machine');
  assert.equal(made, 1);
});

test('makes one machine for all that want it at the same time', async () => {
  const places = [1, 2, 3].map((number) => join(home, `host-${number}.qcow2`));
  const texts = await Promise.all(places.map((place) => take('a', 'machine', place)));
  assert.deepEqual([texts, made], [['machine', 'machine', 'machine'], 1]);
});

test('makes a discarded machine again', async () => {
  await take('a');
  await new SavedMachines(edges, cache).discard('a');
  await take('a');
  assert.equal(made, 2);
});

test('removes the least recently used beyond the limit, and never the newest', async () => {
  const page = 'x'.repeat(4096);
  const limit = 2.5 * 4096;
  const used = async (key: string, seconds: number): Promise<void> => {
    const time = new Date(Date.now() - seconds * 1000);
    await utimes(join(cache, key), time, time);
  };
  await take('a', page, disk, limit);
  await take('b', page, disk, limit);
  await used('a', 200);
  await used('b', 100);
  await take('a', page, disk, limit); // used: now b is the oldest
  await take('c', page, disk, limit);
  const kept = async (): Promise<string[]> => (await readdir(cache)).filter((name) => !name.endsWith('.lock')).sort();
  assert.deepEqual(await kept(), ['a', 'c']);
  await take('d', page.repeat(4), disk, limit);
  assert.deepEqual(await kept(), ['d']);
  await used('d', 15 * 86_400);
  await take('e', page, disk, 100 * 4096);
  assert.deepEqual(await kept(), ['e'], 'unused for two weeks');
});
