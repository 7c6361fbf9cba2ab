import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseJson } from '@kmend/base';
import { sha256 } from '@kmend/base/node';
import { FixId } from '@kmend/protocol';
import { BuilderError } from '../error.ts';
import { type Fix, type FixOrigin, FixRecord } from './model.ts';
import { type PatchContent, readPatch } from './patch.ts';

/** What is said of a fix when it is imported. */
export interface FixWords {
  readonly id: string;
  readonly title: string;
  readonly severity: FixRecord['severity'];
  readonly hardware: boolean;
}

/**
 * Makes a fix of a patch, checking both. The patch has one character a byte; an origin with `paths` limits it to these.
 */
export function makeFix(words: FixWords, origin: FixOrigin, patch: string): Fix {
  const id = FixId.safeParse(words.id);
  if (!id.success) {
    throw new BuilderError('fix-garbage', `"${words.id}" cannot be the id of a fix: ${id.error.issues[0]?.message}`);
  }
  const content = readPatch(words.id, patch, origin.kind === 'debian' ? undefined : origin.paths);
  const title = words.title.replaceAll(/\s+/g, ' ').trim().slice(0, 500);
  return { schema: 'kmend.fix/1', ...words, title, origin, sha256: sha256(bytesOf(content.patch)), ...content };
}

function bytesOf(patch: string): Buffer {
  return Buffer.from(patch, 'latin1');
}

/** Fixes on the operator's machine: a folder each, written whole or not at all. */
export class FixStore {
  readonly #directory: string;

  /** `home`: the folder `fixes` in it is the store's. */
  constructor(home: string) {
    this.#directory = join(home, 'fixes');
  }

  /** Keeps a fix. The same again is fine; another patch under a known id needs `replace`. */
  async add(fix: Fix, replace = false): Promise<void> {
    const directory = join(this.#directory, fix.id);
    const known = await this.#read(fix.id);
    if (known !== undefined && known.sha256 !== fix.sha256 && !replace) {
      throw new BuilderError('fix-exists', `there is another fix called ${fix.id}`, {
        hint: 'choose another id, or replace it with --replace',
      });
    }
    await mkdir(this.#directory, { recursive: true });
    const temporary = await mkdtemp(join(this.#directory, '.import-'));
    try {
      const { patch, files: _, ...record } = fix;
      await writeFile(join(temporary, 'fix.patch'), bytesOf(patch));
      await writeFile(join(temporary, 'fix.json'), `${JSON.stringify(record, null, 2)}\n`);
      await rm(directory, { recursive: true, force: true });
      await rename(temporary, directory);
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  }

  async list(): Promise<Fix[]> {
    const names = await readdir(this.#directory).catch(() => [] as string[]);
    const fixes: Fix[] = [];
    for (const name of names.filter((name) => FixId.safeParse(name).success).sort()) {
      const fix = await this.#read(name);
      if (fix !== undefined) fixes.push(fix);
    }
    return fixes;
  }

  async open(id: string): Promise<Fix> {
    const fix = FixId.safeParse(id).success ? await this.#read(id) : undefined;
    if (fix !== undefined) return fix;
    throw new BuilderError('fix-unknown', `there is no fix ${id}`, {
      hint: 'kmend fix list shows all; kmend fix import adds one',
    });
  }

  async #read(id: string): Promise<Fix | undefined> {
    const directory = join(this.#directory, id);
    const text = await readFile(join(directory, 'fix.json'), 'utf8').catch(() => undefined);
    if (text === undefined) return undefined;
    const damaged = new BuilderError('fix-garbage', `the fix in ${directory} is damaged`, {
      hint: 'remove the folder and import the fix again',
    });
    const bytes = await readFile(join(directory, 'fix.patch')).catch(() => undefined);
    const record = FixRecord.safeParse(parseJson(text));
    if (bytes === undefined || !record.success || sha256(bytes) !== record.data.sha256) throw damaged;
    const content = this.#content(id, directory, bytes);
    const { leftOut = [], notes = [] } = record.data;
    return {
      ...record.data,
      ...content,
      leftOut: [...leftOut, ...content.leftOut],
      notes: [...notes, ...content.notes],
    };
  }

  /**
   * An earlier kmend kept patches as they came, and took less care in reading them: such a one may turn out to be none.
   */
  #content(id: string, directory: string, bytes: Buffer): PatchContent {
    try {
      return readPatch(id, bytes.toString('latin1'));
    } catch (error) {
      if (!(error instanceof BuilderError)) throw error;
      throw new BuilderError(error.code, `the fix in ${directory} cannot be used: ${error.message}`, {
        hint: `import it again with --replace, or remove the folder; ${error.hint ?? ''}`,
        cause: error,
      });
    }
  }
}
