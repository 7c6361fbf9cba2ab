/** Of the loader's package. */
export const LOADER_VERSION = '0.1.0';
