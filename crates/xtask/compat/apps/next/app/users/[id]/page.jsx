import { headers } from 'next/headers';
import { notFound } from 'next/navigation';

export default async function Page({ params, searchParams }) {
  const { id } = await params;
  if (id === 'nobody') notFound();
  const { sort } = await searchParams;
  const agent = (await headers()).get('user-agent');
  return <p>{`user ${id}, sort ${sort}, agent ${agent}`}</p>;
}
