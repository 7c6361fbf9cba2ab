import assert from 'node:assert/strict';
import { test } from 'node:test';
import { imageApart, isProgram } from './apart.ts';

test('recognises units of other images by their folder or code model', () => {
  const kernel = { compilerArguments: ['-mcmodel=kernel'] };
  const other = { compilerArguments: ['-mcmodel=kernel', '-fPIC', '-mcmodel=small'] };
  for (const source of [
    'arch/x86/boot/main.c',
    'arch/x86/boot/compressed/misc.c',
    'arch/x86/realmode/rm/video-mode.c',
    'arch/x86/purgatory/purgatory.c',
    'arch/x86/entry/vdso/vdso32/vclock_gettime.c',
    'drivers/firmware/efi/libstub/efi-stub.c',
    'scripts/kallsyms.c',
  ])
    assert.ok(imageApart(source, kernel) !== undefined, source);
  assert.match(imageApart('arch/x86/entry/vdso/vclock_gettime.c', other) ?? '', /vDSO/);
  assert.equal(imageApart('some/where/else.c', other), 'an image of its own');
  // Beside them, and part of the kernel.
  for (const source of ['arch/x86/entry/vdso/vma.c', 'arch/x86/realmode/init.c', 'drivers/firmware/efi/efi.c'])
    assert.equal(imageApart(source, kernel), undefined, source);
});

test('takes a program of the build that includes headers of the C library for no unit of an image', () => {
  assert.equal(isProgram('/* vdso2c */\n#include <inttypes.h>\n#include <unistd.h>\n#include <linux/elf.h>\n'), true);
  assert.equal(isProgram('# include <stdio.h>\n'), true);
  assert.equal(isProgram('#include <linux/stdarg.h>\n#include "stdio.h"\n// #include <stdio.h>\n'), false);
});
