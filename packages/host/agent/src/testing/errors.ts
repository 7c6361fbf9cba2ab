/** For `assert.rejects`: an error with this code. */
export function code(wanted: string): (error: unknown) => boolean {
  return (error) => (error as { code?: string }).code === wanted;
}
