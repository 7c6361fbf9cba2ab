import { errorCode } from '@kmend/base';

/** For `assert.rejects` and `assert.throws`: an error of kmend with this code. */
export function hasCode(code: string): (error: unknown) => boolean {
  return (error) => {
    if (errorCode(error) === code) return true;
    throw error;
  };
}
