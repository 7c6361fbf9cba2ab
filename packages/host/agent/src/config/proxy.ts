import { AgentError } from '../error.ts';
import type { Config } from './schema.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The proxy that every connection goes through: the configuration's own, else what the environment says (`HTTPS_PROXY`,
 * `HTTP_PROXY`, `NO_PROXY`; the unit takes them from /etc/environment and /etc/default/kmend-agent). Names in lower
 * case as curl has them; empty: no proxy. Throws `config-invalid` where a proxy is named in another way than as an
 * http(s) URL.
 */
export function proxySettings(
  { proxy, noProxy }: Pick<Config, 'proxy' | 'noProxy'>,
  environment: Environment,
): Record<string, string> {
  if (proxy === 'none') return {};
  const settings: Record<string, string> = {};
  for (const name of ['http_proxy', 'https_proxy', 'no_proxy']) {
    const value = environment[name] ?? environment[name.toUpperCase()];
    if (value === undefined || value === '') continue;
    if (name !== 'no_proxy') assertProxy(name, value);
    settings[name] = value;
  }
  if (proxy !== undefined) Object.assign(settings, { http_proxy: proxy, https_proxy: proxy });
  if (noProxy !== undefined) settings['no_proxy'] = noProxy;
  return settings;
}

/** curl takes `proxy:3128` too; Node takes that for the scheme `proxy:`, or for nothing. */
function assertProxy(name: string, value: string): void {
  const url = URL.parse(value);
  if (url !== null && url.hostname !== '' && (url.protocol === 'http:' || url.protocol === 'https:')) return;
  // What is before the @ is a secret.
  const shown = value.slice(value.lastIndexOf('@') + 1).slice(0, 200);
  throw new AgentError(
    'config-invalid',
    `${name.toUpperCase()} names the proxy "${shown}", which is no http or https URL`,
    {
      hint: 'write it with its scheme, HTTPS_PROXY=http://proxy:3128: /etc/default/kmend-agent, /etc/environment, or your shell has it',
    },
  );
}
