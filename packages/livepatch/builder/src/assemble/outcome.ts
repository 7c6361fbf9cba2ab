import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { parseJson } from '@kmend/base';
import { exists } from '@kmend/base/node';
import { VerdictReason } from '@kmend/protocol';
import { z } from 'zod';
import { PHASES } from '../author/callbacks.ts';

const Resolution = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('export'), name: z.string(), exportedName: z.string(), namespace: z.string() }),
  z.object({ kind: z.literal('klp'), name: z.string(), object: z.string(), symbol: z.string(), sympos: z.number() }),
]);

/** What the build of one unit found: everything that the livepatch and its manifest need of it. */
export const UnitOutcome = z.object({
  source: z.string(),
  object: z.string(),
  reasons: z.array(VerdictReason),
  /** Functions to replace, as the manifest lists them. */
  functions: z.array(z.object({ name: z.string(), sympos: z.number(), source: z.string() })),
  /** Functions as the registration names them; empty where the unit adds nothing to the livepatch. */
  registered: z.array(z.object({ oldName: z.string(), sympos: z.number(), alias: z.string() })),
  /** Callbacks as the registration names them. */
  callbacks: z.array(z.object({ name: z.string(), phases: z.array(z.enum(PHASES)), alias: z.string() })),
  /** How the undefined symbols of the extracted object are found at load time. */
  resolutions: z.array(Resolution),
  /** New global symbols that other units of the livepatch may use. */
  provides: z.array(z.string()),
  /** What it needs and the kernel does not have: another unit of the livepatch must provide it. */
  unknown: z.array(z.string()),
  proof: z.object({ equal: z.number(), different: z.array(z.string()) }),
  /** Fixes already loaded below a stacked livepatch that changed a function which this one changes too. */
  dependsOn: z.array(z.string()),
});
export type UnitOutcome = z.infer<typeof UnitOutcome>;

/** The files of the tree that a unit is made of, and one hash of what they hold. */
export const MadeOf = z.object({ paths: z.array(z.string()), digest: z.string() });
export type MadeOf = z.infer<typeof MadeOf>;

/** An outcome with its extracted object, in the cache. */
export interface KeptOutcome {
  readonly outcome: UnitOutcome;
  /** Absent where there is nothing to link. */
  readonly objectPath?: string;
}

const OUTCOME = 'outcome.json';
const MADE_OF = 'made-of.json';
const OBJECT = 'unit.o';

/** Outcomes by everything that went into them: a fix added to a hundred others builds only its own units. */
export class OutcomeCache {
  readonly #directory: string;
  readonly #isCurrent: (madeOf: MadeOf) => boolean;

  /** `isCurrent`: whether the tree's files still are what they were. */
  constructor(cacheDirectory: string, isCurrent: (madeOf: MadeOf) => boolean) {
    this.#directory = join(cacheDirectory, 'units');
    this.#isCurrent = isCurrent;
  }

  async find(key: string): Promise<KeptOutcome | undefined> {
    const directory = this.#folder(key);
    // What cannot be read is built again.
    const [outcome, madeOf] = await Promise.all([
      readParsed(join(directory, OUTCOME), UnitOutcome),
      readParsed(join(directory, MADE_OF), MadeOf),
    ]);
    if (outcome === undefined || madeOf === undefined || !this.#isCurrent(madeOf)) return undefined;
    return kept(outcome, directory);
  }

  /** Keeps an outcome, whole or not at all. `object`: bytes of the extracted object. */
  async keep(key: string, outcome: UnitOutcome, object: Uint8Array | undefined, madeOf: MadeOf): Promise<KeptOutcome> {
    const directory = this.#folder(key);
    const parent = dirname(directory);
    await mkdir(parent, { recursive: true });
    const temporary = await mkdtemp(join(parent, '.keep-'));
    try {
      if (object !== undefined) await writeFile(join(temporary, OBJECT), object);
      await writeFile(join(temporary, OUTCOME), JSON.stringify(outcome));
      await writeFile(join(temporary, MADE_OF), JSON.stringify(madeOf));
      await rename(temporary, directory).catch(async (error: unknown) => {
        // Another build of the same inputs may have been quicker: its outcome is this one, and it may be linking its
        // object now.
        if ((await this.find(key)) !== undefined) return;
        if (!(await exists(directory))) throw error;
        await rename(directory, `${temporary}-damaged`);
        await rename(temporary, directory);
      });
    } finally {
      await rm(`${temporary}-damaged`, { recursive: true, force: true });
      await rm(temporary, { recursive: true, force: true });
    }
    return kept(outcome, directory);
  }

  #folder(key: string): string {
    return join(this.#directory, key.slice(0, 2), key);
  }
}

async function readParsed<T>(path: string, schema: z.ZodType<T>): Promise<T | undefined> {
  const text = await readFile(path, 'utf8').catch(() => undefined);
  return text === undefined ? undefined : schema.safeParse(parseJson(text)).data;
}

function kept(outcome: UnitOutcome, directory: string): KeptOutcome {
  return outcome.registered.length + outcome.callbacks.length + outcome.provides.length === 0
    ? { outcome }
    : { outcome, objectPath: join(directory, OBJECT) };
}
