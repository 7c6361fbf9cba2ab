import { Channel } from '@kmend/protocol';
import { z } from 'zod';

const HttpUrl = z.url({ protocol: /^https?$/ }).max(500);

/** A base URL, without a slash at its end; plain HTTP carries no secrets, so it needs a word of the owner's. */
export const ServerUrl = HttpUrl.transform((url) => url.replace(/\/+$/, ''));

/** `/etc/kmend-agent/config.json`, with the fragments of `config.d/*.json` laid over it in the order of their names. */
export const Config = z.strictObject({
  /** The patch server's API, e.g. `https://kmend.example.org`. */
  server: ServerUrl,
  /** The signed repository; any web server may carry it. Default: what the server gives at `/repository`. */
  repository: ServerUrl.optional(),
  /** Overrides the channel that came with the activation key. */
  channel: Channel.optional(),
  /** Overrides the interval of the signed fleet policy. */
  checkIntervalSeconds: z.int().min(5).max(86_400).optional(),
  /** How long a livepatch is watched before it counts as good. */
  soakSeconds: z.int().min(0).max(86_400).default(900),
  /** After how long a transition is reported as stuck. The agent never forces one. */
  stuckAfterSeconds: z.int().min(5).max(86_400).default(60),
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

export function repositoryUrl(config: Config): string {
  return config.repository ?? `${config.server}/repository`;
}
