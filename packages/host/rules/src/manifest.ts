/** What the packages' loader takes of a package; its manifest is `key value` a line. */
export const manifestRule = {
  /** Bytes. */
  manifestBytes: 256 * 1024,
  moduleBytes: 64 * 1024 * 1024,
  fixTitle: 250,
  fixLine: 1200,
  packageName: 200,
  releaseName: 64,
  versionLength: 40,
  fixId: 128,
  objectName: 64,
  functionName: 512,
  /** Characters of a function's name: gcc's clones have dots. */
  function: '^[\\w.$]+$',
  object: '^[\\w\\-]+$',
} as const;
