import { TrustError } from '../error.ts';

/** What an answer without the file means. */
export function statusFailure(url: string, status: number): TrustError {
  if (status === 404 || status === 410) {
    return new TrustError('not-found', `the repository has no ${url}`, {
      hint: 'check the repository’s URL; a mirror may have been copied only in part',
      details: { url, status },
    });
  }
  return new TrustError('repository-unreachable', `${url} answers with HTTP status ${status}`, {
    hint: 'check the patch server’s log, and proxies in front of it',
    details: { url, status },
  });
}
