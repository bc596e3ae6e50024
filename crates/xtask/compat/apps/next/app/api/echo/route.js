export async function POST(request) {
  const body = await request.json();
  return Response.json({ body, cookie: request.headers.get('cookie') }, { headers: { 'Set-Cookie': 'seen=1; Path=/' } });
}
