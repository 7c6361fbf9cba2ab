import type { Clock } from '@kmend/base';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { AXES, countAxes, silentSince } from '../fleet/presence.ts';
import { countShared } from '../store/boots.ts';
import { groupHosts } from '../store/hosts.ts';
import type { Certificate } from '../tls.ts';
import type { AppContext } from './context.ts';

export interface Metrics {
  readonly registry: Registry;
  readonly duration: Histogram<'method' | 'route' | 'status'>;
  readonly enrolments: Counter<'result'>;
  readonly reports: Counter<'result'>;
  readonly packages: Counter<'format' | 'result'>;
  readonly refreshFailures: Counter;
  readonly reloadFailures: Counter;
}

/** Prometheus metrics of one server; docs/server.md lists them. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: 'kmend_' });
  const registers = [registry];
  return {
    registry,
    duration: new Histogram({
      name: 'kmend_http_request_duration_seconds',
      help: 'Time to answer a request',
      labelNames: ['method', 'route', 'status'],
      buckets: [0.001, 0.005, 0.025, 0.1, 0.5, 2.5],
      registers,
    }),
    enrolments: new Counter({
      name: 'kmend_enrolments_total',
      help: 'Enrolments, by result: ok or the error code',
      labelNames: ['result'],
      registers,
    }),
    reports: new Counter({
      name: 'kmend_reports_total',
      help: 'Reports, by result: ok or the error code',
      labelNames: ['result'],
      registers,
    }),
    packages: new Counter({
      name: 'kmend_packages_requests_total',
      help: 'Requests for files of package repositories, by format and result: ok or the error code',
      labelNames: ['format', 'result'],
      registers,
    }),
    refreshFailures: new Counter({
      name: 'kmend_repository_refresh_failures_total',
      help: 'Failed attempts to sign the online roles again',
      registers,
    }),
    reloadFailures: new Counter({
      name: 'kmend_tls_reload_failures_total',
      help: 'Failed attempts to read the certificate again',
      registers,
    }),
  };
}

/** Adds when the certificate expires. */
export function registerCertificate({ registry }: Metrics, certificate: Certificate, clock: Clock): void {
  registry.registerMetric(
    new Gauge({
      name: 'kmend_tls_certificate_expires_seconds',
      help: 'Seconds until the certificate expires; below 0: expired',
      registers: [],
      collect() {
        this.set((certificate.expires.getTime() - clock.now().getTime()) / 1000);
      },
    }),
  );
}

/** Adds figures that are computed when Prometheus reads them. */
export function registerGauges({ registry }: Metrics, { store, repository, clock, times }: AppContext): void {
  registry.registerMetric(
    new Gauge({
      name: 'kmend_hosts',
      help: 'Hosts by the state of each status axis',
      labelNames: ['axis', 'state'],
      registers: [],
      async collect() {
        this.reset();
        for (const axis of AXES) this.set({ axis, state: 'unknown' }, 0);
        for (const { axis, state, hosts } of countAxes(await groupHosts(store, silentSince(times, clock))))
          this.set({ axis, state }, hosts);
      },
    }),
  );
  registry.registerMetric(
    new Gauge({
      name: 'kmend_hosts_shared_identity',
      help: 'Hosts as which several machines report: clones of one image, or a stolen token',
      registers: [],
      async collect() {
        this.set(await countShared(store, silentSince(times, clock)));
      },
    }),
  );
  registry.registerMetric(
    new Gauge({
      name: 'kmend_repository_role_version',
      help: 'Version of each role of the signed repository',
      labelNames: ['role'],
      registers: [],
      async collect() {
        for (const { role, version } of await repository.ages()) this.set({ role }, version);
      },
    }),
  );
  registry.registerMetric(
    new Gauge({
      name: 'kmend_repository_role_expires_seconds',
      help: 'Seconds until each role expires; below 0: expired',
      labelNames: ['role'],
      registers: [],
      async collect() {
        const now = clock.now().getTime();
        for (const { role, expires } of await repository.ages()) this.set({ role }, (expires.getTime() - now) / 1000);
      },
    }),
  );
}
