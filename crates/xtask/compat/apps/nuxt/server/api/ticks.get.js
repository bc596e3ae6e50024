// A stream that the app writes piece by piece, until the client leaves.
export default defineEventHandler((event) => {
  const last = Number(getQuery(event).last ?? 5);
  setResponseHeader(event, 'content-type', 'text/plain');
  let number = 0;
  let timer;
  return new ReadableStream({
    start(controller) {
      timer = setInterval(() => {
        controller.enqueue(new TextEncoder().encode(`tick ${++number}\n`));
        if (number === last) {
          clearInterval(timer);
          controller.close();
        }
      }, 20);
    },
    cancel() {
      clearInterval(timer);
    },
  });
});
