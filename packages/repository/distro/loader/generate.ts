import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { rulesText } from './rules.ts';

await writeFile(join(import.meta.dirname, 'parts/rules.sh'), rulesText());
