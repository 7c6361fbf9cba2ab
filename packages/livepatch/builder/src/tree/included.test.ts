import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IncludeGraph, targetOf } from './included.ts';

const PRESENT = new Set([
  'fs/btrfs/ctree.h',
  'fs/btrfs/tests/x.c',
  'fs/binfmt_elf.c',
  'fs/nfs/internal.h',
  'mm/internal.h',
]);
const target = (includer: string, directive: string): string | undefined => targetOf(includer, directive, PRESENT);

test('resolves a quoted name to the file beside the includer, if there is one', () => {
  assert.equal(target('fs/compat_binfmt_elf.c', '#include "binfmt_elf.c"'), '/fs/binfmt_elf.c');
  assert.equal(target('fs/btrfs/tests/x.c', '# include "../ctree.h" // why'), '/fs/btrfs/ctree.h');
  assert.equal(target('drivers/a.c', '#include "../b.h"'), 'b.h');
  assert.equal(target('fs/btrfs/a.c', '#include <ctree.h>'), 'ctree.h');
  assert.equal(target('include/asm-generic/a.h', '#include_next <asm/a.h>'), 'asm/a.h');
  assert.equal(target('a.c', '#include/* why */"ctree.h"'), 'ctree.h');
});

test('takes a macro that names a file as an include where it is defined', () => {
  assert.equal(target('include/trace/define_trace.h', '#include TRACE_INCLUDE(TRACE_INCLUDE_FILE)'), undefined);
  assert.equal(target('fs/xfs/xfs_trace.h', '#define TRACE_INCLUDE_FILE scrub/trace'), 'scrub/trace.h');
  assert.equal(
    target('include/linux/drbd_genl_api.h', '#define GENL_MAGIC_INCLUDE_FILE <linux/drbd_genl.h>'),
    'linux/drbd_genl.h',
  );
});

test('takes a header of tracepoints that names itself for itself alone', () => {
  const own = (includer: string, name: string) => target(includer, `#define TRACE_INCLUDE_FILE ${name}`);
  assert.equal(own('fs/nfsd/trace.h', 'trace'), '/fs/nfsd/trace.h');
  assert.equal(own('fs/xfs/scrub/trace.h', 'scrub/trace'), '/fs/xfs/scrub/trace.h');
  assert.equal(own('include/trace/events/sched.h', 'sched'), '/include/trace/events/sched.h');
  assert.equal(own('drivers/a/b_trace.h', '../../drivers/a/b_trace'), '/drivers/a/b_trace.h');
});

test('knows that a name on the search path does not lead to another architecture', () => {
  const graph = new IncludeGraph([
    ['include/linux/io.h', ['asm/io.h']],
    ['arch/arm64/kernel/a.c', ['asm/io.h']],
    ['drivers/b.c', ['/arch/arm64/include/asm/io.h']],
  ]);
  assert.deepEqual([...graph.containersOf('arch/arm64/include/asm/io.h')].sort(), [
    'arch/arm64/kernel/a.c',
    'drivers/b.c',
  ]);
  assert.deepEqual([...graph.containersOf('arch/x86/include/asm/io.h')].sort(), [
    'arch/arm64/kernel/a.c',
    'include/linux/io.h',
  ]);
});

test('finds what includes a text through every level, and skips other files of that name', () => {
  const graph = new IncludeGraph([
    ['fs/compat_binfmt_elf.c', ['/fs/binfmt_elf.c']],
    ['include/net/sock.h', ['net/dst.h']],
    ['net/a.c', ['net/sock.h']],
    ['net/sub/a.c', ['net/sock.h', 'other.h']],
    ['fs/nfs/a.c', ['/fs/nfs/internal.h']],
    ['mm/a.c', ['/mm/internal.h']],
    ['include/loop.h', ['loop.h']],
  ]);
  const containers = (path: string): string[] => [...graph.containersOf(path)].sort();
  assert.deepEqual(containers('fs/binfmt_elf.c'), ['fs/compat_binfmt_elf.c']);
  assert.deepEqual(containers('include/net/dst.h'), ['include/net/sock.h', 'net/a.c', 'net/sub/a.c']);
  assert.deepEqual(containers('mm/internal.h'), ['mm/a.c']);
  assert.deepEqual(containers('include/loop.h'), ['include/loop.h']);
  assert.deepEqual(containers('include/net/nothing.h'), []);
});
