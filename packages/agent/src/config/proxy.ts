import type { Config } from './schema.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The proxy that every connection goes through: the configuration's own, else what the environment says (`HTTPS_PROXY`,
 * `HTTP_PROXY`, `NO_PROXY`; the unit takes them from /etc/environment and /etc/default/kmend-agent). Names in lower case as
 * curl has them; empty: no proxy.
 */
export function proxySettings(
  { proxy, noProxy }: Pick<Config, 'proxy' | 'noProxy'>,
  environment: Environment,
): Record<string, string> {
  if (proxy === 'none') return {};
  const settings: Record<string, string> = {};
  for (const name of ['http_proxy', 'https_proxy', 'no_proxy']) {
    const value = environment[name] ?? environment[name.toUpperCase()];
    if (value !== undefined && value !== '') settings[name] = value;
  }
  if (proxy !== undefined) Object.assign(settings, { http_proxy: proxy, https_proxy: proxy });
  if (noProxy !== undefined) settings['no_proxy'] = noProxy;
  return settings;
}
