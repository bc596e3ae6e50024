export function GET({ url }) {
  const last = Number(url.searchParams.get('last') ?? 5);
  let number = 0;
  const stream = new ReadableStream({
    async pull(controller) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      number += 1;
      controller.enqueue(new TextEncoder().encode(`tick ${number}\n`));
      if (number === last) controller.close();
    },
  });
  return new Response(stream);
}

export async function PUT({ request }) {
  return Response.json(await request.json(), { status: 201 });
}
