import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Contained } from './contained.ts';
import { IncludeGraph } from './included.ts';
import { SearchPaths } from './search-path.ts';

const FILES: readonly (readonly [string, readonly string[]])[] = [
  ['net/wifi/hw.h', []],
  ['net/wifi/core.h', ['/net/wifi/hw.h']],
  ['net/wifi/a.c', ['/net/wifi/core.h']],
  ['net/wifi/sub/b.c', ['core.h']],
  ['sound/c.c', ['core.h']],
  ['sound/core/core.h', ['linux/all.h']],
  ['include/linux/all.h', ['linux/types.h']],
  ['include/linux/types.h', []],
  ['net/d.c', ['generated/core.h']],
  ['net/e.c', []],
  ['net/wifi/trace.h', ['trace.h', '/net/wifi/core.h']],
  ['sound/trace.h', ['trace.h']],
  ['sound/f.c', ['/sound/trace.h']],
];
const graph = new IncludeGraph(FILES);
const present = new Set(FILES.map(([path]) => path));

function canHold(text: string, unit: string, ...args: string[]): boolean {
  const wanted = { texts: new Set([text]), containers: graph.containersOf(text) };
  return new Contained(graph, new SearchPaths('/tree', present), wanted).canHold(unit, ['-O2', '-I./include', ...args]);
}

test('finds a header of a common name on the unit’s own search path', () => {
  assert.ok(graph.containersOf('net/wifi/hw.h').has('sound/c.c'));
  assert.equal(canHold('net/wifi/hw.h', 'net/wifi/a.c'), true);
  assert.equal(canHold('net/wifi/hw.h', 'net/wifi/sub/b.c', '-I/tree/net/wifi/sub/..'), true);
  assert.equal(canHold('net/wifi/hw.h', 'net/wifi/sub/b.c', '-isystem', 'net/wifi'), true);
  assert.equal(canHold('net/wifi/hw.h', 'sound/c.c', '-Isound/core'), false);
  assert.equal(canHold('include/linux/types.h', 'sound/c.c', '-Isound/core'), true);
});

test('keeps all of several places on the search path', () => {
  assert.equal(canHold('net/wifi/hw.h', 'sound/c.c', '-Isound/core', '-I', './net/wifi'), true);
});

test('takes a name that leads to no file of the tree for any', () => {
  assert.equal(canHold('net/wifi/hw.h', 'sound/c.c'), true);
  assert.equal(canHold('net/wifi/hw.h', 'net/d.c'), false);
});

test('takes a header of tracepoints, which names itself, for no other of that name', () => {
  assert.ok(graph.containersOf('net/wifi/hw.h').has('sound/f.c'));
  assert.equal(canHold('net/wifi/hw.h', 'sound/f.c'), false);
});

test('reads the compiler’s initial includes and definitions', () => {
  assert.equal(canHold('include/linux/types.h', 'net/e.c'), false);
  assert.equal(canHold('include/linux/types.h', 'net/e.c', '-include', './include/linux/types.h'), true);
  assert.equal(canHold('include/linux/types.h', 'net/e.c', '-include', './include/linux/all.h'), true);
});

test('counts a unit that is a changed text itself', () => {
  assert.equal(canHold('net/e.c', 'net/e.c'), true);
});
