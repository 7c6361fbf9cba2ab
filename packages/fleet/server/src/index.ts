export {
  type ApiClient,
  type ApiClientOptions,
  createApiClient,
  type PublishOptions,
  type PublishOutcome,
} from './client/api-client.ts';
export { type KeysStatus, keysStatus } from './client/keys-status.ts';
export { packFolder, type TarStream } from './client/pack-folder.ts';
export {
  type RotateKeysOptions,
  renewRoles,
  rotateKeys,
  type Signed,
  setFloor,
} from './client/rotate-keys.ts';
export { readOperatorToken, type TokenSource } from './client/token.ts';
export { ServerError, type ServerErrorCode } from './error.ts';
export { type RunningServer, type ServerOptions, startServer } from './server.ts';
