export {
  type ApiClient,
  type ApiClientOptions,
  createApiClient,
  type PublishOptions,
  type PublishOutcome,
} from './client/api-client.ts';
export { packFolder, type TarStream } from './client/pack-folder.ts';
export { readOperatorToken, type TokenSource } from './client/token.ts';
export { ServerError, type ServerErrorCode } from './error.ts';
export { type RunningServer, type ServerOptions, startServer } from './server.ts';
