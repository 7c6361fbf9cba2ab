/**
 * Mutants of real livepatches, and how many of them the audit finds: part of `script/bench coverage`, and `script/bench
 * audit`.
 */
import { type AuditedSource, audit, FixedWorlds, World } from '@kmend/audit';
import { errorCode, errorText } from '@kmend/base';
import { importFromDebian } from '@kmend/builder';
import { readElf, writeElf } from '@kmend/elf';
import { type Kernel, readSymbols } from '@kmend/kernel';
import type { Livepatch } from '@kmend/protocol';
import { mutations, type Names } from './mutations.ts';
import type { Surroundings } from './surroundings.ts';

/**
 * Files of the delta that are livepatches by themselves: of vmlinux and of modules, with calls between modules, tables
 * and static data.
 */
const FILES = `net/ipv4/ip_options.c crypto/af_alg.c io_uring/io_uring.c ipc/util.c drivers/md/dm-log.c
drivers/md/persistent-data/dm-btree-remove.c drivers/net/vxlan/vxlan_vnifilter.c fs/erofs/dir.c fs/f2fs/data.c fs/f2fs/sysfs.c fs/gfs2/glops.c
fs/nfs/blocklayout/blocklayout.c fs/ocfs2/inode.c fs/pstore/ram_core.c fs/smb/client/fs_context.c fs/smb/client/smb2transport.c fs/sysfs/group.c
net/batman-adv/bat_v_ogm.c net/batman-adv/originator.c net/core/neighbour.c net/ipv4/esp4.c net/ipv4/netfilter/arpt_mangle.c
net/ipv4/sysctl_net_ipv4.c net/ipv4/udp.c net/ipv6/exthdrs.c net/ipv6/mcast.c net/ipv6/seg6_iptunnel.c`.split(/\s+/);

export interface MutantTable {
  /** Livepatches that mutants are made of, and those among them that the audit complains of as they were built. */
  readonly livepatches: number;
  readonly withFindings: number;
  /** Milliseconds of one audit, on average. */
  readonly auditMs: number;
  readonly seed: number;
  readonly kinds: readonly { readonly kind: string; readonly found: number; readonly of: number }[];
  /** What the audit takes for right: kind, file and what was changed. */
  readonly missed: readonly string[];
}

export interface MutantPlan {
  /** So many mutants, the same ones for the same seed. */
  readonly wanted: number;
  readonly seed: number;
  /** Files of the delta to take. */
  readonly only: RegExp;
  /** Whether the audit has the distribution's fixed kernel beside it. */
  readonly withImage: boolean;
}

interface Sample {
  readonly path: string;
  readonly manifest: Livepatch;
  readonly module: Uint8Array;
  readonly source: AuditedSource;
  readonly fixed: readonly World[];
  /** What the audit says of the livepatch as it was built. */
  readonly known: ReadonlySet<string>;
}

/** Builds livepatches of single files, makes mutants (mutations.ts) and counts how many the audit finds. */
export async function mutantTable(around: Surroundings, plan: MutantPlan): Promise<MutantTable> {
  const world = await World.open(around.kernel);
  const { samples, auditMs } = await samplesOf(around, plan, world);
  const names = await namesOf(around.kernel, world);
  const pick = random(plan.seed);
  const kinds = Object.entries(mutations);
  const counts = new Map(kinds.map(([kind]) => [kind, { found: 0, of: 0 }]));
  const missed: string[] = [];
  let made = 0;
  // A kind that a livepatch has nothing of is passed over; so is one that nothing has.
  for (let turn = 0; made < plan.wanted && turn < plan.wanted * 10; turn++) {
    around.workshop.edges.signal.throwIfAborted();
    const [kind, mutate] = kinds[turn % kinds.length] ?? [];
    const sample = samples[pick(samples.length)];
    if (kind === undefined || mutate === undefined || sample === undefined) break;
    const file = readElf(Buffer.from(sample.module));
    const what = mutate({ file, manifest: sample.manifest, names, pick });
    if (what === undefined) continue;
    made++;
    const count = counts.get(kind) ?? { found: 0, of: 0 };
    count.of++;
    if (await isFound(world, sample, writeElf(file))) count.found++;
    else missed.push(`${kind}: ${sample.path}: ${what}`);
    if (made % 100 === 0) around.say(`${made} of ${plan.wanted} mutants, ${missed.length} missed`);
  }
  return {
    livepatches: samples.length,
    withFindings: samples.filter(({ known }) => known.size > 0).length,
    auditMs,
    seed: plan.seed,
    kinds: [...counts].map(([kind, count]) => ({ kind, ...count })),
    missed,
  };
}

/** Markdown: the table by kind, and what was missed. */
export function mutantText({ livepatches, withFindings, auditMs, seed, kinds, missed }: MutantTable): string {
  const of = kinds.reduce((sum, kind) => sum + kind.of, 0);
  const row = (kind: string, found: number, all: number): string => `| ${kind} | ${found} | ${all} |`;
  return [
    `**The audit finds ${of - missed.length} of ${of} mutants** of ${livepatches} livepatches (seed ${seed}); ${withFindings} of these have findings as built; ${auditMs.toFixed(0)} ms an audit.`,
    '',
    '| mutation | found | of |',
    '|---|---|---|',
    ...kinds.map(({ kind, found, of: all }) => row(kind, found, all)),
    row('all', of - missed.length, of),
    ...(missed.length === 0 ? [] : ['', 'Missed:', ...missed.map((one) => `- ${one}`)]),
  ].join('\n');
}

async function samplesOf(
  { workshop, kernel, range, say }: Surroundings,
  plan: MutantPlan,
  world: World,
): Promise<{ readonly samples: readonly Sample[]; readonly auditMs: number }> {
  const { edges, images, sources } = workshop;
  const { signal } = edges;
  const fixedWorlds = new FixedWorlds(images);
  const builder = await workshop.builder(kernel);
  const samples: Sample[] = [];
  let auditMs = 0;
  for (const path of FILES.filter((file) => plan.only.test(file))) {
    signal.throwIfAborted();
    try {
      const words = { id: 'F', severity: 'unknown', hardware: false } as const;
      const fix = await importFromDebian(edges, sources, words, { ...range, paths: [path] });
      const { manifest, module } = await builder.build({
        fixes: [fix],
        kind: 'cumulative',
        acceptReview: true,
        fixed: { kernels: images, sources },
      });
      if (module === undefined) {
        say(`${path}: ${manifest.verdict}, no module`);
        continue;
      }
      const source = { patches: [fix.patch], tree: builder.sourceTree };
      const fixed = plan.withImage ? await fixedWorlds.of(manifest) : [];
      const begin = performance.now();
      const { findings } = await audit(world, { module, manifest, source, fixed });
      auditMs += performance.now() - begin;
      for (const { code, message } of findings) say(`${path}: ${code}: ${message}`);
      const known = new Set(findings.map(({ code, message }) => `${code} ${message}`));
      samples.push({ path, manifest, module, source, fixed, known });
    } catch (error) {
      signal.throwIfAborted();
      say(`${path}: ${errorCode(error) ?? 'internal'}: ${errorText(error)}`);
    }
  }
  return { samples, auditMs: auditMs / Math.max(1, samples.length) };
}

async function isFound(world: World, sample: Sample, module: Uint8Array): Promise<boolean> {
  const { manifest, source, fixed, known } = sample;
  try {
    const { findings } = await audit(world, { module, manifest, source, fixed });
    return findings.some(({ code, message }) => !known.has(`${code} ${message}`));
  } catch (error) {
    // What cannot be read is not loaded.
    if (errorCode(error) === undefined) throw error;
    return true;
  }
}

/** What mutants put in the place of something else. */
async function namesOf(kernel: Kernel, world: World): Promise<Names> {
  const symbols = (await readSymbols(kernel)).all();
  const counts = new Map<string, number>();
  for (const { name } of symbols) counts.set(name, (counts.get(name) ?? 0) + 1);
  const once = (types: string): string[] =>
    symbols
      .filter(({ name, type }) => types.includes(type) && counts.get(name) === 1 && /^[a-z]\w+$/.test(name))
      .map(({ name }) => name);
  const variables = once('dbr');
  return {
    functions: once('t'),
    variables,
    exported: once('T').filter(
      (name) => world.exports.get(name)?.object === 'vmlinux' && world.exports.get(name)?.namespace === '',
    ),
    statics: (object) => (object === 'vmlinux' ? variables : (world.module(object)?.staticVariables() ?? [])),
    count: (object, name) => world.count(object, name),
  };
}

/** Mulberry32. */
function random(seed: number): (limit: number) => number {
  let state = seed >>> 0;
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let value = Math.imul(state ^ (state >>> 15), state | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return Math.floor((((value ^ (value >>> 14)) >>> 0) / 2 ** 32) * limit);
  };
}
