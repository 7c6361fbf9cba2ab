import { readFileSync } from 'node:fs';
import { AUTHOR_INCLUDE } from '../author/header.ts';

/**
 * The authors' header as text, with what it takes of the kernel's headers replaced, for small sources that include none
 * of them.
 */
export const authorHeader = `
#define __used __attribute__((used))
#define __aligned(x) __attribute__((aligned(x)))
#define __section(x) __attribute__((section(x)))
#define __maybe_unused __attribute__((unused))
#define ARRAY_SIZE(x) ((int)(sizeof(x) / sizeof((x)[0])))
struct klp_object { const char *name; };
${readFileSync(`${AUTHOR_INCLUDE}/kmend/livepatch.h`, 'utf8').replace('#include <linux/livepatch.h>', '')}
`;
