import * as z from 'zod';
import { Timestamp } from './values.ts';

/** Whose repository: `apt` for Debian's package managers, `dnf` for those of RPM. */
export const PackageFormat = z.enum(['apt', 'dnf']);
export type PackageFormat = z.infer<typeof PackageFormat>;

/**
 * `PUT /v1/packages/<format>` (operator) takes a whole repository as one tar stream, and answers once hosts are served
 * it.
 */
export const PublishPackagesResponse = z.object({
  format: PackageFormat,
  files: z.int(),
  /** Of all files together. */
  bytes: z.int(),
  /** Files that the repository before had already, byte for byte. */
  unchanged: z.int(),
  published: Timestamp,
});
export type PublishPackagesResponse = z.infer<typeof PublishPackagesResponse>;

/** `GET /v1/packages/seats` (operator): the machines that fetched packages of late, by activation key. */
export const PackageSeats = z.object({
  keys: z.array(z.object({ keyId: z.uuid(), hosts: z.int(), lastSeen: Timestamp })),
});
export type PackageSeats = z.infer<typeof PackageSeats>;
