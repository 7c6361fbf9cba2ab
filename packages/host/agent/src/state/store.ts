import { errorText } from '@kmend/base';
import * as z from 'zod';
import type { Edges } from '../edges/edges.ts';
import { paths } from '../edges/paths.ts';
import { AgentError, diskError } from '../error.ts';
import { readBootId } from '../kernel/facts.ts';
import { readMachineId } from '../kernel/machine.ts';
import { openClaim } from './claim.ts';
import { emptyJournal, Journal, withEvent } from './journal.ts';

const MAX_JOURNAL = 4 * 1024 * 1024;
/** Only root writes; the fetcher's group reads. */
const LOADER_MODE = 0o750;

/**
 * The journal on disk. Every change is durable (temporary file, fsync, rename, fsync of the directory) before `update`
 * resolves; where that fails the journal in memory stays what the disk says. So a torn write is never seen, and what
 * runs after `update` sees what a crash would leave. The claim that the packages' loader reads (claim.ts) is kept in
 * step.
 */
export interface JournalStore {
  readonly journal: Journal;
  /** Applies one change; changes are made one after the other. Throws `disk-full`, or whatever `change` throws. */
  update(change: (journal: Journal) => Journal): Promise<Journal>;
}

export async function openJournal(edges: Edges): Promise<JournalStore> {
  await edges.files.directory(paths.loader, LOADER_MODE);
  let journal = await ofThisMachine(edges, await readJournal(edges));
  const claim = await openClaim(edges, await readBootId(edges));
  await claim.save(journal);
  let last: Promise<unknown> = Promise.resolve();
  return {
    get journal() {
      return journal;
    },
    update(change) {
      const mine = last.then(async () => {
        const next = change(journal);
        if (next === journal) return journal;
        // First the claim: the packages' loader must know of a load before the kernel is asked for it.
        await claim.save(next);
        try {
          await save(edges, next);
        } catch (error) {
          await claim.save(journal).catch(() => {});
          throw error;
        }
        journal = next;
        return next;
      });
      last = mine.catch(() => {});
      return mine;
    },
  };
}

async function save(edges: Edges, journal: Journal): Promise<void> {
  try {
    await edges.files.writeAtomic(paths.journal, `${JSON.stringify(journal)}\n`, 0o640);
  } catch (error) {
    throw diskError(error, paths.loader);
  }
}

/** The journal as it is on disk, for looking only: a damaged one is an empty one. */
export async function peekJournal(edges: Edges): Promise<Journal> {
  const text = await edges.files.text(paths.journal, MAX_JOURNAL);
  const found = text === undefined ? undefined : parseJournal(text);
  return await ofThisMachine(edges, found?.ok === true ? found.journal : emptyJournal);
}

/**
 * What another machine wrote is no state: a host made from an image of it loaded nothing, crashed with nothing, and is
 * not held. Its events are not this host's to report either.
 */
async function ofThisMachine(edges: Edges, journal: Journal): Promise<Journal> {
  const machine = await readMachineId(edges);
  if (machine === null || journal.machine === machine) return journal;
  if (journal.machine === null) return { ...journal, machine };
  const at = edges.clock.now().toISOString();
  const message = 'the journal belongs to another machine (/etc/machine-id differs): it is ignored';
  return withEvent({ ...emptyJournal, machine }, { at, code: 'other-machine', message });
}

/**
 * Reads the journal for the one actor. A damaged one (a disk that lies about fsync) is moved aside and said: it
 * then remembers nothing, so nothing is re-applied at boot and the next check starts afresh.
 */
async function readJournal(edges: Edges): Promise<Journal> {
  const text = await edges.files.text(paths.journal, MAX_JOURNAL);
  if (text === undefined) return emptyJournal;
  const found = parseJournal(text);
  if (found.ok) return found.journal;
  const at = edges.clock.now().toISOString();
  const aside = `${paths.journal}.damaged`;
  await edges.files.rename(paths.journal, aside);
  const message = `the journal was damaged and is now ${aside}: ${found.problem}`.slice(0, 2000);
  return withEvent(emptyJournal, { at, code: 'journal-damaged', message });
}

/** Parses a journal; throws `journal-newer` for the journal of a later agent, which must not be thrown away. */
export function parseJournal(text: string): { ok: true; journal: Journal } | { ok: false; problem: string } {
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch (error) {
    return { ok: false, problem: errorText(error) };
  }
  const parsed = Journal.safeParse(data);
  if (parsed.success) return { ok: true, journal: parsed.data };
  const schema = z.object({ schema: z.string().regex(/^kmend\.agent-journal\/\d+$/) }).safeParse(data);
  if (schema.success && schema.data.schema !== emptyJournal.schema) {
    throw new AgentError('journal-newer', `the journal was written by a later agent (${schema.data.schema})`, {
      hint: `install that agent version again, or remove ${paths.journal} to start with an empty journal`,
    });
  }
  return { ok: false, problem: z.prettifyError(parsed.error) };
}
