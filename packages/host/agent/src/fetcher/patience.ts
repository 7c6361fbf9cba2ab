import type { Clock } from '@kmend/base';
import { causes } from '../error.ts';
import { asksForPause, retryAfterMs } from './retry-after.ts';

/** A `fetch` that remembers who asked for a pause, and says what a proxy wants. */
export interface Attentive {
  readonly fetch: typeof fetch;
  /** Milliseconds until a URL's server may be asked again; 0: now. */
  pauseMs(url: string): number;
}

export function attentive(inner: typeof fetch, clock: Clock): Attentive {
  const until = new Map<string, number>();
  return {
    async fetch(input, init) {
      let response: Response;
      try {
        response = await inner(input, init);
      } catch (error) {
        throw proxyRefusal(error) ?? error;
      }
      if (asksForPause(response.status)) {
        const ms = retryAfterMs(response.headers.get('retry-after'), clock.now().getTime());
        const url = input instanceof Request ? input.url : String(input);
        if (ms !== undefined) until.set(new URL(url).origin, clock.monotonic() + ms);
      }
      return response;
    },
    pauseMs: (url) => Math.max(0, (until.get(new URL(url).origin) ?? 0) - clock.monotonic()),
  };
}

/**
 * Node says it in words alone: `Proxy Authentication Required (407)`, `Proxy response (407) !== 200 when HTTP
 * Tunneling`; or in none, where an answer has that status (Fetch standard, HTTP-network-or-cache fetch, step 15).
 */
function proxyRefusal(error: unknown): Error | undefined {
  for (const cause of causes(error)) {
    if (!(cause instanceof Error)) continue;
    const status = cause.message === '' && !('code' in cause) ? '407' : /\((4\d\d|5\d\d)\)/.exec(cause.message)?.[1];
    if (status === undefined) continue;
    const why =
      status === '407'
        ? 'the proxy asks for a user and a password (407): HTTPS_PROXY=http://user:password@proxy:3128 in /etc/default/kmend-agent (mode 0600)'
        : `the proxy refuses the connection (HTTP ${status})`;
    return new TypeError('fetch failed', { cause: new Error(why, { cause: error }) });
  }
  return undefined;
}
