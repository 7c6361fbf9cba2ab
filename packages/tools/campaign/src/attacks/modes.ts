import type { TrustErrorCode } from '@kmend/trust';

/** The specification's names (1.0.34, section 1.5.2, "Goals"), and what a network does without any malice. */
export type Threat =
  | 'arbitrary installation'
  | 'rollback'
  | 'fast-forward'
  | 'indefinite freeze'
  | 'mix-and-match'
  | 'endless data'
  | 'extraneous dependencies'
  | 'wrong software'
  | 'malicious mirror'
  | 'slow retrieval'
  | 'key compromise'
  | 'transport';

/** One way in which a mirror misbehaves, and what a host has to make of it. */
export interface Mode {
  readonly name: string;
  readonly threat: Threat;
  readonly description: string;
  /** Where a host meets it: while it checks, or only when it fetches a livepatch that it does not have yet. */
  readonly met: 'check' | 'fetch';
  /** What a host may report; none: there is nothing to report, and it continues with what is truly signed. */
  readonly codes: readonly TrustErrorCode[];
  /** What has to follow behind an honest mirror: nothing, or new online keys first (`HostileMirror.rotateKeys`). */
  readonly heals: 'by itself' | 'with new keys';
}

const check = { met: 'check', heals: 'by itself' } as const;
const fetch = { met: 'fetch', heals: 'by itself' } as const;

export const MODES = [
  {
    ...fetch,
    name: 'arbitrary-installation',
    threat: 'arbitrary installation',
    description: 'another module of the same length in the place of the signed one',
    codes: ['repository-mismatch'],
  },
  {
    ...check,
    name: 'foreign-keys',
    threat: 'arbitrary installation',
    description: 'newer metadata of every online role, signed by keys that no root names',
    codes: ['repository-unsigned'],
  },
  {
    ...check,
    name: 'unsigned',
    threat: 'arbitrary installation',
    description: 'a newer timestamp without any signature',
    codes: ['repository-unsigned'],
  },
  {
    ...check,
    name: 'rollback',
    threat: 'rollback',
    description: 'the newest state once, then always the one before it',
    codes: ['repository-rollback'],
  },
  {
    ...check,
    name: 'rollback-snapshot',
    threat: 'rollback',
    description: 'stolen timestamp key: a newer timestamp names an older snapshot',
    codes: ['repository-rollback'],
  },
  {
    ...check,
    name: 'rollback-role',
    threat: 'rollback',
    description: 'stolen online keys: a newer snapshot names an older policy role',
    codes: ['repository-rollback'],
  },
  {
    ...check,
    name: 'fast-forward',
    threat: 'fast-forward',
    description: 'stolen online keys: versions jump a million ahead, so that the true ones are older ever after',
    codes: [],
    heals: 'with new keys',
  },
  {
    ...check,
    name: 'indefinite-freeze',
    threat: 'indefinite freeze',
    description: 'always the same, once valid metadata; it expires after `seconds`',
    codes: ['repository-expired'],
  },
  {
    ...check,
    name: 'not-modified',
    threat: 'indefinite freeze',
    description: 'the same, and every further question is answered with 304',
    codes: ['repository-unreachable', 'repository-expired'],
  },
  {
    ...check,
    name: 'mix-and-match',
    threat: 'mix-and-match',
    description: 'the newest timestamp, with the snapshot of an earlier moment under the new name',
    codes: ['repository-mismatch'],
  },
  {
    ...check,
    name: 'endless-metadata',
    threat: 'endless data',
    description: 'a timestamp that does not end',
    codes: ['repository-too-large'],
  },
  {
    ...fetch,
    name: 'endless-artifact',
    threat: 'endless data',
    description: 'a module that does not end',
    codes: ['repository-too-large'],
  },
  {
    ...check,
    name: 'extraneous-dependencies',
    threat: 'extraneous dependencies',
    description:
      'stolen online keys: snapshot and policy name roles and files that were not requested, all called `extraneous`; what once was named must stay named (5.5.5)',
    codes: [],
    heals: 'with new keys',
  },
  {
    ...fetch,
    name: 'wrong-kernel',
    threat: 'wrong software',
    description: 'a livepatch of another kernel, signed under this one with the release key',
    codes: ['repository-mismatch'],
  },
  {
    ...fetch,
    name: 'wrong-role',
    threat: 'wrong software',
    description: 'stolen online keys: the signed role of another kernel, livepatches and all, under this one’s name',
    // A loader beside a fetcher's cache meets the true role of the same version first, whose length is another one.
    codes: ['not-found', 'repository-too-large', 'repository-mismatch'],
  },
  {
    ...check,
    name: 'malicious-mirror',
    threat: 'malicious mirror',
    description: 'a true new timestamp, and noise for everything else',
    codes: ['repository-mismatch'],
  },
  {
    ...check,
    name: 'withholding-mirror',
    threat: 'malicious mirror',
    description: 'a true new timestamp, and nothing else',
    codes: ['not-found'],
  },
  {
    ...check,
    name: 'slow-headers',
    threat: 'slow retrieval',
    description: 'accepts connections and never answers',
    codes: ['repository-slow'],
  },
  {
    ...check,
    name: 'slow-metadata',
    threat: 'slow retrieval',
    description: 'one byte a second',
    codes: ['repository-slow'],
  },
  {
    ...fetch,
    name: 'slow-artifact',
    threat: 'slow retrieval',
    description: 'one byte of the module a second',
    codes: ['repository-slow'],
  },
  {
    ...fetch,
    name: 'key-compromise',
    threat: 'key compromise',
    description:
      'stolen online keys: the policy asks for a livepatch of the thief’s, in a role signed with the policy key',
    codes: ['repository-unsigned'],
    heals: 'with new keys',
  },
  {
    ...fetch,
    name: 'unpublished-serial',
    threat: 'key compromise',
    description: 'stolen online keys: the policy asks for a serial that the release key did not sign',
    codes: ['not-found'],
    heals: 'with new keys',
  },
  {
    ...check,
    name: 'release-key',
    threat: 'key compromise',
    description: 'stolen release key alone: a livepatch lies there, well signed, and no snapshot names it',
    codes: [],
  },
  {
    ...check,
    name: 'foreign-root',
    threat: 'key compromise',
    description: 'the next root, signed by another root key than the last',
    codes: ['repository-unsigned'],
  },
  {
    ...check,
    name: 'retired-keys',
    threat: 'key compromise',
    description: 'newer metadata, signed with the online keys from before `rotateKeys`',
    codes: ['repository-unsigned'],
  },
  {
    ...fetch,
    name: 'truncated-artifact',
    threat: 'transport',
    description: 'half of the module, presented as the whole',
    codes: ['repository-mismatch'],
  },
  {
    ...fetch,
    name: 'bit-flip',
    threat: 'transport',
    description: 'the module with one bit the other way round; `seed` says which',
    codes: ['repository-mismatch'],
  },
  {
    ...fetch,
    name: 'empty-artifact',
    threat: 'transport',
    description: 'a module of no bytes',
    codes: ['repository-mismatch'],
  },
  {
    ...fetch,
    name: 'connection-reset',
    threat: 'transport',
    description: 'the connection breaks in the middle of the module',
    codes: ['repository-unreachable'],
  },
  {
    ...check,
    name: 'redirect',
    threat: 'transport',
    description: '302 to the repository of another operator',
    codes: ['repository-unsigned'],
  },
  {
    ...check,
    name: 'redirect-loop',
    threat: 'transport',
    description: '302 to itself',
    codes: ['repository-unreachable'],
  },
  {
    ...check,
    name: 'server-error',
    threat: 'transport',
    description: 'HTTP status 500',
    codes: ['repository-unreachable'],
  },
  {
    ...check,
    name: 'unavailable',
    threat: 'transport',
    description: 'HTTP status 503',
    codes: ['repository-unreachable'],
  },
  {
    ...check,
    name: 'login-page',
    threat: 'transport',
    description: 'HTML with status 200, whatever is asked for',
    codes: ['repository-garbage'],
  },
  {
    ...check,
    name: 'gzip-bomb',
    threat: 'transport',
    description: 'a timestamp of a few kilobytes, compressed, that unpacks to many megabytes',
    codes: ['repository-too-large'],
  },
  {
    ...fetch,
    name: 'gzip-bomb-artifact',
    threat: 'transport',
    description: 'the same as a module',
    codes: ['repository-too-large'],
  },
  {
    ...check,
    name: 'content-length-too-long',
    threat: 'transport',
    description: 'more bytes promised than sent',
    codes: ['repository-unreachable'],
  },
  {
    ...check,
    name: 'content-length-too-short',
    threat: 'transport',
    description: 'fewer bytes promised than the file has',
    codes: ['repository-garbage'],
  },
  {
    ...check,
    name: 'empty-file',
    threat: 'transport',
    description: 'status 200 without a byte',
    codes: ['repository-garbage'],
  },
  {
    ...check,
    name: 'huge-headers',
    threat: 'transport',
    description: 'a megabyte of headers',
    codes: ['repository-unreachable'],
  },
] as const satisfies readonly Mode[];

export type ModeName = (typeof MODES)[number]['name'];

export function modeOf(name: ModeName): Mode {
  const mode = MODES.find((candidate) => candidate.name === name);
  if (mode === undefined) throw new TypeError(`there is no mode ${name}`);
  return mode;
}
