import { readFile } from 'node:fs/promises';
import { writeFileAtomic } from '@kmend/base/node';
import { newToken } from './store/secrets.ts';

/** The operator's token, made on first use in a file for its owner only. */
export async function operatorToken(path: string): Promise<string> {
  const known = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (known !== undefined && known.trim() !== '') return known.trim();
  const token = newToken('kmo');
  await writeFileAtomic(path, `${token}\n`, 0o600);
  return token;
}
