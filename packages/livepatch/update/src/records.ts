import { parseJson } from '@kmend/base';
import { z } from 'zod';

/** What a CVE record says of a flaw of the kernel. */
export interface CveFacts {
  readonly id: string;
  readonly title: string;
  /** Files that the fixes change, of all branches. */
  readonly files: readonly string[];
}

const Id = z.string().regex(/^CVE-\d{4}-\d{4,12}$/);
const File = z.string().min(1).max(300);
const Title = z.string().max(2000);

/** CVE JSON record format 5.x (cveproject.github.io/cve-schema), as much of it as is read. */
const Record5 = z.object({
  cveMetadata: z.object({ cveId: Id, state: z.string() }),
  containers: z.object({
    cna: z.object({
      title: Title.optional(),
      affected: z
        .array(
          z.object({
            vendor: z.string().optional(),
            product: z.string().optional(),
            programFiles: z.array(File).max(2000).optional(),
          }),
        )
        .max(500)
        .optional(),
    }),
  }),
});

/** One line of extracted facts: a record without what is not needed. */
const Line = z.object({ id: Id, state: z.string(), title: Title.nullish(), files: z.array(File).max(2000).nullish() });

/** Why a text is no record that can be used. */
export type RecordFault = 'unreadable' | 'other-product' | 'not-published' | 'unsafe-file';

/** Reads one record, or one line of facts. */
export function readRecord(text: string): CveFacts | RecordFault {
  const value = parseJson(text);
  const line = Line.safeParse(value);
  if (line.success) {
    const { id, state, title, files } = line.data;
    return facts(id, state, title ?? '', files ?? []);
  }
  const record = Record5.safeParse(value);
  if (!record.success) return 'unreadable';
  const { cveMetadata, containers } = record.data;
  const affected = containers.cna.affected ?? [];
  const ofKernel = affected.filter(({ product }) => product === 'Linux' || product === 'Linux Kernel');
  if (affected.length > 0 && ofKernel.length === 0) return 'other-product';
  const files = ofKernel.flatMap(({ programFiles }) => programFiles ?? []);
  return facts(cveMetadata.cveId, cveMetadata.state, containers.cna.title ?? '', files);
}

function facts(id: string, state: string, title: string, files: readonly string[]): CveFacts | RecordFault {
  if (state !== 'PUBLISHED') return 'not-published';
  const isSafe = (path: string): boolean =>
    /^[!-~]+$/.test(path) && !path.split('/').some((part) => part === '' || part === '.' || part === '..');
  if (!files.every(isSafe)) return 'unsafe-file';
  return { id, title, files: [...new Set(files)].sort() };
}
