import type { Clock } from '@kmend/base';
import { type Livepatch, type LivepatchTarget, PublishedLivepatch } from '@kmend/protocol';
import type { Database } from './store.ts';

/** Keeps what the list of livepatches shows; the signed repository stays the truth. Written again without harm. */
export async function storeLivepatch(
  db: Database,
  livepatch: Livepatch,
  target: LivepatchTarget,
  clock: Clock,
): Promise<void> {
  await db
    .insertInto('livepatches')
    .values({
      build_id: livepatch.kernel.buildId,
      serial: target.serial,
      release: livepatch.kernel.release,
      published: clock.now().toISOString(),
      target: JSON.stringify(target),
      fixes: JSON.stringify(livepatch.fixes),
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/** Newest first. */
export async function listLivepatches(db: Database): Promise<PublishedLivepatch[]> {
  const rows = await db
    .selectFrom('livepatches')
    .selectAll()
    .orderBy('published', 'desc')
    .orderBy('serial', 'desc')
    .execute();
  return rows.map((row) =>
    PublishedLivepatch.parse({
      ...JSON.parse(row.target),
      buildId: row.build_id,
      release: row.release,
      published: row.published,
      fixes: JSON.parse(row.fixes),
    }),
  );
}
