// The page goes out at once, the promise's value when it is there.
export function load({ getClientAddress }) {
  const slow = new Promise((resolve) => setTimeout(resolve, 500, 'slow part'));
  return { address: getClientAddress(), slow };
}
