/**
 * `script/bench audit [--mutants N] [--seed N] [--only REGEXP] [--without-image]`: builds single-file fixes of the bench's delta, makes mutants of the livepatches
 * (bench/audit-mutants.ts) and counts how many the audit finds. Deterministic for a seed. Prints what it misses, and ends with 1 if it misses any.
 */
import { parseArgs } from 'node:util';
import { type AuditedSource, audit, FixedWorlds, World } from '@kmend/audit';
import { errorCode, errorText, silentProgress } from '@kmend/base';
import { places, run, systemClock } from '@kmend/base/node';
import { Builder, importFromDebian } from '@kmend/builder';
import { readElf, writeElf } from '@kmend/elf';
import { Archive, ImageStore, KernelStore, mirrors, readSymbols, SourceStore } from '@kmend/kernel';
import type { Livepatch } from '@kmend/protocol';
import { FROM, KERNEL, SUITE, TO } from '../demo/fixes.ts';
import { mutations, type Names } from './audit-mutants.ts';

/** Files of the delta that are livepatches by themselves: of vmlinux and of modules, with calls between modules, tables and static data. */
const FILES = `net/ipv4/ip_options.c crypto/af_alg.c io_uring/io_uring.c ipc/util.c drivers/md/dm-log.c
drivers/md/persistent-data/dm-btree-remove.c drivers/net/vxlan/vxlan_vnifilter.c fs/erofs/dir.c fs/f2fs/data.c fs/f2fs/sysfs.c fs/gfs2/glops.c
fs/nfs/blocklayout/blocklayout.c fs/ocfs2/inode.c fs/pstore/ram_core.c fs/smb/client/fs_context.c fs/smb/client/smb2transport.c fs/sysfs/group.c
net/batman-adv/bat_v_ogm.c net/batman-adv/originator.c net/core/neighbour.c net/ipv4/esp4.c net/ipv4/netfilter/arpt_mangle.c
net/ipv4/sysctl_net_ipv4.c net/ipv4/udp.c net/ipv6/exthdrs.c net/ipv6/mcast.c net/ipv6/seg6_iptunnel.c`.split(/\s+/);

const { values: options } = parseArgs({
  options: {
    mutants: { type: 'string', default: '1200' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string', default: '' },
    'without-image': { type: 'boolean', default: false },
  },
});
const { signal } = new AbortController();
const edges = { run, clock: systemClock, fetch, progress: silentProgress, signal };
const { cache } = places();
const archive = new Archive(edges, mirrors(process.env), cache);
const kernels = new KernelStore(edges, archive, cache);
const kernel = await kernels.add(`${SUITE}/${KERNEL}`);
const images = new ImageStore(edges, archive, kernels, cache);
await images.add(`${SUITE}/${TO}`);
const fixedWorlds = new FixedWorlds(images);
const sources = new SourceStore(edges, archive, cache);
const builder = await Builder.open(edges, cache, kernel);
const world = await World.open(kernel);
const pick = random(Number(options.seed));
const only = new RegExp(options.only);

interface Sample {
  readonly path: string;
  readonly manifest: Livepatch;
  readonly module: Uint8Array;
  readonly source: AuditedSource;
  readonly fixed: readonly World[];
  /** What the audit says of the livepatch as it was built. */
  readonly known: ReadonlySet<string>;
}

const samples: Sample[] = [];
let auditMs = 0;
for (const path of FILES.filter((file) => only.test(file))) {
  try {
    const fix = await importFromDebian(
      edges,
      sources,
      { id: 'F', severity: 'unknown', hardware: false },
      { suite: SUITE, from: FROM, to: TO, paths: [path] },
    );
    const { manifest, module } = await builder.build({
      fixes: [fix],
      kind: 'cumulative',
      acceptReview: true,
      fixed: { kernels: images, sources },
    });
    if (module === undefined) {
      console.log(`  ${path}: ${manifest.verdict}, no module`);
      continue;
    }
    const source = { patches: [fix.patch], tree: builder.sourceTree };
    const fixed = options['without-image'] ? [] : await fixedWorlds.of(manifest);
    const begin = performance.now();
    const { findings } = await audit(world, { module, manifest, source, fixed });
    auditMs += performance.now() - begin;
    for (const { code, message } of findings) console.log(`  ${path}: ${code}: ${message}`);
    samples.push({
      path,
      manifest,
      module,
      source,
      fixed,
      known: new Set(findings.map(({ code, message }) => `${code} ${message}`)),
    });
  } catch (error) {
    console.log(`  ${path}: ${errorCode(error) ?? 'internal'}: ${errorText(error)}`);
  }
}
const wrong = samples.filter(({ known }) => known.size > 0).length;
console.log(
  `${samples.length} livepatches, ${wrong} with findings as built; ${(auditMs / Math.max(1, samples.length)).toFixed(0)} ms an audit`,
);

const symbols = (await readSymbols(kernel)).all();
const once = (types: string): string[] => {
  const counts = new Map<string, number>();
  for (const { name } of symbols) counts.set(name, (counts.get(name) ?? 0) + 1);
  return symbols
    .filter(({ name, type }) => types.includes(type) && counts.get(name) === 1 && /^[a-z]\w+$/.test(name))
    .map(({ name }) => name);
};
const variables = once('dbr');
const names: Names = {
  functions: once('t'),
  variables,
  exported: once('T').filter(
    (name) => world.exports.get(name)?.object === 'vmlinux' && world.exports.get(name)?.namespace === '',
  ),
  statics: (object) => (object === 'vmlinux' ? variables : (world.module(object)?.staticVariables() ?? [])),
  count: (object, name) => world.count(object, name),
};

const kinds = Object.entries(mutations);
const counts = new Map(kinds.map(([kind]) => [kind, { caught: 0, total: 0 }]));
const missed: string[] = [];
const wanted = Number(options.mutants);
let made = 0;
// A kind that a livepatch has nothing of is passed over; so is one that nothing has.
for (let turn = 0; made < wanted && turn < wanted * 10; turn++) {
  const [kind, mutate] = kinds[turn % kinds.length] ?? [];
  const sample = samples[pick(samples.length)];
  if (kind === undefined || mutate === undefined || sample === undefined) break;
  const file = readElf(Buffer.from(sample.module));
  const what = mutate({ file, manifest: sample.manifest, names, pick });
  if (what === undefined) continue;
  made++;
  const count = counts.get(kind) ?? { caught: 0, total: 0 };
  count.total++;
  try {
    const { findings } = await audit(world, {
      module: writeElf(file),
      manifest: sample.manifest,
      source: sample.source,
      fixed: sample.fixed,
    });
    const said = new Set(findings.map(({ code, message }) => `${code} ${message}`));
    if ([...said].some((one) => !sample.known.has(one))) count.caught++;
    else missed.push(`${kind}: ${sample.path}: ${what}`);
  } catch (error) {
    // What cannot be read is not loaded.
    if (errorCode(error) === undefined) throw error;
    count.caught++;
  }
  if (made % 100 === 0) console.error(`${made} of ${wanted}`);
}
console.log('\n| mutation | found | of |\n|---|---|---|');
for (const [kind, { caught, total }] of counts) console.log(`| ${kind} | ${caught} | ${total} |`);
console.log(`| all | ${made - missed.length} | ${made} |`);
for (const one of missed) console.log(`MISSED  ${one}`);
if (missed.length > 0) process.exitCode = 1;

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
