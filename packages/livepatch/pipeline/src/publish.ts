import type { Channel } from '@kmend/protocol';
import type { ApiClient, PublishOptions } from '@kmend/server';

export interface Published {
  readonly serial: number;
  readonly channel: Channel;
  /** Of the livepatch. */
  readonly id: string;
  readonly release: string;
  readonly buildId: string;
  readonly fixes: readonly string[];
  /** It passed its proof in the lab. */
  readonly proven: boolean;
  /** Why less than a whole proof was enough. */
  readonly reason?: string;
  readonly snapshotVersion: number;
  readonly timestampVersion: number;
}

/** Signs a livepatch with the release key on this machine and gives it to a channel of the patch server. */
export async function publishLivepatch(api: Pick<ApiClient, 'publish'>, order: PublishOptions): Promise<Published> {
  const outcome = await api.publish(order);
  const { livepatch } = outcome.publication.artifact;
  return {
    serial: outcome.serial,
    channel: order.channel,
    id: livepatch.id,
    release: livepatch.kernel.release,
    buildId: livepatch.kernel.buildId,
    fixes: livepatch.fixes.map(({ id }) => id),
    proven: outcome.publication.proven,
    ...(order.reason === undefined ? {} : { reason: order.reason }),
    snapshotVersion: outcome.snapshotVersion,
    timestampVersion: outcome.timestampVersion,
  };
}
