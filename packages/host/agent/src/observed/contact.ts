import { errorCode, errorText } from '@kmend/base';
import { Timestamp } from '@kmend/protocol';
import * as z from 'zod';
import type { Edges } from '../edges/edges.ts';
import { paths } from '../edges/paths.ts';
import { openStored, readStored, Seen, type Stored, see } from './stored.ts';

/** What the fetcher saw of the repository when it last asked. The loader believes nothing of it; `status` shows it. */
export const Contact = z.object({
  schema: z.literal('kmend.agent-contact/1'),
  contact: Seen(['ok', 'unreachable', 'untrusted']).nullable(),
  /** Version of the signed timestamp role at the last good contact. */
  version: z.int().min(1).nullable(),
  /** When the signed metadata expires. */
  expires: Timestamp.nullable(),
  intervalSeconds: z.int().min(1),
  /** Where the last good answer came from; `null` where it gave nothing to ask it by again. */
  mirror: z.string().max(2000).nullable(),
  /** When the loader last looked at what was fetched, and the version it found; milliseconds since 1970. */
  looked: z.object({ version: z.int().nullable(), at: z.number(), failed: z.boolean() }).nullable(),
});
export type Contact = z.infer<typeof Contact>;

export const DEFAULT_INTERVAL_SECONDS = 300;

export const noContact: Contact = {
  schema: 'kmend.agent-contact/1',
  contact: null,
  version: null,
  expires: null,
  intervalSeconds: DEFAULT_INTERVAL_SECONDS,
  mirror: null,
  looked: null,
};

export type ContactStore = Stored<Contact>;

const file = { path: paths.contact, schema: Contact, empty: noContact };

export const openContact = (edges: Edges): Promise<ContactStore> => openStored(edges, { ...file, mode: 0o600 });
/**
 * With what idle checks confirmed since: they leave no more than the time of a file. Where something else than a file
 * of the fetcher's is there (a link, a pipe), that is said.
 */
export async function readContact(edges: Edges): Promise<Contact> {
  try {
    await edges.files.text(paths.contact);
    return await confirmedContact(edges, await readStored(edges, file));
  } catch (error) {
    if (errorCode(error) !== 'repository-garbage') throw error;
    const at = edges.clock.now().toISOString();
    return { ...noContact, contact: see(null, 'untrusted', at, errorText(error)) };
  }
}

async function confirmedContact(edges: Edges, stored: Contact): Promise<Contact> {
  const confirmed = await edges.files.modified(`${paths.idle}.seen`);
  const { contact } = stored;
  if (contact?.state !== 'ok' || confirmed === undefined || (await edges.files.text(paths.idle)) === undefined)
    return stored;
  const seen = confirmed.toISOString();
  return seen > contact.seen ? { ...stored, contact: { ...contact, seen } } : stored;
}
