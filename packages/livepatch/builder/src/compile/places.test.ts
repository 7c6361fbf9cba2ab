import assert from 'node:assert/strict';
import { test } from 'node:test';
import { placesOf } from './compile.ts';

/** As gcc 12 tells of include/net/tcp.h, where `tcp_sk()` has come to keep `const`. */
const SAID = `In file included from ./include/linux/rcupdate.h:27,
                 from net/core/filter.c:21:
./include/net/tcp.h: In function 'tcp_synq_overflow':
./include/asm-generic/rwonce.h:55:37: error: assignment of read-only location
   55 |         *(volatile typeof(x) *)&(x) = (val);    \\
./include/asm-generic/rwonce.h:61:9: note: in expansion of macro '__WRITE_ONCE'
./include/net/tcp.h:544:17: note: in expansion of macro 'WRITE_ONCE'
net/core/filter.c:10:5: warning: unused variable 'x'
net/core/other.h:3:1: note: in expansion of macro 'X'
./include/linux/compiler.h:9:1: note: declared here
`;

test('locates errors where they are reported, or where the macro is used', () => {
  assert.deepEqual(placesOf(SAID), ['include/net/tcp.h']);
  assert.deepEqual(placesOf('a/../b.c:1:10: fatal error: flask.h: No such file or directory\n'), ['b.c']);
  assert.deepEqual(placesOf(''), []);
});
