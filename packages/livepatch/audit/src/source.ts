/** What is known of the source that the livepatch was made of. */
export interface AuditedSource {
  /** The fixes as unified diffs; empty where they are not here. */
  readonly patches: readonly string[];
  /** The kernel's source, as it is before the fixes. */
  readonly tree?: string | undefined;
}
