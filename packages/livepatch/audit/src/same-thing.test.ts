import assert from 'node:assert/strict';
import { test } from 'node:test';
import { thingName } from './same-thing.ts';

test('names a thing without the numbers of compilers and of the preprocessor’s counter', () => {
  assert.equal(thingName('__UNIQUE_ID_ddebug568.12'), '__UNIQUE_ID_ddebug');
  assert.equal(thingName('__UNIQUE_ID_ddebug575'), thingName('__UNIQUE_ID_ddebug568.12'));
  assert.equal(thingName('__UNIQUE_ID_ddebug_575.3'), '__UNIQUE_ID_ddebug');
  assert.equal(thingName('__warned.3'), '__warned');
  assert.equal(thingName('sha256_k2'), 'sha256_k2');
});
