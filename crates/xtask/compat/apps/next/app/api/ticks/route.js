export const dynamic = 'force-dynamic';

export function GET() {
  let number = 0;
  const stream = new ReadableStream({
    async pull(controller) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      number += 1;
      controller.enqueue(new TextEncoder().encode(`tick ${number}\n`));
      if (number === 5) controller.close();
    },
  });
  return new Response(stream, { headers: { 'Content-Type': 'text/plain' } });
}
