import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { sha256 } from '@kmend/base/node';

/** Folder that is searched for `<kmend/livepatch.h>`, which fixes adapted by hand include (docs/authoring.md). */
export const AUTHOR_INCLUDE = fileURLToPath(new URL('./include', import.meta.url));

/** Stands for the header where objects are cached. */
export const AUTHOR_DIGEST = sha256(readFileSync(`${AUTHOR_INCLUDE}/kmend/livepatch.h`));
