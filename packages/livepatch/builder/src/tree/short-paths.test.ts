import assert from 'node:assert/strict';
import { test } from 'node:test';
import { objectOf } from '../testing/gcc.ts';
import { hasShortPaths, SHORT_PATHS } from './short-paths.ts';

const image = (...texts: readonly string[]): Buffer => Buffer.from(`\x7fELF\0${texts.join('\0')}\0`, 'latin1');

const OF_7 = `
# change __FILE__ to the relative path to the source directory
ifdef building_out_of_srctree
KBUILD_CPPFLAGS += -fmacro-prefix-map=$(srcroot)/=
endif
`;
const OF_6 = 'KBUILD_CPPFLAGS += $(call cc-option,-fmacro-prefix-map=$(srctree)/=)\n';

test('tells a kernel that was built beside its source from one that was built in it', () => {
  assert.equal(hasShortPaths(OF_7, image('init/main.c', 'include/linux/fs.h', '/build/x/init/main.c')), true);
  assert.equal(hasShortPaths(OF_7, image('init/main.c', './include/linux/fs.h')), false);
  assert.equal(hasShortPaths(OF_6, image('init/main.c', 'include/linux/fs.h')), false);
});

test('gives headers their paths without the dot', async () => {
  const text = '# 1 "net/a.c"\nconst char f[] = __FILE__;\n# 1 "./include/b.h"\nconst char g[] = __FILE__;\n';
  const { file } = await objectOf(text, { flags: [SHORT_PATHS] });
  const texts = ['f', 'g'].map((name) => file.sections.find((section) => section.name === `.rodata.${name}`)?.data);
  assert.deepEqual(
    texts.map((data) => Buffer.from(data ?? []).toString('latin1')),
    ['net/a.c\0', 'include/b.h\0'],
  );
});
