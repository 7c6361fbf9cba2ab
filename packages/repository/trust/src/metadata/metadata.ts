import {
  type Key,
  Metadata,
  MetadataKind,
  type Root,
  type Snapshot,
  type Targets,
  type Timestamp,
} from '@tufjs/models';
import { TrustError, type TrustErrorCode } from '../error.ts';

/** Signed roles as objects; a kernel role and the policy role are `Targets` too (specification 1.0.34, section 4.5). */
export interface MetadataTypes {
  readonly root: Metadata<Root>;
  readonly timestamp: Metadata<Timestamp>;
  readonly snapshot: Metadata<Snapshot>;
  readonly targets: Metadata<Targets>;
}

type JsonObject = Parameters<typeof Metadata.fromJSON>[1];

function jsonObject(text: string): JsonObject {
  const value: unknown = JSON.parse(text);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new TypeError('not a JSON object');
  return value as JsonObject;
}

/** Versions must be whole and positive; the models accept any number. */
function checkVersion(version: number): void {
  if (!Number.isSafeInteger(version) || version < 1) throw new TypeError(`${version} is not a version`);
}

const parsers: { readonly [Kind in keyof MetadataTypes]: (data: JsonObject) => MetadataTypes[Kind] } = {
  root: (data) => Metadata.fromJSON(MetadataKind.Root, data),
  timestamp: (data) => Metadata.fromJSON(MetadataKind.Timestamp, data),
  snapshot: (data) => Metadata.fromJSON(MetadataKind.Snapshot, data),
  targets: (data) => Metadata.fromJSON(MetadataKind.Targets, data),
};

/** Parses a metadata file of unknown origin; verifies nothing. `code` is what malformed text counts as here. */
export function parseMetadata<Kind extends keyof MetadataTypes>(
  kind: Kind,
  text: string | Buffer,
  name: string,
  code: TrustErrorCode,
): MetadataTypes[Kind] {
  try {
    const metadata = parsers[kind](jsonObject(text.toString()));
    checkVersion(metadata.signed.version);
    return metadata;
  } catch (cause) {
    throw new TrustError(code, `${name} is not TUF ${kind} metadata: ${(cause as Error).message}`, { cause });
  }
}

/** The keys a root or targets file lists, by id. */
export function listedKeys(metadata: Metadata<Root> | Metadata<Targets>): Readonly<Record<string, Key>> {
  const { signed } = metadata;
  return 'keys' in signed ? signed.keys : (signed.delegations?.keys ?? {});
}
