import assert from 'node:assert/strict';
import { test } from 'node:test';
import { shadowReasons } from './shadow.ts';

test('asks for a review of shadow variables that are never all freed', () => {
  const codes = (...names: string[]): string[] => shadowReasons('a/unit.c', names).map(({ code }) => code);
  assert.deepEqual(codes('klp_shadow_alloc', 'klp_shadow_free'), ['shadow-kept']);
  assert.deepEqual(codes('klp_shadow_get_or_alloc'), ['shadow-kept']);
  assert.deepEqual(codes('klp_shadow_get_or_alloc', 'klp_shadow_free_all'), []);
  assert.deepEqual(codes('klp_shadow_get', 'kfree'), []);
});
