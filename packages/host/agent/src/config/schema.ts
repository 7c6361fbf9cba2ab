import { Channel } from '@kmend/protocol';
import { timing } from '@kmend/rules';
import * as z from 'zod';
import { MaintenanceWindows } from '../decide/windows.ts';
import { AcceptedTaint } from '../kernel/taint.ts';

const HttpUrl = z.url({ protocol: /^https?$/ }).max(500);

/** A base URL, without a slash at its end; plain HTTP carries no secrets, so it needs a word of the owner's. */
export const ServerUrl = HttpUrl.transform((url) => url.replace(/\/+$/, ''));

/** Others than root may read the configuration: credentials belong into /etc/default/kmend-agent (0600). */
const ProxyUrl = HttpUrl.refine((url) => new URL(url).username === '', {
  error: 'a proxy with a password belongs into /etc/default/kmend-agent (mode 0600): HTTPS_PROXY=…',
});

/** `/etc/kmend-agent/config.json`, with the fragments of `config.d/*.json` laid over it in the order of their names. */
export const Config = z.strictObject({
  /** The patch server's API, e.g. `https://kmend.example.org`. */
  server: ServerUrl,
  /** The signed repository; any web server may carry it. Default: what the server gives at `/repository`. */
  repository: ServerUrl.optional(),
  /** More places that carry the same repository, asked in turn where the first does not answer, or not truly. */
  mirrors: z.array(ServerUrl).max(16).default([]),
  /** HTTP proxy for server and repository, in place of the environment's; `none`: no proxy at all. */
  proxy: z.union([ProxyUrl, z.literal('none')]).optional(),
  /** Hosts that are reached without the proxy, as `NO_PROXY` has them. */
  noProxy: z.string().max(2000).optional(),
  /** Overrides the channel that came with the activation key. */
  channel: Channel.optional(),
  /** Overrides the interval of the signed fleet policy. */
  checkIntervalSeconds: z.int().min(5).max(86_400).optional(),
  /** How long a livepatch is watched before it counts as good. */
  soakSeconds: z.int().min(0).max(86_400).default(timing.soak),
  /** After how long a transition is reported as stuck. The agent never forces one. */
  stuckAfterSeconds: z.int().min(5).max(86_400).default(timing.stuckAfter),
  /** After how long a transition is taken back, to be tried again later; 0: never. */
  transitionLimitSeconds: z.int().min(0).max(604_800).default(timing.transitionLimit),
  /** When livepatches may be loaded, in this host's local time; empty: always. Withdrawals wait for no window. */
  maintenanceWindows: MaintenanceWindows.default([]),
  /** Taint flags of the kernel that the owner has looked at and accepts (docs/agent.md, `kernel-tainted`). */
  acceptTaint: AcceptedTaint.default([]),
  /** Extra certificate authority (PEM) for server and repository. */
  caFile: z.string().startsWith('/').optional(),
  /** Plain HTTP to a server that is not on this machine: the host token travels in the clear. */
  allowPlainHttp: z.boolean().default(false),
  logLevel: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
});
export type Config = z.infer<typeof Config>;

/** Whether a URL may carry a secret: HTTPS, or this machine itself. */
export function isPrivate(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return protocol === 'https:' || hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d+){3}$/.test(hostname);
}

/** Where the repository is asked for, in this order. */
export function repositoryUrls(config: Config): readonly [string, ...string[]] {
  return [config.repository ?? `${config.server}/repository`, ...config.mirrors];
}
