// The lock file of the repository around is not the app's.
export default { turbopack: { root: import.meta.dirname }, outputFileTracingRoot: import.meta.dirname };
