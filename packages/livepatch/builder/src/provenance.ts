import { sourcePackageOf } from '@kmend/kernel';
import type { Livepatch } from '@kmend/protocol';
import { z } from 'zod';

/** File beside `livepatch.json`. */
export const PROVENANCE = 'provenance.json';

/** How the parameters below are to be read: docs/builder.md, "Provenance". */
export const BUILD_TYPE = 'urn:x-kmend:livepatch-build:1';
/** kmend on an operator's own machine: whose, only a signature can tell. */
export const BUILDER_ID = 'urn:x-kmend:operator';

const TypeUri = z.url({ protocol: /^[a-z][a-z0-9+.-]*$/, hostname: /.*/ });
/** Algorithm to lower-case hex (in-toto attestation, spec/v1/digest_set.md). */
const DigestSet = z
  .record(z.string(), z.string().regex(/^(?:[0-9a-f]{2})+$/))
  .refine((digests) => Object.keys(digests).length > 0, 'a digest set names at least one digest');

/** in-toto attestation, spec/v1/resource_descriptor.md: known by at least one of address, digest and content. */
const ResourceDescriptor = z
  .object({
    name: z.string().optional(),
    uri: z.string().min(1).optional(),
    digest: DigestSet.optional(),
    content: z.string().optional(),
    downloadLocation: z.string().optional(),
    mediaType: z.string().optional(),
    annotations: z.record(z.string(), z.unknown()).optional(),
  })
  .refine(({ uri, digest, content }) => (uri ?? digest ?? content) !== undefined, 'needs a uri, a digest or content');
type ResourceDescriptor = z.infer<typeof ResourceDescriptor>;

/** SLSA v1.0, "Provenance" (https://slsa.dev/spec/v1.0/provenance): what it requires, and what it only allows. */
const Predicate = z.object({
  buildDefinition: z.object({
    buildType: TypeUri,
    externalParameters: z.record(z.string(), z.unknown()),
    internalParameters: z.record(z.string(), z.unknown()).optional(),
    resolvedDependencies: z.array(ResourceDescriptor).optional(),
  }),
  runDetails: z.object({
    builder: z.object({
      id: TypeUri,
      version: z.record(z.string(), z.string()).optional(),
      builderDependencies: z.array(ResourceDescriptor).optional(),
    }),
    metadata: z
      .object({
        invocationId: z.string().optional(),
        startedOn: z.iso.datetime().optional(),
        finishedOn: z.iso.datetime().optional(),
      })
      .optional(),
    byproducts: z.array(ResourceDescriptor).optional(),
  }),
});

/**
 * in-toto attestation, spec/v1/statement.md, with a provenance of SLSA v1.0. Fields that are not known here are
 * dropped, as both tell consumers to.
 */
export const Provenance = z.object({
  _type: z.literal('https://in-toto.io/Statement/v1'),
  subject: z
    .array(ResourceDescriptor)
    .min(1)
    .refine((subjects) => subjects.every(({ digest }) => digest !== undefined), 'every subject needs a digest'),
  predicateType: z.literal('https://slsa.dev/provenance/v1'),
  predicate: Predicate,
});
export type Provenance = z.infer<typeof Provenance>;

/**
 * What a module was built from. Without times and numbers of the run, so that it is reproducible as the module is.
 * `undefined` where no module was built. `manifestSha256`: of `livepatch.json` as written.
 */
export function provenanceOf(manifest: Livepatch, manifestSha256: string): Provenance | undefined {
  const {
    file,
    kernel,
    inputs,
    fixes,
    kind,
    effectiveVersion,
    reviewAccepted,
    compiler,
    buildRoot,
    builder,
    signature,
  } = manifest;
  if (file === undefined) return undefined;
  const digest = (sha256: string): { sha256: string } => ({ sha256 });
  const patches = (hashes: Readonly<Record<string, string>>): ResourceDescriptor[] =>
    Object.entries(hashes).map(([id, sha256]) => ({ name: `${id}.patch`, digest: digest(sha256) }));
  return {
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ name: file.name, digest: digest(file.sha256) }],
    predicateType: 'https://slsa.dev/provenance/v1',
    predicate: {
      buildDefinition: {
        buildType: BUILD_TYPE,
        externalParameters: {
          kernel,
          kind,
          fixes: fixes.map(({ id }) => id),
          ...(inputs.on === undefined ? {} : { on: Object.keys(inputs.on) }),
          ...(effectiveVersion === undefined ? {} : { effectiveVersion }),
          acceptReview: reviewAccepted,
        },
        internalParameters: {
          compiler,
          ...(buildRoot === undefined ? {} : { buildRoot: { suite: buildRoot.suite, digest: buildRoot.digest } }),
          ...(signature === undefined ? {} : { signature }),
        },
        resolvedDependencies: [
          ...kernelParts(kernel, inputs),
          ...patches(inputs.on ?? {}),
          ...patches(inputs.fixes),
          ...Object.entries(buildRoot?.packages ?? {}).map(([name, of]) => ({
            name,
            uri: packageUrl(name, of, 'amd64'),
          })),
        ],
      },
      runDetails: {
        builder: { id: BUILDER_ID, version: { [builder.name]: builder.version } },
        byproducts: [
          { name: 'livepatch.json', digest: digest(manifestSha256), mediaType: 'application/json' },
          ...(signature === undefined
            ? []
            : [{ name: `${file.name} before it was signed`, digest: digest(signature.unsigned) }]),
        ],
      },
    },
  };
}

/** What of a kernel a livepatch was built from: Debian's packages, or files that the operator handed over. */
function kernelParts(
  { release, version, local }: Livepatch['kernel'],
  { config, moduleSymvers, vmlinux, source }: Livepatch['inputs'],
): ResourceDescriptor[] {
  const digest = (sha256: string): { sha256: string } => ({ sha256 });
  if (local === true) {
    return [
      { name: 'config', digest: digest(config) },
      { name: 'Module.symvers', digest: digest(moduleSymvers) },
      { name: 'vmlinux', digest: digest(vmlinux) },
      { name: 'source.tar.zst', digest: digest(source) },
    ];
  }
  const sourcePackage = sourcePackageOf(version);
  const headers = `linux-headers-${release}`;
  const inHeaders = (name: string): string => debian(headers, version, 'amd64', `usr/src/${headers}/${name}`);
  return [
    { name: 'config', uri: inHeaders('.config'), digest: digest(config) },
    { name: 'Module.symvers', uri: inHeaders('Module.symvers'), digest: digest(moduleSymvers) },
    {
      name: 'vmlinux',
      digest: digest(vmlinux),
      annotations: {
        unpackedFrom: debian(`linux-image-${release}`, version, 'amd64', `boot/vmlinuz-${release}`),
      },
    },
    {
      name: `${sourcePackage}.tar.xz`,
      uri: debian(sourcePackage, version, 'all', `usr/src/${sourcePackage}.tar.xz`),
      digest: digest(source),
    },
  ];
}

/** A file in a Debian package. */
function debian(name: string, version: string, arch: string, path: string): string {
  return `${packageUrl(name, version, arch)}#${path.split('/').map(encodeURIComponent).join('/')}`;
}

/** A Debian package as a package URL (purl specification, type `deb`). */
function packageUrl(name: string, version: string, arch: string): string {
  return `pkg:deb/debian/${encodeURIComponent(name)}@${encodeURIComponent(version)}?arch=${arch}`;
}
